package behaviour

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"ringmaster/consumergroup"
	"ringmaster/internal/redistest"
	"ringmaster/internal/service"
	"ringmaster/job"
	"ringmaster/streams"
)

func TestAttemptsAndBackoffMoveWithTheJob(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(*proc){"death": func(p *proc) { p.kill() }, "stop": func(p *proc) { p.stop() }} {
		t.Run(name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, url, _ string) {
				r, rs := newRig(t, url, streams.Queue{Partitions: 1, Journal: true}), &runs{}
				r.lead()
				const wait = 600 * time.Millisecond
				var mu sync.Mutex
				var failed, again time.Time
				handler := func(worker string) consumergroup.Handler {
					return rs.by(worker, func(_ context.Context, d job.Delivery, n int) (json.RawMessage, error) {
						if d.Key != "k" || n != 0 {
							return nil, nil
						}
						mu.Lock()
						defer mu.Unlock()
						switch d.Attempt {
						case 1:
							return nil, errors.New("at once again")
						case 2:
							failed = time.Now()
							return nil, job.RetryAfter(errors.New("busy"), wait)
						}
						again = time.Now()
						return nil, nil
					})
				}
				one := r.start(spec{name: "w1", t: handler("w1")})
				r.settled("w1")
				ids := r.send("k", 3)
				id := strings.TrimPrefix(ids[0], "0-")
				record := func() string { return r.raw.HGet(r.ctx, r.key("retry:0"), id).Val() }
				r.until("two attempts are on record", func() bool { return strings.HasPrefix(record(), "2|") })
				rec, err := job.ParseRetry(record())
				if err != nil || rec.Error != "busy" || rec.NotBefore.Before(time.Now()) {
					t.Errorf("record %q, %v", record(), err)
				}
				two := r.start(spec{name: "w2", t: handler("w2")})
				receive(r, two.ready, "the second worker")
				leave(one)
				ids = append(ids, r.send("other", 3)...)
				r.until("the other key goes on", func() bool {
					return rs.count(func(x run) bool { return x.d.Key == "other" && x.n == 2 && succeeded(x) }) > 0
				})
				r.until("all done", func() bool { return rs.done() == 6 })
				r.until("nothing pending", func() bool { return r.pending(0) == 0 })
				mu.Lock()
				defer mu.Unlock()
				if waited := again.Sub(failed); waited < wait {
					t.Errorf("attempt 3 came %v after attempt 2, asked for were %v", waited, wait)
				}
				for _, x := range rs.list() {
					if x.d.Key == "k" && x.n == 0 && (x.d.Attempt == 3) != (x.worker == "w2") {
						t.Errorf("attempt %d on %s", x.d.Attempt, x.worker)
					}
				}
				rs.inOrder(t)
				r.endedOnce(ids, nil)
				if n := r.raw.HLen(r.ctx, r.key("retry:0")).Val(); n != 0 {
					t.Errorf("%d retry records are left", n)
				}
			})
		})
	}
}

func TestAttemptsRunOutAndTheKeyGoesOn(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, url, _ string) {
		r, rs := newRig(t, url, streams.Queue{Partitions: 1, Journal: true}), &runs{}
		r.lead()
		r.start(spec{name: "w", policy: service.Policy{MaxAttempts: 4}, t: rs.by("w", func(_ context.Context, d job.Delivery, n int) (json.RawMessage, error) {
			if n == 1 {
				return nil, job.RetryAfter(errors.New("always later"), time.Millisecond)
			}
			return nil, nil
		})})
		ids := r.send("k", 3)
		r.until("the key goes on", func() bool { return rs.done() == 2 })
		r.until("nothing pending", func() bool { return r.pending(0) == 0 })
		rs.inOrder(t)
		if n := rs.count(func(x run) bool { return x.n == 1 }); n != 4 {
			t.Errorf("%d attempts", n)
		}
		d := r.dead()
		if len(d) != 1 || d[0].ID != ids[1] || d[0].Attempts != 4 || !strings.Contains(d[0].Error, "always later") || string(d[0].Payload) != `{"N":1}` {
			t.Errorf("dead letters %+v", d)
		}
		r.endedOnce([]string{ids[0], ids[2]}, ids[1:2])
	})
}

func TestAPartitionDrainIsNotHeldUpByAFailedAttempt(t *testing.T) {
	t.Parallel()
	r, rs := newRig(t, redistest.Real(t).URL(), streams.Queue{Partitions: 1, Journal: true}), &runs{}
	r.lead()
	started, open := make(chan struct{}, 10), make(chan struct{})
	slow := func(c *consumergroup.Config) { c.DrainTimeout, c.Grace = 50*time.Second, time.Second }
	for _, name := range []string{"w1", "w2"} {
		p := r.start(spec{name: name, tune: slow, t: rs.by(name, func(_ context.Context, d job.Delivery, n int) (json.RawMessage, error) {
			if d.Attempt == 1 && n == 0 {
				started <- struct{}{}
				<-open
				return nil, errors.New("once")
			}
			return nil, nil
		})})
		receive(r, p.ready, "worker "+name)
	}
	ids := r.send("k", 2)
	receive(r, started, "the run")
	answered := make(chan error, 1)
	go func() {
		_, err := r.store.RequestResize(r.ctx, "q", "partition")
		answered <- err
	}()
	if err := receive(r, answered, "the resize"); err != nil {
		t.Fatal(err)
	}
	close(open)
	r.until("all done", func() bool { return rs.done() == 2 })
	r.until("nothing pending", func() bool { return r.pending(0) == 0 })
	rs.inOrder(t)
	r.endedOnce(ids, nil)
}
