package driver

import (
	"context"
	"fmt"
	"testing"

	"ringmaster/job"
	"ringmaster/resize"
)

// batch answers each claim of a round trip in its own way, and brings a job along.
type batch struct{ *fakeStore }

func (f *batch) Claim(_ context.Context, ts []job.Tenure, _ []string, _ int, _ []int, _ int) job.Claims {
	out := job.Claims{Pages: make([]job.ClaimPage, len(ts)), Errs: make([]error, len(ts))}
	for i, t := range ts {
		switch t.Partition {
		case 1:
			out.Pages[i].Fenced = true
		case 2:
			out.Errs[i] = job.ErrOutcomeUnknown
		default:
			out.Pages[i] = job.ClaimPage{Cursor: "0-0", Entries: []job.Entry{{ID: eid(7), Type: "t", Key: fmt.Sprint(t.Partition), Payload: []byte("null")}}}
		}
	}
	out.Along.Jobs = []job.PartitionEntries{{Partition: 0, Entries: []job.Entry{entry(1, "k")}}}
	return out
}

// Many partitions are claimed in one round trip. One that is refused, or not answered, says nothing of
// the others, and what came along is taken in all the same.
func TestARefusedClaimSaysNothingOfTheOthers(t *testing.T) {
	b := newBench(t)
	b.d.reader = &batch{b.fake}
	var as []resize.ClaimPartition
	for part := 1; part <= 4; part++ {
		as = append(as, resize.ClaimPartition{Part: part, Epoch: 1, First: true})
	}
	want := []resize.ClaimOutcome{resize.ClaimFenced, resize.ClaimUnknown, resize.ClaimOK, resize.ClaimOK}
	for i, ev := range b.d.claim(t.Context(), as, true) {
		if a := ev.(resize.ClaimAnswered); a.Part != as[i].Part || a.Outcome != want[i] {
			t.Errorf("claim of %d: %+v, want outcome %v", as[i].Part, a, want[i])
		}
	}
	for part := 3; part <= 4; part++ {
		if n := b.d.lanes.At(part).LastRead; n != eid(7) {
			t.Errorf("partition %d: its page was not taken in", part)
		}
	}
	if !b.d.unsure {
		t.Error("a claim without an answer, and no doubt")
	}
	if b.ten.LastRead != eid(1) {
		t.Error("the job that came along was not taken in")
	}
}
