package behaviour

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ringmaster/internal/doctor"
	"ringmaster/internal/producing"
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
func (r *rig) onlyFinding(check string) doctor.Finding {
	r.t.Helper()
	found, err := doctor.Examine(r.ctx, r.store, quickDoctor())
	if err != nil || len(found) != 1 || found[0].Check != check || found[0].Severity != doctor.SeverityWarning {
		r.t.Fatalf("want one warning %q: %+v, %v", check, found, err)
	}
	treated, err := doctor.Treat(r.ctx, r.store, quickDoctor(), r.log)
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
		st, err := r.store.Inspect().Job(r.ctx, "q", id)
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
	found, err := doctor.Examine(r.ctx, r.store, quickDoctor())
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
	found, err := doctor.Examine(r.ctx, r.store, quickDoctor())
	var got []string
	for _, f := range found {
		got = append(got, f.Check)
	}
	if want := "[no live worker no leader dead member]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v, want %s: %+v, %v", got, want, found, err)
	}
}

func TestADeadWorkerOwnsAndRunsNothingInAnyView(t *testing.T) {
	r, id := lastKilled(t)
	const why = "queue q has no live worker: start one"
	st, err := r.store.Inspect().Job(r.ctx, "q", id)
	if err != nil || st.State != job.Waiting || !strings.Contains(st.Why, why) {
		t.Errorf("job: %+v, %v", st, err)
	}
	k, err := r.store.Inspect().Key(r.ctx, "q", "k")
	if err != nil || k.Owner != "-" || k.Head == nil || k.Head.State != job.Waiting || !strings.Contains(k.Why, why) {
		t.Errorf("key: %+v, %v", k, err)
	}
	q, err := r.store.Inspect().QueueView(r.ctx, "q")
	if err != nil || q.Owned != 0 || q.Members != 0 {
		t.Errorf("queue: %+v, %v", q, err)
	}
	ring, err := r.store.Inspect().RingView(r.ctx, "q")
	if err != nil || len(ring.Partitions) != 64 || ring.Partitions[7].Owner != "-" {
		t.Errorf("ring: %+v, %v", ring, err)
	}
}

// lines gives the lines that a logger writes.
func lines(t *testing.T) (*slog.Logger, func(part string) string) {
	out, in := io.Pipe()
	got := make(chan string, 1000)
	go func() { // ends with the pipe
		defer close(got)
		for s := bufio.NewScanner(out); s.Scan(); {
			got <- s.Text()
		}
	}()
	t.Cleanup(func() { _ = in.Close() })
	return slog.New(slog.NewTextHandler(in, nil)), func(part string) string {
		t.Helper()
		limit := time.NewTimer(30 * time.Second)
		defer limit.Stop()
		for {
			select {
			case line := <-got:
				if strings.Contains(line, part) {
					return line
				}
			case <-limit.C:
				t.Fatalf("waited in vain for a line with %q", part)
			}
		}
	}
}

func TestAWorkerSaysWhatItWaitsForAndIsReadyWhenItOwnsItsShare(t *testing.T) {
	log, await := lines(t)
	r := newRig(t, redistest.Mini(t).URL(), streams.Queue{Partitions: 8})
	quiet := r.log
	r.log = log
	w := r.start(spec{name: "w", t: held})
	if line := await(`msg="not ready"`); !strings.Contains(line, "partitions=0") || !strings.Contains(line, "no dispatcher leads the ring of this queue: start one") {
		t.Error(line)
	}
	r.log = quiet
	r.lead()
	if line := await("msg=ready"); !strings.Contains(line, "partitions=8") || !strings.Contains(line, "incarnation=w.") {
		t.Error(line)
	}
	w.kill()
	<-w.ended
}

func TestAWaitWithAShortDeadlineAnswersTheLastStateAndTheID(t *testing.T) {
	r := newRig(t, redistest.Mini(t).URL(), streams.Queue{Partitions: 2})
	r.lead()
	r.start(spec{name: "w", t: held})
	r.settled("w")
	id := r.send("k", 1)[0]
	r.until("the job runs", func() bool {
		st, err := r.store.Inspect().Job(r.ctx, "q", id)
		return err == nil && st.State == job.Running
	})
	ctx, cancel := context.WithTimeout(r.ctx, 300*time.Millisecond)
	defer cancel()
	st, err := producing.Await(ctx, r.store, "q", id, producing.Waiting{})
	if !errors.Is(err, context.DeadlineExceeded) || st.ID != id || st.State != job.Running {
		t.Errorf("%+v, %v", st, err)
	}
	if st, err = producing.Await(ctx, r.store, "q", id, producing.Waiting{}); !errors.Is(err, context.DeadlineExceeded) || st.ID != id {
		t.Errorf("that was over before it began: %+v, %v", st, err)
	}
	ctx, cancel = context.WithTimeout(r.ctx, 300*time.Millisecond)
	defer cancel()
	st, err = producing.Call(ctx, r.store, "q", job.Job{Type: "t", Key: "other", Payload: json.RawMessage(`1`)}, nil)
	if !errors.Is(err, context.DeadlineExceeded) || st.ID == "" || st.State != job.Running {
		t.Errorf("call: %+v, %v", st, err)
	}
}
