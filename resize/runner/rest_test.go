package runner

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ringmaster/resize"
)

// guard is a store that looks for members itself, and counts what the runner asks.
type guard struct {
	*fake
	looks, signs atomic.Int64
	alarm        chan<- struct{} // nil: nobody is guarded
	members      []string
}

func (g *guard) Look(ctx context.Context) (Look, error) {
	g.looks.Add(1)
	return g.fake.Look(ctx)
}

func (g *guard) Signs(ctx context.Context, incs []string) ([]Sighting, error) {
	g.signs.Add(1)
	return g.fake.Signs(ctx, incs)
}

func (g *guard) Guard(incs []string, _ time.Time, alarm chan<- struct{}) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alarm, g.members = alarm, incs
	return true
}

func (g *guard) Unguard() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alarm = nil
}

// Seen: up to now, while nobody is missed.
func (g *guard) Seen() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, inc := range g.members {
		if !g.there[inc] {
			return time.Now().Add(-30 * time.Millisecond)
		}
	}
	return time.Now()
}

func settledRing(f *fake) {
	f.join("a.1")
	<-time.After(300 * time.Millisecond)
	f.change(func() {
		for p, to := range f.rec.Plan {
			f.rec.Owners[p] = resize.Owner{Incarnation: to, Epoch: 2}
		}
	})
	<-time.After(300 * time.Millisecond)
}

// A ring at rest is looked for by others; its runner reads the records the more rarely, the more
// rings its process leads, and looks itself from the moment that somebody is missed.
func TestARingAtRestIsLeftToTheGuard(t *testing.T) {
	g := &guard{fake: emptyRing()}
	synctest.Test(t, func(t *testing.T) {
		cfg := Default()
		cfg.Rings = func() int { return 200 }
		defer beginWith(t, cfg, g, &twice{misses: map[string]int{}})()
		settledRing(g.fake)
		signs, looks := g.signs.Load(), g.looks.Load()
		time.Sleep(time.Minute)
		if n := g.signs.Load() - signs; n != 0 {
			t.Errorf("it looked for connections %d times in a minute", n)
		}
		if n := g.looks.Load() - looks; n != 3 {
			t.Errorf("it read the records %d times in a minute, of 200 rings", n)
		}
		g.mu.Lock()
		g.there["a.1"] = false
		alarm := g.alarm
		g.mu.Unlock()
		if alarm == nil {
			t.Fatal("nobody looks for its members")
		}
		alarm <- struct{}{}
		time.Sleep(35 * time.Millisecond)
		g.has(t, "evict a.1 connection")
	})
}

func TestWhatChangesEndsTheRest(t *testing.T) {
	g := &guard{fake: emptyRing()}
	synctest.Test(t, func(t *testing.T) {
		defer beginWith(t, Default(), g, &twice{misses: map[string]int{}})()
		settledRing(g.fake)
		signs := g.signs.Load()
		g.join("b.1")
		time.Sleep(50 * time.Millisecond)
		if g.signs.Load() == signs {
			t.Error("a worker has joined, and nobody looks whether it is there")
		}
		time.Sleep(300 * time.Millisecond)
		g.has(t, "(b.1 a.1)")
	})
}
