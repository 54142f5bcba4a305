package ringtest_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ringmaster"
	"ringmaster/ringtest"
)

// A worker is killed while its handler runs: the job runs elsewhere, and its key goes on.
func TestKill(t *testing.T) {
	ringtest.Run(t, func(t *testing.T, r *ringtest.Ring) {
		begun := make(chan struct{}, 10)
		w1 := r.Worker(one, handles(func(ctx context.Context, _ ringmaster.Job[string]) (string, error) {
			begun <- struct{}{}
			<-ctx.Done()
			return "too late", nil
		}, ringmaster.Timeout(time.Hour)))
		first := r.Submit("q", "t", "1", ringmaster.Key("a"))
		second := r.Submit("q", "t", "2", ringmaster.Key("a"))
		<-begun
		w1.Kill()
		r.Worker(one, who("w2"))
		for _, j := range []ringtest.Job{first, second} {
			if st := ringtest.RequireCompleted(t, j); result(st) != "w2" {
				t.Errorf("%+v", st)
			}
		}
		if got := numbers(r.Attempts(), first.ID); got != "w1:1: w2:1:completed" && got != "w1:1: w2:2:completed" {
			t.Errorf("attempts at the first: %s", got)
		}
		ringtest.RequireInOrder(t, r)
	})
}

// A worker is killed when the work is done and the store does not know: it is done once more.
func TestKillAfterTheHandler(t *testing.T) {
	ringtest.Run(t, func(t *testing.T, r *ringtest.Ring) {
		var effects atomic.Int32
		does := handles(func(context.Context, ringmaster.Job[string]) (string, error) {
			effects.Add(1)
			return "", nil
		})
		w1 := r.Worker(one, does)
		w1.At(ringtest.AfterHandler, w1.Kill)
		j := r.Submit("q", "t", "x", ringmaster.Key("a"))
		r.Worker(one, does)
		ringtest.RequireCompleted(t, j)
		if effects.Load() != 2 {
			t.Errorf("%d effects", effects.Load())
		}
		ringtest.RequireInOrder(t, r)
	})
}

func TestKillBeforeTheHandler(t *testing.T) {
	ringtest.Run(t, func(t *testing.T, r *ringtest.Ring) {
		w1 := r.Worker(one, who("w1"))
		w1.At(ringtest.BeforeHandler, w1.Kill)
		j := r.Submit("q", "t", "x")
		r.Worker(one, who("w2"))
		if st := ringtest.RequireCompleted(t, j); result(st) != "w2" {
			t.Errorf("%+v", st)
		}
		if got := r.Attempts(); len(got) != 1 || got[0].Worker != "w2" {
			t.Errorf("%+v", got)
		}
	})
}

// A worker is cut off while its handler runs, and comes back as a zombie: what it says is refused.
func TestFreezeAndFence(t *testing.T) {
	ringtest.Run(t, func(t *testing.T, r *ringtest.Ring) {
		begun, finish, over := make(chan string, 1), make(chan struct{}), make(chan error, 1)
		var first atomic.Bool
		runs := func(name string) func(*ringmaster.Worker) {
			return handles(func(ctx context.Context, _ ringmaster.Job[string]) (string, error) {
				if first.Swap(true) {
					return name, nil
				}
				begun <- name
				<-finish // it takes no notice of its context
				over <- context.Cause(ctx)
				return "zombie", nil
			}, ringmaster.Timeout(time.Hour))
		}
		workers := map[string]*ringtest.Worker{"w1": r.Worker(one, runs("w1")), "w2": r.Worker(one, runs("w2"))}
		j := r.Submit("q", "t", "x", ringmaster.Key("a"))
		zombie := <-begun
		other := map[string]string{"w1": "w2", "w2": "w1"}[zombie]
		workers[zombie].Freeze()
		frozen := time.Now()
		if st := ringtest.RequireCompleted(t, j); result(st) != other {
			t.Errorf("%+v", st)
		}
		if waited := time.Since(frozen); waited < 10*time.Second || waited > time.Minute {
			t.Errorf("its lease of 15 s was over after %v", waited)
		}
		workers[zombie].Thaw()
		time.Sleep(20 * time.Second)
		close(finish)
		if cause := <-over; !errors.Is(cause, ringmaster.ErrLost) {
			t.Errorf("the cause of its end: %v", cause)
		}
		time.Sleep(10 * time.Second)
		if st, err := r.Queue("q").Job(t.Context(), j.ID); err != nil || st.State != ringmaster.Completed || result(st) != other {
			t.Errorf("the zombie was heard: %+v, %v", st, err)
		}
		fences := map[string]uint64{}
		for _, a := range r.Attempts() {
			fences[a.Worker] = a.Fence
		}
		if fences[zombie] >= fences[other] {
			t.Errorf("fences %v, of the zombie %s", fences, zombie)
		}
		ringtest.RequireInOrder(t, r)
		if ws, err := r.Queue("q").Workers(t.Context()); err != nil || len(ws) != 2 {
			t.Errorf("it is not back: %+v, %v", ws, err)
		}
	})
}

