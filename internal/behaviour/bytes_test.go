package behaviour

import (
	"context"
	"encoding/json"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"testing"

	"ringmaster/consumergroup"
	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

const mbit = 1_000_000 / 8 // bytes a second

// large are jobs of so many bytes, each of a key of its own.
func large(n, size int) []job.Job {
	jobs := make([]job.Job, n)
	for i := range jobs {
		jobs[i] = job.Job{Type: "t", Key: "k" + itoa(i), Payload: json.RawMessage(`{"N":` + itoa(i) + `,"x":"` + strings.Repeat("x", size-20) + `"}`)}
	}
	return jobs
}

// joinsOnce fails if a worker joins a second time: it was evicted.
func joinsOnce(t *testing.T, p *proc) {
	t.Helper()
	if n := len(p.ready); n > 1 {
		t.Errorf("%s joined %d times", p.name, n)
	}
}

// Jobs within the limits come at the speed of the link, whatever that is. A read of a fixed
// number of them did not fit its time-out, and the next asked for as many.
func TestLargeJobsOverASlowLink(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		speed, jobs int
	}{{"100 Mbit", 100 * mbit, 50}, {"10 Mbit", 10 * mbit, 6}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Real(t).URL()
			proxy := proxied(t, server)
			proxy.Limit(c.speed)
			r, rs := newRig(t, server, streams.Queue{Partitions: 16, Journal: true}), &runs{}
			r.lead()
			ids := r.sendJobs(large(c.jobs, 1_000_000)...)
			p := r.start(spec{name: "w", url: proxy.URL(), t: rs.by("w", nil)})
			r.until("all jobs done", func() bool { return rs.done() == len(ids) })
			if sent := proxy.Carried(); sent > int64(c.jobs)*1_000_000*5/4 {
				t.Errorf("%d MB were sent for %d", sent/1_000_000, c.jobs)
			}
			joinsOnce(t, p)
			r.onceInOrder(rs, 0, ids)
		})
	}
}

// What a dead worker had is taken over at the speed of the link too, and within the room that
// the next one has.
func TestLargeJobsAreTakenOverOverASlowLink(t *testing.T) {
	t.Parallel()
	server := redistest.Real(t).URL()
	proxy := proxied(t, server)
	proxy.Limit(100 * mbit)
	r, rs := newRig(t, server, streams.Queue{Partitions: 4, Journal: true}), &runs{}
	r.lead()
	causes, started := make(chan error, 100), make(chan job.Delivery, 100)
	one := r.start(spec{name: "w1", t: (&runs{}).by("w1", stubbornly(causes, started))})
	ids := r.sendJobs(large(60, 1_000_000)...)
	receive(r, started, "a run")
	r.until("all is handed out", func() bool { return r.pending(0)+r.pending(1)+r.pending(2)+r.pending(3) == 60 })
	two := r.start(spec{name: "w2", url: proxy.URL(), t: rs.by("w2", nil), tune: func(c *consumergroup.Config) { c.HeldBytes = 8 << 20 }})
	receive(r, two.ready, "the second worker")
	one.kill()
	r.until("all jobs done", func() bool { return rs.done() == len(ids) })
	if sent := proxy.Carried(); sent > 60*1_000_000*3/2 {
		t.Errorf("%d MB were sent for 60", sent/1_000_000)
	}
	if len(two.ready) > 0 {
		t.Error("the second worker joined again")
	}
	r.onceInOrder(rs, 0, ids)
}

// A batch of large jobs is on its way for longer than a time-out: it goes in once, as the link
// can carry it.
func TestLargeSubmissionsOverASlowLink(t *testing.T) {
	t.Parallel()
	server := redistest.Real(t).URL()
	proxy := proxied(t, server)
	proxy.Limit(20 * mbit)
	r := newRig(t, server, streams.Queue{Partitions: 16})
	s := r.open(proxy.URL())
	out := s.NewProducer(r.queue)
	defer out.Close()
	if _, errs := out.Enqueue(r.ctx, large(24, 1_000_000)...); errs != nil {
		t.Fatal(errs)
	}
	if sent := proxy.Carried(); sent > 24*1_000_000*5/4 {
		t.Errorf("%d MB were sent for 24", sent/1_000_000)
	}
	n := int64(0)
	for p := range 16 {
		n += r.raw.XLen(r.ctx, r.key("jobs:"+itoa(p))).Val()
	}
	if n != 24 {
		t.Errorf("%d jobs are there, want 24", n)
	}
}

// A worker of a long queue whose jobs are small and large holds what it is told to at most. (Large ones
// that follow on small ones alone are another matter: see docs/operations.md.) Measured as the heap that is in use, less what was there before.
func TestAWorkerHoldsNoMoreBytesThanItMay(t *testing.T) {
	server := redistest.Real(t).URL()
	r := newRig(t, server, streams.Queue{Partitions: 16})
	r.lead()
	for range 4 { // 132 MB
		for _, size := range []int{1_000_000, 30_000, 1000} {
			r.sendJobs(large(32, size)...)
		}
	}
	heap := func() int64 {
		runtime.GC()
		// Not what is in use now: garbage made since the collection is no job that is held.
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		return int64(live[0].Value.Uint64())
	}
	before := heap()
	open, done := make(chan struct{}), atomic.Int32{}
	r.start(spec{name: "w", tune: func(c *consumergroup.Config) { c.HeldBytes = 32 << 20 },
		t: func(context.Context, job.Delivery) (json.RawMessage, error) {
			<-open
			done.Add(1)
			return nil, nil
		}})
	most := int64(0)
	held := func() (n int64) {
		for p := range 16 {
			n += r.pending(p)
		}
		return n
	}
	last := int64(-1)
	for settled := 0; settled < 10; {
		n := held()
		if n > 0 && n == last {
			settled++
		} else {
			settled = 0
		}
		last = n
		most = max(most, heap()-before)
	}
	if most > 32<<20+24<<20 {
		t.Errorf("%d MiB are in use", most>>20)
	}
	close(open)
	r.until("all done", func() bool { return done.Load() == 4*3*32 })
}
