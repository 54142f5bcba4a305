package behaviour

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"ringmaster/consumergroup"
	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

func TestTheServerGoesAwayAndComesBackWithItsData(t *testing.T) {
	t.Parallel()
	server := redistest.Real(t, "--appendonly", "yes", "--appendfsync", "always")
	r, rs := newRig(t, server.URL(), streams.Queue{Partitions: 4, Journal: true}), &runs{}
	r.lead()
	for _, name := range []string{"w1", "w2"} {
		r.start(spec{name: name, t: rs.by(name, nil)})
	}
	r.settled("w1", "w2")
	var ids []string
	for n := range 2 {
		for _, k := range []string{"a", "b", "c", "d"} {
			ids = append(ids, r.sendFrom(k, 20*n, 20)...)
		}
		if n == 1 {
			break
		}
		server.Kill()
		away := time.Now()
		r.until("it was away for longer than half a lease", func() bool { return time.Since(away) > 1200*time.Millisecond })
		server.Restart()
	}
	r.onceInOrder(rs, 0, ids)
}

func TestScriptsAreFlushedAllTheTime(t *testing.T) {
	redistest.Each(t, func(t *testing.T, url, _ string) {
		r, rs := newRig(t, url, streams.Queue{Partitions: 4, Journal: true}), &runs{}
		ctx, cancel := context.WithCancel(r.ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() {
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				r.raw.ScriptFlush(ctx)
				<-tick.C
			}
		})
		r.lead()
		one := r.start(spec{name: "w1", t: rs.by("w1", nil)})
		r.start(spec{name: "w2", t: rs.by("w2", nil)})
		r.settled("w1", "w2")
		var ids []string
		for n := range 30 {
			for _, k := range []string{"a", "b", "c", "d"} {
				ids = append(ids, r.sendFrom(k, n, 1)...)
			}
			if n == 15 {
				one.stop()
			}
		}
		if err := one.wait(); err != nil {
			t.Error(err)
		}
		r.onceInOrder(rs, 30, ids, "a", "b", "c", "d")
	})
}

func TestEverythingIsFlushed(t *testing.T) {
	redistest.Each(t, func(t *testing.T, url, _ string) {
		r, rs := newRig(t, url, streams.Queue{Partitions: 4, Journal: true}), &runs{}
		r.lead()
		p := r.start(spec{name: "w", t: rs.by("w", nil)})
		r.settled("w")
		first := receive(r, p.ready, "the join")
		r.send("k", 3)
		r.until("three jobs done", func() bool { return rs.done() == 3 })
		if err := r.raw.FlushAll(r.ctx).Err(); err != nil {
			t.Fatal(err)
		}
		if again := receive(r, p.ready, "the worker joins again"); again == first {
			t.Error("it joined again as the same incarnation")
		}
		r.settled("w")
		ids := r.sendFrom("k", 3, 5)
		r.until("new jobs run", func() bool { return rs.done() == 8 })
		r.until("nothing pending", func() bool { return r.pending(job.PartitionOf("k", 4)) == 0 })
		rs.inOrder(t)
		r.endedOnce(ids, nil)
	})
}

func TestAFrozenServerStopsAllStartsBeforeTheLeaseIsOver(t *testing.T) {
	server := redistest.Real(t)
	r := newRig(t, server.URL(), streams.Queue{Partitions: 1, Journal: true})
	r.lead()
	const ttl = 900 * time.Millisecond
	var mu sync.Mutex
	var latest time.Time
	done := map[job.ID]bool{}
	seen := make(chan struct{}, 10_000)
	r.start(spec{name: "w", tune: func(c *consumergroup.Config) { c.Concurrency, c.LeaseTTL = 1, ttl },
		t: func(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
			mu.Lock()
			latest = time.Now()
			mu.Unlock()
			select {
			case <-time.After(15 * time.Millisecond):
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
			mu.Lock()
			done[d.ID] = true
			mu.Unlock()
			seen <- struct{}{}
			return nil, nil
		}})
	ids := r.send("", 150)
	for range 3 {
		receive(r, seen, "a job")
	}
	r.until("the worker holds the rest", func() bool { return r.pending(0) > 120 })
	server.Freeze()
	frozen := time.Now()
	r.until("the lease is long over", func() bool { return time.Since(frozen) > 2*ttl })
	mu.Lock()
	last, before := latest.Sub(frozen), len(done)
	mu.Unlock()
	if last > ttl-ttl/8 {
		t.Errorf("a job was started %v into the freeze, the lease is of %v", last, ttl)
	}
	if last < 0 || before == len(ids) {
		t.Errorf("the test shows nothing: last start %v into the freeze, %d jobs done", last, before)
	}
	server.Thaw()
	r.until("all jobs done", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(done) == len(ids)
	})
	r.until("nothing pending", func() bool { return r.pending(0) == 0 })
	r.endedOnce(ids, nil)
}

