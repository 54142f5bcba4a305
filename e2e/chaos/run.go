package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"ringmaster/internal/failpoint"
	"ringmaster/internal/ledger"
)

// Run is one call of this program: its settings and what it found.
type Run struct {
	tier   string
	seed   uint64
	repeat int
	per    int // rows that share a ring
	rate   int
	soak   time.Duration
	shape  string // of the soak, "": all in turn
	steady time.Duration
	limit  time.Duration // no row starts after it; 0: none
	dir    string
	keep   bool
	quiet  bool

	began  time.Time
	rings  int
	rounds int // of the soak

	mu        sync.Mutex
	kills     int
	jobs      int
	ledger    ledger.Report // of all rings
	resizes   int
	results   map[int]*result
	points    map[failpoint.Point]int
	anomalies []finding
	voids     []string
	losses    map[string]Losses // by row
	metrics   map[string][]time.Duration
	rss       map[string][]sample // by process
	grown     [2]int              // most goroutines and descriptors above base
	now       string              // what is being done, for messages
}

// mostTries is how often a row whose fault did not happen is tried.
const mostTries = 3

// result is what became of one row.
type result struct {
	row    Row
	hits   int
	tries  int
	missed int    // tries since it was hit; a row with losses has one on each ring
	last   string // why it was not hit
	took   time.Duration
}

type finding struct {
	Kind  string `json:"kind"`
	Where string `json:"where"`
	Text  string `json:"text"`
}

type sample struct {
	at   time.Time
	rss  int64
	kind string
}

func (u *Run) count(n *int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	*n++
}

func (u *Run) hit(p failpoint.Point) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.points[p]++
}

// lost counts what a row's failover or deletion took.
func (u *Run) lost(k reckoning) {
	u.mu.Lock()
	defer u.mu.Unlock()
	l := u.losses[u.now]
	l.Acknowledged += k.accepted
	l.RolledBack += len(k.forgotten)
	l.Lost += len(k.lost)
	l.RanAgain += k.rolledBack
	u.losses[u.now] = l
}

func (u *Run) metric(name string, d time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.metrics[name] = append(u.metrics[name], d)
}

func (u *Run) anomaly(kind, text string) {
	u.mu.Lock()
	u.anomalies = append(u.anomalies, finding{Kind: kind, Where: u.now, Text: text})
	u.mu.Unlock()
	u.logf("ANOMALY %s: %s", kind, text)
}

// failed notes that a ring could not go on, unless the run was interrupted.
func (u *Run) failed(ctx context.Context, kind string, err error) {
	if ctx.Err() == nil {
		u.anomaly(kind, err.Error())
	}
}

func (u *Run) void(format string, args ...any) {
	u.mu.Lock()
	u.voids = append(u.voids, fmt.Sprintf(format, args...))
	u.mu.Unlock()
	u.logf("VOID "+format, args...)
}

// memory notes a process's resident memory, to be told under the name of a kind.
func (u *Run) memory(p *Proc, kind string, s Stats) {
	u.mu.Lock()
	defer u.mu.Unlock()
	of := p.Log + kind
	u.rss[of] = append(u.rss[of], sample{time.Now(), s.RSS, kind})
}

func (u *Run) spread(goroutines, fds int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.grown[0], u.grown[1] = max(u.grown[0], goroutines), max(u.grown[1], fds)
}

func (u *Run) logf(format string, args ...any) {
	if !u.quiet {
		fmt.Fprintf(os.Stderr, "%7.1fs  %s: %s\n", time.Since(u.began).Seconds(), u.now, fmt.Sprintf(format, args...))
	}
}

// batch is some rows that share one ring.
type batch struct {
	spec RingSpec
	rows []Row
}

// batches puts the rows into an order made of the seed.
func (u *Run) batches(rows []Row) []batch {
	rnd := rand.New(rand.NewPCG(u.seed, 2))
	var out []batch
	for range u.repeat {
		groups := map[string][]Row{}
		var names []string
		for _, row := range rows {
			if row.Cannot != "" {
				continue
			}
			name := row.Ring.Name
			if row.Loss {
				name += fmt.Sprint(" alone ", row.Number)
			}
			if groups[name] == nil {
				names = append(names, name)
			}
			groups[name] = append(groups[name], row)
		}
		for _, name := range names {
			g := groups[name]
			rnd.Shuffle(len(g), func(i, j int) { g[i], g[j] = g[j], g[i] })
			for some := range slices.Chunk(g, u.per) {
				out = append(out, batch{some[0].Ring, some})
			}
		}
	}
	return out
}

