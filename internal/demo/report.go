package demo

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"ringmaster/configs"
	"ringmaster/job"
	"ringmaster/streams"
)

// Result is what the demo found, in the form in which it is printed.
type Result struct {
	Jobs              int     `json:"jobs"`
	Keys              int     `json:"keys"`
	Completed         int     `json:"completed"`
	Lost              int     `json:"lost"`
	CompletedTwice    int     `json:"completed_twice"`
	OutOfOrder        int     `json:"out_of_order"`
	HashMismatches    int     `json:"hash_mismatches"`
	HandlerReruns     int     `json:"handler_reruns"`
	WorkersStarted    int     `json:"workers_started"`
	WorkersKilled     int     `json:"workers_killed"`
	DispatchersKilled int     `json:"dispatchers_killed"`
	Resizes           int     `json:"resizes"`
	MovedPartitions   int     `json:"moved_partitions"`
	ResizePauseP99    float64 `json:"resize_pause_p99_seconds"`
	Duration          float64 `json:"duration_seconds"`
	Store             string  `json:"store"`
	Seed              uint64  `json:"seed"`

	Asked    int      `json:"-"` // jobs whose stored result was compared
	Good     bool     `json:"-"` // nothing is wrong
	Examples []string `json:"-"` // of what is wrong
}

// evidence gathers the ledgers, the journal, the stored results and the hashes of the
// files, computed anew.
func (d *run) evidence(ctx context.Context) (Evidence, error) {
	d.progress.say("all jobs have ended: the audit reads the journal and the workers' files, and hashes every file again")
	e := Evidence{Submitted: d.feeder.submitted, Results: map[string]string{}, Want: map[string]string{}}
	if _, err := d.follower.catchUp(ctx); err != nil {
		return e, err
	}
	e.Commits = d.follower.commits
	for _, ch := range d.crew.all {
		if ch.kind != WorkerCommand {
			continue
		}
		runs, err := readLedger(ch.ledger, ch.name)
		if err != nil {
			return e, err
		}
		e.Runs = append(e.Runs, runs...)
	}
	for _, s := range e.Submitted {
		e.Want[s.Path] = ""
	}
	if err := hashAll(ctx, e.Want); err != nil {
		return e, err
	}
	return e, d.results(ctx, e)
}

// hashAll fills in the hash of every path.
func hashAll(ctx context.Context, want map[string]string) error {
	paths := make([]string, 0, len(want))
	for path := range want {
		paths = append(paths, path)
	}
	sums := make([]string, len(paths))
	group, _ := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, path := range paths {
		group.Go(func() (err error) {
			sums[i], err = sumFile(path)
			return err
		})
	}
	err := group.Wait()
	for i, path := range paths {
		want[path] = sums[i]
	}
	return err
}

const (
	// askAtLeast results are compared however long it takes; a busy machine may not get
	// to all before askUntil, counted from the demo's beginning. What handlers computed
	// is compared for all jobs.
	askAtLeast = 1000
	askUntil   = 30 * time.Second
	askers     = 8
)

// results asks the queue for the jobs' results, in an order of chance.
func (d *run) results(ctx context.Context, e Evidence) error {
	order := rand.New(rand.NewPCG(d.opts.Seed, 3)).Perm(len(e.Submitted))
	deadline := d.progress.began.Add(askUntil)
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	for asker := range askers {
		group.Go(func() error {
			for i := asker; i < len(order); i += askers {
				if i >= askAtLeast && time.Now().After(deadline) {
					return nil
				}
				id := e.Submitted[order[i]].ID
				status, err := d.store.Inspect().Job(ctx, d.queue.Name, id)
				if err != nil {
					return fmt.Errorf("ask for the result of %s: %w", id, err)
				}
				hash := ""
				if json.Unmarshal(status.Result, &hash) != nil {
					hash = string(status.Result) // no string is no hash: the audit says so
				}
				mu.Lock()
				e.Results[id] = hash
				mu.Unlock()
			}
			return nil
		})
	}
	return group.Wait()
}

