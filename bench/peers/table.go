package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"ringmaster/bench"
)

func chosen(all []peer, pattern string) ([]peer, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	all = slices.DeleteFunc(all, func(p peer) bool { return !re.MatchString(p.name) })
	if len(all) == 0 {
		return nil, fmt.Errorf("-only: no name matches %q", pattern)
	}
	return all, nil
}

// row is a peer's part of the table: medians over the rounds.
type row struct {
	Name    string  `json:"name"`
	Version string  `json:"version,omitempty"`
	Jobs    int     `json:"jobs,omitempty"` // of all samples
	Rate    float64 `json:"rate,omitempty"`
	Ratio   float64 `json:"ratio_to_bare,omitempty"`
	Server  float64 `json:"server_us_per_job,omitempty"` // 0: its server is elsewhere
	Client  float64 `json:"client_us_per_job,omitempty"`
	Others  float64 `json:"other_cpus"` // worst sample
	NotRun  string  `json:"not_run,omitempty"`
	note    string
}

// table is the last line.
type table struct {
	Date     string `json:"date"`
	CPUs     int    `json:"cpus"`
	Go       string `json:"go"`
	Redis    string `json:"redis"`
	Postgres string `json:"postgres,omitempty"`
	Rounds   int    `json:"rounds"`
	Peers    []row  `json:"peers"`
	// Noisy: others took more than a third of a CPU in more than half the samples.
	Noisy bool `json:"noisy"`
}

func makeTable(ctx context.Context, o options, all []peer, samples [][]sample) table {
	t := table{Date: time.Now().UTC().Format(time.DateOnly), CPUs: runtime.NumCPU(), Go: runtime.Version(), Redis: redisVersion(ctx), Rounds: o.rounds}
	if o.postgres != "" {
		t.Postgres = postgresVersion(ctx, o.postgres)
	}
	versions := moduleVersions()
	noisy, total, bareRate := 0, 0, 0.0
	for i, p := range all {
		r := row{Name: p.name, Version: cmp.Or(versions[p.module], version), note: p.note}
		if len(samples[i]) == 0 {
			r.NotRun = noPostgres
		} else {
			of := func(f func(sample) float64) float64 { return median(samples[i], f) }
			r.Rate = math.Round(of(func(s sample) float64 { return s.rate }))
			r.Server = round(of(func(s sample) float64 { return s.server }), 10)
			r.Client = round(of(func(s sample) float64 { return s.client }), 10)
			if strings.HasPrefix(p.name, "bare loop, XDEL") {
				bareRate = r.Rate
			}
		}
		for _, s := range samples[i] {
			total++
			r.Jobs += max(warmup, int(o.scale*float64(p.jobs)))
			r.Others = max(r.Others, round(s.others, 100))
			if s.others > bench.Quiet {
				noisy++
			}
		}
		if bareRate > 0 {
			r.Ratio = round(r.Rate/bareRate, 1000)
		}
		t.Peers = append(t.Peers, r)
	}
	t.Noisy = 2*noisy > total
	return t
}

// markdown is the table for people.
func (t table) markdown() string {
	var w strings.Builder
	fmt.Fprintf(&w, "%s, %d CPUs, %s, Redis %s", t.Date, t.CPUs, t.Go, t.Redis)
	if t.Postgres != "" {
		fmt.Fprintf(&w, ", Postgres %s", t.Postgres)
	}
	fmt.Fprintf(&w, "; medians of %d rounds.\n\n", t.Rounds)
	fmt.Fprintln(&w, "| | version | jobs/s | bare loop = 1 | server CPU, µs per job | client CPU, µs per job | others, CPUs at worst | |")
	fmt.Fprintln(&w, "|---|---|---|---|---|---|---|---|")
	for _, r := range t.Peers {
		if r.NotRun != "" {
			fmt.Fprintf(&w, "| %s | %s | not run | | | | | %s |\n", r.Name, r.Version, r.NotRun)
			continue
		}
		served, ratio := "elsewhere", ""
		if r.Ratio > 0 {
			ratio = fmt.Sprintf("%.3g", r.Ratio)
		}
		if r.Server > 0 {
			served = fmt.Sprintf("%.1f", r.Server)
		}
		fmt.Fprintf(&w, "| %s | %s | %s | %s | %s | %.1f | %.2f | %s |\n", r.Name, r.Version, thousands(r.Rate), ratio, served, r.Client, r.Others, r.note)
	}
	return w.String()
}

func median(all []sample, f func(sample) float64) float64 {
	v := make([]float64, len(all))
	for i, s := range all {
		v[i] = f(s)
	}
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func round(v, unit float64) float64 { return math.Round(v*unit) / unit }

// thousands writes 12345 as 12,345.
func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// moduleVersions are those that this program was built with.
func moduleVersions() map[string]string {
	out := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			out[m.Path] = strings.TrimPrefix(m.Version, "v")
		}
	}
	return out
}

var redisVersionText = regexp.MustCompile(`v=(\S+)`)

func redisVersion(ctx context.Context) string {
	raw, err := exec.CommandContext(ctx, "redis-server", "--version").Output()
	if m := redisVersionText.FindSubmatch(raw); err == nil && m != nil {
		return string(m[1])
	}
	return "?"
}

func postgresVersion(ctx context.Context, url string) string {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "?"
	}
	defer func() { _ = conn.Close(ctx) }()
	version := "?"
	_ = conn.QueryRow(ctx, "SHOW server_version").Scan(&version)
	return version
}
