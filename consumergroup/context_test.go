package consumergroup

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ringmaster/job"
)

// Whether and when a handler asks, its context ends for the same reasons.
func TestRunContext(t *testing.T) {
	lost := errors.New("the session")
	for _, c := range []struct {
		name  string
		cause error // nil: it does not end by itself
		end   func(c *runContext, base context.CancelCauseFunc)
	}{
		{"nothing happens", nil, func(*runContext, context.CancelCauseFunc) {}},
		{"it is told to end", job.ErrMoved, func(c *runContext, _ context.CancelCauseFunc) { c.End(job.ErrMoved); c.End(job.ErrLost) }},
		{"the session ends", lost, func(_ *runContext, end context.CancelCauseFunc) { end(lost) }},
		{"the time is over", job.ErrTimeout, func(*runContext, context.CancelCauseFunc) { <-time.After(time.Second) }},
	} {
		for _, when := range []string{"never", "before", "after"} {
			t.Run(c.name+"/asked "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					base, end := context.WithCancelCause(t.Context())
					defer end(nil)
					ctx := newRunContext(base, time.Now().Add(time.Second), nil)
					if d, ok := ctx.Deadline(); !ok || time.Until(d) != time.Second {
						t.Errorf("deadline %v, %v", d, ok)
					}
					var done <-chan struct{}
					if when == "before" {
						done = ctx.Done()
					}
					c.end(ctx, end)
					synctest.Wait()
					if when == "after" {
						done = ctx.Done()
					}
					if done != nil {
						select {
						case <-done:
							if c.cause == nil {
								t.Error("it has ended")
							}
						default:
							if c.cause != nil {
								t.Error("it has not ended")
							}
						}
						if got := context.Cause(ctx); !errors.Is(got, c.cause) {
							t.Errorf("cause %v, want %v", got, c.cause)
						}
					}
					if got := ctx.cause(); !errors.Is(got, c.cause) || (got == nil) != (c.cause == nil) {
						t.Errorf("ended with %v, want %v", got, c.cause)
					}
					ctx.close()
					if ctx.Err() == nil {
						t.Error("it goes on after its run")
					}
				})
			})
		}
	}
}

// A context that is derived from it ends with it.
func TestRunContextHasChildren(t *testing.T) {
	ctx := newRunContext(t.Context(), time.Now().Add(time.Minute), nil)
	child, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	ctx.End(job.ErrLost)
	<-child.Done()
	if got := context.Cause(child); !errors.Is(got, job.ErrLost) {
		t.Errorf("the child's cause is %v", got)
	}
}
