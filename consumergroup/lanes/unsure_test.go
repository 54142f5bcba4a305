package lanes

import (
	"testing"

	"ringmaster/job"
)

// The first page was claimed, and its answer lost. Of what it took the own pending list
// tells, but not which keys have jobs that are set aside: those come first.
func TestParkedJobsComeFirstAlsoWhenTheFirstPageWasLost(t *testing.T) {
	b := newBench(t, nil)
	parked := []job.ParkedKey{{Key: "k", First: eid(10)}}
	ten, _ := b.s.Claim(1, 5, true)
	b.s.Merge(ten, []job.Entry{entry(12, "k")}, b.now)
	_, cursor := b.s.Claim(1, 5, true)
	page := &job.ClaimPage{Cursor: "0-0", Parked: parked}
	if cursor == job.ClaimAll {
		page.Entries = []job.Entry{entry(12, "k")}
	}
	b.s.Claimed(1, 5, page, b.now)
	b.s.SetGate(1, 5, true, b.now)
	b.s.StartOpened(b.now)
	b.mustNotStart()
	if got := ids(b.answer(job.ByOwner)); got != "P12" {
		t.Fatalf("parked %q, want what came after the others", got)
	}
	b.readerTurn(func(int) job.UnparkPage {
		return job.UnparkPage{Entries: []job.Entry{entry(10, "k"), entry(12, "k")}}
	})
	b.complete(b.mustStart(10))
	b.complete(b.mustStart(12))
}
