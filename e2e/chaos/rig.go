package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ringmaster/internal/ledger"
	"ringmaster/internal/pause"
	"ringmaster/internal/redisproc"
	"ringmaster/job"
	"ringmaster/streams"
)

// Times of the processes' own settings, which rows reckon with.
const (
	leaseTTL    = 3 * time.Second // of a worker
	leaderLease = 2 * time.Second
	queueName   = "q"
)

// Rig is one queue with its server, its processes and their ledgers. Rows use it one
// after the other. Its methods are for one goroutine, except those of the counters.
type Rig struct {
	Spec   RingSpec
	Dir    string
	Server Server
	Store  *streams.Store
	Queue  streams.Queue
	Rand   *rand.Rand
	Seed   uint64

	run    *Run
	url    string // of the server, for this process
	names  int
	procs  []*Proc
	book   *book // of what this process itself hands in
	feed   *streams.Producer
	audit  *auditor
	sink   *ledger.Sink // what the handlers of all workers write to
	flow   meter
	leader string // at the last quiet moment
	tasks  int    // jobs this process made
}

// newRig starts the server, the processes and the load, and waits until the ring is
// settled and jobs flow.
func newRig(ctx context.Context, run *Run, spec RingSpec, seed uint64) (*Rig, error) {
	spec = spec.filled(run)
	run.rings++
	r := &Rig{Spec: spec, Seed: seed, run: run, Rand: rand.New(rand.NewPCG(seed, uint64(run.rings)))}
	r.Dir = filepath.Join(run.dir, fmt.Sprintf("ring%d-%s", run.rings, spec.Name))
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make ring: %w", err)
	}
	var err error
	if r.Server, err = spec.Server(ctx, r.Dir); err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	if err := r.open(ctx); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (r *Rig) open(ctx context.Context) error {
	r.url = r.Server.URL()
	o := streams.Options{URL: r.url, ClientName: "chaos"}
	if c, ok := r.Server.(*redisproc.Cluster); ok {
		o.URL, o.Addrs, o.Mode = "", c.Addrs(), "cluster"
	}
	var err error
	if r.Store, err = streams.Open(o); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	if r.Queue, err = r.Store.CreateQueue(ctx, streams.Queue{Name: queueName, Partitions: r.Spec.Partitions, Shards: max(r.Spec.Shards, 1), Journal: true}); err != nil {
		return fmt.Errorf("create queue: %w", err)
	}
	r.feed = r.Store.NewProducer(r.Queue)
	if r.book, err = openBook(r.role(producer, "runner")); err != nil {
		return err
	}
	if r.sink, err = newSink(r); err != nil {
		return err
	}
	r.audit = newAuditor(r)
	if err := r.Restore(ctx); err != nil {
		return err
	}
	return r.Until(ctx, "jobs flow", 20*time.Second, func() bool { return r.accepted() > int64(r.Spec.Rate/4) })
}

func (s RingSpec) filled(run *Run) RingSpec {
	set := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	set(&s.Workers, 4)
	set(&s.Dispatchers, 2)
	set(&s.Partitions, 32)
	set(&s.Rate, run.rate)
	if s.Mode == "" {
		s.Mode = "key"
	}
	if s.Name == "" {
		s.Name = "plain"
	}
	if s.Server == nil {
		s.Server = plainServer
	}
	return s
}

// Close ends everything that belongs to the ring.
func (r *Rig) Close() {
	for _, p := range r.procs {
		p.end()
	}
	if r.feed != nil {
		r.feed.Close()
	}
	if r.audit != nil {
		r.audit.close()
	}
	if r.sink != nil {
		r.sink.Close()
	}
	if r.book != nil {
		r.book.close()
	}
	if r.Store != nil {
		_ = r.Store.Close()
	}
	if r.Server != nil {
		r.Server.Close()
	}
}

func (r *Rig) role(kind, name string) Role {
	if name == "" {
		r.names++
		name = fmt.Sprintf("%c%d", kind[0], r.names)
	}
	at := func(suffix string) string { return filepath.Join(r.Dir, name+suffix) }
	url := r.url
	if b, ok := r.Server.(interface{ ProcessURL() string }); ok {
		url = b.ProcessURL()
	}
	role := Role{Kind: kind, Name: name, URL: url, Queue: queueName, Dir: r.Dir, Ledger: at(".ledger"), Points: at(".points"),
		Stat: at(".stat"), Log: at(".log"), Plans: r.Spec.Mode, Keys: 120, Seed: r.Seed + uint64(r.names), Rate: r.Spec.Rate / 2}
	if r.Spec.Role != nil {
		r.Spec.Role(&role)
	}
	return role
}

