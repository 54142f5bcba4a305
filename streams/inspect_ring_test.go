package streams

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ringmaster/job"
)

func TestRingView(t *testing.T) {
	eachScene(t, Queue{Partitions: 3, Shards: 2}, func(sc *scene) {
		must(sc.t, sc.raw.HSet(sc.ctx, sc.key(0, "members"), "broken.9", "}{").Err())
		v, err := sc.s.Inspect().RingView(sc.ctx, sceneQueue)
		must(sc.t, err)
		want := `{"queue":"q","epoch":1,"phase":0,"mode":"key","leader":"d1","members":[` +
			`{"name":"broken","incarnation":"broken.9","state":"unknown","weight":0},{"name":"w","incarnation":"w.1","state":"up","weight":1}],"partitions":[` +
			`{"partition":0,"owner":"w.1","epoch":1,"pending":0,"draining":0},{"partition":1,"owner":"w.1","epoch":1,"pending":0,"draining":0},` +
			`{"partition":2,"owner":"w.1","epoch":1,"pending":0,"draining":0}]}`
		if got := asJSON(v); got != want {
			sc.t.Errorf("got  %s\nwant %s", got, want)
		}
		if _, err := sc.s.Inspect().RingView(sc.ctx, "nope"); !errors.Is(err, job.ErrNotFound) {
			sc.t.Error(err)
		}
		if _, err := sc.s.Inspect().RingView(sc.ctx, "no/pe"); !errors.Is(err, job.ErrInvalid) {
			sc.t.Error(err)
		}
	})
}

func TestPermitsShowAsDraining(t *testing.T) {
	eachScene(t, Queue{Partitions: 1}, func(sc *scene) {
		id := sc.enqueue(job.Job{Type: "a", Key: "k"})
		sc.read(id)
		m := sc.s.NewMember(sc.q, job.MemberInfo{Incarnation: "v.1", Name: "v"}, time.Minute)
		_, err := m.Join(sc.ctx)
		must(sc.t, err)
		must(sc.t, sc.ring.WritePlan(sc.ctx, Plan{Term: sc.term, BaseEpoch: 1, Mode: "key", Targets: []string{"v.1"}}))
		out, errs := sc.reader.Release(sc.ctx, []job.Tenure{{Partition: 0, Epoch: 1}}, [][]job.EntryID{{id.Entry}}, false)
		if errs[0] != nil || out[0].Outcome != job.Released {
			sc.t.Fatal(out, errs)
		}
		v, err := sc.s.Inspect().RingView(sc.ctx, sceneQueue)
		must(sc.t, err)
		if p := v.Partitions[0]; p.Owner != "v.1" || p.Epoch != 2 || p.Pending != 1 || p.Draining != 1 {
			sc.t.Errorf("%+v", p)
		}
		if st := sc.status(id); st.State != job.Running {
			sc.t.Error(asJSON(st))
		}
		k, err := sc.s.Inspect().Key(sc.ctx, sceneQueue, "k")
		must(sc.t, err)
		if k.Head == nil || k.Head.Holder != "w.1" || !strings.Contains(k.Why, "w.1, a former owner") {
			sc.t.Error(asJSON(k))
		}
		h, err := sc.s.Inspect().RingHistory(sc.ctx, sceneQueue, 3)
		must(sc.t, err)
		if len(h) != 3 || h[0].Phase != 1 || h[1].Phase != 2 || h[2].Phase != 3 || h[2].Epoch != 2 || h[1].Name != "Master" || h[1].Time.IsZero() {
			sc.t.Error(asJSON(h))
		}
	})
}

func TestRingHistoryOfAnything(t *testing.T) {
	eachScene(t, Queue{Partitions: 2, Shards: 2}, func(sc *scene) {
		for _, data := range []string{"plain \xff text", "", `{"epoch":`} {
			_, err := NewPublisher(sc.s, sc.q).Publish(sc.ctx, map[string]string{"type": "odd", "phase": "x", "epoch": "-1", "data": data})
			must(sc.t, err)
		}
		h, err := sc.s.Inspect().RingHistory(sc.ctx, sceneQueue, 1000)
		must(sc.t, err)
		odd := 0
		for i, e := range h {
			if e.Type == "odd" {
				odd++
			}
			if i > 0 && e.Time.Before(h[i-1].Time) {
				sc.t.Errorf("entry %d is older than the one before", i)
			}
		}
		if odd != 3 || strings.HasPrefix(asJSON(h), "json:") {
			sc.t.Error(asJSON(h))
		}
		if _, err := sc.s.Inspect().RingHistory(sc.ctx, sceneQueue, 0); !errors.Is(err, job.ErrInvalid) {
			sc.t.Error(err)
		}
	})
}

