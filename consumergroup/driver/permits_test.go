package driver

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
	b.mu.Lock()
	defer b.mu.Unlock()
	b.d.lanes.Claimed(0, 1, &job.ClaimPage{Cursor: "0-0", Permits: []job.Permit{{ID: eid(n), Holder: "x@1", Key: key}}}, time.Now())
}

// silent answers no claim.
type silent struct{ *fakeStore }

func (silent) Claim(_ context.Context, ts []job.Tenure, _ []string, _ int, _ []int, _ int) job.Claims {
	errs := make([]error, len(ts))
	for i := range errs {
		errs[i] = job.ErrOutcomeUnknown
	}
	return job.Claims{Pages: make([]job.ClaimPage, len(ts)), Errs: errs}
}

// The hint that a drainer is done is heard once. If the look it leads to is not answered,
// another follows.
func TestALookAtADrainerWithoutAnAnswerIsRepeated(t *testing.T) {
	b := newBench(t)
	b.block(1, "a")
	b.d.reader = silent{b.fake}
	evs := b.d.unblock(t.Context(), []resize.Unblock{{Part: 0, Epoch: 1, ID: "1-0"}}, true)
	if len(evs) != 1 || !b.d.unsure {
		t.Fatalf("%d events, connection in doubt: %v; want one that looks again, and a new connection", len(evs), b.d.unsure)
	}
	m, ok := evs[0].(resize.MessageReceived)
	if !ok || m.Message.Type != resize.TypeUndrained || m.Message.PartEpoch != 1 {
		t.Errorf("%v does not look at the pending list", evs[0])
	}
}

// The server came back with an older state: a job that this worker had claimed and done is
// marked for reclaim again. Nobody says so, and nobody else may take it.
func TestANewConnectionLooksForMarkedJobs(t *testing.T) {
	b := newBench(t)
	b.d.doubt()
	if err := b.d.reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Before it stand the numbers of the records, which tell whether another server answers.
	if n := len(b.d.events); n != 2 || !reflect.DeepEqual(b.d.events[n-1], lookAgain(b.ten.Tenure)) {
		t.Errorf("%v, want one look at the partition", b.d.events)
	}
}
