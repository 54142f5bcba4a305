package lanes

import (
	"testing"

	"ringmaster/job"
)

// claim takes one page in, and reports whether the claim goes on.
func (b *bench) claim(first bool, page job.ClaimPage) bool {
	b.t.Helper()
	b.s.Claim(0, 1, first)
	return b.s.Claimed(0, 1, &page, b.now)
}

// A run under a permit fails while the gainer is between two pages: its job is pending
// again, behind the cursor. Its successors, claimed already, must wait for it.
func TestAPermitThatEndsBehindTheCursorHoldsItsKey(t *testing.T) {
	b := newBench(t, nil)
	if !b.claim(true, job.ClaimPage{Cursor: "3-0", Entries: []job.Entry{entry(2, "a")}, Permits: []job.Permit{{ID: eid(1), Holder: "x@1", Key: "a"}}}) {
		t.Fatal("the first page ended the pass")
	}
	if !b.claim(false, job.ClaimPage{Cursor: "0-0", Entries: []job.Entry{entry(4, "b")}}) {
		t.Fatal("the pass ended, though it cannot tell what became of the permit")
	}
	b.complete(b.mustStart(4))
	b.mustNotStart()
	if b.claim(false, job.ClaimPage{Cursor: "0-0", Entries: []job.Entry{entry(1, "a")}}) {
		t.Fatal("the pass that covers the permit did not end")
	}
	b.complete(b.mustStart(1))
	b.complete(b.mustStart(2))
}

// More permits are revoked at once than a page holds: what is beyond the page is not
// claimed yet, so its keys stay blocked.
func TestPermitsBeyondThePageHoldTheirKeys(t *testing.T) {
	b := newBench(t, nil)
	b.ten.block(eid(1), "a")
	b.ten.block(eid(3), "b")
	b.arrive(entry(2, "a"), entry(4, "b"))
	if !b.s.Looked(0, 1, &job.ClaimPage{Cursor: "2-0", Entries: []job.Entry{entry(1, "a")}}, b.now) {
		t.Fatal("one page told what became of both permits")
	}
	b.complete(b.mustStart(1))
	b.complete(b.mustStart(2))
	b.mustNotStart()
	b.claim(true, job.ClaimPage{Cursor: "0-0", Entries: []job.Entry{entry(3, "b")}})
	b.complete(b.mustStart(3))
	b.complete(b.mustStart(4))
}
