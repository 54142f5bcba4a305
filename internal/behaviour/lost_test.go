package behaviour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"ringmaster/internal/producing"
	"ringmaster/internal/redisproc"
	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// again repeats a submission until the server takes it.
func (r *rig) again(key string) string {
	r.t.Helper()
	j := job.Job{Type: "t", Key: key, Payload: json.RawMessage(`{"N":0}`), IdempotencyKey: fmt.Sprint(key, time.Now().UnixNano())}
	var id string
	r.until("the server takes a job", func() bool {
		got, errs := r.out.Enqueue(r.ctx, j)
		if errs == nil {
			id = got[0].ID
		}
		return errs == nil
	})
	return id
}

func (r *rig) completed(id string) {
	r.t.Helper()
	r.until("job "+id+" completes", func() bool {
		st, err := r.store.Inspect().Job(r.ctx, r.queue.Name, id)
		return err == nil && st.State == job.Completed
	})
}

// unknown wants a job to be told as lost, by all who ask.
func (r *rig) unknown(what, id string) {
	r.t.Helper()
	if st, err := r.store.Inspect().Job(r.ctx, r.queue.Name, id); !errors.Is(err, job.ErrUnknownJob) || st.State != job.Unknown || !errors.Is(err, job.ErrNotFound) {
		r.t.Errorf("%s: job %s is %q, %v; want unknown", what, id, st.State, err)
	}
	if st, err := r.store.Inspect().WaitJob(r.ctx, r.queue.Name, id, time.Second); !errors.Is(err, job.ErrUnknownJob) {
		r.t.Errorf("%s: whoever waits for %s is told %q, %v", what, id, st.State, err)
	}
}

// TestWhatARestoredServerLostIsUnknown: a server is killed and comes back with an older
// snapshot. What it had acknowledged meanwhile is told as unknown, whoever asks, also after
// later jobs of the partition ran, and a second time; what it has is told as before.
func TestWhatARestoredServerLostIsUnknown(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 2} {
		t.Run(fmt.Sprint(shards, " shards"), func(t *testing.T) {
			server := redistest.Real(t)
			r, rs := newRig(t, server.URL(), streams.Queue{Partitions: 4, Shards: shards}), &runs{}
			r.lead()
			r.start(spec{name: "w", t: rs.by("w", nil)})
			var before, lost [2][]string
			for round := range 2 {
				for p := range r.queue.Partitions {
					id := r.again(r.keysOf(p, 1)[0])
					r.completed(id)
					before[round] = append(before[round], id)
				}
				r.must(r.raw.Save(r.ctx).Err())
				for p := range r.queue.Partitions {
					lost[round] = append(lost[round], r.again(r.keysOf(p, 1)[0]))
				}
				for _, id := range lost[round] {
					r.completed(id)
				}
				server.Kill()
				server.Restart()
				for p := range r.queue.Partitions {
					r.completed(r.again(r.keysOf(p, 1)[0]))
				}
				for past := range round + 1 {
					for i, id := range lost[past] {
						r.unknown(fmt.Sprintf("round %d of %d", past, round), id)
						r.completed(before[past][i])
					}
				}
			}
		})
	}
}

// TestARestartThatLostNothingMakesNothingUnknown: with a whole append-only file every id that
// was given is known, also after many restarts, and what is noted does not grow meanwhile.
func TestARestartThatLostNothingMakesNothingUnknown(t *testing.T) {
	t.Parallel()
	server := redistest.Real(t, "--appendonly", "yes", "--appendfsync", "always")
	r, rs := newRig(t, server.URL(), streams.Queue{Partitions: 2}), &runs{}
	r.lead()
	r.start(spec{name: "w", t: rs.by("w", nil)})
	var ids []string
	for p := range 2 {
		ids = append(ids, r.again(r.keysOf(p, 1)[0]))
	}
	for range 3 {
		server.Kill()
		server.Restart()
		ids = append(ids, r.again(r.keysOf(0, 1)[0]))
	}
	for _, id := range ids {
		r.completed(id)
	}
	gaps := r.raw.HGetAll(r.ctx, r.key("gaps")).Val()
	if quiet := len(gaps["1"]); quiet == 0 || quiet > 100 {
		t.Errorf("a partition that nothing was added to: gaps %q, want few", gaps["1"])
	}
}

