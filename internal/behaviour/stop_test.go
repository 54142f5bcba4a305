package behaviour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"ringmaster/consumergroup"
	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

func TestAGracefulStopWaitsForWhatRunsAndStartsNothing(t *testing.T) {
	redistest.Each(t, func(t *testing.T, url, _ string) {
		r, rs := newRig(t, url, streams.Queue{Partitions: 2, Journal: true}), &runs{}
		r.lead()
		started, open := make(chan struct{}, 100), make(chan struct{})
		one := r.start(spec{name: "w1", tune: func(c *consumergroup.Config) { c.Concurrency = 2; c.DrainTimeout = 30 * time.Second },
			t: rs.by("w1", func(ctx context.Context, _ job.Delivery, _ int) (json.RawMessage, error) {
				started <- struct{}{}
				select {
				case <-open:
					return nil, nil
				case <-ctx.Done():
					return nil, context.Cause(ctx)
				}
			})})
		r.settled("w1")
		keys := append(r.keysOf(0, 2), r.keysOf(1, 2)...)
		var ids []string
		for _, k := range keys {
			ids = append(ids, r.send(k, 5)...)
		}
		receive(r, started, "the first run")
		receive(r, started, "the second run")
		two := r.start(spec{name: "w2", t: rs.by("w2", nil)})
		receive(r, two.ready, "the second worker")
		one.stop()
		r.settled("w2")
		busy := map[string]bool{}
		for _, x := range rs.list() {
			if x.worker == "w1" {
				busy[x.d.Key] = true
			}
		}
		// The keys that w1 does not run go on at w2; the others wait for w1.
		r.until("the other keys are done", func() bool { return rs.done() == 5*(4-len(busy)) })
		select {
		case <-one.ended:
			t.Error("the worker did not wait for what it runs")
		default:
		}
		if n := rs.count(func(x run) bool { return x.worker == "w1" }); n != 2 {
			t.Errorf("the stopping worker started %d jobs, 2 of them before the stop", n)
		}
		close(open)
		if err := one.wait(); err != nil {
			t.Error(err)
		}
		r.until("all jobs done", func() bool { return rs.done() == 20 })
		rs.inOrder(t)
		rs.onceEach(t, 5, keys...)
		r.until("nothing pending", func() bool { return r.pending(0)+r.pending(1) == 0 })
		r.endedOnce(ids, nil)
		if n := r.raw.HLen(r.ctx, r.key("members")).Val(); n != 1 {
			t.Errorf("%d members are left", n)
		}
	})
}

// stubbornly runs until its context ends, and tells why.
func stubbornly(causes chan<- error, started chan<- job.Delivery) func(context.Context, job.Delivery, int) (json.RawMessage, error) {
	return func(ctx context.Context, d job.Delivery, _ int) (json.RawMessage, error) {
		started <- d
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil, context.Cause(ctx)
	}
}

func TestWhatOutlivesTheDrainRunsAgainElsewhereUncounted(t *testing.T) {
	redistest.Each(t, func(t *testing.T, url, _ string) {
		r, rs := newRig(t, url, streams.Queue{Partitions: 1, Journal: true}), &runs{}
		r.lead()
		causes, started := make(chan error, 1), make(chan job.Delivery, 1)
		one := r.start(spec{name: "w1", t: rs.by("w1", stubbornly(causes, started)),
			tune: func(c *consumergroup.Config) { c.DrainTimeout, c.Grace = 900*time.Millisecond, 600*time.Millisecond }})
		ids := r.send("k", 3)
		receive(r, started, "the run")
		r.start(spec{name: "w2", t: rs.by("w2", nil)})
		asked := time.Now()
		one.stop()
		if cause := receive(r, causes, "the end of its context"); !errors.Is(cause, job.ErrStopping) {
			t.Errorf("the context ended for %v", cause)
		}
		if early := time.Since(asked); early < 300*time.Millisecond {
			t.Errorf("the context ended %v after the stop: the drain had just begun", early)
		}
		if err := one.wait(); err != nil {
			t.Error(err)
		}
		if late := time.Since(asked); late > 4*time.Second {
			t.Errorf("it ended %v after the stop, its drain timeout is 900 ms", late)
		}
		r.until("all jobs done", func() bool { return rs.done() == 3 })
		for _, x := range rs.list() {
			if x.d.Attempt != 1 {
				t.Errorf("job %d ran as attempt %d on %s", x.n, x.d.Attempt, x.worker)
			}
		}
		rs.inOrder(t)
		r.until("nothing pending", func() bool { return r.pending(0) == 0 })
		r.endedOnce(ids, nil)
		if n := r.raw.HLen(r.ctx, r.key("retry:0")).Val(); n != 0 {
			t.Error("a job that was handed back has a retry record")
		}
	})
}

