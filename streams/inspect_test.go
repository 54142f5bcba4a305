package streams

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"ringmaster/internal/faultproxy"
	"ringmaster/job"
)

func TestJobGoesThroughItsStates(t *testing.T) {
	eachScene(t, Queue{Partitions: 2}, func(sc *scene) {
		id := sc.enqueue(job.Job{Type: "a", Key: "k", Payload: []byte(`1`)})
		want := func(state job.State, attempts int) job.Status {
			sc.t.Helper()
			st := sc.status(id)
			if st.State != state || st.Attempts != attempts || st.ID != id.String() || st.EnqueuedAt == nil {
				sc.t.Fatalf("want %s after %d attempts, got %s", state, attempts, asJSON(st))
			}
			return st
		}
		want(job.Waiting, 0)
		sc.read(id)
		if st := want(job.Running, 1); st.Type != "a" || st.Key != "k" {
			sc.t.Fatal(asJSON(st))
		}
		sc.end(id, job.Completion{Outcome: job.Failed, Attempt: 1, Key: "k", Type: "a", Data: job.RetryRecord{Attempts: 1, Error: "boom"}.String()})
		if st := want(job.Retrying, 1); st.Error != "boom" {
			sc.t.Fatal(asJSON(st))
		}
		sc.end(id, job.Completion{Outcome: job.Done, Attempt: 2, Key: "k", Type: "a", HasRetry: true,
			Data: `{"type":"a","key":"k","attempts":2,"result":{"x":1},"finished_at":"2026-01-02T03:04:05.678Z"}`})
		st := want(job.Completed, 2)
		if string(st.Result) != `{"x":1}` || st.FinishedAt == nil || st.FinishedAt.Nanosecond() != 678e6 || st.Key != "k" {
			sc.t.Fatal(asJSON(st))
		}
	})
}

func TestJobWithoutRecordHasCompleted(t *testing.T) {
	eachScene(t, Queue{Partitions: 1}, func(sc *scene) {
		id := sc.enqueue(job.Job{Type: "a"})
		sc.read(id)
		sc.end(id, job.Completion{Outcome: job.Done, Attempt: 1, Type: "a"})
		if st := sc.status(id); st.State != job.Completed || st.Attempts != 1 || st.Result != nil || st.FinishedAt != nil {
			sc.t.Fatal(asJSON(st))
		}
		above := job.ID{Entry: job.EntryID{Ms: id.Entry.Ms + 1}}
		old := job.ID{Entry: job.EntryID{Ms: 1, Seq: 1}}
		for _, bad := range []string{above.String(), old.String(), "7-1-1", "0-18446744073709551615-0"} {
			if _, err := sc.s.Inspect().Job(sc.ctx, sceneQueue, bad); !errors.Is(err, job.ErrNotFound) {
				sc.t.Errorf("%s: %v", bad, err)
			}
		}
		for _, bad := range []string{"", "abc", "1-1-1-1", "1-1", "-1-1-1", "0-18446744073709551616-0", "01-1-1"} {
			if _, err := sc.s.Inspect().Job(sc.ctx, sceneQueue, bad); !errors.Is(err, job.ErrInvalid) {
				sc.t.Errorf("%q: %v", bad, err)
			}
		}
		if _, err := sc.s.Inspect().Job(sc.ctx, "other", id.String()); !errors.Is(err, job.ErrNotFound) {
			sc.t.Error(err)
		}
	})
}

func TestJobOfAFormerOwner(t *testing.T) {
	eachScene(t, Queue{Partitions: 1}, func(sc *scene) {
		id := sc.enqueue(job.Job{Type: "a", Key: "k"})
		sc.read(id)
		_, err := sc.ring.Evict(sc.ctx, sc.term, sc.inc, "decided", 0, 0, 0, 0, "")
		must(sc.t, err)
		m := sc.s.NewMember(sc.q, job.MemberInfo{Incarnation: "v.1", Name: "v"}, time.Minute)
		_, err = m.Join(sc.ctx)
		must(sc.t, err)
		sc.giveAll("v.1", sc.inc, 1)
		if st := sc.status(id); st.State != job.Waiting {
			sc.t.Errorf("marked for reclaim: %s", asJSON(st))
		}
		v, err := sc.s.Inspect().Key(sc.ctx, sceneQueue, "k")
		must(sc.t, err)
		if v.Head == nil || v.Head.State != job.Waiting || v.Why != "it comes from a former owner; v.1 takes it over next" {
			sc.t.Error(asJSON(v))
		}
	})
}

