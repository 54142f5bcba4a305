package recovery

import (
	"errors"
	"fmt"
	"time"

	"ringmaster/job"
)

// Cause is how an attempt ended without completing its job.
type Cause int

// The causes. The first three count as an attempt, the others do not.
const (
	HandlerError Cause = iota // the handler returned an error
	Panicked                  // the handler panicked
	TimedOut                  // the handler timeout ran out
	Stopping                  // the worker is shutting down
	Moved                     // the partition moved away and the drain timeout ran out
	Lost                      // the worker lost its lease or the partition
)

// CauseOf is the cause of a handler's failure, from context.Cause of its context (nil if
// that had not ended) and whether it panicked. An ended context that gives no reason of
// package job is no excuse: HandlerError.
func CauseOf(ended error, panicked bool) Cause {
	switch {
	// First the reasons that are not the handler's fault: a handler torn away from its
	// work may well panic or fail over it.
	case errors.Is(ended, job.ErrLost):
		return Lost
	case errors.Is(ended, job.ErrMoved):
		return Moved
	case errors.Is(ended, job.ErrStopping):
		return Stopping
	case panicked:
		return Panicked
	case errors.Is(ended, job.ErrTimeout):
		return TimedOut
	}
	return HandlerError
}

// Failure is an attempt that did not complete its job.
type Failure struct {
	Attempt     int   // number of this attempt, 1 for the first
	MaxAttempts int   // 0 or less: job.DefaultAttempts
	Err         error // may be job.Skip or job.RetryAfter; may be nil
	Cause       Cause
}

// Action is what to do with a job after a failure.
type Action int

// The actions.
const (
	// Retry: the job keeps its place and its key waits for Decision.Delay. The attempt counts.
	Retry Action = iota + 1
	// Dead: dead-letter the job for Decision.Reason; its key goes on by policy.
	Dead
	// HandBack: the attempt does not count and nothing is written about it. Whoever owns
	// the partition runs the job again, at once.
	HandBack
)

// String is "retry", "dead" or "hand back".
func (a Action) String() string {
	switch a {
	case Retry:
		return "retry"
	case Dead:
		return "dead"
	case HandBack:
		return "hand back"
	}
	return fmt.Sprintf("action(%d)", int(a))
}

// Reason is why a job is dead-lettered, a text for people.
type Reason string

// The reasons.
const (
	Skipped   Reason = "the handler gave it up"
	Exhausted Reason = "out of attempts"
)

// Decision is what becomes of a failed job. It is a value; acting on it is the caller's.
type Decision struct {
	Action Action
	Delay  time.Duration // Retry: from now on, 0 or more
	Reason Reason        // Dead
}

// Judge decides what becomes of a failed job. It calls rnd at most once, for the delay
// of a Retry that the handler did not choose itself.
//
//   - Stopping, Moved, Lost: HandBack, whatever the error says: the handler was torn
//     away, and what it returned may only tell of that.
//   - job.Skip: Dead at once.
//   - No attempts left: Dead, even for job.RetryAfter, else a handler that always asks
//     for later would never end.
//   - job.RetryAfter with more than 0: Retry after that delay exactly, beyond Backoff.Max
//     too: the handler knows more. Everything else: Retry after the backoff.
func Judge(f Failure, b Backoff, rnd func() float64) Decision {
	switch f.Cause {
	case Stopping, Moved, Lost:
		return Decision{Action: HandBack}
	case HandlerError, Panicked, TimedOut:
	}
	skip, after := job.Verdict(f.Err)
	if skip {
		return Decision{Action: Dead, Reason: Skipped}
	}
	limit := f.MaxAttempts
	if limit <= 0 {
		limit = job.DefaultAttempts
	}
	if f.Attempt >= limit {
		return Decision{Action: Dead, Reason: Exhausted}
	}
	if after > 0 {
		return Decision{Action: Retry, Delay: after}
	}
	return Decision{Action: Retry, Delay: b.Delay(f.Attempt, rnd)}
}
