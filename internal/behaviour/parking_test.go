package behaviour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ringmaster/consumergroup"
	"ringmaster/internal/redistest"
	"ringmaster/internal/service"
	"ringmaster/job"
	"ringmaster/recovery"
	"ringmaster/streams"
)

// stuck is a key whose first job fails until it is healed.
type stuck struct {
	healed atomic.Bool
	failed atomic.Int64
}

func (k *stuck) handler(rs *runs, worker, key string) consumergroup.Handler {
	return rs.by(worker, func(_ context.Context, d job.Delivery, n int) (json.RawMessage, error) {
		if d.Key == key && n == 0 && !k.healed.Load() {
			k.failed.Add(1)
			return nil, errors.New("not yet")
		}
		return nil, nil
	})
}

var stubborn = service.Policy{MaxAttempts: 1 << 30, Backoff: recovery.Backoff{Base: 10 * time.Millisecond, Max: 20 * time.Millisecond}}

// othersGoOn sends jobs of other keys and waits until they are done.
func (r *rig) othersGoOn(rs *runs, keys []string, from, n int) {
	r.t.Helper()
	was := rs.calls()
	for _, k := range keys {
		r.sendFrom(k, from, n)
	}
	r.until("other keys of the partition go on", func() bool { return rs.calls() == was+n*len(keys) })
}

// bounded checks that the partition's pending list fits the window.
func (r *rig) bounded() {
	r.t.Helper()
	if n := r.pending(0); n > int64(consumergroup.Default().Window) {
		r.t.Errorf("%d entries are pending in one partition", n)
	}
}

const successors int64 = 10_000

func TestAFailingKeyWithManySuccessorsStopsNobody(t *testing.T) {
	r, rs, bad := newRig(t, redistest.Real(t).URL(), streams.Queue{Partitions: 1}), &runs{}, &stuck{}
	r.lead()
	r.start(spec{name: "w", policy: stubborn, t: bad.handler(rs, "w", "bad")})
	r.send("bad", 1)
	r.until("the key fails", func() bool { return bad.failed.Load() > 0 })
	r.sendFrom("bad", 1, int(successors))
	others := []string{"a", "b", "c", "d"}
	for i := range 5 {
		r.othersGoOn(rs, others, 50*i, 50)
		r.bounded()
	}
	r.until("the failing key's jobs are set aside", func() bool {
		return r.raw.LLen(r.ctx, r.key("parked:0:bad")).Val() > successors-100
	})
	bad.healed.Store(true)
	r.until("all jobs done", func() bool { return rs.done() == int(successors)+1+1000 })
	rs.inOrder(t)
	r.until("nothing is left", func() bool {
		return r.pending(0) == 0 && r.raw.Exists(r.ctx, r.key("parked:0"), r.key("parked:0:bad"), r.key("retry:0")).Val() == 0
	})
	r.until("the stream is trimmed", func() bool { return r.raw.XLen(r.ctx, r.key("jobs:0")).Val() <= 1 })
}

func TestParkedJobsSurviveADeathAndAMove(t *testing.T) {
	r, rs, bad := newRig(t, redistest.Real(t).URL(), streams.Queue{Partitions: 1}), &runs{}, &stuck{}
	r.lead()
	one := r.start(spec{name: "w1", policy: stubborn, t: bad.handler(rs, "w1", "bad")})
	r.settled("w1")
	// All at once: the first batches are read before the first attempt has failed.
	r.send("bad", 4000)
	r.until("the key fails", func() bool { return bad.failed.Load() > 0 })
	r.othersGoOn(rs, []string{"a", "b"}, 0, 20)
	two := r.start(spec{name: "w2", policy: stubborn, t: bad.handler(rs, "w2", "bad")})
	receive(r, two.ready, "the second worker")
	one.kill()
	r.settled("w2")
	r.othersGoOn(rs, []string{"a", "b"}, 20, 20)
	r.bounded()
	r.start(spec{name: "w3", policy: stubborn, t: bad.handler(rs, "w3", "bad")})
	two.stop()
	if err := two.wait(); err != nil {
		t.Fatal(err)
	}
	r.settled("w3")
	r.othersGoOn(rs, []string{"a", "b"}, 40, 20)
	r.bounded()
	bad.healed.Store(true)
	r.until("half of them done", func() bool { return rs.done() > 2000 })
	four := r.start(spec{name: "w4", policy: stubborn, t: bad.handler(rs, "w4", "bad")})
	receive(r, four.ready, "the last worker")
	r.until("all jobs done", func() bool { return rs.done() == 4000+120 })
	rs.inOrder(t)
	r.until("nothing pending", func() bool { return r.pending(0) == 0 })
}

// What the handlers call is down, for some types: what fails waits for its next attempt, for
// hours, and fills no window, nor does it at the worker that takes over.
func TestManyFailingJobsStopNobody(t *testing.T) {
	r, rs := newRig(t, redistest.Real(t).URL(), streams.Queue{Partitions: 1}), &runs{}
	var failed atomic.Int64
	down := func(worker string) consumergroup.Handler {
		return rs.by(worker, func(_ context.Context, d job.Delivery, _ int) (json.RawMessage, error) {
			if d.Key == "" || strings.HasPrefix(d.Key, "bad") {
				failed.Add(1)
				return nil, errors.New("not reachable")
			}
			return nil, nil
		})
	}
	patient := service.Policy{MaxAttempts: 1 << 30, Backoff: recovery.Backoff{Base: 1000 * time.Hour, Max: 1000 * time.Hour}}
	r.lead()
	one := r.start(spec{name: "w1", policy: patient, t: down("w1")})
	r.settled("w1")
	const keys, keyless = 400, 400
	for i := range keys {
		r.send(fmt.Sprint("bad", i), 1)
	}
	r.send("", keyless)
	r.until("all of them wait for their next attempt", func() bool { return failed.Load() == keys+keyless })
	r.othersGoOn(rs, []string{"a", "b"}, 0, 50)
	r.start(spec{name: "w2", policy: patient, t: down("w2")})
	one.kill()
	r.settled("w2")
	r.othersGoOn(rs, []string{"a", "b"}, 50, 50)
}
