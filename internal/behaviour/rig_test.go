package behaviour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ringmaster/consumergroup"
	"ringmaster/internal/leading"
	"ringmaster/internal/service"
	"ringmaster/job"
	"ringmaster/recovery"
	"ringmaster/resize/runner"
	"ringmaster/streams"
)

// rig is a queue with a leader and workers in this process, all with short times.
type rig struct {
	t     *testing.T
	ctx   context.Context
	url   string
	store *streams.Store
	queue streams.Queue
	raw   redis.UniversalClient // straight to the server
	opts  streams.Options       // of every store but those with a URL of their own
	out   *streams.Producer
	log   *slog.Logger
}

func newRig(t *testing.T, url string, q streams.Queue) *rig {
	t.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	opts.Protocol, opts.MaxRetries = 2, -1
	return newRigOn(t, streams.Options{URL: url}, redis.NewClient(opts), q)
}

func newRigOn(t *testing.T, o streams.Options, raw redis.UniversalClient, q streams.Queue) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	if q.Name == "" {
		q.Name = "q"
	}
	o.Timeout = 2 * time.Second
	r := &rig{t: t, ctx: ctx, url: o.URL, opts: o, log: testLog(t), raw: raw}
	t.Cleanup(func() { _ = r.raw.Close() })
	r.store = r.open("")
	var err error
	if r.queue, err = r.store.CreateQueue(ctx, q); err != nil {
		t.Fatal(err)
	}
	r.out = r.store.NewProducer(r.queue)
	t.Cleanup(r.out.Close)
	return r
}

func (r *rig) open(url string) *streams.Store {
	r.t.Helper()
	o := r.opts
	if url != "" {
		o.URL = url
	}
	s, err := streams.Open(o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = s.Close() })
	return s
}

// lead runs a leader until the test ends, or stop is called.
func (r *rig) lead() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	cfg := runner.Default()
	cfg.Protocol.Quiet, cfg.Protocol.QuietMax = 20, 100
	l := &leading.Leaders{Store: r.store, Dispatcher: "d-" + uuid.NewString()[:8], Rules: cfg, LeaseTTL: 2 * time.Second, Log: r.log.With("who", "leader")}
	var wg sync.WaitGroup
	wg.Go(func() { l.Run(ctx) })
	stop = sync.OnceFunc(func() {
		cancel()
		r.raw.XAdd(context.Background(), &redisAdd{Stream: r.key("control"), NoMkStream: true, Values: []any{"type", "wake"}}) // its blocked read
		wg.Wait()
	})
	r.t.Cleanup(stop)
	return stop
}

// led waits until somebody leads.
func (r *rig) led() {
	r.t.Helper()
	r.until("a leader", func() bool {
		v, err := r.store.Inspect().RingView(r.ctx, r.queue.Name)
		return err == nil && v.Leader != ""
	})
}

// proc is a worker that stands for a process.
type proc struct {
	r     *rig
	name  string
	stop  func() // asks for a graceful end
	kill  func() // ends it at once
	ended chan struct{}
	err   error // once ended
	ready chan string
}

// spec says what a worker is made of; zero fields have defaults.
type spec struct {
	name   string
	url    string // "": the rig's
	tune   func(*consumergroup.Config)
	policy service.Policy
	h      map[string]consumergroup.Handler
	t      consumergroup.Handler // of type "t"
	most   int                   // of type "t" at a time; 0: it has no limit
	newID  func() string
	count  func(consumergroup.Store) consumergroup.Store // nil: the store as it is
}