func TestQueueViewCounts(t *testing.T) {
	eachScene(t, Queue{Partitions: 2}, func(sc *scene) {
		var ids []job.ID
		for range 5 {
			ids = append(ids, sc.enqueue(job.Job{Type: "a", Key: "k"}))
		}
		sc.read(ids[0])
		sc.enqueue(job.Job{Type: "a", Key: "k"})
		sc.enqueue(job.Job{Type: "a", Key: "k"})
		// One in the middle ends: it stays in the stream above the oldest unfinished one.
		sc.end(ids[2], job.Completion{Outcome: job.Done, Attempt: 1})
		sc.end(ids[3], job.Completion{Outcome: job.Buried, Attempt: 1, Data: `{"error":"x"}`})
		v, err := sc.s.Inspect().QueueView(sc.ctx, sceneQueue)
		must(sc.t, err)
		if v.Waiting != 2 || v.Pending != 3 || v.Dead != 1 || v.Owned != 2 || v.Members != 1 || v.Leader != "d1" {
			sc.t.Error(asJSON(v))
		}
		k, err := sc.s.Inspect().Key(sc.ctx, sceneQueue, "k")
		must(sc.t, err)
		if k.Head == nil || k.Head.ID != ids[0].String() || k.Head.State != job.Running || k.Waiting != 4 || k.Owner != "w.1" {
			sc.t.Error(asJSON(k))
		}
		all, err := sc.s.Inspect().QueueViews(sc.ctx)
		must(sc.t, err)
		if len(all) != 1 || all[0] != v {
			sc.t.Error(asJSON(all))
		}
	})
}

func TestAQueueThatNobodyServes(t *testing.T) {
	eachScene(t, Queue{Partitions: 1}, func(sc *scene) {
		q, err := sc.s.CreateQueue(sc.ctx, Queue{Name: "fresh", Partitions: 2})
		must(sc.t, err)
		p := sc.s.NewProducer(q)
		defer p.Close()
		r, errs := p.Enqueue(sc.ctx, job.Job{Type: "a", Key: "k"}, job.Job{Type: "a", Key: "k"})
		if errs != nil {
			sc.t.Fatal(errs)
		}
		v, err := sc.s.Inspect().QueueView(sc.ctx, "fresh")
		must(sc.t, err)
		if v.Waiting != 2 || v.Owned != 0 || v.Pending != 0 || v.Leader != "" {
			sc.t.Error(asJSON(v))
		}
		k, err := sc.s.Inspect().Key(sc.ctx, "fresh", "k")
		must(sc.t, err)
		if k.Head == nil || k.Head.ID != r[0].ID || k.Waiting != 1 || k.Owner != "-" || !strings.Contains(k.Why, "nobody owns") {
			sc.t.Error(asJSON(k))
		}
	})
}

func TestADamagedQueueDoesNotHideOthers(t *testing.T) {
	eachScene(t, Queue{Partitions: 1}, func(sc *scene) {
		bad, err := sc.s.CreateQueue(sc.ctx, Queue{Name: "bad", Partitions: 1})
		must(sc.t, err)
		members := sc.s.shard(bad, 0) + "members"
		must(sc.t, sc.raw.Set(sc.ctx, members, "a string", 0).Err())
		must(sc.t, sc.raw.HSet(sc.ctx, "rm:queues", "worse", "}{").Err())
		all, err := sc.s.Inspect().QueueViews(sc.ctx)
		must(sc.t, err)
		if len(all) != 2 || all[0].Queue != "bad" || all[0].Error == "" || all[1].Error != "" || all[1].Members != 1 {
			sc.t.Error(asJSON(all))
		}
		ws, err := sc.s.Inspect().Workers(sc.ctx, "")
		must(sc.t, err)
		if len(ws) != 1 {
			sc.t.Error(asJSON(ws))
		}
		if _, err := sc.s.Inspect().RingView(sc.ctx, "bad"); err == nil || IsUnreachable(err) {
			sc.t.Error(err)
		}
	})
}

