package consumergroup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ringmaster/consumergroup/driver"
	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
)

// Worker runs the jobs of one queue. Make it with New, run it once with Run.
type Worker struct {
	cfg  Config
	deps Deps

	mu         sync.Mutex // guards everything below, and all lanes; see the package comment
	idle       *sync.Cond // something may be ready
	pool       *lanes.Pool
	done       bool
	leaseUntil time.Time
	leaseWall  time.Time // the same by the wall clock

	alarmSet  chan struct{} // capacity 1
	drained   chan struct{} // closed when a control message asks to drain
	stopOnce  sync.Once
	executors sync.WaitGroup
}

// New checks the configuration. It does not connect.
func New(cfg Config, deps Deps) (*Worker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Store == nil || deps.Policy == nil || deps.Log == nil || deps.NewID == nil {
		return nil, errors.New("consumergroup: a dependency is missing")
	}
	limits, err := seats(cfg, deps.Concurrency)
	if err != nil {
		return nil, err
	}
	w := &Worker{cfg: cfg, deps: deps, alarmSet: make(chan struct{}, 1), drained: make(chan struct{})}
	w.idle = sync.NewCond(&w.mu)
	w.pool = lanes.NewPool(limits, crew{w})
	return w, nil
}

// seats are the limits of a pool with those of its types. A type that may have every executor needs none.
func seats(cfg Config, own map[string]int) (lanes.Limits, error) {
	limits := cfg.limits()
	for name, n := range own {
		if n < 1 {
			return limits, job.Invalid("concurrency %d of type %q: must be at least 1", n, name)
		}
		if n >= cfg.Concurrency {
			continue
		}
		if limits.Seats == nil {
			limits.Seats = map[string]int{}
		}
		limits.Seats[name] = n
	}
	return limits, nil
}

// Run joins the ring and runs jobs until stop is closed, or somebody asks the worker to
// drain: then it leaves gracefully, within DrainTimeout, and returns nil. The end of ctx
// ends it at once, and may leave jobs to be run again elsewhere. While the server does
// not answer, Run waits. It blocks; call it once.
func (w *Worker) Run(ctx context.Context, stop <-chan struct{}) error {
	leave, endLeave := context.WithCancel(context.Background())
	done := make(chan struct{})
	var helpers sync.WaitGroup
	helpers.Go(func() {
		defer endLeave()
		select {
		case <-stop:
		case <-w.drained:
		case <-done:
		}
	})
	helpers.Go(func() { w.ringAlarms(done) })
	for range w.cfg.Concurrency {
		w.executors.Add(1)
		go w.execute()
	}
	err := w.sessions(ctx, leave)
	w.mu.Lock()
	w.done = true
	w.idle.Broadcast()
	w.mu.Unlock()
	close(done)
	helpers.Wait()
	w.awaitExecutors()
	return err
}

// sessions lives one incarnation after the other, until leave ends.
func (w *Worker) sessions(ctx, leave context.Context) error {
	for {
		joining, cancel := context.WithCancel(ctx)
		detach := context.AfterFunc(leave, cancel)
		n, unwatch, err := w.newSession(joining)
		detach()
		cancel()
		if err != nil && ctx.Err() == nil && leave.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		w.deps.Log.Info("joined", "incarnation", n.inc)
		if w.deps.Ready != nil {
			w.deps.Ready(n.inc)
		}
		err = n.live(ctx, leave.Done())
		unwatch()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("worker was stopped at once: %w", context.Cause(ctx))
		case errors.Is(err, driver.ErrEvicted):
			n.notDead(ctx)
			w.deps.Log.Warn("evicted: joining as a new incarnation", "incarnation", n.inc)
		default:
			w.deps.Log.Error("incarnation failed: joining as a new one", "incarnation", n.inc, "error", err)
		}
	}
}

// awaitExecutors waits for handlers that still run, for the grace time: their contexts
// have ended. One that ignores its context is left behind.
func (w *Worker) awaitExecutors() {
	ended := make(chan struct{})
	go func() {
		w.executors.Wait()
		close(ended)
	}()
	t := time.NewTimer(w.cfg.grace())
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C:
		w.deps.Log.Warn("a handler does not end with its context: left behind")
	}
}

// renewLease takes the lease as held from the time the heartbeat was sent.
func (w *Worker) renewLease(sent time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leaseUntil = sent.Add(w.cfg.LeaseTTL - w.cfg.margin())
	w.leaseWall = w.leaseUntil.Round(0)
	w.idle.Broadcast()
}

// endLease has nothing start any more: somebody else may have the partitions.
func (w *Worker) endLease() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leaseUntil, w.leaseWall = time.Time{}, time.Time{}
}

// leaseValid reports whether jobs may start. The lock is held. Both clocks must agree:
// the monotonic one stands still while a machine is suspended.
func (w *Worker) leaseValid(now time.Time) bool {
	return now.Before(w.leaseUntil) && now.Round(0).Before(w.leaseWall)
}

func (w *Worker) leaseValidNow() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leaseValid(time.Now())
}
