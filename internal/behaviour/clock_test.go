package behaviour

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ringmaster/configs"
	"ringmaster/consumergroup"
	"ringmaster/internal/doctor"
	"ringmaster/internal/redisproc"
	"ringmaster/internal/service"
	"ringmaster/job"
	"ringmaster/streams"
)

// clocked is a rig on a server whose clock is away from this machine's.
func clocked(t *testing.T, ahead time.Duration) *rig {
	t.Helper()
	clock, err := redisproc.NewClock(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := clock.Step(ahead); err != nil {
		t.Fatal(err)
	}
	server, err := redisproc.Start(t.Context(), clock.Options(redisproc.Options{Dir: t.TempDir()}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Kill() })
	return newRig(t, server.URL(), streams.Queue{Partitions: 1, Journal: true})
}

// TestNoTimeIsOfAWorkersClock: all workers and this test are days away from the server. A failed
// attempt waits as long as it was to, here and at the next owner, and what people are shown is
// in the order in which it happened.
func TestNoTimeIsOfAWorkersClock(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"the server is ahead": 50 * time.Hour, "the server is behind": -50 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, rs := clocked(t, ahead), &runs{}
			r.lead()
			const wait = time.Second
			var mu sync.Mutex
			var failed, again time.Time
			handler := func(worker string) consumergroup.Handler {
				return rs.by(worker, func(_ context.Context, d job.Delivery, n int) (json.RawMessage, error) {
					mu.Lock()
					defer mu.Unlock()
					switch {
					case n == 2:
						return nil, nil // nothing is kept of it
					case n == 1:
						return nil, job.Skip(errors.New("never"))
					case d.Attempt == 1:
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
			record := func() string { return r.raw.HGet(r.ctx, r.key("retry:0"), strings.TrimPrefix(ids[0], "0-")).Val() }
			r.until("the attempt is on record", func() bool { return record() != "" })
			if rec, err := job.ParseRetry(record()); err != nil || !near(rec.NotBefore, r.raw.Time(r.ctx).Val(), wait) {
				t.Errorf("record %q, %v, at %d by the server's clock", record(), err, r.raw.Time(r.ctx).Val().UnixMilli())
			}
			if v, err := r.store.Inspect().Key(r.ctx, "q", "k"); err != nil || v.Head == nil || !strings.Contains(v.Why, "busy; the next one is due at") {
				t.Errorf("the key: %+v, %v", v, err)
			}
			two := r.start(spec{name: "w2", t: handler("w2")})
			receive(r, two.ready, "the second worker")
			one.kill()
			r.completed(ids[0])
			mu.Lock()
			waited := again.Sub(failed)
			mu.Unlock()
			if waited < wait || waited > wait+20*time.Second {
				t.Errorf("the next attempt came after %v, asked for was %v", waited, wait)
			}
			r.until("the other is dead", func() bool { return len(r.dead()) == 1 })
			r.completed(ids[2])
			for _, id := range ids[:2] {
				st, err := r.store.Inspect().Job(r.ctx, "q", id)
				if err != nil {
					t.Fatal(err)
				}
				if st.FinishedAt == nil || st.FinishedAt.Before(*st.EnqueuedAt) || st.FinishedAt.Sub(*st.EnqueuedAt) > time.Minute {
					t.Errorf("%s job: handed in at %v, ended at %v", st.State, st.EnqueuedAt, st.FinishedAt)
				}
			}
		})
	}
}

// near reports whether a time is at hand, no more than so far away.
func near(at, now time.Time, most time.Duration) bool {
	left := at.Sub(now)
	return left <= most && left > -20*time.Second
}

// TestAWorkerOfAnotherTimeIsTold: by itself, and by the doctor, who may be on a third machine.
func TestAWorkerOfAnotherTimeIsTold(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			t.Parallel()
			r := clocked(t, ahead)
			log := &logbook{}
			cfg := configs.DefaultWorker()
			cfg.Redis, cfg.Queues, cfg.Name, cfg.Builtin = r.url, []string{"q"}, "w1", true
			ctx, cancel := context.WithCancel(r.ctx)
			ready, ended := make(chan string, 1), make(chan error, 1)
			go func() {
				ended <- service.RunWorker(ctx, cfg, service.Options{Log: slog.New(slog.NewTextHandler(log, nil)), Ready: func(inc string) { ready <- inc }})
			}()
			t.Cleanup(func() {
				cancel()
				if err := receive(r, ended, "the end of the worker"); err != nil {
					t.Error(err)
				}
			})
			receive(r, ready, "the worker")
			found, err := doctor.Examine(r.ctx, r.store, doctor.Config{})
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(found, func(f doctor.Finding) bool { return strings.Contains(f.Finding, "clocks of workers") })
			if ahead == 0 {
				if i >= 0 || strings.Contains(log.String(), "clock") {
					t.Errorf("there is nothing to tell: %+v, %s", found, log)
				}
				return
			}
			hour := regexp.MustCompile(`(3599|360\d)\.\d s behind`) // less or more by what the question took
			if ahead < 0 {
				hour = regexp.MustCompile(`(3599|360\d)\.\d s ahead`)
			}
			if i < 0 || !strings.Contains(found[i].Finding, "w1 on ") || !hour.MatchString(found[i].Finding) {
				t.Errorf("findings %+v", found)
			}
			r.until("the worker tells", func() bool {
				_, told, _ := strings.Cut(log.String(), "this machine's clock is ")
				return hour.MatchString(told)
			})
		})
	}
}

// logbook is what was logged.
type logbook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logbook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