func TestWaitingBeyondTheScan(t *testing.T) {
	eachScene(t, Queue{Partitions: 1}, func(sc *scene) {
		jobs := make([]job.Job, 400)
		for i := range jobs {
			jobs[i] = job.Job{Type: "a"}
		}
		p := sc.s.NewProducer(sc.q)
		defer p.Close()
		r, errs := p.Enqueue(sc.ctx, jobs...)
		if errs != nil {
			sc.t.Fatal(errs[0])
		}
		_, err := sc.reader.Read(sc.ctx, []int{0}, 300, -1)
		must(sc.t, err)
		v, err := sc.s.Inspect().QueueView(sc.ctx, sceneQueue)
		must(sc.t, err)
		if v.Waiting != 100 || v.Pending != 300 {
			sc.t.Error(asJSON(v), r[0])
		}
	})
}

func TestWorkersAndDrain(t *testing.T) {
	eachScene(t, Queue{Partitions: 3, Shards: 2}, func(sc *scene) {
		ws, err := sc.s.Inspect().Workers(sc.ctx, "")
		must(sc.t, err)
		if len(ws) != 1 || ws[0].Name != "w" || ws[0].Partitions != 3 || ws[0].LeaseSeconds < 30 || ws[0].PID != 7 || ws[0].Queue != "q" {
			sc.t.Fatal(asJSON(ws))
		}
		if _, err := sc.s.Inspect().Workers(sc.ctx, "nope"); !errors.Is(err, job.ErrNotFound) {
			sc.t.Error(err)
		}
		for _, name := range []string{"w", "w.1"} {
			told, err := sc.s.Drain(sc.ctx, name)
			must(sc.t, err)
			if !slices.Equal(told, []string{"w.1"}) {
				sc.t.Error(told)
			}
		}
		b, err := sc.reader.Read(sc.ctx, nil, 100, -1)
		must(sc.t, err)
		n := 0
		for _, e := range b.Control {
			if e.Fields["type"] == "drain" {
				n++
			}
		}
		if n != 2 {
			sc.t.Errorf("%d messages in %v", n, b.Control)
		}
		// A member without an inbox is not told, and none is made for it.
		must(sc.t, sc.raw.HSet(sc.ctx, sc.key(0, "members"), "ghost.1", "{}").Err())
		for _, name := range []string{"ghost", "nobody", ""} {
			if _, err := sc.s.Drain(sc.ctx, name); !errors.Is(err, job.ErrNotFound) {
				sc.t.Errorf("%q: %v", name, err)
			}
		}
		if n := sc.raw.Exists(sc.ctx, sc.key(0, "control:ghost.1")).Val(); n != 0 {
			sc.t.Error("an inbox was made")
		}
	})
}

func TestRequestResize(t *testing.T) {
	eachScene(t, Queue{Partitions: 2}, func(sc *scene) {
		answers := make(chan string, 2)
		for range 2 {
			go func() {
				epoch, err := sc.s.RequestResize(sc.ctx, sceneQueue, "ring")
				answers <- fmt.Sprint(epoch, err)
			}()
		}
		// Both ask before the leader looks: the same request answers both.
		var rec Records
		for strings.Count(rec.Request, " ") == 0 {
			var err error
			rec, err = sc.ring.Look(sc.ctx)
			must(sc.t, err)
		}
		if _, err := sc.s.RequestResize(sc.ctx, sceneQueue, "key"); !errors.Is(err, job.ErrConflict) {
			sc.t.Error(err)
		}
		plan := Plan{Term: sc.term, BaseEpoch: rec.Epoch, Mode: "ring", Request: rec.Request, Targets: []string{sc.inc, sc.inc}}
		must(sc.t, sc.ring.WritePlan(sc.ctx, plan))
		if a := <-answers; a != "2 <nil>" {
			sc.t.Error(a)
		}
		// The second may have asked after the answer: then it waits for the next plan.
		rec, err := sc.ring.Look(sc.ctx)
		must(sc.t, err)
		for len(answers) == 0 && strings.HasPrefix(rec.Answered, rec.Request) && sc.ctx.Err() == nil {
			rec, err = sc.ring.Look(sc.ctx)
			must(sc.t, err)
		}
		if len(answers) == 0 {
			plan.BaseEpoch, plan.Request = rec.Epoch, rec.Request
			must(sc.t, sc.ring.WritePlan(sc.ctx, plan))
		}
		if a := <-answers; a != "2 <nil>" && a != "3 <nil>" {
			sc.t.Error(a)
		}
		if _, err := sc.s.RequestResize(sc.ctx, sceneQueue, "sideways"); !errors.Is(err, job.ErrInvalid) {
			sc.t.Error(err)
		}
		ctx, cancel := context.WithTimeout(sc.ctx, 50*time.Millisecond)
		defer cancel()
		if _, err := sc.s.RequestResize(ctx, sceneQueue, "key"); !errors.Is(err, job.ErrOutcomeUnknown) {
			sc.t.Error(err)
		}
	})
}