// Start starts a process of a kind: worker, dispatcher or producer. change may adapt its
// role; prefix is put before its command.
func (r *Rig) Start(kind string, change func(*Role), prefix ...string) (*Proc, error) {
	role := r.role(kind, "")
	if change != nil {
		change(&role)
	}
	p, err := launch(role, prefix...)
	if err != nil {
		return nil, err
	}
	r.procs = append(r.procs, p)
	return p, nil
}

// Live are the processes of a kind that have not ended, oldest first.
func (r *Rig) Live(kind string) []*Proc {
	var out []*Proc
	for _, p := range r.procs {
		if p.Kind == kind && p.Alive() {
			out = append(out, p)
		}
	}
	return out
}

// Worker is any live worker that owns partitions; without is left out.
func (r *Rig) Worker(ctx context.Context, without ...*Proc) (*Proc, error) {
	var found *Proc
	err := r.Until(ctx, "a worker with partitions", 15*time.Second, func() bool {
		owners := map[string]bool{}
		for _, p := range r.View(ctx).Partitions {
			name, _, _ := strings.Cut(p.Owner, ".")
			owners[name] = true
		}
		var fit []*Proc
		for _, p := range r.Live(worker) {
			if owners[p.Name] && !slices.Contains(without, p) {
				fit = append(fit, p)
			}
		}
		if len(fit) > 0 {
			found = fit[r.Rand.IntN(len(fit))]
		}
		return found != nil
	})
	return found, err
}

// Leader is the live dispatcher that leads the ring.
func (r *Rig) Leader(ctx context.Context) (*Proc, error) {
	var found *Proc
	err := r.Until(ctx, "a living leader", 15*time.Second, func() bool {
		id := r.View(ctx).Leader
		for _, p := range r.Live(dispatcher) {
			if strings.Contains(id, fmt.Sprintf("-%d.", p.PID)) {
				found = p
			}
		}
		return found != nil
	})
	return found, err
}

// View is the ring as it is; the zero value while the server does not answer.
func (r *Rig) View(ctx context.Context) job.RingView {
	call, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	v, err := r.Store.Inspect().RingView(call, queueName)
	if err != nil {
		return job.RingView{}
	}
	return v
}

// Until waits for a fact.
func (r *Rig) Until(ctx context.Context, what string, limit time.Duration, fact func() bool) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !fact() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			return fmt.Errorf("waited %v for: %s", limit, what)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
		}
	}
	return nil
}

// Settled waits until the ring is at rest with exactly the live workers as members, all
// of them with partitions and all partitions with them.
func (r *Rig) Settled(ctx context.Context, limit time.Duration) error {
	last := ""
	err := r.Until(ctx, "the ring is settled", limit, func() bool {
		ok, why := r.settled(r.View(ctx))
		last = why
		return ok
	})
	if err != nil {
		return fmt.Errorf("%w (%s)", err, last)
	}
	return nil
}

func (r *Rig) settled(v job.RingView) (bool, string) {
	live := r.Live(worker)
	if v.Phase != 0 || v.Epoch == 0 || len(v.Members) != len(live) {
		return false, fmt.Sprintf("phase %d, epoch %d, %d members of %d", v.Phase, v.Epoch, len(v.Members), len(live))
	}
	owned := map[string]int{}
	for _, p := range v.Partitions {
		owned[p.Owner]++
	}
	for _, m := range v.Members {
		if owned[m.Incarnation] == 0 && len(v.Partitions) >= len(live) {
			return false, m.Incarnation + " owns nothing"
		}
		delete(owned, m.Incarnation)
	}
	return len(owned) == 0, fmt.Sprintf("%d owners are no members", len(owned))
}

// Owned waits until every partition is owned by a live worker.
func (r *Rig) Owned(ctx context.Context, limit time.Duration) error {
	return r.Until(ctx, "every partition is owned by a live worker", limit, func() bool {
		v := r.View(ctx)
		if len(v.Partitions) == 0 {
			return false
		}
		live := map[string]bool{}
		for _, p := range r.Live(worker) {
			live[p.Name] = true
		}
		for _, m := range v.Members {
			if !live[m.Name] {
				return false
			}
			live[m.Incarnation] = true
		}
		return !slices.ContainsFunc(v.Partitions, func(p job.PartitionView) bool { return !live[p.Owner] })
	})
}

// Pause lets a random time pass, so that a fault meets another moment each time.
func (r *Rig) Pause(ctx context.Context, most time.Duration) {
	r.Wait(ctx, time.Duration(r.Rand.Int64N(int64(most))))
}

// Wait lets time pass.
func (r *Rig) Wait(ctx context.Context, d time.Duration) { pause.For(ctx, d) }

// Metric records a time of recovery for the report.
func (r *Rig) Metric(name string, d time.Duration) { r.run.metric(name, d) }

// Logf writes to stderr, under the row's number.
func (r *Rig) Logf(format string, args ...any) { r.run.logf(format, args...) }
