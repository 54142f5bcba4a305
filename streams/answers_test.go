package streams

import (
	"errors"
	"strings"
	"testing"

	"ringmaster/job"
)

// For a moment the password is another one, as while it is rotated: connections that are
// dialled anew are refused in their set-up. Nobody is evicted by that, and no record is empty.
func TestARefusedConnectionIsNoVerdict(t *testing.T) {
	c := realCrew(t, Queue{Partitions: 4})
	password := func(p string) { must(t, c.raw.ConfigSet(c.ctx, "requirepass", p).Err()) }
	password("one")
	c.s = openStore(t, strings.Replace(c.url, "redis://", "redis://:one@", 1))
	c.ring = c.s.NewRing(c.q, "d1")
	h := c.give(c.join("w1"))
	password("another")
	must(t, c.raw.ClientKillByFilter(c.ctx, "TYPE", "normal", "SKIPME", "yes").Err())

	if beats, err := h.member.Heartbeat(c.ctx); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("a heartbeat says %v, %v; want that nothing was done", beats, err)
	}
	if rec, err := c.ring.Look(c.ctx); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("a look says %+v, %v; want that nothing was done", rec, err)
	}
	steal := Steal{Partition: 0, From: "w1", Epoch: 1, To: "w2"}
	if _, errs := c.ring.StealAll(c.ctx, c.term, []Steal{steal}); !errors.Is(errs[0], job.ErrUnavailable) {
		t.Errorf("a flip says %v; want that nothing was done", errs[0])
	}
	if counts, err := c.s.QueueView(c.ctx, c.q.Name); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("the counts are %+v, %v; want that nothing was done", counts, err)
	}
}

// Every script's answer has a form. Nothing has it only where nothing is an answer, and what
// would be read as a verdict or as empty records has it nowhere.
func TestAnswersThatMakeNoSense(t *testing.T) {
	scripts, err := loadScripts()
	must(t, err)
	forms := forms()
	for _, name := range scripts.names {
		if forms[name] == nil {
			t.Errorf("%s: its answer has no form", name)
		} else if forms[name](nil) != (name == "state") {
			t.Errorf("%s: nothing is an answer: %v", name, forms[name](nil))
		}
	}
	for _, name := range []string{
		"mark", "release", "claim", "skim", "unpark", "join", "heartbeat", "leave", "snapshot", "report", "lead", "look",
		"plan", "steal", "evict", "revoke", "state", "key", "request", "renew", "enqueue_once",
	} {
		sc := script{name: name, form: forms[name]}
		for _, v := range []any{"", []any{}, []any{""}, []any{nil}, "rubbish", []any{[]any{}}} {
			if got, err := sc.answered(v); !errors.Is(err, job.ErrOutcomeUnknown) {
				t.Errorf("%s: %#v is taken for an answer: %v, %v", name, v, got, err)
			}
		}
	}
	for _, name := range []string{"claim", "heartbeat", "snapshot"} {
		sc := script{name: name, form: forms[name]}
		if _, err := sc.answered([]any{"OK", "1"}); !errors.Is(err, job.ErrOutcomeUnknown) {
			t.Errorf("%s: an answer that was cut is taken for one: %v", name, err)
		}
	}
}