func (r *rig) start(s spec) *proc {
	r.t.Helper()
	c := consumergroup.Default()
	c.Queue, c.Name, c.Host = r.queue.Name, s.name, "host"
	c.Concurrency, c.HandlerTimeout = 8, 20*time.Second
	c.Heartbeat, c.LeaseTTL, c.Block = 100*time.Millisecond, 2*time.Second, 500*time.Millisecond
	c.DrainTimeout, c.Grace = 5*time.Second, 500*time.Millisecond
	if s.tune != nil {
		s.tune(&c)
	}
	if s.policy.Backoff.Base == 0 {
		s.policy.Backoff = recovery.Backoff{Base: time.Millisecond, Max: 5 * time.Millisecond}
	}
	if s.h == nil {
		s.h = map[string]consumergroup.Handler{}
	}
	if s.t != nil {
		s.h["t"] = s.t
	}
	if s.newID == nil {
		s.newID = uuid.NewString
	}
	store := r.store
	if s.url != "" {
		store = r.open(s.url)
	}
	group := service.GroupStore(store, r.queue)
	if s.count != nil {
		group = s.count(group)
	}
	most := map[string]int{}
	if s.most > 0 {
		most["t"] = s.most
	}
	p := &proc{r: r, name: s.name, ended: make(chan struct{}), ready: make(chan string, 100)}
	w, err := consumergroup.New(c, consumergroup.Deps{Store: group, Policy: s.policy, Handlers: s.h, Concurrency: most,
		Log: r.log.With("who", s.name), NewID: s.newID, Ready: func(inc string) { p.ready <- inc }})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := make(chan struct{})
	p.stop = sync.OnceFunc(func() { close(stop) })
	p.kill = func() { cancel(errKilled) }
	go func() { // ends with the worker; the cleanup waits for it
		defer close(p.ended)
		p.err = w.Run(ctx, stop)
	}()
	r.t.Cleanup(func() { p.kill(); <-p.ended })
	return p
}

var errKilled = errors.New("killed by the test")

// wait is for the end of the worker.
func (p *proc) wait() error {
	p.r.t.Helper()
	receive(p.r, p.ended, "the end of worker "+p.name)
	return p.err
}

// receive waits for a value of a channel.
func receive[T any](r *rig, ch <-chan T, what string) T {
	r.t.Helper()
	select {
	case v := <-ch:
		return v
	case <-r.ctx.Done():
		r.t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// until waits for a fact.
func (r *rig) until(what string, fact func() bool) {
	r.t.Helper()
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for !fact() {
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			r.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// send enqueues jobs of type t, numbered from 0 in order, all of one key ("" for none).
func (r *rig) send(key string, n int) []string {
	r.t.Helper()
	return r.sendFrom(key, 0, n)
}

func (r *rig) sendFrom(key string, from, n int) []string {
	r.t.Helper()
	jobs := make([]job.Job, n)
	for i := range jobs {
		jobs[i] = job.Job{Type: "t", Key: key, Payload: json.RawMessage(fmt.Sprintf(`{"N":%d}`, from+i))}
	}
	return r.sendJobs(jobs...)
}

func (r *rig) sendJobs(jobs ...job.Job) []string {
	r.t.Helper()
	receipts, errs := r.out.Enqueue(r.ctx, jobs...)
	if errs != nil {
		r.t.Fatal(errs)
	}
	ids := make([]string, len(jobs))
	for i := range receipts {
		ids[i] = receipts[i].ID
	}
	return ids
}

func (r *rig) key(name string) string { return "rm:{" + r.queue.Name + "}:" + name }

// owners are the incarnations by partition.
func (r *rig) owners() map[string]string {
	m, err := r.raw.HGetAll(r.ctx, r.key("owner")).Result()
	if err != nil {
		return nil
	}
	for p, v := range m {
		var inc, epoch string
		_, _ = fmt.Sscan(v, &inc, &epoch)
		m[p] = inc
	}
	return m
}

// settled waits until every partition is owned by one of the workers, each has some,
// and nothing moves.
func (r *rig) settled(names ...string) {
	r.t.Helper()
	r.until(fmt.Sprintf("all partitions at %v", names), func() bool {
		has := map[string]bool{}
		owners := r.owners()
		for _, inc := range owners {
			found := false
			for _, n := range names {
				if len(inc) > len(n) && inc[:len(n)+1] == n+"." {
					has[n], found = true, true
				}
			}
			if !found {
				return false
			}
		}
		return len(owners) == r.queue.Partitions && (len(has) == len(names)) && r.raw.SCard(r.ctx, r.key("moves")).Val() == 0
	})
}

func (r *rig) dead() []job.DeadLetter {
	r.t.Helper()
	letters, err := r.store.Inspect().DeadLetters(r.ctx, r.queue.Name, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return letters
}

// keysOf finds n keys of one partition.
func (r *rig) keysOf(partition, n int) []string {
	var out []string
	for i := 0; len(out) < n; i++ {
		if k := fmt.Sprintf("key%d", i); job.PartitionOf(k, r.queue.Partitions) == partition {
			out = append(out, k)
		}
	}
	return out
}

type (
	redisPending = redis.XPendingExtArgs
	redisAdd     = redis.XAddArgs
)

func itoa(n int) string { return strconv.Itoa(n) }