// One job of a key at a time: those that a worker holds behind it wait.
func TestJobBehindAnotherOfItsKey(t *testing.T) {
	eachScene(t, Queue{Partitions: 1}, func(sc *scene) {
		for range 2 * behindPage { // the key's jobs are not on the first page
			sc.enqueue(job.Job{Type: "a"})
		}
		a := sc.enqueue(job.Job{Type: "a", Key: "k"})
		b := sc.enqueue(job.Job{Type: "a", Key: "k"})
		sc.read(a)
		if st := sc.status(a); st.State != job.Running || st.Attempts != 1 {
			sc.t.Error(asJSON(st))
		}
		if st := sc.status(b); st.State != job.Waiting || st.Attempts != 0 {
			sc.t.Error(asJSON(st))
		}
		if st, err := sc.s.Inspect().WaitJob(sc.ctx, sceneQueue, b.String(), time.Millisecond); err != nil || st.State != job.Waiting {
			sc.t.Error(asJSON(st), err)
		}
		sc.end(a, job.Completion{Outcome: job.Done, Attempt: 1, Type: "a", Key: "k"})
		if st := sc.status(b); st.State != job.Running || st.Attempts != 1 {
			sc.t.Error(asJSON(st))
		}
	})
}

func TestJobParked(t *testing.T) {
	eachScene(t, Queue{Partitions: 1}, func(sc *scene) {
		a := sc.enqueue(job.Job{Type: "a", Key: "k"})
		b := sc.enqueue(job.Job{Type: "a", Key: "k"})
		sc.read(a)
		sc.end(b, job.Completion{Outcome: job.Parked, Key: "k", Type: "a"})
		if st := sc.status(b); st.State != job.Waiting || st.Attempts != 0 {
			sc.t.Error(asJSON(st))
		}
		v, err := sc.s.Inspect().QueueView(sc.ctx, sceneQueue)
		must(sc.t, err)
		if v.Parked != 1 || v.Pending != 1 || v.Waiting != 0 {
			sc.t.Error(asJSON(v))
		}
	})
}

func TestJobOfHandWrittenRecords(t *testing.T) {
	eachScene(t, Queue{Partitions: 1}, func(sc *scene) {
		id := sc.enqueue(job.Job{Type: "a", Key: "k"})
		sc.read(id)
		result, dead, retry := sc.key(0, "result:"+id.String()), sc.key(0, "dead:0"), sc.key(0, "retry:0")
		for _, junk := range []string{"", "x", "null", "[]", `{"attempts":"x"}`, `{"attempts":-5}`, "\xff", `{"requeued_as":"0-0-0-0"}`, `{"requeued_as":"` + id.String() + `"}`} {
			must(sc.t, sc.raw.Set(sc.ctx, result, junk, 0).Err())
			must(sc.t, sc.raw.HSet(sc.ctx, retry, id.Entry.String(), junk).Err())
			if st := sc.status(id); st.State != job.Running {
				sc.t.Errorf("retry record %q: %s", junk, asJSON(st))
			}
			must(sc.t, sc.raw.HSet(sc.ctx, dead, id.String(), junk).Err())
			if st := sc.status(id); junk != "" && st.State != job.Dead {
				sc.t.Errorf("dead letter %q: %s", junk, asJSON(st))
			}
			_, err := sc.s.Inspect().DeadLetters(sc.ctx, sceneQueue, 0)
			must(sc.t, err)
			must(sc.t, sc.raw.Del(sc.ctx, dead, retry).Err())
		}
		sc.end(id, job.Completion{Outcome: job.Done, Attempt: 1, Type: "a"})
		for _, junk := range []string{"x", "[]", `{"attempts":-5}`} {
			must(sc.t, sc.raw.Set(sc.ctx, result, junk, 0).Err())
			if st := sc.status(id); st.State != job.Completed || st.Attempts != 1 || st.Result != nil {
				sc.t.Errorf("result %q: %s", junk, asJSON(st))
			}
		}
		// A group that is not the owner's says nothing: here one that was handed everything.
		must(sc.t, sc.raw.Del(sc.ctx, result).Err())
		later := sc.enqueue(job.Job{Type: "a", Key: "k"})
		must(sc.t, sc.raw.XGroupCreate(sc.ctx, sc.key(0, "jobs:0"), "zz", later.Entry.String()).Err())
		if st := sc.status(later); st.State != job.Waiting {
			sc.t.Errorf("with a foreign group: %s", asJSON(st))
		}
		// Other types than ours count as absent.
		must(sc.t, sc.raw.Del(sc.ctx, result).Err())
		for _, k := range []string{result, dead, retry, sc.key(0, "parked:0"), sc.key(0, "parked:0:k")} {
			must(sc.t, sc.raw.SAdd(sc.ctx, k, "x").Err())
		}
		if st := sc.status(id); st.State != job.Completed {
			sc.t.Error(asJSON(st))
		}
		must(sc.t, sc.raw.HSet(sc.ctx, sc.key(0, "owner"), "0", "nonsense").Err())
		if st := sc.status(id); st.State != job.Completed {
			sc.t.Error(asJSON(st))
		}
		_, err := sc.s.Inspect().QueueView(sc.ctx, sceneQueue)
		must(sc.t, err)
		_, err = sc.s.Inspect().Key(sc.ctx, sceneQueue, "k")
		must(sc.t, err)
	})
}

