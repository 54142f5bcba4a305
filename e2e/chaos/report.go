package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"ringmaster/internal/ledger"
)

// Report is what a run leaves behind, as JSON. It begins with the summary.
type Report struct {
	Summary
	Date     string         `json:"date"` // UTC
	Took     string         `json:"took"`
	Seed     uint64         `json:"seed"`
	Commit   string         `json:"commit"` // with "+" if the tree was changed
	Machine  Machine        `json:"machine"`
	Rerun    string         `json:"rerun"`
	Rows     []RowReport    `json:"rows"`
	Points   map[string]int `json:"points"` // failpoints that were acted at
	Findings []finding      `json:"findings"`
	Voids    []string       `json:"voids"`
	Ledger   ledger.Report  `json:"ledger"`

	Losses     map[string]Losses `json:"losses"` // of rows in which the server forgets what it had acknowledged
	Recovery   map[string]Times  `json:"recovery"`
	Memory     map[string]Growth `json:"memory"`     // by kind of process
	Goroutines int               `json:"goroutines"` // the most above a process's base at a quiet moment
	FDs        int               `json:"fds"`        // likewise, sockets left out
	Bounds     Bounds            `json:"bounds"`
}

// Machine is what the run ran on.
type Machine struct {
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Redis  string `json:"redis"`
}

// RowReport is one row of the coverage table.
type RowReport struct {
	Row    int    `json:"row"`
	Name   string `json:"name"`
	Hits   int    `json:"hits"`
	Tries  int    `json:"tries"`
	Ms     int64  `json:"ms"` // with all that was waited for
	Cannot string `json:"cannot,omitempty"`
}

// Losses are jobs of rings whose server forgot acknowledged writes, as their durability
// allows, or where somebody deleted them.
type Losses struct {
	Acknowledged int `json:"acknowledged"` // to producers, in these rings
	RolledBack   int `json:"rolled_back"`  // of these, the server does not know that they ended
	Lost         int `json:"lost"`         // of these, no handler had ended them either
	RanAgain     int `json:"ran_again"`
}

// Times are of recoveries, in milliseconds.
type Times struct {
	N   int   `json:"n"`
	P50 int64 `json:"p50_ms"`
	P99 int64 `json:"p99_ms"`
	Max int64 `json:"max_ms"`
}

// settling is how long a process takes to grow to its working size; that is not a slope.
const settling = time.Minute

// Growth of resident memory, over all processes of a kind that were seen at two quiet
// moments at least after they had settled.
type Growth struct {
	Processes int     `json:"processes"`
	Hours     float64 `json:"hours"` // all that they were watched
	MBPerHour float64 `json:"mb_per_hour"`
	MostMB    int64   `json:"most_mb"`
}

// Bounds are upper bounds, at 95%, of how likely an anomaly is: 3/n after n trials without
// one (the rule of three). Null where there was one.
type Bounds struct {
	PerKill *float64 `json:"per_kill"`
	PerJob  *float64 `json:"per_job"`
}

func (u *Run) report(ctx context.Context, rerun string) Report {
	r := Report{Summary: u.summary(), Date: u.began.UTC().Format(time.RFC3339), Took: time.Since(u.began).Round(time.Second).String(), Seed: u.seed,
		Commit: commit(ctx), Machine: machine(ctx), Rerun: rerun, Points: map[string]int{}, Findings: u.anomalies, Voids: u.voids, Ledger: u.ledger, Losses: u.losses,
		Recovery: map[string]Times{}, Memory: u.growth(), Goroutines: u.grown[0], FDs: u.grown[1]}
	for p, n := range u.points {
		r.Points[string(p)] = n
	}
	for _, n := range slices.Sorted(maps.Keys(u.results)) {
		res := u.results[n]
		r.Rows = append(r.Rows, RowReport{n, res.row.Name, res.hits, res.tries, res.took.Milliseconds(), res.row.Cannot})
	}
	for name, all := range u.metrics {
		r.Recovery[name] = times(all)
	}
	if r.Anomalies == 0 {
		r.Bounds = Bounds{three(r.Kills), three(r.Jobs)}
	}
	return r
}

func three(n int) *float64 {
	if n == 0 {
		return nil
	}
	b := min(1, 3/float64(n))
	return &b
}

func times(all []time.Duration) Times {
	sorted := slices.Sorted(slices.Values(all))
	at := func(q float64) int64 {
		return sorted[max(int(math.Ceil(q*float64(len(sorted)))), 1)-1].Milliseconds()
	}
	return Times{len(sorted), at(0.50), at(0.99), at(1)}
}

// growth fits one slope to the samples of all processes of a kind, each with an offset of
// its own.
func (u *Run) growth() map[string]Growth {
	type sums struct{ xy, xx float64 }
	fit, out := map[string]sums{}, map[string]Growth{}
	for _, all := range u.rss {
		first := time.Time{}
		if len(all) > 0 {
			first = all[0].at
		}
		for len(all) > 0 && all[0].at.Sub(first) < settling {
			all = all[1:]
		}
		if len(all) < 2 {
			continue
		}
		var mx, my float64
		g := out[all[0].kind]
		for _, s := range all {
			mx += s.at.Sub(first).Hours() / float64(len(all))
			my += float64(s.rss) / float64(len(all))
			g.MostMB = max(g.MostMB, s.rss>>20)
		}
		f := fit[all[0].kind]
		for _, s := range all {
			x, y := s.at.Sub(first).Hours()-mx, float64(s.rss)-my
			f.xy, f.xx = f.xy+x*y, f.xx+x*x
		}
		g.Processes++
		g.Hours += all[len(all)-1].at.Sub(all[0].at).Hours()
		fit[all[0].kind], out[all[0].kind] = f, g
	}
	for kind, g := range out {
		if f := fit[kind]; f.xx > 0 {
			g.MBPerHour = f.xy / f.xx / (1 << 20)
			out[kind] = g
		}
	}
	return out
}

func machine(ctx context.Context) Machine {
	m := Machine{CPUs: runtime.NumCPU(), Go: runtime.Version()}
	if raw, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(raw))
	}
	if out, err := exec.CommandContext(ctx, "redis-server", "--version").Output(); err == nil {
		for f := range strings.FieldsSeq(string(out)) {
			if v, ok := strings.CutPrefix(f, "v="); ok {
				m.Redis = v
			}
		}
	}
	return m
}

func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "HEAD").Output()
	if err != nil {
		return ""
	}
	id := strings.TrimSpace(string(out))
	if changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain").Output(); err != nil || len(changed) > 0 {
		id += "+"
	}
	return id
}

// again is the command that repeats the run.
func (f *flags) again(u *Run) string {
	cmd := fmt.Sprintf("go run -tags failpoints ./e2e/chaos -tier %s -seed %d", u.tier, u.seed)
	if f.rows != "" {
		cmd += " -rows " + f.rows
	}
	return cmd
}

// write leaves the page and the JSON object where the flags say.
func (u *Run) write(ctx context.Context, f *flags) error {
	r := u.report(context.WithoutCancel(ctx), f.again(u))
	if f.report != "" {
		if err := os.WriteFile(f.report, []byte(r.page()), 0o644); err != nil {
			return fmt.Errorf("write page: %w", err)
		}
	}
	if f.json == "" {
		return nil
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	if err := os.WriteFile(f.json, append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
