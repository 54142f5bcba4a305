// Package runner leads the ring of one queue: it holds the leadership, reads the records, looks for
// dead workers, and does what the resize.Coordinator wants.
//
// Leader is that, without goroutine or clock (leader.go; lease.go: how the leadership is kept; rest.go:
// what a ring at rest costs). Runner gives it both. The simulator (package resize/sim) runs the same
// Leader as two coroutines of its scheduler.
package runner

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"ringmaster/internal/pause"
)

// Runner runs a Leader. Make it with New, run it once.
type Runner struct {
	leader *Leader
	store  Store
	led    chan uint64
	news   chan struct{} // capacity 1
}

// New checks the configuration.
func New(cfg Config, store Store, detector Detector, log *slog.Logger) (*Runner, error) {
	r := &Runner{store: store, led: make(chan uint64), news: make(chan struct{}, 1)}
	var err error
	r.leader, err = NewLeader(cfg, store, detector, r, log)
	return r, err
}

// Run stands by and leads until ctx ends; then it resigns. It never ends by itself:
// while the store does not answer it stands by.
func (r *Runner) Run(ctx context.Context) {
	var helpers sync.WaitGroup
	helpers.Go(func() { r.leader.KeepLease(ctx) })
	helpers.Go(func() { r.store.Hints(ctx, r.news) })
	r.leader.Lead(ctx)
	helpers.Wait()
	r.leader.StepDown(context.WithoutCancel(ctx))
}

// Now implements Host.
func (r *Runner) Now() time.Time { return time.Now() }

// Sleep implements Host.
func (r *Runner) Sleep(ctx context.Context, d time.Duration) bool {
	return pause.For(ctx, d)
}

// Within implements Host.
func (r *Runner) Within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

// Wait implements Host.
func (r *Runner) Wait(ctx context.Context, d time.Duration) (by Woken, term uint64) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case term = <-r.led:
		return ByLease, term
	case <-r.news:
		return ByNews, 0
	case <-r.leader.Alarm():
		return ByAlarm, 0
	case <-timer.C:
	case <-ctx.Done():
	}
	return ByTime, 0
}

// Led implements Host.
func (r *Runner) Led(ctx context.Context, term uint64) bool {
	select {
	case r.led <- term:
		return true
	case <-ctx.Done():
		return false
	}
}
