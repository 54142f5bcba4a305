package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"ringmaster/configs"
	"ringmaster/internal/handlers"
	"ringmaster/internal/service"
	"ringmaster/job"
	"ringmaster/streams"
)

const (
	queueName = "bench"
	jobType   = "work"

	// settlePoll is how often the records are read: a look at many partitions costs the
	// server a part of a millisecond.
	settlePoll = 10 * time.Millisecond
)

// ringOf is a queue with a leader and workers, all in this process, so that its CPU time
// is that of all parts.
type ringOf struct {
	spec  ringSpec
	store *streams.Store
	queue streams.Queue
	ring  *streams.Ring   // to look at
	ended context.Context // since a part has failed
	stop  context.CancelCauseFunc
	now   chan struct{} // closed: the workers stop at once
	all   sync.WaitGroup
}

// ringSpec says how a ring is set up.
type ringSpec struct {
	url         string
	partitions  int
	shards      int    // 0: one
	redisMode   string // empty: one server
	workers     int    // to begin with
	concurrency int    // of each
	mode        string
	durability  job.Durability
	handler     handlers.Func
	log         *slog.Logger // of the workers
}

func (s ringSpec) common() configs.Common {
	c := configs.DefaultCommon()
	c.Redis, c.Durability = s.url, s.durability
	if s.redisMode != "" {
		c.RedisMode = s.redisMode
	}
	return c
}

// openRing makes the queue, with nobody at it.
func openRing(ctx context.Context, spec ringSpec) (*ringOf, error) {
	s, err := service.Open(spec.common(), "ringmaster-bench")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	r := &ringOf{spec: spec, store: s, now: make(chan struct{})}
	r.ended, r.stop = context.WithCancelCause(ctx)
	if r.queue, err = s.CreateQueue(ctx, streams.Queue{Name: queueName, Partitions: spec.partitions, Shards: max(1, spec.shards)}); err != nil {
		r.close()
		return nil, fmt.Errorf("bench: %w", err)
	}
	r.ring = s.NewRing(r.queue, "")
	return r, nil
}

// startRing returns when the workers own all partitions.
func startRing(ctx context.Context, spec ringSpec) (*ringOf, error) {
	r, err := openRing(ctx, spec)
	if err != nil {
		return nil, err
	}
	for i := range spec.workers {
		r.join(fmt.Sprintf("worker-%d", i+1))
	}
	r.lead()
	if err := r.settled(ctx, spec.workers); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// lead starts a leader.
func (r *ringOf) lead() {
	d := configs.DefaultDispatcher()
	d.Common = r.spec.common()
	if r.spec.mode != "" {
		d.Mode = r.spec.mode
	}
	r.all.Go(func() { r.stop(service.Lead(r.ended, d, service.Options{})) })
}

// join starts a worker; leave takes it out and returns when it has left.
func (r *ringOf) join(name string) (leave func()) {
	w := configs.DefaultWorker()
	w.Common = r.spec.common()
	w.Queues, w.Name, w.Concurrency = []string{queueName}, name, r.spec.concurrency
	ctx, cancel := context.WithCancel(r.ended)
	gone := make(chan struct{})
	r.all.Go(func() {
		defer close(gone)
		defer cancel()
		o := service.Options{Handlers: map[string]handlers.Func{jobType: r.spec.handler}, Log: r.spec.log, Second: r.now}
		if err := service.RunWorker(ctx, w, o); err != nil {
			r.stop(err)
		}
	})
	return func() { cancel(); <-gone }
}

// untilPatience is how long a server may be too busy to answer.
const untilPatience = 5 * time.Second

// until asks again and again for a fact.
func (r *ringOf) until(what string, every time.Duration, fact func() (bool, error)) error {
	poll := time.NewTicker(every)
	defer poll.Stop()
	answered := time.Now()
	for {
		ok, err := fact()
		if err == nil {
			answered = time.Now()
		}
		if err != nil && time.Since(answered) > untilPatience {
			return fmt.Errorf("bench: wait until %s: %w", what, err)
		}
		if ok && err == nil {
			return nil
		}
		select {
		case <-poll.C:
		case <-r.ended.Done():
			return fmt.Errorf("bench: wait until %s: %w", what, context.Cause(r.ended))
		}
	}
}

// settled waits until so many members share all partitions, and nothing is on its way.
func (r *ringOf) settled(ctx context.Context, members int) error {
	what := fmt.Sprintf("%d workers own all partitions", members)
	return r.until(what, settlePoll, func() (bool, error) {
		rec, err := r.ring.Look(ctx)
		return err == nil && rec.Phase == 0 && shared(rec, members), err
	})
}

// shared reports whether so many members own all partitions, each its share.
func shared(rec streams.Records, members int) bool {
	if len(rec.Members) != members {
		return false
	}
	owns := map[string]int{}
	for _, o := range rec.Owners {
		owns[o.Incarnation]++
	}
	for _, m := range rec.Members {
		if m.State != "up" || owns[m.Incarnation] < len(rec.Owners)/members {
			return false
		}
		delete(owns, m.Incarnation)
	}
	return len(owns) == 0
}

// drained waits until the end of all that was started has been answered.
func (r *ringOf) drained(ctx context.Context) error {
	return r.until("all jobs have ended", time.Millisecond, func() (bool, error) {
		n, err := r.pending(ctx)
		return n == 0, err
	})
}

// pending is how many jobs workers hold.
func (r *ringOf) pending(ctx context.Context) (int, error) {
	v, err := r.store.Inspect().RingView(ctx, queueName)
	n := 0
	for _, p := range v.Partitions {
		n += p.Pending
	}
	return n, err
}

// close ends the ring's parts, waits for them, and removes the queue.
func (r *ringOf) close() {
	close(r.now)
	r.stop(nil)
	r.all.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ended), 10*time.Second)
	defer cancel()
	_ = r.store.DeleteQueue(ctx, queueName) // of the user's server; ours goes with it
	_ = r.store.Close()
}

// noop counts, and does nothing else.
func noop(open *quota) handlers.Func {
	return func(context.Context, job.Delivery) (json.RawMessage, error) {
		open.give(1)
		return nil, nil
	}
}