// rows runs all batches. The rows of a batch that could not be finished on its ring go
// on with a new one.
func (u *Run) rows(ctx context.Context, rows []Row) {
	for _, row := range rows {
		u.results[row.Number] = &result{row: row}
	}
	for n, b := range u.batches(rows) {
		for left := b.rows; len(left) > 0 && ctx.Err() == nil && !u.late(left); {
			left = u.ring(ctx, b.spec, u.seed*1000+uint64(n), left)
		}
	}
	u.coverage()
}

// late reports whether no more rows are to start. Outside of the pr tier a row always has
// its first time.
func (u *Run) late(left []Row) bool {
	if u.limit == 0 || time.Since(u.began) < u.limit {
		return false
	}
	first := func(row Row) bool { return u.results[row.Number].tries == 0 }
	return u.tier == "pr" || !slices.ContainsFunc(left, first)
}

// ring runs rows on one ring and returns those that need another.
func (u *Run) ring(ctx context.Context, spec RingSpec, seed uint64, rows []Row) []Row {
	u.now = "ring " + spec.Name
	r, err := newRig(ctx, u, spec, seed)
	if err != nil {
		u.failed(ctx, "start", err)
		return rows[1:]
	}
	defer u.end(ctx, r)
	if err := r.Quiet(ctx); err != nil { // the base of goroutines and descriptors
		u.failed(ctx, "quiet", err)
		return rows[1:]
	}
	for i, row := range rows {
		if ctx.Err() != nil || u.late(rows[i:]) {
			return nil
		}
		if u.row(ctx, r, row) {
			continue
		}
		if m := u.results[row.Number].missed; row.Loss && m > 0 && m < mostTries {
			return rows[i:]
		}
		return rows[i+1:]
	}
	return nil
}

// row runs one row and reports whether the ring is fit for the next.
func (u *Run) row(ctx context.Context, r *Rig, row Row) bool {
	u.now = fmt.Sprintf("row %d", row.Number)
	before := len(u.anomalies)
	res := u.results[row.Number]
	for try := range mostTries {
		if err := r.Flow(ctx); err != nil {
			u.void("row %d: %v", row.Number, err)
			return false
		}
		began := time.Now()
		call, cancel := context.WithTimeout(ctx, 3*time.Minute)
		err := row.Run(call, r)
		cancel()
		res.tries++
		if err == nil {
			res.hits++
			res.missed = 0
		} else if errors.Is(err, ErrNotHit) {
			res.missed++
			res.last = err.Error()
			u.logf("try %d: %v", try+1, err)
		} else if ctx.Err() == nil {
			u.anomaly("expectation", fmt.Sprintf("%v; rerun: %s", err, u.again(row)))
		}
		if row.Loss {
			return false
		}
		if err := r.Restore(ctx); err != nil {
			u.failed(ctx, "stuck", err)
			return false
		}
		if err := r.Quiet(ctx); err != nil {
			u.failed(ctx, "quiet", err)
			return false
		}
		res.took += time.Since(began)
		if err == nil {
			u.logf("hit in %v: %s", time.Since(began).Round(10*time.Millisecond), row.Name)
		}
		if !errors.Is(err, ErrNotHit) {
			break
		}
	}
	return len(u.anomalies) == before
}

// again is the command that runs one row as it was run here.
func (u *Run) again(row Row) string {
	return fmt.Sprintf("go run -tags failpoints ./e2e/chaos -rows %d -seed %d", row.Number, u.seed)
}

// end counts what a ring did and ends it.
func (u *Run) end(ctx context.Context, r *Rig) {
	if err := r.audit.phases(ctx); err != nil {
		u.logf("the last resizes are not counted: %v", err) // a row may have ended the server
	}
	u.resizes += r.audit.resizes
	found := r.audit.checker.Report()
	u.jobs += found.Accepted
	u.ledger.Add(found)
	r.Close()
	if len(u.anomalies) == 0 && !u.keep {
		_ = os.RemoveAll(r.Dir) // only failed runs need their ledgers
	}
}
