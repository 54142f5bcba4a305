package e2e

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/producing"
	"ringmaster/job"
)

// member is the incarnation under which a worker process is a member, "" if it is none.
func (r *ring) member(p *process) string {
	for _, m := range r.view().Members {
		if m.Name == p.Name {
			return m.Incarnation
		}
	}
	return ""
}

// TestFrozenWorkerIsFenced stops a worker for three leases: another runs its jobs, and
// when it wakes up what it completes is refused and it joins as a new incarnation.
func TestFrozenWorkerIsFenced(t *testing.T) {
	r := newRing(t, 16)
	r.dispatcher()
	frozen := r.worker()
	r.worker()
	r.settled(2)
	before := r.member(frozen)
	l := r.startLoad(50, 300, upTo(60))
	r.until("it runs jobs", 10*time.Second, func() bool { return len(held(readLedger(t, frozen.Ledger))) > 0 })
	frozen.signal(t, stopSignal)
	open := held(readLedger(t, frozen.Ledger))
	<-time.After(9 * time.Second)
	r.until("it was evicted", 5*time.Second, func() bool { return r.member(frozen) == "" })
	frozen.signal(t, continueSignal)
	r.until("it is a member again", 10*time.Second, func() bool { return r.member(frozen) != "" })
	if after := r.member(frozen); after == before {
		t.Fatalf("it came back as the same incarnation %s", after)
	}
	r.settled(2)
	r.audit(l, 60*time.Second)
	if len(open) == 0 {
		t.Fatal("it held no job when it was stopped: the test shows nothing")
	}
	t.Logf("%d jobs were running when it froze; each completed once, elsewhere or here", len(open))
}

// TestServerRestartsAndGoesAway: restarted with an append-only file, scripts flushed, and
// away for a while: everything resumes by itself, nothing is lost or doubled.
func TestServerRestartsAndGoesAway(t *testing.T) {
	away := 30 * time.Second
	if testing.Short() {
		away = 5 * time.Second
	}
	r := newRing(t, 32, "--appendonly", "yes", "--appendfsync", "always")
	r.dispatcher()
	for range 2 {
		r.worker()
	}
	r.settled(2)
	l := r.startLoad(100, 300, upTo(20))
	raw := r.raw()
	for n := range 5 {
		r.until("traffic", 20*time.Second, func() bool { return l.count() > 100*(n+1) })
		if err := raw.ScriptFlush(r.ctx).Err(); err != nil {
			t.Fatal(err)
		}
	}
	r.server.Restart()
	sent := l.count()
	r.until("traffic after the restart", 20*time.Second, func() bool { return l.count() > sent+300 })
	r.server.Kill()
	<-time.After(away)
	r.server.Restart()
	sent = l.count()
	r.until("traffic after the time away", 30*time.Second, func() bool { return l.count() > sent+300 })
	r.settled(2)
	r.audit(l, 60*time.Second)
}

// TestServerComesLater: the services wait for a server that is not there yet, and say so.
func TestServerComesLater(t *testing.T) {
	r := newRing(t, 8, "--appendonly", "yes")
	r.server.Kill()
	d, w := r.dispatcher(), r.worker()
	for _, p := range []*process{d, w} {
		r.until(p.Name+" says that it waits", 10*time.Second, func() bool { return strings.Contains(readLog(p), "waiting for the server") })
	}
	r.server.Restart()
	r.settled(1)
	st, err := producing.Call(r.ctx, r.store, queue, job.Job{Type: "echo", Payload: []byte(`"hello"`)}, nil)
	if err != nil || string(st.Result) != `"hello"` {
		t.Fatalf("call: %+v, %v", st, err)
	}
}