// A deploy stops each worker in turn. A handler that listens to nothing outlives the drain of
// four of them: none of these has crashed, and the job ends like any other.
func TestDeploysThatAHandlerOutlivesCountNoCrash(t *testing.T) {
	r, rs := newRig(t, redistest.Real(t).URL(), streams.Queue{Partitions: 1, Journal: true}), &runs{}
	r.lead()
	started, end := make(chan string, 9), make(chan struct{})
	endAll := sync.OnceFunc(func() { close(end) })
	t.Cleanup(endAll)
	deaf := func(name string) func(context.Context, job.Delivery, int) (json.RawMessage, error) {
		return func(context.Context, job.Delivery, int) (json.RawMessage, error) {
			started <- name
			<-end
			return nil, nil
		}
	}
	next := func(n int) *proc {
		name := fmt.Sprint("w", n)
		return r.start(spec{name: name, t: rs.by(name, deaf(name)), tune: func(c *consumergroup.Config) {
			c.DrainTimeout, c.Grace = 300*time.Millisecond, 100*time.Millisecond
		}})
	}
	const deploys = 4
	p := next(0)
	ids := r.send("k", 1)
	for n := range deploys {
		if at := receive(r, started, "the run"); at != p.name {
			t.Fatalf("it runs at %s, not at %s", at, p.name)
		}
		successor := next(n + 1)
		p.stop()
		if err := p.wait(); err != nil {
			t.Error(err)
		}
		p = successor
	}
	receive(r, started, "the last run")
	r.until("no crash, no attempt", func() bool { return r.raw.HLen(r.ctx, r.key("retry:0")).Val() == 0 })
	endAll()
	r.until("it has ended", func() bool { return r.pending(0) == 0 })
	for _, x := range rs.list() {
		if x.d.Attempt != 1 {
			t.Errorf("it ran as attempt %d on %s", x.d.Attempt, x.worker)
		}
	}
	if d := r.dead(); len(d) != 0 {
		t.Errorf("dead letters: %+v", d)
	}
	r.endedOnce(ids, nil)
}

func TestAHardStopEndsAtOnce(t *testing.T) {
	r := newRig(t, redistest.Real(t).URL(), streams.Queue{Partitions: 1})
	r.lead()
	causes, started := make(chan error, 2), make(chan job.Delivery, 2)
	p := r.start(spec{name: "w", t: (&runs{}).by("w", stubbornly(causes, started)), tune: func(c *consumergroup.Config) { c.DrainTimeout = time.Hour }})
	r.send("k", 1)
	receive(r, started, "the run")
	p.kill()
	if err := p.wait(); !errors.Is(err, errKilled) {
		t.Errorf("Run returned %v", err)
	}
	if cause := receive(r, causes, "the end of its context"); !errors.Is(cause, job.ErrLost) {
		t.Errorf("the context ended for %v", cause)
	}
	// In the middle of a graceful stop that waits too.
	p = r.start(spec{name: "v", t: (&runs{}).by("v", stubbornly(causes, started)), tune: func(c *consumergroup.Config) { c.DrainTimeout = time.Hour }})
	receive(r, started, "the run")
	p.stop()
	r.until("it is leaving", func() bool { return r.raw.XLen(r.ctx, r.key("control")).Val() > 0 && leaving(r) })
	p.kill()
	if err := p.wait(); !errors.Is(err, errKilled) {
		t.Errorf("Run returned %v", err)
	}
}

func leaving(r *rig) bool {
	for _, m := range r.raw.HGetAll(r.ctx, r.key("members")).Val() {
		var v struct{ State string }
		if json.Unmarshal([]byte(m), &v) == nil && v.State == "leaving" {
			return true
		}
	}
	return false
}

func TestAStopWithoutALeaderHandsOverToNobody(t *testing.T) {
	redistest.Each(t, func(t *testing.T, url, _ string) {
		r, rs := newRig(t, url, streams.Queue{Partitions: 3, Journal: true}), &runs{}
		stopLeader := r.lead()
		p := r.start(spec{name: "w", t: rs.by("w", nil), tune: func(c *consumergroup.Config) { c.DrainTimeout = 50 * time.Second }})
		r.settled("w")
		stopLeader()
		ids := r.send("k", 3)
		r.until("three jobs done", func() bool { return rs.done() == 3 })
		asked := time.Now()
		p.stop()
		if err := p.wait(); err != nil {
			t.Error(err)
		}
		if took := time.Since(asked); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
		if got := fmt.Sprint(r.owners()); got != "map[0:- 1:- 2:-]" {
			t.Errorf("owners %s", got)
		}
		ids = append(ids, r.sendFrom("k", 3, 3)...)
		r.lead()
		r.start(spec{name: "v", t: rs.by("v", nil)})
		r.until("six jobs done", func() bool { return rs.done() == 6 })
		rs.inOrder(t)
		r.until("nothing pending", func() bool { return r.pending(0)+r.pending(1)+r.pending(2) == 0 })
		r.endedOnce(ids, nil)
	})
}
