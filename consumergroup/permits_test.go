package consumergroup

import (
	"context"
	"reflect"
	"testing"

	"ringmaster/job"
	"ringmaster/resize"
)

// claimOne asks for one page and returns what came of it.
func (b *bench) claimOne(first bool) resize.ClaimAnswered {
	b.t.Helper()
	evs := b.s.claim(b.t.Context(), []resize.ClaimPartition{{Part: 0, Epoch: 1, First: first}})
	return evs[0].(resize.ClaimAnswered)
}

// A run under a permit fails while the gainer is between two pages: its job is pending
// again, behind the cursor. Its successors, claimed already, must wait for it.
func TestAPermitThatEndsBehindTheCursorHoldsItsKey(t *testing.T) {
	b := newBench(t, nil)
	b.fake.claims = []job.ClaimPage{
		{Cursor: "3-0", Entries: []job.Entry{entry(2, "a")}, Permits: []job.Permit{{ID: eid(1), Holder: "x@1", Key: "a"}}},
		{Cursor: "0-0", Entries: []job.Entry{entry(4, "b")}},
		{Cursor: "0-0", Entries: []job.Entry{entry(1, "a")}},
	}
	if a := b.claimOne(true); !a.More {
		t.Fatal("the first page ended the pass")
	}
	if a := b.claimOne(false); !a.More {
		t.Fatal("the pass ended, though it cannot tell what became of the permit")
	}
	b.complete(b.mustStart(4))
	b.mustNotStart()
	if a := b.claimOne(false); a.More {
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
	b.fake.claims = []job.ClaimPage{{Cursor: "2-0", Entries: []job.Entry{entry(1, "a")}}, {Cursor: "0-0", Entries: []job.Entry{entry(3, "b")}}}
	if evs := b.s.unblock(t.Context(), []resize.Unblock{{Part: 0, Epoch: 1, ID: "1-0"}}); len(evs) != 1 {
		t.Fatalf("%d events, want one that looks again", len(evs))
	}
	b.complete(b.mustStart(1))
	b.complete(b.mustStart(2))
	b.mustNotStart()
	b.claimOne(true)
	b.complete(b.mustStart(3))
	b.complete(b.mustStart(4))
}

// silent answers no claim.
type silent struct{ *fakeServer }

func (silent) Claim(_ context.Context, ts []job.Tenure, _ []string, _ int) ([]job.ClaimPage, []error) {
	errs := make([]error, len(ts))
	for i := range errs {
		errs[i] = job.ErrOutcomeUnknown
	}
	return make([]job.ClaimPage, len(ts)), errs
}

// The hint that a drainer is done is heard once. If the look it leads to is not answered,
// another follows.
func TestALookAtADrainerWithoutAnAnswerIsRepeated(t *testing.T) {
	b := newBench(t, nil)
	b.ten.block(eid(1), "a")
	b.s.reader = silent{b.fake}
	evs := b.s.unblock(t.Context(), []resize.Unblock{{Part: 0, Epoch: 1, ID: "1-0"}})
	if len(evs) != 1 || !b.s.unsure {
		t.Fatalf("%d events, connection in doubt: %v; want one that looks again, and a new connection", len(evs), b.s.unsure)
	}
	m, ok := evs[0].(resize.MessageReceived)
	if !ok || m.Message.Type != resize.TypeUndrained || m.Message.PartEpoch != 1 {
		t.Errorf("%v does not look at the pending list", evs[0])
	}
}

// The server came back with an older state: a job that this worker had claimed and done is
// marked for reclaim again. Nobody says so, and nobody else may take it.
func TestANewConnectionLooksForMarkedJobs(t *testing.T) {
	b := newBench(t, nil)
	if err := b.s.reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Before it stand the numbers of the records, which tell whether another server answers.
	if n := len(b.s.events); n != 2 || !reflect.DeepEqual(b.s.events[n-1], lookAgain(b.ten.Tenure)) {
		t.Errorf("%v, want one look at the partition", b.s.events)
	}
}
