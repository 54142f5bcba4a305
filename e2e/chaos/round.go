package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"ringmaster/job"
)

// Restore brings the ring back to its base: what is frozen goes on, what is missing is
// started, what is too much ends gracefully. It waits until the ring is settled.
func (r *Rig) Restore(ctx context.Context) error {
	if err := r.wake(); err != nil {
		return err
	}
	want := map[string]int{worker: r.Spec.Workers, dispatcher: r.Spec.Dispatchers, producer: 2}
	for _, kind := range []string{dispatcher, worker, producer} {
		live := r.Live(kind)
		for n := len(live); n < want[kind]; n++ {
			twice := func(role *Role) { role.Once = kind == producer && n == 1 }
			if _, err := r.Start(kind, twice); err != nil {
				return err
			}
		}
		for n := want[kind]; n < len(live); n++ {
			if err := r.Term(live[n]); err != nil {
				return err
			}
			if err := r.Ended(ctx, live[n], 40*time.Second); err != nil {
				return err
			}
		}
	}
	// A point that was armed may be hit by one who had looked before it was taken back.
	for end := time.Now().Add(40 * time.Second); ; {
		err := r.Settled(ctx, min(5*time.Second, time.Until(end)))
		if err == nil || ctx.Err() != nil || time.Now().After(end) {
			return err
		}
		if err := r.wake(); err != nil {
			return err
		}
	}
}

// wake lets every frozen process go on.
func (r *Rig) wake() error {
	for _, p := range r.procs {
		if p.Alive() && p.Frozen() {
			if err := r.Thaw(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// Quiet pauses the producers, waits until all that was accepted is done, and checks what
// the ledgers and the server say, and what the processes use. Then the load goes on.
func (r *Rig) Quiet(ctx context.Context) error {
	for _, p := range r.Live(producer) {
		p.Tell("pause")
	}
	err := r.Until(ctx, "producers are quiet", 60*time.Second, func() bool {
		for _, p := range r.Live(producer) {
			if !p.Stats().Paused {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	idle := r.Done(ctx, 60*time.Second)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if idle != nil {
		r.audit.found("unfinished", "%v", idle)
	}
	if err := r.audit.check(ctx, idle == nil); err != nil {
		return err
	}
	r.usage(ctx)
	for _, p := range r.Live(producer) {
		p.Tell("resume")
	}
	r.flow = meter{}
	return nil
}

// Done waits until nothing is waiting, running or parked. A key with much to do takes its time:
// limit is for how long no job may end.
func (r *Rig) Done(ctx context.Context, limit time.Duration) error {
	last, left := "", math.MaxInt
	for left > 0 {
		err := r.Until(ctx, "all jobs are done", limit, func() bool {
			call, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			v, err := r.Store.Inspect().QueueView(call, queueName)
			last = fmt.Sprintf("%+v, %v", v, err)
			if err != nil || open(v) >= left {
				return false
			}
			left = open(v)
			return true
		})
		if err != nil {
			return fmt.Errorf("%w: %s", err, last)
		}
		r.Wait(ctx, 20*time.Millisecond)
	}
	return nil
}

func open(v job.QueueView) int { return v.Waiting + v.Pending + v.Parked }

// Submit hands one job in from this process, until it is answered.
func (r *Rig) Submit(ctx context.Context, w Work, key string) (string, error) {
	r.tasks++
	w.Token = fmt.Sprintf("runner-%d", r.tasks)
	r.book.invoked(w.Token, key)
	call, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	receipts, errs := r.feed.Enqueue(call, jobOf(w, key))
	if errs != nil {
		r.book.unknown(w.Token, key)
		return "", fmt.Errorf("submit: %w", errs[0])
	}
	r.book.accepted(w.Token, key, receipts[0])
	return receipts[0].ID, nil
}

// Status is what the store knows of a job.
func (r *Rig) Status(ctx context.Context, id string) (job.Status, error) {
	call, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return r.Store.Inspect().Job(call, queueName, id)
}

// Completed waits for a job's completion.
func (r *Rig) Completed(ctx context.Context, id string, limit time.Duration) error {
	return r.reaches(ctx, id, job.Completed, limit)
}

// Buried waits for a job to become a dead letter.
func (r *Rig) Buried(ctx context.Context, id string, limit time.Duration) error {
	return r.reaches(ctx, id, job.Dead, limit)
}

func (r *Rig) reaches(ctx context.Context, id string, want job.State, limit time.Duration) error {
	last := ""
	err := r.Until(ctx, fmt.Sprintf("job %s is %v", id, want), limit, func() bool {
		st, err := r.Status(ctx, id)
		last = strings.TrimSpace(fmt.Sprintf("%v %v", st.State, err))
		return err == nil && st.State == want
	})
	if err != nil {
		return fmt.Errorf("%w: is %s", err, last)
	}
	return nil
}
