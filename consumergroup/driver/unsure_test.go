package driver

import (
	"testing"

	"ringmaster/resize"
)

// A claim was not answered, though the server took it: the job is pending for this worker,
// which does not know it, and its permit is gone. What is asked on the same connection
// before the worker's own pending list was read must not free the key.
func TestNothingIsClaimedWhileACallIsUnanswered(t *testing.T) {
	b := newBench(t)
	b.block(1, "a")
	b.arrive(entry(2, "a"))
	claim := func() resize.ClaimAnswered {
		return b.d.claim(t.Context(), []resize.ClaimPartition{{Part: 0, Epoch: 1, First: true}}, true)[0].(resize.ClaimAnswered)
	}
	b.d.reader = silent{b.fake}
	if a := claim(); a.Outcome != resize.ClaimUnknown {
		t.Fatalf("a claim without an answer: %+v", a)
	}
	b.d.reader = b.fake // nothing is marked, and there is no permit
	if evs := b.d.unblock(t.Context(), []resize.Unblock{{Part: 0, Epoch: 1, ID: "1-0"}}, true); len(evs) != 1 {
		t.Errorf("%d events of a look, want one that looks again", len(evs))
	}
	b.mustNotStart()
	if a := claim(); a.Outcome != resize.ClaimUnknown {
		t.Errorf("a claim before the connection was made anew: %+v", a)
	}
	b.mustNotStart()
}

// A look brings what is marked, and not which keys have jobs set aside: before the first page
// was answered it would put jobs in front of those.
func TestNothingIsLookedForBeforeTheFirstPage(t *testing.T) {
	b := newBench(t)
	b.d.reader = silent{b.fake}
	b.d.claim(t.Context(), []resize.ClaimPartition{{Part: 7, Epoch: 3, First: true}}, true)
	b.d.unsure = false // the connection was made anew, and the partition is on its way out
	if evs := b.d.unblock(t.Context(), []resize.Unblock{{Part: 7, Epoch: 3, ID: "1-0"}}, true); len(evs) != 0 || b.d.unsure {
		t.Errorf("%d events, unsure %v: the store was asked", len(evs), b.d.unsure)
	}
}