func TestAnEvictedWorkerJoinsAnewAndDoesNotSpin(t *testing.T) {
	r, rs := newRig(t, redistest.Real(t).URL(), streams.Queue{Partitions: 3, Journal: true}), &runs{}
	r.lead()
	p := r.start(spec{name: "w", t: rs.by("w", nil)})
	r.settled("w")
	first := receive(r, p.ready, "the join")
	before := r.commands()
	r.evict(first)
	if again := receive(r, p.ready, "the worker joins again"); again == first {
		t.Error("it joined again as the same incarnation")
	}
	r.settled("w")
	ids := r.send("k", 3)
	r.until("three jobs done", func() bool { return rs.done() == 3 })
	after := r.commands()
	for _, c := range []string{"xreadgroup", "hgetall"} {
		if n := after[c] - before[c]; n > 300 {
			t.Errorf("%d %s for one eviction", n, c)
		}
	}
	r.endedOnce(ids, nil)
}

// evict removes a worker from the members as a leader does.
func (r *rig) evict(inc string) {
	r.t.Helper()
	pipe := r.raw.TxPipeline()
	pipe.HDel(r.ctx, r.key("members"), inc)
	pipe.HDel(r.ctx, r.key("change"), inc)
	pipe.Del(r.ctx, r.key("alive:"+inc), r.key("control:"+inc))
	pipe.XAdd(r.ctx, &redisAdd{Stream: r.key("control"), Values: []any{"type", "evict", "name", inc, "phase", "0", "epoch", "0", "term", "0", "data", "{}"}})
	if _, err := pipe.Exec(r.ctx); err != nil {
		r.t.Fatal(err)
	}
}

// commands are the calls the server has counted.
func (r *rig) commands() map[string]int {
	r.t.Helper()
	sections, err := r.raw.InfoMap(r.ctx, "commandstats").Result()
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string]int{}
	for name, v := range sections["Commandstats"] {
		var n int
		if _, err := fmt.Sscanf(v, "calls=%d", &n); err == nil {
			out[name[len("cmdstat_"):]] = n
		}
	}
	return out
}

// The evicted worker joins anew only when its job was run elsewhere: it would wait for the run
// that it knows of.
func TestALateEndOfAnEvictedIncarnationIsRefused(t *testing.T) {
	redistest.Each(t, func(t *testing.T, url, _ string) {
		r := newRig(t, url, streams.Queue{Partitions: 1, Journal: true})
		r.lead()
		calls, open := make(chan int, 10), make(chan struct{})
		var mu sync.Mutex
		n := 0
		handler := func(context.Context, job.Delivery) (json.RawMessage, error) {
			mu.Lock()
			n++
			me := n
			mu.Unlock()
			calls <- me
			if me == 1 {
				<-open // deaf to its context
			}
			return json.RawMessage(fmt.Sprint(me)), nil
		}
		joins, rejoin := 0, make(chan struct{})
		p := r.start(spec{name: "w1", t: handler, newID: func() string {
			if joins++; joins > 1 {
				<-rejoin
			}
			return itoa(joins)
		}})
		first := receive(r, p.ready, "the join")
		ids := r.send("k", 1)
		receive(r, calls, "the first run")
		second := receive(r, r.start(spec{name: "w2", t: handler}).ready, "the other's join")
		r.evict(first)
		if got := receive(r, calls, "the second run"); got != 2 {
			t.Fatalf("call %d", got)
		}
		r.until("nothing pending", func() bool { return r.pending(0) == 0 })
		close(rejoin)
		receive(r, p.ready, "the worker joins again")
		close(open)
		p.stop()
		if err := p.wait(); err != nil {
			t.Error(err)
		}
		r.endedOnce(ids, nil)
		if e := r.journal()[0]; e.Worker != second {
			t.Errorf("completed by %s, want %s", e.Worker, second)
		}
		if st, err := r.store.Inspect().Job(r.ctx, "q", ids[0]); err != nil || string(st.Result) != "2" {
			t.Errorf("status %+v, %v: want the second run's result", st, err)
		}
	})
}
