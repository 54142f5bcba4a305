package consumergroup

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ringmaster/job"
	"ringmaster/resize"
)

// resting gives the bench a shard at rest, as of one that owns nothing and has seen the ring. It
// returns how long the read waits in which that shard rests.
func (b *bench) resting(t *testing.T) time.Duration {
	t.Helper()
	n := b.s.session
	b.s = n.newShard(0, job.Joined{Partitions: 1})
	n.shards = []*shard{b.s}
	return b.rests(t)
}

// rests has the bench's shard act on what has come up, until it reads.
func (b *bench) rests(t *testing.T) (block time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	b.fake.onRead = func(d time.Duration) (job.ReadBatch, error) {
		block = d
		cancel()
		return job.ReadBatch{}, nil
	}
	if err := b.s.driver.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if !b.s.driver.Rests() {
		t.Fatal("it does not rest")
	}
	return block
}

// Sessions of a process that rest beat together, a third of a lease apart; what stirs brings back
// the set pace, and who asks for a heartbeat has a whole one at once.
func TestThePaceOfHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.PID = 4711 })
		n := b.s.session
		n.soon, n.stirred = make(chan struct{}, 1), make(chan struct{}, 1)
		b.resting(t)
		due := func() (time.Duration, bool) {
			began := time.Now()
			rested := n.untilDue(context.Background(), began)
			return time.Since(began), rested
		}
		due()
		for range 3 {
			if took, rested := due(); took != time.Second || !rested {
				t.Errorf("at rest: after %v, rested %v", took, rested)
			}
		}
		if d := b.w.cfg.together(time.Now()); d != time.Second {
			t.Errorf("another session of the process beats %v later", d)
		}
		time.AfterFunc(100*time.Millisecond, func() { b.s.driver.Post(resize.RunsEnded{}); n.stirred <- struct{}{} })
		if took, rested := due(); took != b.w.cfg.Heartbeat || rested {
			t.Errorf("stirred: after %v, rested %v", took, rested)
		}
		b.rests(t)
		time.AfterFunc(100*time.Millisecond, n.beatSoon)
		if took, rested := due(); took != 100*time.Millisecond || rested {
			t.Errorf("asked for: after %v, rested %v", took, rested)
		}
	})
}

// A reader that nobody wakes hears of the server within a lease, however short that is: else it would
// be taken for deaf.
func TestAReadAtRestIsShorterThanALease(t *testing.T) {
	for lease, want := range map[time.Duration]time.Duration{300 * time.Millisecond: 150 * time.Millisecond, 3 * time.Second: 1500 * time.Millisecond, time.Minute: 1500 * time.Millisecond} {
		b := newBench(t, func(c *Config) { c.LeaseTTL, c.Heartbeat = lease, lease/3 })
		if block := b.resting(t); block != want {
			t.Errorf("lease of %v: a read of %v, want %v", lease, block, want)
		}
	}
}
