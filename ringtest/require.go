package ringtest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"ringmaster"
)

// RequireCompleted waits, in virtual time, until the job has completed, and returns its status, with
// its result. The test ends there if the job is dead, or Options.Patience is over: then it says what
// the job waits for. From one goroutine at a time.
func RequireCompleted(t testing.TB, j Job) ringmaster.Status {
	t.Helper()
	return j.require(t, ringmaster.Completed)
}

// RequireDead waits, in virtual time, until the job is a dead letter, and returns its status, with its
// error. The test ends there if the job completes, or Options.Patience is over.
func RequireDead(t testing.TB, j Job) ringmaster.Status {
	t.Helper()
	return j.require(t, ringmaster.Dead)
}

func (j Job) require(t testing.TB, want ringmaster.State) ringmaster.Status {
	t.Helper()
	ctx, cancel := j.ring.patient()
	defer cancel()
	j.ring.runs.settled(ctx, j)
	st, err := j.ring.client.Queue(j.Queue).Wait(ctx, j.ID)
	switch {
	case err != nil:
		t.Fatalf("job %s of %s is not %s: %v%s", j.ID, j.Queue, want, err, j.ring.why(j))
	case st.State != want && st.State == ringmaster.Dead:
		t.Fatalf("job %s of %s is dead after %d attempt(s): %s", j.ID, j.Queue, st.Attempts, st.Error)
	case st.State != want:
		t.Fatalf("job %s of %s is %s; want %s", j.ID, j.Queue, st.State, want)
	}
	return st
}

// RequireSubmitted wants a job of the type in the queue whose payload is the same as JSON, whoever
// handed it in, and returns it, the earliest if there are several. With ringmaster.Key it is to have
// that key. What other goroutines of the bubble are about to do without time passing is waited for.
func RequireSubmitted(t testing.TB, r *Ring, queue, jobType string, payload any, opts ...ringmaster.Option) Job {
	t.Helper()
	var like ringmaster.Submission
	for _, o := range opts {
		o(&like)
	}
	want, err := json.Marshal(payload)
	if err != nil {
		t.Fatalf("encode the payload: %v", err)
	}
	synctest.Wait()
	all := r.Submitted(queue)
	for _, s := range all {
		if s.Type == jobType && (like.Key == "" || s.Key == like.Key) && sameJSON(s.Payload, want) {
			return r.Job(queue, s.ID)
		}
	}
	key := ""
	if like.Key != "" {
		key = " key " + like.Key
	}
	t.Fatalf("nobody has handed in %s%s %s to %s; %s", jobType, key, want, queue, listed(all))
	return Job{}
}

// RequireNotSubmitted wants no job of the type in the queue.
func RequireNotSubmitted(t testing.TB, r *Ring, queue, jobType string) {
	t.Helper()
	synctest.Wait()
	var found []Submitted
	for _, s := range r.Submitted(queue) {
		if s.Type == jobType {
			found = append(found, s)
		}
	}
	if len(found) > 0 {
		t.Fatalf("jobs of type %s were handed in to %s; %s", jobType, queue, listed(found))
	}
}

func listed(all []Submitted) string {
	if len(all) == 0 {
		return "it has no jobs"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "it has %d job(s):", len(all))
	for i, s := range all {
		if i == 20 {
			b.WriteString("\n\t...")
			break
		}
		fmt.Fprintf(&b, "\n\t%v", s)
	}
	return b.String()
}

// RequireInOrder wants what Ringmaster promises for keys of all attempts so far: none at a job began
// before one at each earlier job of its key, of those that began at all, had ended for good, as
// completed or dead. An old run of a worker that was cut off counts as what it is, if its fence is
// lower.
func RequireInOrder(t testing.TB, r *Ring) {
	t.Helper()
	wrong, keys := outOfOrder(r.Attempts())
	switch {
	case len(wrong) > 0:
		t.Fatalf("out of order:\n\t%s", strings.Join(wrong, "\n\t"))
	case keys == 0:
		t.Fatalf("nothing is in order: no job with a key has begun")
	}
}

// outOfOrder says what is wrong, one line each, and how many keys there are.
func outOfOrder(all []Attempt) (wrong []string, keys int) {
	of := map[[2]string][]Attempt{}
	for _, a := range all {
		if a.Key == "" {
			continue
		}
		k := [2]string{a.Queue, a.Key}
		for _, earlier := range of[k] {
			if why := before(earlier, a, of[k]); why != "" {
				wrong = append(wrong, why)
				break
			}
		}
		of[k] = append(of[k], a)
	}
	return wrong, len(of)
}

// before says why a may not have begun after one, or nothing. key has all that began before a.
func before(one, a Attempt, key []Attempt) string {
	order := inOrder(one.ID, a.ID)
	switch {
	case order > 0 && a.Fence >= one.Fence:
		return fmt.Sprintf("%s began after %s, a later job of its key", a.name(), one.name())
	case order < 0 && !settled(one.ID, a.began, key):
		return fmt.Sprintf("%s began before %s, an earlier job of its key, had ended for good", a.name(), one.name())
	}
	return ""
}

// settled reports whether an attempt at the job had ended for good by then.
func settled(id string, by int, key []Attempt) bool {
	for _, a := range key {
		if a.ID == id && a.forGood() && a.ended < by {
			return true
		}
	}
	return false
}

func (a Attempt) name() string {
	return fmt.Sprintf("attempt %d at %s (key %s, by %s)", a.Number, a.ID, a.Key, a.Worker)
}
