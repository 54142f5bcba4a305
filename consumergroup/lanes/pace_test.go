package lanes

import (
	"testing"
	"time"
)

// What a worker holds is some 50 ms of its work, within bounds.
func TestWhatIsHeldFollowsThePace(t *testing.T) {
	b := newBench(t, func(c *Limits) { c.Window, c.ReadBudget, c.MostBudget = 1000, 64, 512 })
	b.s.StartReading(0, 1)
	for _, c := range []struct {
		ended, budget int
	}{{0, 64}, {20, 64}, {100, 250}, {1000, 512}, {100, 250}, {0, 64}} {
		b.s.Settled(b.ten, c.ended, b.now)
		b.now = b.now.Add(5 * time.Millisecond)
		b.toRead()
		b.now = b.now.Add(15 * time.Millisecond)
		if _, count, _ := b.s.ToRead(b.now); count != min(c.budget/2, 128) {
			t.Errorf("after %d ends in 20 ms a read brings %d, want %d", c.ended, count, min(c.budget/2, 128))
		}
		if got := b.p.readBudget(b.now); got != c.budget {
			t.Errorf("after %d ends in 20 ms the budget is %d, want %d", c.ended, got, c.budget)
		}
	}
}
