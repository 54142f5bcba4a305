package behaviour

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"ringmaster/consumergroup"
	"ringmaster/internal/redistest"
	"ringmaster/internal/service"
	"ringmaster/job"
	"ringmaster/recovery"
	"ringmaster/streams"
)

func TestKeyedJobsRunInOrderAndUnkeyedOnesTogether(t *testing.T) {
	redistest.Each(t, func(t *testing.T, url, _ string) {
		r, rs := newRig(t, url, streams.Queue{Partitions: 4}), &runs{}
		r.lead()
		together := make(chan struct{}, 100)
		open := make(chan struct{})
		r.start(spec{name: "w", tune: func(c *consumergroup.Config) { c.Concurrency = 4 },
			t: rs.by("w", func(ctx context.Context, d job.Delivery, _ int) (json.RawMessage, error) {
				if d.Key != "" {
					return nil, nil
				}
				together <- struct{}{}
				select {
				case <-open:
				case <-ctx.Done():
				}
				return nil, nil
			})})
		r.send("", 9)
		for range 4 {
			receive(r, together, "four unkeyed jobs at once")
		}
		r.send("a", 30)
		r.send("b", 30)
		if n := len(rs.list()); n != 4 {
			t.Errorf("%d handlers run with a concurrency of 4", n)
		}
		close(open)
		r.until("69 jobs done", func() bool { return rs.done() == 69 })
		rs.inOrder(t)
		rs.onceEach(t, 30, "a", "b")
		running, most := map[int]bool{}, 0
		for _, x := range rs.list() {
			for e := range running {
				if e < x.began {
					delete(running, e)
				}
			}
			running[x.end] = true
			most = max(most, len(running))
		}
		if most > 4 {
			t.Errorf("%d handlers ran at once with a concurrency of 4", most)
		}
	})
}

func TestWhatAHandlerIsGiven(t *testing.T) {
	r := newRig(t, redistest.Mini(t).URL(), streams.Queue{Partitions: 1})
	r.lead()
	type seen struct {
		d     job.Delivery
		cause error
		left  time.Duration
	}
	got := make(chan seen, 10)
	r.start(spec{name: "w", policy: service.Policy{MaxAttempts: 2}, tune: func(c *consumergroup.Config) { c.HandlerTimeout = 300 * time.Millisecond },
		t: func(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
			deadline, _ := ctx.Deadline()
			left := time.Until(deadline)
			if d.Attempt == 1 {
				<-ctx.Done()
			}
			got <- seen{d, context.Cause(ctx), left}
			return nil, ctx.Err()
		}})
	ids := r.sendJobs(job.Job{Type: "t", Key: "k", Payload: json.RawMessage(`{"N":7}`)})
	first, second := receive(r, got, "attempt 1"), receive(r, got, "attempt 2")
	if !errors.Is(first.cause, job.ErrTimeout) {
		t.Errorf("the context ended for %v", first.cause)
	}
	if first.left <= 0 || first.left > 300*time.Millisecond {
		t.Errorf("deadline in %v", first.left)
	}
	d := first.d
	if d.ID.String() != ids[0] || d.Key != "k" || d.Type != "t" || d.Queue != "q" || string(d.Payload) != `{"N":7}` || d.Attempt != 1 || d.Epoch == 0 {
		t.Errorf("delivery %+v", d)
	}
	if d.Fence < job.NewFence(1, d.Epoch) || second.d.Fence != d.Fence || second.d.Attempt != 2 {
		t.Errorf("fences %d and %d, attempt %d", d.Fence, second.d.Fence, second.d.Attempt)
	}
}

func TestPanicGoexitAndUnknownTypeAreFailedAttempts(t *testing.T) {
	redistest.Each(t, func(t *testing.T, url, _ string) {
		r, rs, log := newRig(t, url, streams.Queue{Partitions: 1}), &runs{}, &logbook{}
		r.lead()
		r.log = slog.New(slog.NewTextHandler(log, nil))
		r.start(spec{name: "w", policy: service.Policy{MaxAttempts: 3}, tune: func(c *consumergroup.Config) { c.Concurrency = 1 },
			h: map[string]consumergroup.Handler{
				"panics": func(context.Context, job.Delivery) (json.RawMessage, error) { panic("boom") },
				"exits":  func(context.Context, job.Delivery) (json.RawMessage, error) { runtime.Goexit(); return nil, nil },
			}, t: rs.by("w", nil)})
		ids := r.sendJobs(job.Job{Type: "panics", Key: "k"}, job.Job{Type: "exits", Key: "k"}, job.Job{Type: "nobody", Key: "k"},
			job.Job{Type: "t", Key: "k"})
		r.until("the last job of the key", func() bool { return rs.done() == 1 })
		letters := r.dead()
		if len(letters) != 3 {
			t.Fatalf("%d dead letters", len(letters))
		}
		for i, want := range []string{"panic: boom", "ended its goroutine", "no handler for type nobody"} {
			if d := letters[i]; d.ID != ids[i] || d.Attempts != 3 || !strings.Contains(d.Error, want) {
				t.Errorf("dead letter %+v, want %s after 3 attempts with %q", d, ids[i], want)
			}
		}
		// Where it panicked is for the log: what is kept of the job goes to people who have no source.
		if d := letters[0]; strings.Contains(d.Error, "goroutine") || strings.Contains(d.Error, "\n") || !strings.Contains(log.String(), "handlers_test.go") {
			t.Errorf("error %q; logged %s", d.Error, log)
		}
		if n := r.raw.HLen(r.ctx, r.key("retry:0")).Val(); n != 0 {
			t.Errorf("%d retry records are left of jobs that are dead", n)
		}
	})
}

