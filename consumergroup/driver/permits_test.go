package consumergroup

import (
	"context"
	"reflect"
	"testing"
	"time"

	"ringmaster/job"
	"ringmaster/resize"
)

// block lets a former owner run a job.
func (b *bench) block(n int, key string) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.s.lanes.Claimed(0, 1, &job.ClaimPage{Cursor: "0-0", Permits: []job.Permit{{ID: eid(n), Holder: "x@1", Key: key}}}, time.Now())
}

// silent answers no claim.
type silent struct{ *fakeServer }

func (silent) Claim(_ context.Context, ts []job.Tenure, _ []string, _ int, _ []int, _ int) ([]job.ClaimPage, []error) {
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
	b.block(1, "a")
	b.s.reader = silent{b.fake}
	evs := b.s.unblock(t.Context(), []resize.Unblock{{Part: 0, Epoch: 1, ID: "1-0"}}, true)
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
	b.s.doubt()
	if err := b.s.reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Before it stand the numbers of the records, which tell whether another server answers.
	if n := len(b.s.events); n != 2 || !reflect.DeepEqual(b.s.events[n-1], lookAgain(b.ten.Tenure)) {
		t.Errorf("%v, want one look at the partition", b.s.events)
	}
}
