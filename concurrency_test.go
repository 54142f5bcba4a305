package ringmaster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringmaster"
	"ringmaster/internal/redistest"
)

// limited is a queue of one partition on a store in memory, with a dispatcher.
func limited(t *testing.T) (context.Context, *ringmaster.Client, *ringmaster.Queue) {
	t.Helper()
	store := redistest.Mini(t)
	client, err := ringmaster.NewClient(ringmaster.Config{URL: store.URL()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	var services sync.WaitGroup
	services.Go(func() { _ = ringmaster.Dispatch(ctx, client.URL(), nil) })
	t.Cleanup(func() {
		stop()
		services.Wait()
		_ = client.Close()
	})
	q, err := client.CreateQueue(ctx, "q", ringmaster.QueueConfig{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	return ctx, client, q
}

// gauge counts what is at work.
type gauge struct{ now, most, all atomic.Int64 }

func (g *gauge) begin() {
	g.all.Add(1)
	n := g.now.Add(1)
	for most := g.most.Load(); n > most && !g.most.CompareAndSwap(most, n); most = g.most.Load() {
	}
}

func (g *gauge) end() { g.now.Add(-1) }

// takes is a handler that takes so long, or as long as its context.
func takes(g *gauge, d time.Duration) func(context.Context, ringmaster.Job[int]) error {
	return func(ctx context.Context, _ ringmaster.Job[int]) error {
		g.begin()
		defer g.end()
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// 1,000 jobs of a type of which one may run at a time, 50 s of work in one partition, do not keep a
// job of another type and key waiting that comes after them. A key's own order holds.
func TestJobsOfALimitedTypeStopNoOthers(t *testing.T) {
	for name, key := range map[string]func(i int) string{
		"no keys":  func(int) string { return "" },
		"own keys": func(i int) string { return fmt.Sprint("k", i) },
		"20 keys":  func(i int) string { return fmt.Sprint("k", i%20) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, client, q := limited(t)
			w := newWorker(t, ringmaster.Config{URL: client.URL()}, ringmaster.WorkerConfig{Queues: []string{"q"}})
			var slow, quick gauge
			ringmaster.Handle(w, "slow", takes(&slow, 50*time.Millisecond), ringmaster.Concurrency(1))
			ringmaster.Handle(w, "quick", takes(&quick, 0))
			var jobs []ringmaster.Submission
			for i := range 1000 {
				jobs = append(jobs, ringmaster.Submission{Type: "slow", Payload: i, Key: key(i)})
			}
			for _, r := range q.SubmitAll(ctx, jobs...) {
				if r.Err != nil {
					t.Fatal(r.Err)
				}
			}
			behind, err := q.Submit(ctx, "quick", 0, ringmaster.Key("k999"))
			if err != nil {
				t.Fatal(err)
			}
			run(ctx, t, w)
			for i := range 10 {
				before, began := slow.all.Load(), time.Now()
				if _, err := q.Call(ctx, "quick", i, nil, ringmaster.Key("other")); err != nil {
					t.Fatal(err)
				}
				ran := slow.all.Load() - before
				t.Logf("call %d: %v, while %d of the limited type ran", i, time.Since(began).Round(time.Millisecond), ran)
				if ran > 100 {
					t.Errorf("call %d waited while %d of the limited type ran", i, ran)
				}
			}
			if n := slow.most.Load(); n != 1 {
				t.Errorf("%d of the limited type ran at a time", n)
			}
			if st, err := q.Job(ctx, behind.ID); name == "own keys" && (err != nil || st.State == ringmaster.Completed) {
				t.Errorf("a job behind one of its key that waits: %s, %v", st.State, err)
			}
		})
	}
}

// What is wrong with the option is told by Run; more than the worker's concurrency is no limit.
func TestConcurrencyOfAType(t *testing.T) {
	ctx, client, q := limited(t)
	none := newWorker(t, ringmaster.Config{URL: client.URL()}, ringmaster.WorkerConfig{Queues: []string{"q"}})
	ringmaster.Handle(none, "none", takes(&gauge{}, 0), ringmaster.Concurrency(0))
	if err := none.Run(ctx); !errors.Is(err, ringmaster.ErrInvalid) {
		t.Errorf("Concurrency(0): %v", err)
	}
	w := newWorker(t, ringmaster.Config{URL: client.URL()}, ringmaster.WorkerConfig{Queues: []string{"q"}, Concurrency: 3})
	many, two := &gauge{}, &gauge{}
	ringmaster.Handle(w, "many", takes(many, 20*time.Millisecond), ringmaster.Concurrency(100))
	ringmaster.Handle(w, "two", takes(two, 20*time.Millisecond), ringmaster.Concurrency(2))
	run(ctx, t, w)
	var calls sync.WaitGroup
	for i := range 24 {
		calls.Go(func() {
			if _, err := q.Call(ctx, []string{"many", "two"}[i%2], i, nil); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if many.most.Load() > 3 || two.most.Load() > 2 {
		t.Errorf("at a time: %d of 3, %d of 2", many.most.Load(), two.most.Load())
	}
}
