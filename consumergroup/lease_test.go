package consumergroup

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"ringmaster/consumergroup/driver"
	"ringmaster/job"
)

// fencing evicts whoever beats.
type fencing struct{ *fakeServer }

func (fencing) Heartbeat(context.Context) ([]job.Beat, error) { return []job.Beat{{Fenced: true}}, nil }

// An incarnation that stood still for longer than its lease starts nothing. The answer that it was
// evicted meanwhile is no reason to: its partitions are another's.
func TestAnEvictionFreesNoStart(t *testing.T) {
	b := newBench(t, nil)
	b.w.idle = sync.NewCond(&b.w.mu)
	b.s.session.member = fencing{b.fake}
	b.s.session.shards = []*shard{b.s}
	b.w.renewLease(time.Now().Add(-time.Hour))
	if err := b.s.session.beat(t.Context()); !errors.Is(err, driver.ErrEvicted) {
		t.Fatal(err)
	}
	if b.w.leaseValidNow() {
		t.Error("it has its lease again")
	}
}

// While a machine is suspended its monotonic clock stands still: by that clock alone a
// worker that wakes up believes in a lease that ended long ago.
func TestALeaseEndsByEitherClock(t *testing.T) {
	w := &Worker{cfg: Default()}
	w.idle = sync.NewCond(&w.mu)
	now := time.Now()
	w.renewLease(now)
	if !w.leaseValid(now) {
		t.Fatal("a lease that was just renewed is none")
	}
	if w.leaseValid(now.Add(w.cfg.LeaseTTL)) {
		t.Error("the lease outlives its time")
	}
	w.leaseWall = w.leaseWall.Add(-time.Hour) // as if the wall clock alone had gone on for an hour
	if w.leaseValid(now) {
		t.Error("a machine that was suspended for an hour still has its lease")
	}
}

// What another system is shown to refuse an old run by.
func TestAJobStartsUnderTheFenceOfItsTenure(t *testing.T) {
	b := newBench(t, nil)
	b.s.lanes.Claim(1, 1001, true)
	b.s.lanes.Claimed(1, 1001, &job.ClaimPage{Cursor: "0-0", Entries: []job.Entry{entry(1, "")}}, time.Now())
	b.s.lanes.SetGate(1, 1001, true, time.Now())
	b.s.lanes.StartOpened(time.Now())
	if it := b.mustStart(1); it.Fence != job.NewFence(0, 1001) {
		t.Errorf("job 1 has fence %d", it.Fence)
	}
}