func TestWaitJob(t *testing.T) {
	eachScene(t, Queue{Partitions: 1}, func(sc *scene) {
		id := sc.enqueue(job.Job{Type: "a"})
		st, err := sc.s.Inspect().WaitJob(sc.ctx, sceneQueue, id.String(), 20*time.Millisecond)
		if err != nil || st.State != job.Waiting {
			sc.t.Fatalf("%s %v", asJSON(st), err)
		}
		got := make(chan job.Status, 1)
		go func() {
			st, err := sc.s.Inspect().WaitJob(sc.ctx, sceneQueue, id.String(), 20*time.Second)
			if err != nil {
				st.Error = err.Error()
			}
			got <- st
		}()
		sc.read(id)
		sc.end(id, job.Completion{Outcome: job.Done, Attempt: 1, Type: "a"})
		if st := <-got; st.State != job.Completed {
			sc.t.Fatal(asJSON(st))
		}
		ctx, cancel := context.WithCancel(sc.ctx)
		cancel()
		if _, err := sc.s.Inspect().WaitJob(ctx, sceneQueue, id.String(), time.Minute); !errors.Is(err, context.Canceled) {
			sc.t.Error(err)
		}
	})
}

// Nothing is kept of a job without a result. Who saw it before it ended knows more.
func TestWaitJobKeepsWhatItSaw(t *testing.T) {
	eachScene(t, Queue{Partitions: 1}, func(sc *scene) {
		proxy := faultproxy.New(sc.t, sc.raw.Options().Addr)
		s := openStore(sc.t, proxy.URL())
		id := sc.enqueue(job.Job{Type: "a", Key: "k"})
		sc.read(id)
		_, hash := sc.s.text(&sc.s.scripts.state.lua)
		first, second := proxy.Hold(hash, 1), proxy.Hold(hash, 1)
		got := make(chan string, 1)
		go func() {
			st, err := s.Inspect().WaitJob(sc.ctx, sceneQueue, id.String(), 20*time.Second)
			got <- fmt.Sprintf("%s of type %q and key %q, %v", st.State, st.Type, st.Key, err)
		}()
		<-first.Fired()
		first.Release()
		<-second.Fired()
		sc.end(id, job.Completion{Outcome: job.Done, Attempt: 1, Type: "a", Key: "k"})
		second.Release()
		if st := <-got; st != `completed of type "a" and key "k", <nil>` {
			sc.t.Error(st)
		}
	})
}

