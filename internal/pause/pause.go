// Package pause has the two ways to wait between calls: For waits a given time, Doubling waits
// longer each time that a call has to be repeated. Both end with their context.
package pause

import (
	"context"
	"math/rand/v2"
	"time"
)

// For waits d, or until ctx ends, and reports whether all of it has passed.
func For(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Doubling is the pause between calls that are repeated because the last one failed: the first is
// First, each later one twice as long, and none is longer than Most. Of each at least half is waited,
// the rest by chance: many who failed in the same moment do not come back in the same moment. First
// and Most are positive. Not safe for concurrent use.
type Doubling struct {
	First, Most time.Duration

	next time.Duration // 0: First
}

// Wait makes the next pause. It reports whether all of it has passed: if not, ctx has ended.
func (d *Doubling) Wait(ctx context.Context) bool { return For(ctx, d.step(rand.N[time.Duration])) }

// step is the length of the next pause. chance gives a number from 0 up to, and without, its argument.
func (d *Doubling) step(chance func(time.Duration) time.Duration) time.Duration {
	whole := min(max(d.next, d.First), d.Most)
	d.next = 2 * whole
	return whole/2 + chance(whole-whole/2)
}

// Reset has the next pause be the first again, after a call that succeeded.
func (d *Doubling) Reset() { d.next = 0 }
