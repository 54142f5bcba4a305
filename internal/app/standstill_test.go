package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// held is a handler that does not return before its context ends.
func held(ctx context.Context, _ job.Delivery) (json.RawMessage, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// onlyFinding wants one open finding, of that kind, and that to mend is to try nothing.
func (r *rig) onlyFinding(check string) Finding {
	r.t.Helper()
	found, err := Examine(r.ctx, r.store, quickDoctor())
	if err != nil || len(found) != 1 || found[0].Check != check || found[0].Severity != SeverityWarning {
		r.t.Fatalf("want one warning %q: %+v, %v", check, found, err)
	}
	treated, err := Treat(r.ctx, r.store, quickDoctor(), r.log)
	if err != nil || len(treated) != 1 || treated[0].Check != check || treated[0].Mended || treated[0].Done != "" {
		r.t.Errorf("nothing can be mended here: %+v, %v", treated, err)
	}
	return found[0]
}

// lastKilled is a queue of 64 partitions whose only worker was killed while it ran a job of key k.
func lastKilled(t *testing.T) (*rig, string) {
	r := newRig(t, redistest.Real(t, "--appendonly", "yes").URL(), streams.Queue{Partitions: 64})
	r.lead()
	w := r.start(spec{name: "w", t: held})
	r.settled("w")
	id := r.send("k", 1)[0]
	r.until("the job runs", func() bool {
		st, err := r.store.Job(r.ctx, "q", id)
		return err == nil && st.State == job.Running
	})
	w.kill()
	r.until("the worker is evicted", func() bool { return r.raw.HLen(r.ctx, r.key("members")).Val() == 0 })
	return r, id
}

func TestTheLastWorkerIsKilledAndTheDoctorSaysSoOnce(t *testing.T) {
	r, _ := lastKilled(t)
	f := r.onlyFinding("no live worker")
	if !strings.Contains(f.Finding, "in 1 of 64 partitions") || !strings.Contains(f.Remedy, "start a worker") {
		t.Errorf("%+v", f)
	}
}

func TestTwoWorkersStopTogetherAndLeaveNoPlanForEver(t *testing.T) {
	r := newRig(t, redistest.Real(t, "--appendonly", "yes").URL(), streams.Queue{Partitions: 64})
	r.lead()
	a, b := r.start(spec{name: "a", t: held}), r.start(spec{name: "b", t: held})
	r.settled("a", "b")
	a.stop()
	b.stop()
	r.must(a.wait())
	r.must(b.wait())
	found, err := Examine(r.ctx, r.store, quickDoctor())
	if err != nil || len(found) > 0 {
		t.Errorf("nobody waits for anything: %+v, %v", found, err)
	}
	r.send("k", 1)
	r.onlyFinding("no live worker")
}

func TestNobodyLivesAndNobodyLeads(t *testing.T) {
	r := newRig(t, redistest.Real(t, "--appendonly", "yes").URL(), streams.Queue{Partitions: 8})
	stop := r.lead()
	w := r.start(spec{name: "w", t: held})
	r.settled("w")
	r.send("", 20)
	stop()
	w.kill()
	r.until("the lease is over", func() bool {
		keys, err := r.raw.Keys(r.ctx, r.key("alive:*")).Result()
		return err == nil && len(keys) == 0
	})
	found, err := Examine(r.ctx, r.store, quickDoctor())
	var got []string
	for _, f := range found {
		got = append(got, f.Check)
	}
	if want := "[no live worker no leader dead member]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v, want %s: %+v, %v", got, want, found, err)
	}
}
