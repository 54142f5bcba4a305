package ringmaster

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"ringmaster/configs"
	"ringmaster/internal/service"
	"ringmaster/job"
)

// Dispatcher leads the rings of all queues of a server, as the program dispatcher does, without
// its HTTP server. Any number may run; one leads a ring at a time.
type Dispatcher struct {
	cfg  configs.Dispatcher
	opts service.Options // that Config gives
	ran  atomic.Bool
}

// DispatcherConfig is what a dispatcher has of its own.
type DispatcherConfig struct {
	// ResizeMode is what waits while partitions move: "key" (the default), "partition" or "ring".
	ResizeMode string

	// LeaderLease is how long leadership lasts without a renewal, which comes at least twice in it:
	// when a leader dies another one leads after so long at most; 2 s.
	LeaderLease time.Duration
	// DetectInterval is how often the leader looks for lost connections of workers, of which it
	// misses two before a worker counts as dead, and, if that is more than 100 ms, for new queues;
	// at most a third of LeaseTTL; 30 ms.
	DetectInterval time.Duration
	// ReleaseTimeout is how long a worker may take no notice of a resize before it is evicted; 2 s.
	ReleaseTimeout time.Duration
}

// NewDispatcher prepares a dispatcher; it does not connect yet.
func NewDispatcher(cfg Config, own DispatcherConfig) (*Dispatcher, error) {
	d := &Dispatcher{cfg: configs.DefaultDispatcher(), opts: cfg.options()}
	var err error
	if d.cfg.Common, err = cfg.common(d.cfg.Common); err != nil {
		return nil, fmt.Errorf("dispatcher: %w", err)
	}
	set(&d.cfg.LeaseTTL, cfg.LeaseTTL)
	set(&d.cfg.Mode, own.ResizeMode)
	set(&d.cfg.LeaderLease, own.LeaderLease)
	set(&d.cfg.DetectInterval, own.DetectInterval)
	set(&d.cfg.ReleaseTimeout, own.ReleaseTimeout)
	if err := d.cfg.Check(); err != nil {
		return nil, fmt.Errorf("dispatcher: %w", err)
	}
	return d, nil
}

// Run leads until ctx ends, then it resigns and returns nil. While the server is away it waits.
// It runs once.
func (d *Dispatcher) Run(ctx context.Context) error {
	if d.ran.Swap(true) {
		return job.Invalid("dispatcher: Run was called before: make another with NewDispatcher")
	}
	service.GoRedisTo(d.opts.Log)
	return service.Lead(ctx, d.cfg, d.opts)
}

// Dispatch is NewDispatcher and Run for a server that needs no more than its URL.
func Dispatch(ctx context.Context, url string, log *slog.Logger) error {
	d, err := NewDispatcher(Config{URL: url, Logger: log}, DispatcherConfig{})
	if err != nil {
		return err
	}
	return d.Run(ctx)
}