// TestNoIDIsGivenTwiceWhereTheClockWentBack: the server that comes back has a clock that is
// behind. The ids it gives are above those that are lost, and those are unknown.
func TestNoIDIsGivenTwiceWhereTheClockWentBack(t *testing.T) {
	t.Parallel()
	clock, err := redisproc.NewClock(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server, err := redisproc.Start(t.Context(), clock.Options(redisproc.Options{Dir: t.TempDir()}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Kill() })
	r, rs := newRig(t, server.URL(), streams.Queue{Partitions: 1}), &runs{}
	r.lead()
	r.start(spec{name: "w", t: rs.by("w", nil)})
	r.completed(r.again("a"))
	r.must(r.raw.Save(r.ctx).Err())
	lost := r.again("a")
	r.must(server.Kill())
	r.must(clock.Step(-40 * time.Second))
	r.must(server.Restart(t.Context()))
	next := r.again("a")
	r.completed(next)
	old, _ := job.ParseID(lost)
	if id, _ := job.ParseID(next); !old.Entry.Less(id.Entry) {
		t.Errorf("%s was lost, and %s given after it", lost, next)
	}
	r.unknown("clock back", lost)
}

// TestCallIsNotToldOfAJobThatNeverRan: a call's job is lost with the server's last writes while
// others of its partition run. The call hands it in again, and is answered when it has run.
func TestCallIsNotToldOfAJobThatNeverRan(t *testing.T) {
	server, err := redisproc.StartPowerCut(t.Context(), redisproc.Options{Dir: t.TempDir(), Args: []string{"--appendonly", "yes", "--appendfsync", "no"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Kill() })
	r, rs := newRig(t, server.URL(), streams.Queue{Partitions: 1}), &runs{}
	r.lead()
	const called = `"called"`
	ran := make(chan struct{}, 10)
	work := rs.by("w", nil)
	handler := func(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
		if string(d.Payload) == called {
			ran <- struct{}{}
			return nil, nil
		}
		return work(ctx, d)
	}
	r.must(r.raw.ConfigSet(r.ctx, "appendfsync", "always").Err())
	r.again("a") // the queue is on the disk
	r.must(r.raw.ConfigSet(r.ctx, "appendfsync", "no").Err())
	ended := make(chan error, 1)
	go func() {
		st, err := producing.Call(r.ctx, r.open(""), r.queue.Name, job.Job{Type: "t", Key: "b", Payload: json.RawMessage(called)}, nil)
		if err == nil && st.State != job.Completed {
			err = fmt.Errorf("state %s", st.State)
		}
		ended <- err
	}()
	r.until("the call's job is in", func() bool { return r.raw.XLen(r.ctx, r.key("jobs:0")).Val() == 2 })
	first := r.raw.XRevRangeN(r.ctx, r.key("jobs:0"), "+", "-", 1).Val()[0].ID
	lost, err := server.Cut()
	r.must(err)
	if lost == 0 {
		t.Fatal("nothing was lost: the test shows nothing")
	}
	r.must(server.Restart(t.Context()))
	// The call may have handed its job in once more by now, under another id.
	if r.raw.XLen(r.ctx, r.key("jobs:0")).Val() == 0 || len(r.raw.XRange(r.ctx, r.key("jobs:0"), first, first).Val()) > 0 {
		t.Fatal("after the power cut the call's job is there, or the queue is not")
	}
	r.again("a")
	r.start(spec{name: "w", t: handler})
	r.must(receive(r, ended, "the call"))
	select {
	case <-ran:
	default:
		t.Error("the call was told that its job has completed, and it never ran")
	}
}

// TestAProducerThatIsFirstHidesNothing: nobody but a producer has met the server that came back
// when it adds the next job. What was lost before that is unknown all the same.
func TestAProducerThatIsFirstHidesNothing(t *testing.T) {
	server := redistest.Real(t)
	r := newRig(t, server.URL(), streams.Queue{Partitions: 1})
	r.again("a")
	r.must(r.raw.Save(r.ctx).Err())
	lost := r.again("a")
	server.Kill()
	server.Restart()
	next := r.again("a")
	rs := &runs{}
	r.lead()
	r.start(spec{name: "w", t: rs.by("w", nil)})
	r.completed(next)
	r.unknown("the producer was first", lost)
}
