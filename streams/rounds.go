package streams

import (
	"context"
	"slices"
	"sync"
)

// rounds gathers what many ask of a server, and has it asked together: one round is under way at a
// time, and what comes meanwhile goes with the next. Safe for concurrent use.
type rounds[T interface{ gone() bool }] struct {
	wake chan struct{} // capacity 1

	mu      sync.Mutex
	waiting []T
}

func newRounds[T interface{ gone() bool }]() *rounds[T] {
	return &rounds[T]{wake: make(chan struct{}, 1)}
}

// add has x go with the next round, unless whoever waits for it is gone by then.
func (r *rounds[T]) add(x T) {
	r.mu.Lock()
	r.waiting = append(r.waiting, x)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run makes rounds of what waits until ctx ends.
func (r *rounds[T]) run(ctx context.Context, round func(ctx context.Context, due []T)) {
	for {
		select {
		case <-r.wake:
		case <-ctx.Done():
			return
		}
		r.mu.Lock()
		due := r.waiting
		r.waiting = nil
		r.mu.Unlock()
		if due = slices.DeleteFunc(due, T.gone); len(due) > 0 {
			round(ctx, due)
		}
	}
}
