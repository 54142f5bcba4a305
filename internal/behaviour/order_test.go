package behaviour

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"ringmaster/configs"
	"ringmaster/internal/handlers"
	"ringmaster/internal/leading"
	"ringmaster/internal/redistest"
	"ringmaster/internal/service"
	"ringmaster/job"
	"ringmaster/resize/runner"
	"ringmaster/streams"
)

// record is what handlers saw, in order.
type record struct {
	mu     sync.Mutex
	starts map[string][]int // key -> n of each completed handler call
	total  int
}

type payload struct{ N int }

func (r *record) handler(delay time.Duration) handlers.Func {
	return func(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
		var p payload
		if err := json.Unmarshal(d.Payload, &p); err != nil {
			return nil, err
		}
		if delay > 0 {
			select {
			case <-time.After(delay):
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.starts[d.Key] = append(r.starts[d.Key], p.N)
		r.total++
		return nil, nil
	}
}

type cluster struct {
	t     *testing.T
	url   string
	store *streams.Store
	queue streams.Queue
	ctx   context.Context
}

func newCluster(t *testing.T, url string, q streams.Queue) *cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	s, err := streams.Open(streams.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	made, err := s.CreateQueue(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{t: t, url: url, store: s, queue: made, ctx: ctx}
}

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// dispatcher runs a leader until stop is called.
func (c *cluster) dispatcher(name string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &leading.Leaders{Store: c.store, Dispatcher: name, Rules: runner.Default(), LeaseTTL: 3 * time.Second, Log: testLog(c.t)}
	var wg sync.WaitGroup
	wg.Go(func() { l.Run(ctx) })
	return func() { cancel(); wg.Wait() }
}

// worker runs one until stop is called, gracefully.
func (c *cluster) worker(name string, hs map[string]handlers.Func) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	cfg := configs.DefaultWorker()
	cfg.Redis, cfg.Queues, cfg.Name = c.url, []string{c.queue.Name}, name
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := service.RunWorker(ctx, cfg, service.Options{Log: testLog(c.t), Handlers: hs}); err != nil {
			c.t.Errorf("worker %s: %v", name, err)
		}
	})
	return func() { cancel(); wg.Wait() }
}

func TestJobsRunOnceAndInKeyOrderWhileTheRingChanges(t *testing.T) {
	redistest.Each(t, func(t *testing.T, url, _ string) {
		testKeyOrder(t, url, streams.Queue{Name: "q", Partitions: 16})
	})
}

// A queue whose partitions are in several hash slots works the same.
func TestShardedQueue(t *testing.T) {
	testKeyOrder(t, redistest.Real(t).URL(), streams.Queue{Name: "q", Partitions: 18, Shards: 3})
}

func testKeyOrder(t *testing.T, url string, q streams.Queue) {
	t.Helper()
	c := newCluster(t, url, q)
	rec := &record{starts: map[string][]int{}}
	hs := map[string]handlers.Func{"t": rec.handler(time.Millisecond)}
	defer c.dispatcher("d1")()
	stop1 := c.worker("w1", hs)
	defer c.worker("w2", hs)()
	const keys, per = 50, 40
	var stop3 func()
	p := c.store.NewProducer(c.queue)
	defer p.Close()
	for n := range per {
		var jobs []job.Job
		for k := range keys {
			raw, _ := json.Marshal(payload{n})
			jobs = append(jobs, job.Job{Type: "t", Key: fmt.Sprintf("k%d", k), Payload: raw})
		}
		rand.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
		if _, errs := p.Enqueue(c.ctx, jobs...); errs != nil {
			t.Fatal(errs)
		}
		switch n {
		case per / 3:
			stop3 = c.worker("w3", hs)
		case 2 * per / 3:
			stop1()
		}
	}
	defer stop3()
	for {
		rec.mu.Lock()
		total := rec.total
		rec.mu.Unlock()
		if total >= keys*per {
			break
		}
		select {
		case <-c.ctx.Done():
			t.Fatalf("%d of %d jobs ran", total, keys*per)
		case <-time.After(20 * time.Millisecond):
		}
	}
	for k, ns := range rec.starts {
		for i, n := range ns {
			if n != i {
				t.Fatalf("key %s ran as %v", k, ns)
			}
		}
	}
}