func TestVerdictsOfHandlers(t *testing.T) {
	redistest.Each(t, func(t *testing.T, url, _ string) {
		r, rs := newRig(t, url, streams.Queue{Partitions: 1}), &runs{}
		r.lead()
		const wait = 150 * time.Millisecond
		var times []time.Time // the handler of one key: no two at once
		r.start(spec{name: "w", policy: service.Policy{Backoff: recovery.Backoff{Base: time.Hour, Max: time.Hour}},
			h: map[string]consumergroup.Handler{
				"skips": func(context.Context, job.Delivery) (json.RawMessage, error) {
					return nil, job.Skip(errors.New("never"))
				},
				"later": func(_ context.Context, d job.Delivery) (json.RawMessage, error) {
					times = append(times, time.Now())
					if d.Attempt == 1 {
						return nil, job.RetryAfter(errors.New("busy"), wait)
					}
					return json.RawMessage(`{"ok":true}`), nil
				},
				"plain": func(context.Context, job.Delivery) (json.RawMessage, error) { return json.RawMessage(`null`), nil },
				"text":  func(context.Context, job.Delivery) (json.RawMessage, error) { return json.RawMessage(`not JSON`), nil },
			}, t: rs.by("w", nil)})
		ids := r.sendJobs(job.Job{Type: "skips", Key: "k"}, job.Job{Type: "later", Key: "k"}, job.Job{Type: "plain", Key: "k"},
			job.Job{Type: "text", Key: "k"}, job.Job{Type: "t", Key: "k"})
		r.until("the last job of the key", func() bool { return rs.done() == 1 })
		if d := r.dead(); len(d) != 2 || d[0].ID != ids[0] || d[0].Attempts != 1 || !strings.Contains(d[0].Error, "never") ||
			d[1].ID != ids[3] || !strings.Contains(d[1].Error, "not valid JSON") {
			t.Errorf("dead letters %+v", d)
		}
		if d := times[1].Sub(times[0]); d < wait {
			t.Errorf("attempt 2 came %v after attempt 1, asked for were %v", d, wait)
		}
		st, err := r.store.Inspect().Job(r.ctx, "q", ids[1])
		if err != nil || st.State != job.Completed || st.Attempts != 2 || string(st.Result) != `{"ok":true}` {
			t.Errorf("status %+v, %v", st, err)
		}
		for id, want := range map[string]int64{ids[2]: 0, ids[1]: 1, ids[3]: 0} {
			if n := r.raw.Exists(r.ctx, r.key("result:"+id)).Val(); n != want {
				t.Errorf("job %s has %d result records, want %d", id, n, want)
			}
		}
		r.until("nothing pending", func() bool { return r.pending(0) == 0 })
	})
}

// pending counts the partition's handed-out entries, whoever holds them.
func (r *rig) pending(p int) int64 {
	var n int64
	stream := r.key("jobs:" + itoa(p))
	groups, err := r.raw.XInfoGroups(r.ctx, stream).Result()
	if err != nil {
		return -1
	}
	for _, g := range groups {
		rows, err := r.raw.XPendingExt(r.ctx, &redisPending{Stream: stream, Group: g.Name, Start: "-", End: "+", Count: 100000}).Result()
		if err != nil {
			return -1
		}
		n += int64(len(rows))
	}
	return n
}

func TestEntriesThatCannotRunStopNothing(t *testing.T) {
	redistest.Each(t, func(t *testing.T, url, _ string) {
		r, rs := newRig(t, url, streams.Queue{Partitions: 2}), &runs{}
		r.lead()
		r.start(spec{name: "w", t: rs.by("w", nil)})
		mine, other := r.keysOf(0, 1)[0], r.keysOf(1, 1)[0]
		add := func(fields ...any) string {
			id, err := r.raw.XAdd(r.ctx, &redisAdd{Stream: r.key("jobs:0"), Values: fields}).Result()
			if err != nil {
				t.Fatal(err)
			}
			return "0-" + id
		}
		broken := []string{
			add("junk", "x"),
			add("type", "t", "type", "t"),
			add("type", "t", "key", other),
			add("type", "t", "key", mine, "payload", "\xff\xfe"),
			add("type", "bad type"),
		}
		good := []string{
			add("payload", `{"N":0}`, "extra", "x", "key", mine, "type", "t"),
			add("key", mine, "type", "t", "payload", `{"N":1}`),
			add("type", "t", "payload", "plain words"),
		}
		r.until("three jobs done", func() bool { return rs.done() == 3 })
		r.until("five dead letters", func() bool { return len(r.dead()) == 5 })
		for i, d := range r.dead() {
			if d.ID != broken[i] || len(d.Raw) == 0 || !strings.Contains(d.Error, "cannot be run") {
				t.Errorf("dead letter %+v, want whole %s", d, broken[i])
			}
		}
		for _, x := range rs.list() {
			if x.d.ID.String() == good[2] && string(x.d.Payload) != `"plain words"` {
				t.Errorf("payload %s", x.d.Payload)
			}
		}
		rs.inOrder(t)
		r.until("nothing pending", func() bool { return r.pending(0) == 0 })
	})
}
