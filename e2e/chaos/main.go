// Command chaos runs real dispatchers, workers and producers around a real server, kills
// and stops them at named moments, takes their network away, and compares ledgers that
// are kept outside of the server with what the server says.
//
//	go run -tags failpoints ./e2e/chaos -tier pr
//
// docs/reliability/README.md lists the rows. The last line of stdout is one JSON object;
// the exit code is 1 if there was an anomaly or the run is void.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ringmaster/internal/failpoint"
	"ringmaster/internal/ledger"
	"ringmaster/internal/service"
)

func main() {
	service.Quiet()
	if raw := os.Getenv(roleVariable); raw != "" {
		os.Exit(play(raw))
	}
	os.Exit(chaos(os.Args[1:]))
}

type flags struct {
	*flag.FlagSet
	tier, rows, report, json, dir string
	shape                         string
	seed                          uint64
	repeat, per, rate             int
	soak, steady, limit           time.Duration
	keep, quiet                   bool
}

func parse(args []string) (*flags, error) {
	f := &flags{FlagSet: flag.NewFlagSet("chaos", flag.ContinueOnError)}
	f.StringVar(&f.tier, "tier", "pr", "pr, nightly or release")
	f.StringVar(&f.rows, "rows", "", "only these rows, as 1,2,50-61; none: the soak alone")
	f.Uint64Var(&f.seed, "seed", uint64(time.Now().UnixNano())%1_000_000, "of the order, the moments and the load")
	f.IntVar(&f.repeat, "repeat", 0, "how often each row is run; the tier's if 0")
	f.IntVar(&f.per, "per", 12, "rows that share one ring")
	f.IntVar(&f.rate, "rate", 300, "jobs per second")
	f.DurationVar(&f.soak, "soak", -1, "how long random faults go on after the rows; the tier's if negative")
	f.StringVar(&f.shape, "shape", "", "the one shape of the soak: soak, soak-shards, soak-barrier or soak-proxied; all in turn if empty")
	f.DurationVar(&f.steady, "steady", -1, "how long load without faults goes on at last, to see whether memory grows; the tier's if negative")
	f.DurationVar(&f.limit, "duration", 0, "no row starts later than this, except for its first time in nightly and release; the tier's if 0")
	f.StringVar(&f.report, "report", "", "file for the page")
	f.StringVar(&f.json, "json", "", "file for the report as JSON")
	f.StringVar(&f.dir, "dir", "", "where ledgers and logs go; a temporary directory if empty")
	f.BoolVar(&f.keep, "keep", false, "keep ledgers and logs of a good run too")
	f.BoolVar(&f.quiet, "q", false, "no progress on stderr")
	return f, f.Parse(args)
}

func chaos(args []string) int {
	f, err := parse(args)
	if err != nil {
		return 2
	}
	rows, err := f.choose(registry())
	if err == nil && !failpoint.Enabled {
		err = fmt.Errorf("build with -tags failpoints")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	u, err := newRun(f)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 2
	}
	u.logf("tier %s, seed %d, %d rows x %d, ledgers in %s", u.tier, u.seed, len(rows), u.repeat, u.dir)
	u.rows(ctx, rows)
	if u.soak > 0 && ctx.Err() == nil {
		u.soaked(ctx)
	}
	if u.steady > 0 && ctx.Err() == nil {
		u.still(ctx)
	}
	if ctx.Err() != nil {
		u.void("interrupted")
	}
	return u.finish(ctx, f)
}

func newRun(f *flags) (*Run, error) {
	u := &Run{tier: f.tier, seed: f.seed, repeat: f.repeat, per: f.per, rate: f.rate, soak: f.soak, shape: f.shape, steady: f.steady, limit: f.limit, dir: f.dir, keep: f.keep, quiet: f.quiet,
		began: time.Now(), ledger: ledger.NewReport(), results: map[int]*result{}, points: map[failpoint.Point]int{}, metrics: map[string][]time.Duration{}, losses: map[string]Losses{}, rss: map[string][]sample{}, now: "start"}
	defaults, ok := tiers()[f.tier]
	if !ok {
		return nil, fmt.Errorf("no tier %q: pr, nightly or release", f.tier)
	}
	if u.shape != "" && !slices.ContainsFunc(shapes(), func(s RingSpec) bool { return s.Name == u.shape }) {
		return nil, fmt.Errorf("no shape %q of the soak", u.shape)
	}
	if u.repeat == 0 {
		u.repeat = defaults.repeat
	}
	if u.soak < 0 {
		u.soak = defaults.soak
	}
	if u.steady < 0 {
		u.steady = defaults.steady
	}
	if u.limit == 0 && f.rows == "" {
		u.limit = defaults.limit
	}
	if f.rows != "" && f.soak < 0 {
		u.soak = 0
	}
	if f.rows != "" && f.steady < 0 {
		u.steady = 0
	}
	if u.dir != "" {
		return u, os.MkdirAll(u.dir, 0o700)
	}
	var err error
	u.dir, err = os.MkdirTemp("", "ringmaster-chaos-")
	return u, err
}

// choose is the tier's rows, or those that the flag names.
func (f *flags) choose(all []Row) ([]Row, error) {
	if f.rows == "none" {
		return nil, nil
	}
	if f.rows != "" {
		wanted, err := numbers(f.rows)
		if err != nil {
			return nil, err
		}
		some := slices.DeleteFunc(all, func(row Row) bool { return !slices.Contains(wanted, row.Number) })
		if len(some) == 0 {
			return nil, fmt.Errorf("no row has a number of %s", f.rows)
		}
		return some, nil
	}
	if f.tier != "pr" {
		return all, nil
	}
	return someOfEach(all, f.seed, prBudget), nil
}

func rangeOf(text string) (first, last int, err error) {
	a, b, ranged := strings.Cut(text, "-")
	if !ranged {
		b = a
	}
	if first, err = strconv.Atoi(a); err == nil {
		last, err = strconv.Atoi(b)
	}
	return first, last, err
}

func numbers(text string) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(text, ",") {
		first, last, err := rangeOf(part)
		if err != nil {
			return nil, fmt.Errorf("rows %q: want numbers and ranges, as 1,2,50-61", text)
		}
		for n := first; n <= last; n++ {
			out = append(out, n)
		}
	}
	return out, nil
}

// Summary is the last line of stdout.
type Summary struct {
	Tier      string `json:"tier"`
	Jobs      int    `json:"jobs"`
	Kills     int    `json:"kills"`
	Resizes   int    `json:"resizes"`
	RowsHit   int    `json:"rows_hit"`
	Anomalies int    `json:"anomalies"`
	Void      bool   `json:"void"`
}

func (u *Run) summary() Summary {
	s := Summary{Tier: u.tier, Jobs: u.jobs, Kills: u.kills, Resizes: u.resizes, Anomalies: len(u.anomalies), Void: len(u.voids) > 0}
	for _, res := range u.results {
		if res.hits > 0 {
			s.RowsHit++
		}
	}
	return s
}

func (u *Run) finish(ctx context.Context, f *flags) int {
	raw, err := json.Marshal(u.summary())
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 2
	}
	if err = u.write(ctx, f); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	s := u.summary()
	bad := s.Anomalies > 0 || s.Void
	if bad || u.keep {
		fmt.Fprintln(os.Stderr, "ledgers and logs are kept in", u.dir)
	} else {
		_ = os.RemoveAll(u.dir)
	}
	fmt.Println(string(raw))
	if bad || err != nil {
		return 1
	}
	return 0
}
