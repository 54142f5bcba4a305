package main

import (
	"context"
	"fmt"
	"sync"

	"ringmaster/bench"
)

// load hands jobs to a system and counts its handlers' runs.
type load struct {
	mu     sync.Mutex
	moved  sync.Cond
	open   int // handed in and not run
	toRun  int
	more   int // runs beyond one for each job
	ended  bool
	allRan chan struct{}
}

func newLoad() *load {
	l := &load{}
	l.moved.L = &l.mu
	return l
}

// ran is what every handler calls, and all that it does.
func (l *load) ran() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.toRun == 0 {
		l.more++
		return
	}
	l.open--
	l.moved.Signal()
	if l.toRun--; l.toRun == 0 {
		close(l.allRan)
	}
}

// may waits until n more jobs may be under way; false: they need not be any more.
func (l *load) may(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.open+n > bench.Outstanding && !l.ended {
		l.moved.Wait()
	}
	l.open += n
	return !l.ended
}

func (l *load) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.moved.Broadcast()
}

// move hands in so many jobs, in batches, and returns when all have run. It is for one
// caller at a time.
func (l *load) move(ctx context.Context, jobs, producers, batch int, submit func(ctx context.Context, n int) error) error {
	l.mu.Lock()
	l.toRun, l.allRan, l.ended = jobs, make(chan struct{}), false
	l.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, l.end)()
	batches := make(chan int)
	go func() {
		defer close(batches)
		for left := jobs; left > 0; left -= batch {
			select {
			case batches <- min(batch, left):
			case <-ctx.Done():
				return
			}
		}
	}()
	var all sync.WaitGroup
	for range producers {
		all.Go(func() {
			for n := range batches {
				if !l.may(n) {
					return
				}
				if err := submit(ctx, n); err != nil {
					cancel(fmt.Errorf("hand in: %w", err))
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case <-l.allRan:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more > 0 {
		return fmt.Errorf("%d jobs ran more than once", l.more)
	}
	return nil
}
