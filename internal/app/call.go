package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"ringmaster/configs"
	"ringmaster/job"
	"ringmaster/streams"
)

// callLimit ends a call whose context has no deadline: nothing hangs for ever.
const callLimit = time.Hour

// Call submits a job and waits for its end. Whatever is killed meanwhile, it gets the one
// answer: it submits under an idempotency key (its own if the job has none), repeats
// while the server does not answer or the outcome is unknown, and polls. Where a server lost
// the job with its last writes, it submits it again under the same key. It blocks until the job
// is completed or dead, or ctx ends.
func Call(ctx context.Context, s *streams.Store, queue string, j job.Job) (job.Status, error) {
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
		st, err := Await(ctx, s, queue, receipt.ID)
		lost := errors.Is(err, job.ErrUnknownJob)
		if err != nil && !lost || err == nil && (recorded(st) || receipt.Duplicate) {
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
	var b backoff
	for {
		r, err := once(ctx, s, queue, j)
		if err == nil || !passing(err) {
			return r, err
		}
		if !b.wait(ctx) {
			return job.Receipt{}, fmt.Errorf("submit to %s: %w: %w", queue, err, context.Cause(ctx))
		}
	}
}

// once makes one attempt, with a time limit of its own that grows by being repeated.
func once(ctx context.Context, s *streams.Store, queue string, j job.Job) (job.Receipt, error) {
	call, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	p := NewProducers(s, configs.QueueSpec{})
	defer p.Close()
	receipts, errs := p.Enqueue(call, queue, []job.Job{j})
	if errs != nil {
		return job.Receipt{}, errs[0]
	}
	return receipts[0], nil
}

// Await polls until a job is completed or dead, or ctx ends. While the server does not
// answer it goes on. On the end of ctx it returns the last state seen and the cause.
func Await(ctx context.Context, s *streams.Store, queue, id string) (job.Status, error) {
	var last job.Status
	var b backoff
	for {
		st, err := s.WaitJob(ctx, queue, id, 10*time.Second)
		if err == nil {
			b, last = backoff{}, st
			if st.State.Terminal() {
				return st, nil
			}
		} else if !passing(err) {
			return last, err
		}
		if ctx.Err() != nil || (err != nil && !b.wait(ctx)) {
			return last, fmt.Errorf("wait for job %s: %w", id, context.Cause(ctx))
		}
	}
}

// passing reports whether to wait may help.
func passing(err error) bool {
	if errors.Is(err, job.ErrNotPermitted) {
		return false
	}
	return errors.Is(err, job.ErrUnavailable) || errors.Is(err, job.ErrOutcomeUnknown) || errors.Is(err, job.ErrFull)
}

// backoff doubles from 20 ms to 2 s, with jitter.
type backoff struct{ next time.Duration }

func (b *backoff) wait(ctx context.Context) bool {
	b.next = min(max(2*b.next, 20*time.Millisecond), 2*time.Second)
	t := time.NewTimer(b.next/2 + rand.N(b.next/2))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
