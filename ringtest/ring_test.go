package ringtest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"ringmaster"
	"ringmaster/ringtest"
)

func TestABackoffOfAnHourPassesAtOnce(t *testing.T) {
	ringtest.RunWith(t, ringtest.Options{LeaseTTL: 5 * time.Minute}, func(t *testing.T, r *ringtest.Ring) {
		r.Worker(one, handles(func(_ context.Context, j ringmaster.Job[string]) (string, error) {
			if j.Attempt == 1 {
				return "", ringmaster.RetryAfter(errors.New("not yet"), time.Hour)
			}
			return "at last", nil
		}))
		began := time.Now()
		j := r.Submit("q", "t", "x", ringmaster.Key("a"))
		st := ringtest.RequireCompleted(t, j)
		if took := time.Since(began); took < time.Hour || took > time.Hour+time.Minute {
			t.Errorf("it took %v of virtual time", took)
		}
		if result(st) != "at last" || numbers(r.Attempts(), j.ID) != "w1:1:failed w1:2:completed" {
			t.Errorf("%+v; %s", st, numbers(r.Attempts(), j.ID))
		}
	})
}

func TestWorkRunsOneJob(t *testing.T) {
	no := errors.New("no")
	ringtest.Run(t, func(t *testing.T, r *ringtest.Ring) {
		r.Worker(one, handles(func(ctx context.Context, j ringmaster.Job[string]) (string, error) {
			if seen, ok := ringmaster.FromContext(ctx); !ok || seen.ID != j.ID || j.Key != "a" || j.Fence == 0 {
				t.Errorf("job %+v, in the context %+v", j, seen)
			}
			if _, ok := ctx.Deadline(); !ok {
				t.Error("no deadline")
			}
			switch j.Payload {
			case "bad":
				return "", ringmaster.Skip(no)
			case "later":
				return "", no
			}
			return "did " + j.Payload, nil
		}))
		work := func(payload string, want ringmaster.Outcome, err error, result string) {
			a := r.Work("q", "t", payload, ringmaster.Key("a"))
			if a.Outcome != want || !errors.Is(a.Err, err) || string(a.Result) != result || a.Number != 1 || a.Worker != "w1" || a.Key != "a" {
				t.Errorf("%s: %+v", payload, a)
			}
		}
		work("good", ringmaster.OutcomeCompleted, nil, `"did good"`)
		work("bad", ringmaster.OutcomeDead, no, "")
		work("later", ringmaster.OutcomeFailed, no, "")
	})
}

// Jobs of ten keys, while workers come and go.
func TestResize(t *testing.T) {
	for _, mode := range []string{"key", "partition", "ring"} {
		t.Run(mode, func(t *testing.T) {
			ringtest.RunWith(t, ringtest.Options{ResizeMode: mode}, func(t *testing.T, r *ringtest.Ring) {
				slow := handles(func(context.Context, ringmaster.Job[string]) (string, error) {
					time.Sleep(500 * time.Millisecond)
					return "", nil
				})
				first := r.Worker(one, slow)
				var jobs []ringtest.Job
				for i := range 60 {
					jobs = append(jobs, r.Submit("q", "t", fmt.Sprint(i), ringmaster.Key(fmt.Sprint("k", i%10))))
				}
				r.Worker(one, slow)
				r.Resize("q", "")
				first.Stop()
				for _, j := range jobs {
					ringtest.RequireCompleted(t, j)
				}
				ringtest.RequireInOrder(t, r)
				by := map[string]int{}
				for _, a := range r.Attempts() {
					by[a.Worker]++
				}
				if by["w1"] == 0 || by["w2"] == 0 || by["w1"]+by["w2"] != len(jobs) {
					t.Errorf("attempts: %v", by)
				}
			})
		})
	}
}

// Many wait at once, in one bubble after the other: nothing of one is used in the next.
func TestManyWait(t *testing.T) {
	for range 3 {
		ringtest.Run(t, func(t *testing.T, r *ringtest.Ring) {
			r.Worker(one, who("w1"))
			var all sync.WaitGroup
			for i := range 30 {
				j := r.Submit("q", "t", fmt.Sprint(i))
				all.Go(func() {
					if st, err := r.Queue("q").Wait(context.Background(), j.ID); err != nil || st.State != ringmaster.Completed {
						t.Errorf("%+v, %v", st, err)
					}
				})
			}
			all.Wait()
		})
	}
}

// Code under test with a client of its own, and idempotent submissions.
func TestSubmitted(t *testing.T) {
	ringtest.Run(t, func(t *testing.T, r *ringtest.Ring) {
		own, err := ringmaster.NewClient(r.Config())
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
		go func() {
			_, _ = own.Queue("mails").Submit(context.Background(), "send", map[string]any{"a": 1, "b": "x"}, ringmaster.Key("ada"))
		}()
		ringtest.RequireSubmitted(t, r, "mails", "send", map[string]any{"b": "x", "a": 1})
		j := ringtest.RequireSubmitted(t, r, "mails", "send", map[string]any{"b": "x", "a": 1}, ringmaster.Key("ada"))
		ringtest.RequireNotSubmitted(t, r, "mails", "receive")
		ringtest.RequireNotSubmitted(t, r, "nothing", "send")
		r.Worker(ringmaster.WorkerConfig{Queues: []string{"mails"}}, func(w *ringmaster.Worker) {
			ringmaster.Handle(w, "send", func(context.Context, ringmaster.Job[any]) error { return nil })
		})
		ringtest.RequireCompleted(t, j)
		ringtest.RequireSubmitted(t, r, "mails", "send", map[string]any{"b": "x", "a": 1}) // its entry has gone
		if all := r.Submitted("mails"); len(all) != 1 || all[0].ID != j.ID || all[0].Key != "ada" {
			t.Errorf("%+v", all)
		}
	})
}

// TestAWorkerThatComesBackUnderItsName has joined, and owns what the one before had.
func TestAWorkerThatComesBackUnderItsName(t *testing.T) {
	ringtest.Run(t, func(t *testing.T, r *ringtest.Ring) {
		owner := func() string {
			ring, err := r.Client().Queue("q").Ring(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return ring.Partitions[0].Owner
		}
		nothing := handles(func(context.Context, ringmaster.Job[string]) (string, error) { return "", nil })
		own := one
		own.Name = "w2"
		first := r.Worker(own, nothing)
		before := owner()
		first.Kill()
		r.Worker(own, nothing)
		if after := owner(); after == before || after == "-" {
			t.Errorf("the owner is %q, before the kill %q", after, before)
		}
		if w := r.Worker(one, nothing); w.Name == "w2" {
			t.Error("a name is given twice")
		}
	})
}
