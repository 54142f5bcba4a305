package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"ringmaster/configs"
	"ringmaster/recovery"
	"ringmaster/resize/runner"
	"ringmaster/streams"
)

// Mend does for a queue's ring what a leading dispatcher does, until nothing is left that
// one can mend, but no longer than patience: it evicts the dead, plans, takes partitions
// over for them and makes groups and records agree. Where another dispatcher leads it
// stands by, and waits for that one. It returns what is still wrong.
func Mend(ctx context.Context, s *streams.Store, queue string, patience time.Duration, log *slog.Logger) ([]recovery.Inconsistency, error) {
	q, err := s.LookupQueue(ctx, queue)
	if err != nil {
		return nil, err
	}
	cfg := configs.DefaultDispatcher()
	id := "doctor." + uuid.NewString()
	rc := recovery.Default()
	rc.LeaseTTL = cfg.LeaseTTL
	r, err := runner.New(runnerConfig(cfg), newRingStore(s, q, id, log), detector{recovery.NewDetector(rc)}, log)
	if err != nil {
		return nil, fmt.Errorf("mend queue %s: %w", queue, err)
	}
	leading, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { r.Run(leading) })
	defer running.Wait()
	defer stop()

	over := time.NewTimer(patience)
	defer over.Stop()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		found, led, err := look(ctx, s, queue)
		if err != nil {
			return nil, err
		}
		left := slices.DeleteFunc(found, func(f recovery.Inconsistency) bool { return f.Check == recovery.NoWorker })
		if led && len(left) == 0 {
			return nil, nil
		}
		select {
		case <-ticker.C:
		case <-over.C:
			return left, nil
		case <-ctx.Done():
			return left, context.Cause(ctx)
		}
	}
}