// TestEverythingIsDeleted: after FLUSHALL the records are made again, loudly, and new
// jobs run.
func TestEverythingIsDeleted(t *testing.T) {
	r := newRing(t, 16)
	d, w := r.dispatcher(), r.worker()
	r.settled(1)
	if _, err := producing.Call(r.ctx, r.store, queue, job.Job{Type: "echo", Payload: []byte("1")}, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.raw().FlushAll(r.ctx).Err(); err != nil {
		t.Fatal(err)
	}
	call, cancel := context.WithTimeout(r.ctx, 30*time.Second)
	defer cancel()
	st, err := producing.Call(call, r.store, queue, job.Job{Type: "echo", Key: "k", Payload: []byte("2")}, nil)
	if err != nil || string(st.Result) != "2" {
		t.Fatalf("call after FLUSHALL: %+v, %v\n%s\n%s", st, err, readLog(d), readLog(w))
	}
	if all := readLog(d) + readLog(w); !strings.Contains(all, "evicted") && !strings.Contains(all, "state was lost") {
		t.Errorf("nobody raised an alarm:\n%s", all)
	}
}

// TestJobWrittenByHand: a producer that knows only XADD gets its job run; what cannot be
// run goes to the dead letters and stops nothing; and a crash is reclaimed by XAUTOCLAIM.
func TestJobWrittenByHand(t *testing.T) {
	r := newRing(t, 4)
	r.dispatcher()
	w := r.worker()
	r.settled(1)
	raw := r.raw()
	stream := "rm:{q}:jobs:" + strconv.Itoa(job.PartitionOf("k", 4))
	add := func(values ...any) string {
		id, err := raw.XAdd(r.ctx, &redis.XAddArgs{Stream: stream, Values: values}).Result()
		if err != nil {
			t.Fatal(err)
		}
		return strconv.Itoa(job.PartitionOf("k", 4)) + "-" + id
	}
	bad := []string{
		add("only", "rubbish"), add("type", "echo", "type", "echo"), add("type", "echo", "key", keyNotOf(4, "k"), "payload", "1"),
		add("payload", "\xff\xfe", "type", "echo"), add("", ""), add("type", "no spaces please"),
	}
	good := add("payload", "plain text", "key", "k", "type", "echo", "extra", "ignored")
	st, err := producing.Await(r.ctx, r.store, queue, good, producing.Waiting{})
	if err != nil || st.State != job.Completed || string(st.Result) != `"plain text"` {
		t.Fatalf("job by hand: %+v, %v", st, err)
	}
	for _, id := range bad {
		st, err := producing.Await(r.ctx, r.store, queue, id, producing.Waiting{})
		if err != nil || st.State != job.Dead {
			t.Errorf("%s: %+v, %v", id, st, err)
		}
	}
	id := add("type", "sleep", "key", "k", "payload", `"400ms"`)
	r.until("it is pending", 5*time.Second, func() bool {
		st, err := r.store.Inspect().Job(r.ctx, queue, id)
		return err == nil && st.State == job.Running
	})
	w.kill()
	r.worker()
	if st, err := producing.Await(r.ctx, r.store, queue, id, producing.Waiting{}); err != nil || st.State != job.Completed {
		t.Fatalf("after the crash: %+v, %v", st, err)
	}
	stats, err := raw.Info(r.ctx, "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	if calls := regexp.MustCompile(`cmdstat_xautoclaim:calls=(\d+)`).FindStringSubmatch(stats); calls == nil || calls[1] == "0" {
		t.Error("XAUTOCLAIM was not used")
	}
}

// keyNotOf is a key of another partition than that of key.
func keyNotOf(partitions int, key string) string {
	for n := 0; ; n++ {
		if other := fmt.Sprint("x", n); job.PartitionOf(other, partitions) != job.PartitionOf(key, partitions) {
			return other
		}
	}
}

// TestControlRubbishIsIgnored: garbage and old messages on a worker's control stream
// change nothing.
func TestControlRubbishIsIgnored(t *testing.T) {
	r := newRing(t, 4)
	r.dispatcher()
	w := r.worker()
	r.settled(1)
	raw := r.raw()
	inbox := "rm:{q}:control:" + r.member(w)
	for _, values := range [][]any{
		{"type", "rubbish"}, {"", ""}, {"type", "sync", "phase", "1", "epoch", "-1", "data", "{"},
		{"type", "sync", "phase", "3", "epoch", "99999999999999999999"}, {"type", "sync", "phase", "7", "epoch", "1", "data", "{}"},
		{"type", "sync", "name", "Master", "phase", "1", "epoch", "0", "term", "0", "data", `{"epoch":"0","parts":[0,1,2,3]}`},
		{"type", "sync", "name", "Master", "phase", "2", "epoch", "1", "data", `{"part":1,"part_epoch":"1","sync_to":{"1":"0-0"}}`},
		{"type", "drained", "name", "Master", "data", `{"part":0,"id":"1-1","part_epoch":"1"}`},
	} {
		if err := raw.XAdd(r.ctx, &redis.XAddArgs{Stream: inbox, Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	before := r.member(w)
	for n := range 8 {
		if st, err := producing.Call(r.ctx, r.store, queue, job.Job{Type: "echo", Key: fmt.Sprint(n), Payload: []byte("1")}, nil); err != nil || st.State != job.Completed {
			t.Fatalf("%+v, %v", st, err)
		}
	}
	if r.member(w) != before {
		t.Error("rubbish made the worker rejoin")
	}
}

// TestCallSurvives: a call gets its one answer though the server, the worker, or the
// dispatcher is killed in the middle.
func TestCallSurvives(t *testing.T) {
	r := newRing(t, 8, "--appendonly", "yes", "--appendfsync", "always")
	d, w := r.dispatcher(), r.worker()
	r.settled(1)
	for _, victim := range []struct {
		name string
		kill func()
	}{
		{"server", func() { r.server.Kill(); r.server.Restart() }},
		{"worker", func() { w.kill(); w = r.worker() }},
		{"dispatcher", func() { d.kill(); d = r.dispatcher() }},
	} {
		t.Run(victim.name, func(t *testing.T) {
			done := make(chan error, 1)
			go func() {
				st, err := producing.Call(r.ctx, r.store, queue, job.Job{Type: "sleep", Key: "k", Payload: []byte(`"500ms"`), IdempotencyKey: victim.name}, nil)
				if err == nil && st.State != job.Completed {
					err = fmt.Errorf("state %s: %s", st.State, st.Error)
				}
				done <- err
			}()
			r.until("the job runs", 10*time.Second, func() bool {
				v, err := r.store.Inspect().QueueView(r.ctx, queue)
				return err == nil && v.Pending > 0
			})
			victim.kill()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		})
	}
	byKey, n := r.commits()
	if n != 3 {
		t.Errorf("3 calls, %d commits: %v", n, byKey)
	}
}
