package ringtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"ringmaster"
	"ringmaster/ringtest"
)

func TestFailuresSayWhatHappened(t *testing.T) {
	ringtest.RunWith(t, ringtest.Options{Patience: 10 * time.Second}, func(t *testing.T, r *ringtest.Ring) {
		r.Worker(one, handles(func(_ context.Context, j ringmaster.Job[string]) (string, error) {
			switch j.Payload {
			case "bad":
				return "", ringmaster.Skip(errors.New("no address"))
			case "later":
				return "", ringmaster.RetryAfter(errors.New("busy"), time.Hour)
			}
			return "", nil
		}))
		good, bad, later := r.Submit("q", "t", "good"), r.Submit("q", "t", "bad", ringmaster.Key("a")), r.Submit("q", "t", "later")
		nobody := r.Submit("other", "t", "x")

		failing(t, func(t testing.TB) { ringtest.RequireCompleted(t, bad) }, "job "+bad.ID+" of q is dead after 1 attempt(s)", "no address")
		failing(t, func(t testing.TB) { ringtest.RequireDead(t, good) }, "job "+good.ID+" of q is completed; want dead")
		failing(t, func(t testing.TB) { ringtest.RequireCompleted(t, later) }, "is not completed", "10s of virtual time have passed", "it is retrying after 1 attempt(s)", "busy")
		failing(t, func(t testing.TB) { ringtest.RequireCompleted(t, nobody) }, "it is waiting", "queue other has no live worker")
		failing(t, func(t testing.TB) { ringtest.RequireCompleted(t, r.Job("q", "no-id")) }, "job no-id of q is not completed")

		failing(t, func(t testing.TB) { ringtest.RequireSubmitted(t, r, "q", "t", "other") },
			`nobody has handed in t "other" to q; it has 3 job(s):`, bad.ID+` t key a "bad"`)
		failing(t, func(t testing.TB) { ringtest.RequireSubmitted(t, r, "q", "t", "bad", ringmaster.Key("b")) }, "key b")
		failing(t, func(t testing.TB) { ringtest.RequireSubmitted(t, r, "empty", "t", 1) }, "it has no jobs")
		failing(t, func(t testing.TB) { ringtest.RequireNotSubmitted(t, r, "q", "t") }, "jobs of type t were handed in to q", good.ID)
	})
}

// A ring's own failures: they end the test, and show what was logged.
func TestARingSaysWhatHappened(t *testing.T) {
	in := func(f func(t testing.TB, r *ringtest.Ring)) func(testing.TB) {
		return func(t testing.TB) { f(t, ringtest.New(t, ringtest.Options{Patience: 10 * time.Second})) }
	}
	bubble(t, in(func(_ testing.TB, r *ringtest.Ring) { r.LoseAnswer("no-such-text") }), `LoseAnswer("no-such-text"): client has made no such request`)
	bubble(t, in(func(_ testing.TB, r *ringtest.Ring) { r.Submit("q", "a b", 1) }), "submit a job of type a b to q")
	bubble(t, in(func(_ testing.TB, r *ringtest.Ring) { r.Worker(one, func(*ringmaster.Worker) {}) }), "worker w1 has ended", "no handler")
	bubble(t, in(func(_ testing.TB, r *ringtest.Ring) { r.Work("q", "t", 1) }), "no attempt at job", "it is waiting")
	bubble(t, in(func(_ testing.TB, r *ringtest.Ring) { r.Resize("none", "") }), "resize none")
	bubble(t, in(func(_ testing.TB, r *ringtest.Ring) {
		r.Dispatchers()[0].Kill()
		r.Worker(one, who("w1"))
	}), "worker w1 does not get its partitions of q", "10s of virtual time")
	bubble(t, in(func(t testing.TB, r *ringtest.Ring) {
		r.Worker(one, handles(func(context.Context, ringmaster.Job[string]) (string, error) {
			return "", ringmaster.Skip(errors.New("spilt"))
		}))
		ringtest.RequireCompleted(t, r.Submit("q", "t", "x"))
	}), "the ring's last log lines", `msg="job is dead"`, "spilt")
	bubble(t, in(func(t testing.TB, r *ringtest.Ring) { ringtest.RequireInOrder(t, r) }), "no job with a key has begun")
}
