package producing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"ringmaster/configs"
	"ringmaster/internal/pause"
	"ringmaster/job"
	"ringmaster/streams"
)

// callLimit ends a call whose context has no deadline: nothing hangs for ever.
const callLimit = time.Hour

// Call submits a job and waits for its end. Whatever is killed meanwhile, it gets the one
// answer: it submits under an idempotency key (its own if the job has none), repeats
// while the server does not answer or the outcome is unknown, and polls. Where a server lost
// the job with its last writes, it submits it again under the same key. It blocks until the job
// is completed or dead, or ctx ends. tell is Waiting.Tell.
func Call(ctx context.Context, s *streams.Store, queue string, j job.Job, tell func(id, why string)) (job.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	if j.IdempotencyKey == "" {
		j.IdempotencyKey = "call-" + uuid.NewString()
	}
	if err := j.Validate(); err != nil {
		return job.Status{}, err
	}
	receipt, err := submit(ctx, s, queue, j)
	if err != nil {
		return job.Status{}, err
	}
	for {
		st, err := Await(ctx, s, queue, receipt.ID, Waiting{Tell: tell})
		lost := errors.Is(err, job.ErrUnknownJob)
		if err != nil && !lost || st.Deleted || err == nil && (recorded(st) || receipt.Duplicate) {
			return st, err
		}
		// Nothing is kept of it: it has completed, or was lost. Job and idempotency key are written in
		// one step and lost in one: a key that still names the id tells that the job is not. One that
		// this call did not write may be a day old, and end by itself.
		again, err := submit(ctx, s, queue, j)
		if err != nil {
			return st, err
		}
		if again.ID == receipt.ID {
			st.State, st.Error = job.Completed, ""
			return st, nil
		}
		receipt = again
	}
}

// recorded reports whether something is kept of a job that has ended.
func recorded(st job.Status) bool {
	return st.State != job.Completed || st.FinishedAt != nil || len(st.Result) > 0
}

func submit(ctx context.Context, s *streams.Store, queue string, j job.Job) (job.Receipt, error) {
	again := pauses()
	for {
		r, err := once(ctx, s, queue, j)
		if err == nil || !Passing(err) {
			return r, err
		}
		if !again.Wait(ctx) {
			return job.Receipt{}, fmt.Errorf("submit to %s: %w: %w", queue, err, context.Cause(ctx))
		}
	}
}

// once makes one attempt, with a time limit of its own that grows by being repeated.
func once(ctx context.Context, s *streams.Store, queue string, j job.Job) (job.Receipt, error) {
	call, cancel := context.WithTimeout(ctx, 5*time.Second+job.OnItsWay(len(j.Payload)))
	defer cancel()
	p := NewSet(s, configs.QueueSpec{})
	defer p.Close()
	receipts, errs := p.Enqueue(call, queue, []job.Job{j})
	if errs != nil {
		return job.Receipt{}, errs[0]
	}
	return receipts[0], nil
}

// Passing reports whether it may help to wait and to repeat a call that has ended so.
func Passing(err error) bool {
	return job.Waitable(err) && !errors.Is(err, job.ErrNotPermitted)
}

// pauses are those between calls that are repeated.
func pauses() pause.Doubling {
	return pause.Doubling{First: 20 * time.Millisecond, Most: 2 * time.Second}
}
