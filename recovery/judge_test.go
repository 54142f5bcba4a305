package recovery

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"ringmaster/job"
)

func fixed(f float64) func() float64 { return func() float64 { return f } }

func TestBackoffDelay(t *testing.T) {
	b := Backoff{Base: time.Second, Max: 10 * time.Minute}
	for _, c := range []struct {
		b       Backoff
		attempt int
		rnd     float64
		want    time.Duration
	}{
		{b, 1, 1, time.Second},
		{b, 1, 0.5, 500 * time.Millisecond},
		{b, 2, 1, 2 * time.Second},
		{b, 10, 1, 512 * time.Second},
		{b, 11, 1, 10 * time.Minute},
		{b, 11, 0.25, 150 * time.Second},
		{b, 10_000, 1, 10 * time.Minute},
		{b, math.MaxInt, 1, 10 * time.Minute},
		{b, 5, 0, 0},
		{b, 0, 1, time.Second},
		{b, -7, 1, time.Second},
		{b, 1, 2, time.Second},
		{b, 1, -1, 0},
		{b, 1, math.NaN(), 0},
		{Backoff{time.Hour, time.Minute}, 1, 1, time.Minute},
		{Backoff{1, math.MaxInt64}, 10_000, 1, math.MaxInt64},
		{Backoff{3, math.MaxInt64}, 10_000, math.Nextafter(1, 0), math.MaxInt64 - 1023},
		{Backoff{}, 3, 1, 0},
	} {
		got := c.b.Delay(c.attempt, fixed(c.rnd))
		if got != c.want {
			t.Errorf("%+v.Delay(%d, %v) = %v, want %v", c.b, c.attempt, c.rnd, got, c.want)
		}
	}
}

func TestCauseOf(t *testing.T) {
	for _, c := range []struct {
		ended    error
		panicked bool
		want     Cause
	}{
		{nil, false, HandlerError},
		{context.Canceled, false, HandlerError},
		{nil, true, Panicked},
		{job.ErrTimeout, false, TimedOut},
		{job.ErrTimeout, true, Panicked},
		{job.ErrStopping, false, Stopping},
		{job.ErrMoved, true, Moved},
		{fmt.Errorf("fenced: %w", job.ErrLost), true, Lost},
	} {
		if got := CauseOf(c.ended, c.panicked); got != c.want {
			t.Errorf("CauseOf(%v, %v) = %v, want %v", c.ended, c.panicked, got, c.want)
		}
	}
}

func TestJudge(t *testing.T) {
	b := Backoff{Base: time.Second, Max: time.Minute}
	boom := errors.New("boom")
	skip := fmt.Errorf("handler: %w", job.Skip(boom))
	later := job.RetryAfter(boom, time.Hour)
	retry := func(d time.Duration) Decision { return Decision{Action: Retry, Delay: d} }
	dead := func(r Reason) Decision { return Decision{Action: Dead, Reason: r} }
	back := Decision{Action: HandBack}

	for _, c := range []struct {
		name string
		f    Failure
		want Decision
	}{
		{"first error", Failure{Attempt: 1, MaxAttempts: 3, Err: boom}, retry(500 * time.Millisecond)},
		{"second error", Failure{Attempt: 2, MaxAttempts: 3, Err: boom}, retry(time.Second)},
		{"last attempt", Failure{Attempt: 3, MaxAttempts: 3, Err: boom}, dead(Exhausted)},
		{"beyond the last", Failure{Attempt: 9, MaxAttempts: 3, Err: boom}, dead(Exhausted)},
		{"only one attempt", Failure{Attempt: 1, MaxAttempts: 1, Err: boom}, dead(Exhausted)},
		{"default limit, before", Failure{Attempt: job.DefaultAttempts - 1, Err: boom}, retry(30 * time.Second)},
		{"default limit, at", Failure{Attempt: job.DefaultAttempts, Err: boom}, dead(Exhausted)},
		{"no error text", Failure{Attempt: 1, MaxAttempts: 3}, retry(500 * time.Millisecond)},
		{"panic", Failure{Attempt: 1, MaxAttempts: 3, Err: boom, Cause: Panicked}, retry(500 * time.Millisecond)},
		{"last panic", Failure{Attempt: 3, MaxAttempts: 3, Err: boom, Cause: Panicked}, dead(Exhausted)},
		{"timeout", Failure{Attempt: 1, MaxAttempts: 3, Err: boom, Cause: TimedOut}, retry(500 * time.Millisecond)},
		{"last timeout", Failure{Attempt: 3, MaxAttempts: 3, Err: boom, Cause: TimedOut}, dead(Exhausted)},
		{"skip", Failure{Attempt: 1, MaxAttempts: 3, Err: skip}, dead(Skipped)},
		{"skip at the last", Failure{Attempt: 3, MaxAttempts: 3, Err: skip}, dead(Skipped)},
		{"skip after timeout", Failure{Attempt: 1, MaxAttempts: 3, Err: skip, Cause: TimedOut}, dead(Skipped)},
		{"retry after, beyond max", Failure{Attempt: 1, MaxAttempts: 3, Err: later}, retry(time.Hour)},
		{"retry after at the last", Failure{Attempt: 3, MaxAttempts: 3, Err: later}, dead(Exhausted)},
		{"retry after nothing", Failure{Attempt: 1, MaxAttempts: 3, Err: job.RetryAfter(boom, 0)}, retry(500 * time.Millisecond)},
		{"retry after less", Failure{Attempt: 1, MaxAttempts: 3, Err: job.RetryAfter(boom, -1)}, retry(500 * time.Millisecond)},
		{"stopping", Failure{Attempt: 3, MaxAttempts: 3, Err: boom, Cause: Stopping}, back},
		{"moved", Failure{Attempt: 3, MaxAttempts: 3, Err: skip, Cause: Moved}, back},
		{"lost", Failure{Attempt: 3, MaxAttempts: 3, Err: later, Cause: Lost}, back},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Judge(c.f, b, fixed(0.5)); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