func TestRequestResizeWithoutADispatcher(t *testing.T) {
	eachScene(t, Queue{Partitions: 1}, func(sc *scene) {
		must(sc.t, sc.ring.Resign(sc.ctx))
		ctx, cancel := context.WithTimeout(sc.ctx, 300*time.Millisecond)
		defer cancel()
		_, err := sc.s.RequestResize(ctx, sceneQueue, "")
		if !errors.Is(err, job.ErrUnavailable) || !strings.Contains(err.Error(), "no dispatcher") {
			sc.t.Error(err)
		}
		if left := sc.raw.HGet(sc.ctx, sc.key(0, "ring"), "request").Val(); left != "" {
			sc.t.Errorf("the request stayed: %s", left)
		}
	})
}

func TestRequestResizeWithoutAWorker(t *testing.T) {
	eachScene(t, Queue{Partitions: 1}, func(sc *scene) {
		must(sc.t, sc.raw.Del(sc.ctx, sc.key(0, "members")).Err())
		_, err := sc.s.RequestResize(sc.ctx, sceneQueue, "")
		if !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), "no worker") {
			sc.t.Error(err)
		}
		if left := sc.raw.HGet(sc.ctx, sc.key(0, "ring"), "request").Val(); left != "" {
			sc.t.Errorf("the request stayed: %s", left)
		}
	})
}

func TestDeleteQueueLeavesOthers(t *testing.T) {
	eachScene(t, Queue{Partitions: 4, Shards: 2}, func(sc *scene) {
		sc.enqueue(job.Job{Type: "a", IdempotencyKey: "x"})
		_, err := sc.s.CreateQueue(sc.ctx, Queue{Name: "q2", Partitions: 1})
		must(sc.t, err)
		must(sc.t, sc.s.DeleteQueue(sc.ctx, sceneQueue))
		keys := sc.raw.Keys(sc.ctx, "*").Val()
		for _, k := range keys {
			if strings.Contains(k, "{q}") || strings.Contains(k, "{q/") {
				sc.t.Errorf("%s stayed", k)
			}
		}
		if len(keys) < 4 {
			sc.t.Errorf("too much is gone: %v", keys)
		}
		for _, err := range []error{sc.s.DeleteQueue(sc.ctx, sceneQueue), second(sc.s.Inspect().Job(sc.ctx, sceneQueue, "0-1-1")), second(sc.s.Inspect().QueueView(sc.ctx, sceneQueue))} {
			if !errors.Is(err, job.ErrNotFound) {
				sc.t.Error(err)
			}
		}
		_, err = sc.s.Inspect().QueueView(sc.ctx, "q2")
		must(sc.t, err)
	})
}

func second[T any](_ T, err error) error { return err }

func TestJournal(t *testing.T) {
	eachScene(t, Queue{Partitions: 1, Journal: true}, func(sc *scene) {
		var ids []job.ID
		for range 3 {
			ids = append(ids, sc.enqueue(job.Job{Type: "a", Key: "k"}))
		}
		sc.read(ids[0])
		for _, id := range ids {
			sc.end(id, job.Completion{Outcome: job.Done, Attempt: 1, Key: "k", Type: "a"})
		}
		var got []string
		after := ""
		for {
			page, err := sc.s.Inspect().Journal(sc.ctx, sceneQueue, 0, after, 2)
			must(sc.t, err)
			if len(page) == 0 {
				break
			}
			for _, e := range page {
				got = append(got, e.JobID)
				after = e.ID
				if e.Outcome != job.Done || e.Key != "k" || e.Type != "a" || e.Attempt != 1 || e.Worker != "w.1" || e.Epoch != 1 {
					sc.t.Errorf("%+v", e)
				}
			}
		}
		if want := []string{ids[0].String(), ids[1].String(), ids[2].String()}; !slices.Equal(got, want) {
			sc.t.Errorf("got %v, want %v", got, want)
		}
		_, err := sc.s.CreateQueue(sc.ctx, Queue{Name: "plain", Partitions: 1})
		must(sc.t, err)
		if _, err := sc.s.Inspect().Journal(sc.ctx, "plain", 0, "", 1); !errors.Is(err, job.ErrConflict) {
			sc.t.Error(err)
		}
		if _, err := sc.s.Inspect().Journal(sc.ctx, sceneQueue, 1, "", 1); !errors.Is(err, job.ErrInvalid) {
			sc.t.Error(err)
		}
	})
}
