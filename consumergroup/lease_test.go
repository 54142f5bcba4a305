package consumergroup

import (
	"sync"
	"testing"
	"time"
)

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
