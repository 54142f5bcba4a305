package consumergroup

import (
	"context"
	"sync"
	"time"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
)

// runContext is the context of one attempt: it ends with the handler timeout, with the
// worker's session, or when the attempt is told to end. Timer and channel are made when
// somebody asks for them: most handlers never do, and they would cost as much as all else
// that is done for a job. Safe for concurrent use.
type runContext struct {
	base     context.Context //nolint:containedctx // it is a context
	deadline time.Time       // does not change once the handler has started; until then guarded by the worker's lock
	told     time.Time       // when it was last said that the handler does not return; guarded by the worker's lock

	mu     sync.Mutex
	made   context.Context //nolint:containedctx // what answers once somebody has asked
	cancel context.CancelCauseFunc
	stop   context.CancelFunc // of the timer
	ended  error              // why, if it ended before anybody asked
	it     *lanes.Item        // what runs; nil: nothing does any more
}

func newRunContext(base context.Context, deadline time.Time, it *lanes.Item) *runContext {
	return &runContext{base: base, deadline: deadline, it: it}
}

// Deadline implements context.Context.
func (c *runContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Done implements context.Context.
func (c *runContext) Done() <-chan struct{} { return c.make().Done() }

// Err implements context.Context.
func (c *runContext) Err() error { return c.make().Err() }

// Value implements context.Context. The context that is made answers for itself, so that
// context.Cause and contexts derived from this one find it. The delivery is asked for: nothing
// else is made for it.
func (c *runContext) Value(key any) any {
	if key == job.DeliveryKey {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.it == nil {
			return nil
		}
		return shardOf(c.it).w.delivery(c.it)
	}
	return c.make().Value(key)
}

func (c *runContext) make() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made == nil {
		var base context.Context
		base, c.cancel = context.WithCancelCause(c.base)
		c.made, c.stop = context.WithDeadlineCause(base, c.deadline, job.ErrTimeout)
		if c.ended != nil {
			c.cancel(c.ended)
		}
	}
	return c.made
}

// End ends the context with a cause, unless it has ended. It implements lanes.Run.
func (c *runContext) End(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = cause
	}
	if c.made != nil {
		c.cancel(cause)
	}
}

// cause says why the context has ended, nil if it has not.
func (c *runContext) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.made != nil:
		return context.Cause(c.made)
	case c.ended != nil:
		return c.ended
	case c.base.Err() != nil:
		return context.Cause(c.base)
	case !time.Now().Before(c.deadline):
		return job.ErrTimeout
	}
	return nil
}

// close ends the context.
func (c *runContext) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.it = nil
	if c.made != nil {
		c.cancel(nil)
		c.stop()
	}
	if c.ended == nil {
		c.ended = context.Canceled
	}
}
