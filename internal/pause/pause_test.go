package pause

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestAPauseDoublesUpToItsBound: by chance it is up to half shorter, and never longer.
func TestAPauseDoublesUpToItsBound(t *testing.T) {
	t.Parallel()
	most := func(n time.Duration) time.Duration { return n - 1 }
	least := func(time.Duration) time.Duration { return 0 }
	steps := func(chance func(time.Duration) time.Duration) (out []time.Duration) {
		d := Doubling{First: 30, Most: 200}
		for range 5 {
			out = append(out, d.step(chance))
		}
		d.Reset()
		return append(out, d.step(chance))
	}
	if got, want := steps(most), []time.Duration{29, 59, 119, 199, 199, 29}; !slices.Equal(got, want) {
		t.Errorf("at most %d, want %d", got, want)
	}
	if got, want := steps(least), []time.Duration{15, 30, 60, 100, 100, 15}; !slices.Equal(got, want) {
		t.Errorf("at least %d, want %d", got, want)
	}
	if got := (&Doubling{First: 1, Most: 1}).step(least); got != 0 {
		t.Errorf("the shortest of all: %d", got)
	}
}

// TestAPauseEndsWithItsContext: and tells that it did.
func TestAPauseEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		d := Doubling{First: time.Second, Most: time.Minute}
		if !d.Wait(t.Context()) || time.Since(began) < time.Second/2 || time.Since(began) > time.Second {
			t.Errorf("the first pause took %v", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if For(ctx, time.Hour) || time.Since(began) != time.Second {
			t.Errorf("cut off after %v", time.Since(began))
		}
	})
}