// The answer to a submission is lost: a repeat under the same idempotency key adds nothing.
func TestALostAnswerDoublesNoSubmission(t *testing.T) {
	ringtest.Run(t, func(t *testing.T, r *ringtest.Ring) {
		r.CreateQueue("q")
		r.LoseAnswer("order-7")
		var receipt ringmaster.Receipt
		for tries := 0; ; tries++ {
			var err error
			receipt, err = r.Queue("q").Submit(t.Context(), "t", "x", ringmaster.Key("a"), ringmaster.Once("order-7"))
			if err == nil {
				break
			}
			if !errors.Is(err, ringmaster.ErrOutcomeUnknown) || tries > 0 {
				t.Fatal(err)
			}
		}
		if all := r.Submitted("q"); len(all) != 1 || all[0].ID != receipt.ID {
			t.Errorf("%v; the receipt is for %s", all, receipt.ID)
		}
	})
}

// The answer to an end is lost: the worker tells it again, and the job does not run again.
func TestALostAnswerDoublesNoEnd(t *testing.T) {
	ringtest.Run(t, func(t *testing.T, r *ringtest.Ring) {
		w := r.Worker(one, who("w1"))
		w.LoseEnd()
		first := r.Submit("q", "t", "1", ringmaster.Key("a"))
		second := r.Submit("q", "t", "2", ringmaster.Key("a"))
		ringtest.RequireCompleted(t, first)
		ringtest.RequireCompleted(t, second)
		if all := r.Attempts(); len(all) != 2 {
			t.Errorf("%+v", all)
		}
		ringtest.RequireInOrder(t, r)
	})
}

// Without a leader workers do not get partitions, until another one leads.
func TestKillTheLeader(t *testing.T) {
	ringtest.Run(t, func(t *testing.T, r *ringtest.Ring) {
		r.Worker(one, who("w1"))
		second := r.Dispatcher()
		r.Dispatchers()[0].Kill()
		w2 := r.Worker(one, who("w2"))
		ring, err := r.Queue("q").Ring(t.Context())
		if err != nil || !strings.Contains(ring.Leader, ".") {
			t.Fatalf("%+v, %v", ring, err)
		}
		owns := 0
		for _, p := range ring.Partitions {
			if strings.HasPrefix(p.Owner, w2.Name+".") {
				owns++
			}
		}
		if owns != len(ring.Partitions)/2 {
			t.Errorf("%s owns %d of %d", w2.Name, owns, len(ring.Partitions))
		}
		second.Freeze()
		if st := ringtest.RequireCompleted(t, r.Submit("q", "t", "x")); st.State != ringmaster.Completed {
			t.Errorf("%+v", st)
		}
		second.Thaw()
	})
}

// A client that is cut off does not know, and says so.
func TestFrozenClients(t *testing.T) {
	ringtest.Run(t, func(t *testing.T, r *ringtest.Ring) {
		r.CreateQueue("q")
		r.FreezeClients()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := r.Queue("q").Submit(ctx, "t", "x"); !errors.Is(err, ringmaster.ErrOutcomeUnknown) && !errors.Is(err, ringmaster.ErrUnavailable) {
			t.Errorf("a submission into the silence: %v", err)
		}
		r.ThawClients()
		r.Submit("q", "t", "y")
	})
}
