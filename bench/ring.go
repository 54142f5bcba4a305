package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"ringmaster/configs"
	"ringmaster/internal/app"
	"ringmaster/internal/handlers"
	"ringmaster/job"
	"ringmaster/streams"
)

const (
	queueName = "bench"
	jobType   = "work"
)

// ringOf is a queue with a leader and one worker, all in this process, so that its CPU
// time is that of all parts.
type ringOf struct {
	store *streams.Store
	ended context.Context // since a part has ended
	stop  context.CancelCauseFunc
	all   sync.WaitGroup
}

// ringSpec says how a ring is set up.
type ringSpec struct {
	url         string
	partitions  int
	concurrency int
	durability  job.Durability
	handler     handlers.Func
}

// startRing returns when the worker owns all partitions.
func startRing(ctx context.Context, spec ringSpec) (*ringOf, error) {
	common := configs.DefaultCommon()
	common.Redis, common.Durability = spec.url, spec.durability
	s, err := app.Open(common, "ringmaster-bench")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	r := &ringOf{store: s}
	r.ended, r.stop = context.WithCancelCause(ctx)
	if _, err := s.CreateQueue(ctx, streams.Queue{Name: queueName, Partitions: spec.partitions}); err != nil {
		r.close()
		return nil, fmt.Errorf("bench: %w", err)
	}
	d, w := configs.DefaultDispatcher(), configs.DefaultWorker()
	d.Common, w.Common = common, common
	w.Queues, w.Concurrency = []string{queueName}, spec.concurrency
	r.all.Go(func() { r.stop(app.Lead(r.ended, d, app.Options{})) })
	r.all.Go(func() {
		r.stop(app.RunWorker(r.ended, w, app.Options{Handlers: map[string]handlers.Func{jobType: spec.handler}}))
	})
	if err := r.settled(ctx); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// until asks again and again for a fact.
func (r *ringOf) until(what string, every time.Duration, fact func() (bool, error)) error {
	poll := time.NewTicker(every)
	defer poll.Stop()
	for {
		ok, err := fact()
		if ok || err != nil {
			return err
		}
		select {
		case <-poll.C:
		case <-r.ended.Done():
			return fmt.Errorf("bench: wait until %s: %w", what, context.Cause(r.ended))
		}
	}
}

func (r *ringOf) settled(ctx context.Context) error {
	return r.until("the worker owns all partitions", 5*time.Millisecond, func() (bool, error) {
		v, err := r.store.RingView(ctx, queueName)
		if err != nil {
			return false, fmt.Errorf("bench: %w", err)
		}
		unowned := slices.ContainsFunc(v.Partitions, func(p job.PartitionView) bool { return p.Owner == "-" })
		return v.Phase == 0 && len(v.Members) > 0 && !unowned, nil
	})
}

// drained waits until the end of all that was started has been answered.
func (r *ringOf) drained(ctx context.Context) error {
	return r.until("all jobs have ended", time.Millisecond, func() (bool, error) {
		v, err := r.store.RingView(ctx, queueName)
		if err != nil {
			return false, fmt.Errorf("bench: %w", err)
		}
		return !slices.ContainsFunc(v.Partitions, func(p job.PartitionView) bool { return p.Pending > 0 }), nil
	})
}

// close ends the ring's parts and waits for them.
func (r *ringOf) close() {
	r.stop(nil)
	r.all.Wait()
	_ = r.store.Close()
}

// noop counts, and does nothing else.
func noop(open *quota) handlers.Func {
	return func(context.Context, job.Delivery) (json.RawMessage, error) {
		open.give(1)
		return nil, nil
	}
}