// A server that is not reached any more when the time is over takes nothing back.
func TestWaitJobTellsTheLastLookWhenTheServerIsAway(t *testing.T) {
	eachScene(t, Queue{Partitions: 1}, func(sc *scene) {
		proxy := faultproxy.New(sc.t, sc.raw.Options().Addr)
		s := openStore(sc.t, proxy.URL())
		id := sc.enqueue(job.Job{Type: "a", Key: "k"})
		sc.read(id)
		_, hash := sc.s.text(&sc.s.scripts.key.lua)
		cut := proxy.Cut(hash, 100)
		st, err := s.Inspect().WaitJob(sc.ctx, sceneQueue, id.String(), 20*time.Millisecond)
		if err != nil || st.State != job.Running {
			sc.t.Error(asJSON(st), err)
		}
		select {
		case <-cut.Fired():
		default:
			sc.t.Error("the head of the key was not asked for")
		}
	})
}

func TestRequeueDead(t *testing.T) {
	eachScene(t, Queue{Partitions: 2}, func(sc *scene) {
		id := sc.enqueue(job.Job{Type: "a", Key: "k", Payload: []byte(`{"n":1}`)})
		sc.read(id)
		sc.end(id, job.Completion{Outcome: job.Buried, Attempt: 3, Key: "k", Type: "a", HasRetry: true,
			Data: `{"type":"a","key":"k","payload":{"n":1},"attempts":3,"error":"no","died_at":"2026-01-02T03:04:05Z"}`})
		if st := sc.status(id); st.State != job.Dead || st.Attempts != 3 || st.Error != "no" || st.FinishedAt == nil {
			sc.t.Fatal(asJSON(st))
		}
		letters, err := sc.s.Inspect().DeadLetters(sc.ctx, sceneQueue, 10)
		must(sc.t, err)
		if len(letters) != 1 || letters[0].ID != id.String() || letters[0].Partition != id.Partition || string(letters[0].Payload) != `{"n":1}` {
			sc.t.Fatal(asJSON(letters))
		}
		first, err := sc.s.RequeueDead(sc.ctx, sceneQueue, id.String())
		must(sc.t, err)
		again, err := sc.s.RequeueDead(sc.ctx, sceneQueue, id.String())
		must(sc.t, err)
		if first.ID == id.String() || again.ID != first.ID || first.Duplicate || !again.Duplicate || first.Partition != id.Partition {
			sc.t.Fatalf("%+v %+v", first, again)
		}
		if st := sc.status(id); st.State != job.Waiting || st.ID != first.ID {
			sc.t.Errorf("the old id leads to the new one: %s", asJSON(st))
		}
		sc.read(id)
		fresh, err := job.ParseID(first.ID)
		must(sc.t, err)
		sc.end(fresh, job.Completion{Outcome: job.Buried, Attempt: 1, Data: `{"type":"a","key":"k","attempts":1,"error":"again"}`})
		must(sc.t, sc.s.RemoveDead(sc.ctx, sceneQueue, first.ID))
		if err := sc.s.RemoveDead(sc.ctx, sceneQueue, first.ID); !errors.Is(err, job.ErrNotFound) {
			sc.t.Error(err)
		}
		if st := sc.status(id); st.State != job.Dead || st.Error != "again" {
			sc.t.Error(asJSON(st))
		}
		if _, err := sc.s.RequeueDead(sc.ctx, sceneQueue, first.ID); !errors.Is(err, job.ErrNotFound) {
			sc.t.Error(err)
		}
	})
}

func TestRequeueRefusesWhatWouldDieAgain(t *testing.T) {
	eachScene(t, Queue{Partitions: 2}, func(sc *scene) {
		p := job.PartitionOf("k", 2)
		id := strconv.Itoa(p) + "-5-0"
		for _, raw := range []string{"x", `{"type":"a","raw":["type","a","type","b"],"error":"field is repeated"}`, `{"key":"k"}`, `{"type":"a","key":"other","payload":{}}`} {
			if raw[0] == '{' && job.PartitionOf("other", 2) == p {
				continue
			}
			must(sc.t, sc.raw.HSet(sc.ctx, sc.key(p, "dead:"+strconv.Itoa(p)), id, raw).Err())
			if _, err := sc.s.RequeueDead(sc.ctx, sceneQueue, id); !errors.Is(err, job.ErrConflict) {
				sc.t.Errorf("%s: %v", raw, err)
			}
		}
	})
}
