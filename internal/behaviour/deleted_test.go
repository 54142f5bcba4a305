package behaviour

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"ringmaster/internal/producing"
	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// TestACallIsNotToldThatADeletedJobCompleted: its idempotency key still names the id, so that the job
// cannot be handed in again under it.
func TestACallIsNotToldThatADeletedJobCompleted(t *testing.T) {
	r, rs := newRig(t, redistest.Real(t).URL(), streams.Queue{Partitions: 1}), &runs{}
	payload := func(n string) json.RawMessage { return json.RawMessage(`{"N":` + n + `}`) }
	gone := job.Job{Type: "t", Key: "k", Payload: payload("0"), IdempotencyKey: "once"}
	id := r.sendJobs(gone)[0]
	r.must(r.raw.XDel(r.ctx, r.key("jobs:0"), strings.TrimPrefix(id, "0-")).Err())
	if _, err := r.store.Inspect().Job(r.ctx, "q", id); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("before anybody owns its partition: %v", err)
	}
	r.lead()
	r.start(spec{name: "w", t: rs.by("w", nil)})
	r.completed(r.sendJobs(job.Job{Type: "t", Key: "k", Payload: payload("1")})[0])
	st, err := producing.Call(r.ctx, r.store, "q", gone, nil)
	if !errors.Is(err, job.ErrUnknownJob) || st.State != job.Unknown || st.ID != id {
		t.Errorf("the call: %+v, %v", st, err)
	}
}
