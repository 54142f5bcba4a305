package consumergroup

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func enter(t *testing.T, g *Gate) {
	t.Helper()
	if err := g.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestWaitingWriterStopsNewReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		enter(t, &g)
		enter(t, &g) // readers go in together
		var closed, late atomic.Bool
		go func() {
			if g.Close(t.Context()) == nil {
				closed.Store(true)
			}
		}()
		synctest.Wait()
		go func() {
			if g.Enter(t.Context()) == nil {
				late.Store(true)
			}
		}()
		synctest.Wait()
		if closed.Load() || late.Load() {
			t.Fatalf("with readers inside: writer in %v, a new reader in %v", closed.Load(), late.Load())
		}
		g.Leave()
		synctest.Wait()
		if closed.Load() {
			t.Fatal("the writer went in beside a reader")
		}
		g.Leave()
		synctest.Wait()
		if !closed.Load() || late.Load() {
			t.Fatalf("readers are gone: writer in %v; the reader that came later %v", closed.Load(), late.Load())
		}
		g.Open()
		synctest.Wait()
		if !late.Load() {
			t.Fatal("the reader still waits after the writer left")
		}
		g.Leave()
	})
}

func TestContextEndsAWaitAndLeavesTheGateAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		stop := errors.New("stop")
		gaveUp := func(call func(context.Context) error) {
			t.Helper()
			ctx, cancel := context.WithCancelCause(t.Context())
			var err error
			done := make(chan struct{})
			go func() { defer close(done); err = call(ctx) }()
			synctest.Wait()
			cancel(stop)
			<-done
			if !errors.Is(err, stop) {
				t.Fatalf("the wait ended with %v", err)
			}
		}
		enter(t, &g)
		var in atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = g.Close(ctx) }()
		synctest.Wait()
		go func() {
			if g.Enter(t.Context()) == nil {
				in.Add(1)
			}
		}()
		synctest.Wait()
		gaveUp(g.Enter) // behind the waiting writer
		cancel()        // the writer gives up: the reader behind it goes in
		synctest.Wait()
		if in.Load() != 1 {
			t.Fatal("a writer that gave up still stops readers")
		}
		g.Leave()
		gaveUp(g.Close)
		g.Leave()
		if err := g.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		gaveUp(g.Enter)
		gaveUp(g.Close)
		g.Open()
		enter(t, &g)
		g.Leave()
	})
}

func TestGateUnderStress(t *testing.T) {
	var g Gate
	var wg sync.WaitGroup
	shared, writers := 0, 0 // writers alone write it; the race detector looks on
	var inside atomic.Int32
	for i := range 24 {
		wg.Go(func() {
			for range 300 {
				ctx, cancel := context.WithCancel(t.Context())
				if rand.IntN(4) == 0 {
					cancel()
				}
				if i%6 == 0 {
					if g.Close(ctx) == nil {
						if inside.Load() != 0 {
							t.Error("a reader is inside with the writer")
						}
						shared++
						writers++
						g.Open()
					}
				} else if g.Enter(ctx) == nil {
					inside.Add(1)
					_ = shared
					inside.Add(-1)
					g.Leave()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if shared != writers || shared == 0 {
		t.Fatalf("%d writes by %d writers", shared, writers)
	}
}
