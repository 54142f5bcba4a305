package streams

import (
	"errors"
	"slices"
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
	if counts, err := c.s.Inspect().QueueView(c.ctx, c.q.Name); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("the counts are %+v, %v; want that nothing was done", counts, err)
	}
}

// spoilt are all answers that come of one by the damage of a single element: it is missing, one is too many, or it
// is something else. An element less, or one too many, may be another answer where the last ones repeat.
func spoilt(v any, repeats bool) []any {
	l, ok := v.([]any)
	out := []any{errors.New("ERR"), nil, 1.5, map[any]any{}}
	if !ok {
		return out
	}
	if !repeats && len(l) > 0 {
		out = append(out, l[:len(l)-1])
	}
	out = append(out, append(slices.Clone(l), any(nil)))
	for i := range l {
		deep := spoilt(l[i], true)
		if l[i] == nil {
			deep = deep[:1]
		}
		for _, x := range deep {
			other := slices.Clone(l)
			if other[i] = x; x != nil {
				out = append(out, other)
			}
		}
	}
	return out
}

// Each script has one reader. It takes what the head of its file says, whole, and nothing else: what would be read as
// a verdict, or as empty records, is an outcome that nobody knows.
func TestAnswersThatMakeNoSense(t *testing.T) {
	row, beat := []any{"1-0", []any{"type", "t"}}, []any{"OK", "1", "0", "key", "2"}
	now, record := []any{"1700000000", "5"}, "w.1 2"
	answers := map[string][]any{
		"create": {int64(3)}, "enqueue": {[]any{"1-0 2 0", "STALE x"}}, "enqueue_once": {[]any{"0-1-0", int64(1)}}, "reserve": {int64(0)},
		"requeue": {[]any{"1-0"}, []any{"", `{"requeued_as":"0-1-0"}`}, []any{"", ""}}, "discard": {int64(1)}, "ack": {[]any{"OO", "U"}},
		"mark": {"OK", "FENCED"}, "release": {[]any{"FLIPPED", "w.2", "3", "1-0", "4", int64(0)}, []any{"KEPT"}, []any{"FENCED"}, []any{"MISMATCH"}},
		"claim": {[]any{"FENCED"}, []any{"OK", "0-0", []any{row, []any{"2-0", nil}}, []any{"1|0|0||e", ""}, []any{"3-0"}, []any{[]any{"1-0", "w.1@2", "k"}},
			[]any{"k", "1-0"}, "9-0", "1", "1700000000000"}},
		"skim": {[]any{"FENCED"}, []any{"OK", int64(1), []any{row}, []any{"k", int64(1), "1-0", "1-0", int64(5), int64(5)}}},
		"unpark": {[]any{"FENCED"}, []any{"OK", "1700000000000", []any{int64(1), []any{row}, []any{""}, "2-0", int64(1)},
			[]any{int64(-1), []any{}, []any{}, "WRONGTYPE", int64(0)}}},
		"join": {[]any{"JOINED", "1", "0", "key", "5", "64"}, []any{"TAKEN"}, []any{"NOQUEUE"}}, "heartbeat": {beat, []any{"FENCED"}},
		"leave": {"OK", "GONE"}, "snapshot": {append(slices.Clone(beat), []any{"0", "3", "-"}), []any{"FENCED"}}, "report": {[]any{"1", "2"}, []any{"FENCED"}},
		"lead": {[]any{"0", ""}}, "resign": {int64(1)},
		"look": {[]any{[]any{"epoch", "1"}, []any{"w.1", "{}"}, []any{int64(-2)}, []any{record, nil}, []any{"w.1", nil}, []any{"w.1", int64(2)}, now, "0"}},
		"plan": {[]any{"PLANNED", int64(1)}, []any{"STALE"}, []any{"CONFLICT", "why"}}, "steal": {[]any{"FLIPPED", "3", int64(0)}, []any{"STALE"}, []any{"CONFLICT", "why"}, []any{"MISMATCH"}},
		"evict": {"EVICTED", "GONE", "ALIVE", "STALE"}, "revoke": {"REVOKED", "GONE", "STALE"}, "permits": {[]any{"0", "1-0", "w.1@2"}},
		"repair": {"STALE", []any{"0", "destroyed group x"}, []any{}}, "advance": {"1", "STALE"},
		"state":   {[]any{"w.1", "", "1|0|0||e", "", "", []any{"type", "t"}, "1-0", "2-0", int64(0), "", "alive", ""}},
		"counts":  {[]any{"0", record, int64(1), int64(0), int64(2), int64(0), int64(0)}},
		"key":     {[]any{record, "", now, "alive", "1-0", "t", "w.1", int64(1), int64(0), ""}},
		"request": {[]any{"ASKED", "id"}, []any{"BUSY", "key"}, []any{"WITHDRAWN"}, []any{"NOQUEUE"}, []any{"NOWORKER"}},
		"audit":   {[]any{"0", record, "w.1", []any{"w.1"}, "1-0", "2-0", int64(-1), []any{"w.1", int64(3)}, []any{"k"}, "stream", "2-0"}},
		"ids":     {[]any{"", "1-0", "k"}}, "held": {[]any{"k"}}, "reclaim": {int64(0)}, "renew": {[]any{"1", ""}, []any{"1", "1"}},
		"confirm": {int64(7)}, "doubt": {[]any{int64(0), "3 20 1700000000000"}},
	}
	repeats := []string{"enqueue", "ack", "skim", "unpark", "held"} // in groups of one
	scripts := must1(loadScripts())(t)
	for _, sc := range scripts.all() {
		name := sc.file().name
		if len(answers[name]) == 0 {
			t.Errorf("%s: no answer of it is tried", name)
		}
		for _, good := range answers[name] {
			if !sc.accepts(good) {
				t.Errorf("%s: %v is refused", name, good)
			}
			for _, bad := range spoilt(good, slices.Contains(repeats, name)) {
				if sc.accepts(bad) && (bad != nil || name != "state") {
					t.Errorf("%s: %#v is taken for an answer", name, bad)
				}
			}
		}
		for _, bad := range []any{"", []any{""}, []any{nil}, "rubbish", []any{[]any{}}, []any{"rubbish", "1", "2"}} {
			if taken := sc.accepts(bad); taken && name != "advance" && name != "ids" && !slices.Contains(repeats, name) {
				t.Errorf("%s: %#v is taken for an answer", name, bad)
			}
		}
	}
	if _, err := scripts.heartbeat.answered([]any{"OK", "1"}); !errors.Is(err, job.ErrOutcomeUnknown) {
		t.Errorf("a heartbeat's answer that was cut: %v", err)
	}
	k := call[eachText]{err: job.ErrUnconfirmed}
	if misfit(&scripts.enqueue, &k); errors.Is(k.err, job.ErrUnconfirmed) || !errors.Is(k.err, job.ErrOutcomeUnknown) {
		t.Errorf("an answer that tells nothing is said to have been executed: %v", k.err)
	}
}