// judge audits the evidence and sums up.
func (d *run) judge(e Evidence, m moves, began time.Time) Result {
	f := Audit(e)
	pauses := Pauses(m.flips, e.Runs, d.killed, func(id string) (int, time.Time, bool) {
		parsed, err := job.ParseID(id)
		return parsed.Partition, parsed.Entry.Time(), err == nil
	})
	keys := map[string]bool{}
	for _, s := range e.Submitted {
		keys[s.Key] = true
	}
	return Result{
		Jobs: len(e.Submitted), Keys: len(keys), Completed: f.Completed, Lost: f.Lost, CompletedTwice: f.CompletedTwice,
		OutOfOrder: f.OutOfOrder, HashMismatches: f.HashMismatches, HandlerReruns: f.Reruns,
		WorkersStarted: d.crew.count(WorkerCommand), WorkersKilled: len(d.killed), DispatchersKilled: d.dispatchersKilled,
		Resizes: m.resizes, MovedPartitions: len(m.flips),
		ResizePauseP99: round(percentile(pauses, 0.99).Seconds(), 4), Duration: round(time.Since(began).Seconds(), 1),
		Store: d.storeName, Seed: d.opts.Seed, Asked: len(e.Results),
		Good: f.Good() && f.Completed == d.opts.Jobs, Examples: f.Examples,
	}
}

func round(f float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(f*scale) / scale
}

// Text is the result for people.
func (r Result) Text() string {
	var b strings.Builder
	row := func(name string, value any, note string) {
		line := fmt.Sprintf("  %-22s %10v  %s", name, value, note)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	row("jobs", r.Jobs, fmt.Sprintf("with %d keys, in seeded order (--seed %d)", r.Keys, r.Seed))
	row("completed", r.Completed, "")
	row("lost", r.Lost, "submitted, and no end recorded")
	row("completed twice", r.CompletedTwice, "commits beyond the first")
	row("out of order", r.OutOfOrder, "within a key")
	row("hash mismatches", r.HashMismatches, fmt.Sprintf("in what the handlers computed and in %d stored results", r.Asked))
	row("handler re-runs", r.HandlerReruns, "handlers started again, after the kill")
	row("workers", r.WorkersStarted, fmt.Sprintf("started, %d killed; dispatchers killed: %d", r.WorkersKilled, r.DispatchersKilled))
	row("resizes", r.Resizes, fmt.Sprintf("moved %d partitions", r.MovedPartitions))
	row("resize pause (p99)", fmt.Sprintf("%.1f ms", r.ResizePauseP99*1000), "first job at the new owner, since the move")
	row("duration", fmt.Sprintf("%.1f s", r.Duration), "store: "+r.Store)
	if r.Good {
		b.WriteString("Every job completed once, in the order of its key, with the right result.\n")
		return b.String()
	}
	b.WriteString("SOMETHING IS WRONG:\n")
	for _, example := range r.Examples {
		b.WriteString("  " + example + "\n")
	}
	return b.String()
}

// describeStore names the server and its version.
func describeStore(ctx context.Context, store *streams.Store, server configs.Common) string {
	if store.Embedded() {
		return "embedded, in memory"
	}
	e, err := server.Endpoint()
	if err != nil || e.Mode != "standalone" {
		return "redis"
	}
	ro := &redis.Options{Addr: e.Addrs[0], Username: e.Username, Password: string(e.Password), DB: e.DB}
	if e.TLS {
		ro.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	client := redis.NewClient(ro)
	defer func() { _ = client.Close() }()
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return "redis"
	}
	lines := bufio.NewScanner(strings.NewReader(info))
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), "redis_version:"); ok {
			return "redis " + strings.TrimSpace(v)
		}
	}
	return "redis"
}
