package behaviour

import (
	"context"
	"encoding/json"
	"net/url"
	"testing"

	"ringmaster/internal/faultproxy"
	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// Texts by which a proxy knows a worker's requests.
const (
	aRead  = "XREADGROUP"
	anAck  = "86400000\r\n$1\r\n1\r\n"           // a result's lifetime, then the mark of a journal
	aClaim = "\r\n$2\r\n32\r\n$7\r\n1048576\r\n" // its page in jobs and in bytes; the cursor depends on what is held
)

// proxied puts a proxy between the workers and the server.
func proxied(t *testing.T, server string) *faultproxy.Proxy {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	return faultproxy.New(t, u.Host)
}

// onceInOrder waits until everything is done and checks what a fault must not change.
func (r *rig) onceInOrder(rs *runs, per int, ids []string, keys ...string) {
	r.t.Helper()
	r.until("all jobs done", func() bool { return rs.done() == len(ids) })
	r.until("nothing pending", func() bool {
		n := int64(0)
		for p := range r.queue.Partitions {
			n += r.pending(p)
		}
		return n == 0
	})
	rs.inOrder(r.t)
	if per > 0 {
		rs.onceEach(r.t, per, keys...)
	}
	r.endedOnce(ids, nil)
}

func TestALostReadIsFoundAgain(t *testing.T) {
	redistest.Each(t, func(t *testing.T, server, _ string) {
		proxy := proxied(t, server)
		r, rs := newRig(t, server, streams.Queue{Partitions: 4, Journal: true}), &runs{}
		r.lead()
		r.start(spec{name: "w", url: proxy.URL(), t: rs.by("w", nil)})
		r.settled("w")
		keys, ids := []string{"a", "b", "c"}, []string{}
		lost := proxy.LoseReply(aRead, 3)
		for n := 0; n < 40; n += 4 {
			for _, k := range keys {
				ids = append(ids, r.sendFrom(k, n, 4)...)
			}
		}
		for range 3 {
			receive(r, lost.Fired(), "a lost reply")
		}
		r.onceInOrder(rs, 40, ids, keys...)
	})
}

func TestALostAckCountsOnceAndFreesItsKeyLate(t *testing.T) {
	redistest.Each(t, func(t *testing.T, server, _ string) {
		proxy := proxied(t, server)
		r, rs := newRig(t, server, streams.Queue{Partitions: 1, Journal: true}), &runs{}
		r.lead()
		started := make(chan int, 100)
		r.start(spec{name: "w", url: proxy.URL(), t: rs.by("w", func(_ context.Context, _ job.Delivery, n int) (json.RawMessage, error) {
			started <- n
			return json.RawMessage(`1`), nil
		})})
		r.settled("w")
		lost := proxy.LoseReply(anAck, 2)
		held := proxy.Hold(anAck, 1)
		ids := r.send("k", 6)
		receive(r, lost.Fired(), "a lost reply")
		receive(r, lost.Fired(), "another lost reply")
		receive(r, held.Fired(), "the third try")
		if n := len(started); n != 1 {
			t.Errorf("%d jobs of the key were started before the end of the first was answered", n)
		}
		held.Release()
		r.onceInOrder(rs, 6, ids, "k")
	})
}

// What is taken over is several pages of many keys: all of it was held by a worker that died, so each job is
// marked before it starts and ended after it, and jobs of one key do so one after the other. Few keys would make
// that hundreds of round trips in a row, which a busy machine does not do in the time of a test.
func TestALostClaimIsFoundAgain(t *testing.T) {
	redistest.Each(t, func(t *testing.T, server, _ string) {
		proxy := proxied(t, server)
		r, rs := newRig(t, server, streams.Queue{Partitions: 1, Journal: true}), &runs{}
		r.lead()
		causes, started := make(chan error, 1000), make(chan job.Delivery, 1000) // nobody is kept: it may join anew, and run all again
		one := r.start(spec{name: "w1", t: (&runs{}).by("w1", stubbornly(causes, started))})
		const each = 5
		keys := r.keysOf(0, 18)
		var ids []string
		for _, k := range keys {
			ids = append(ids, r.send(k, each)...)
		}
		receive(r, started, "a run")
		r.until("several pages are handed out", func() bool { return r.pending(0) == int64(len(ids)) })
		// Not the reads that go with them: the store in memory does not answer what comes behind a lost reply.
		const claims = 2
		lost := proxy.LoseReply(aClaim, claims)
		r.start(spec{name: "w2", url: proxy.URL(), t: rs.by("w2", nil)})
		one.kill()
		for range claims {
			receive(r, lost.Fired(), "a lost reply")
		}
		r.onceInOrder(rs, each, ids, keys...)
	})
}

// A worker whose reads alone go unanswered must not keep its partitions by its heartbeats.
func TestADeafWorkerLosesItsLease(t *testing.T) {
	t.Parallel()
	server := redistest.Real(t).URL()
	proxy := proxied(t, server)
	r, rs := newRig(t, server, streams.Queue{Partitions: 2, Journal: true}), &runs{}
	r.lead()
	r.start(spec{name: "w", t: rs.by("w", nil)})
	r.start(spec{name: "deaf", url: proxy.URL(), t: rs.by("deaf", nil)})
	r.settled("w", "deaf")
	proxy.Hold(aRead, 1000)
	proxy.CutAll()
	// No plan is due: nothing but its lease tells that it is gone.
	r.settled("w")
	ids := append(r.send("a", 3), r.send("b", 3)...)
	r.onceInOrder(rs, 3, ids, "a", "b")
}

func TestAHeldReadIsNotExecutedLate(t *testing.T) {
	t.Parallel()
	server := redistest.Real(t).URL()
	proxy := proxied(t, server)
	r, rs := newRig(t, server, streams.Queue{Partitions: 1, Journal: true}), &runs{}
	r.lead()
	held := proxy.Hold(aRead, 1)
	r.start(spec{name: "w", url: proxy.URL(), t: rs.by("w", nil)})
	receive(r, held.Fired(), "a held read")
	ids := r.send("k", 3)
	r.until("the worker reads on a new connection", func() bool { return rs.done() == 3 })
	held.Release()
	ids = append(ids, r.sendFrom("k", 3, 30)...)
	r.onceInOrder(rs, 33, ids, "k")
}

func TestARefusedAndACutConnection(t *testing.T) {
	redistest.Each(t, func(t *testing.T, server, _ string) {
		proxy := proxied(t, server)
		r, rs := newRig(t, server, streams.Queue{Partitions: 2, Journal: true}), &runs{}
		r.lead()
		r.start(spec{name: "w", url: proxy.URL(), t: rs.by("w", nil)})
		r.settled("w")
		var ids []string
		for n := range 10 {
			ids = append(ids, r.sendFrom("a", n, 1)...)
			proxy.Refuse(true)
			proxy.CutAll()
			ids = append(ids, r.sendFrom("b", n, 1)...)
			proxy.Refuse(false)
		}
		r.until("all jobs done", func() bool { return rs.done() == len(ids) })
		rs.inOrder(t)
		r.until("nothing pending", func() bool { return r.pending(0)+r.pending(1) == 0 })
		r.endedOnce(ids, nil)
	})
}
