package consumergroup

import (
	"context"
	"sync"
)

// Gate lets many through, or one alone. A waiting writer stops new readers; readers
// already inside finish first. Unlike sync.RWMutex, both waits end with a context.
// The zero value is open. Safe for concurrent use.
type Gate struct {
	mu      sync.Mutex
	readers int
	writer  bool
	waiting int           // writers
	changed chan struct{} // closed at every change; nil until somebody waits
}

// Enter waits until no writer is inside or waiting, and goes in as a reader.
func (g *Gate) Enter(ctx context.Context) error {
	g.mu.Lock()
	for g.writer || g.waiting > 0 {
		if err := g.wait(ctx); err != nil {
			g.mu.Unlock()
			return err
		}
	}
	g.readers++
	g.mu.Unlock()
	return nil
}

// Leave ends what Enter began.
func (g *Gate) Leave() {
	g.mu.Lock()
	g.readers--
	g.broadcast()
	g.mu.Unlock()
}

// Close stops new readers, waits for those inside, and goes in alone. If ctx ends first
// the gate is as before.
func (g *Gate) Close(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting++
	for g.writer || g.readers > 0 {
		if err := g.wait(ctx); err != nil {
			g.waiting--
			g.broadcast()
			return err
		}
	}
	g.waiting--
	g.writer = true
	return nil
}

// Open ends what Close began.
func (g *Gate) Open() {
	g.mu.Lock()
	g.writer = false
	g.broadcast()
	g.mu.Unlock()
}

// wait releases the lock until something changes or ctx ends.
func (g *Gate) wait(ctx context.Context) error {
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	ch := g.changed
	g.mu.Unlock()
	defer g.mu.Lock()
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *Gate) broadcast() {
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}
