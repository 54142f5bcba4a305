package streams

import (
	"fmt"
	"slices"

	"ringmaster/job"
)

// An answer that does not look like its script's says nothing. Read field by field it would
// say a lot: a heartbeat without a first word would be an eviction, a look without rows a
// ring without members. So every answer is held against its script's form before anything
// of it is read, and one that does not fit is an unknown outcome.

// form reports whether a value can be an answer of a script.
type form func(v any) bool

// word is for scripts that say in one word, alone or first in a list, how it went.
func word(known ...string) form {
	return func(v any) bool {
		if l := list(v); l != nil {
			v = at(l, 0)
		}
		w, ok := v.(string)
		return ok && slices.Contains(known, w)
	}
}

// rows is for lists of at least n elements.
func rows(n int) form {
	return func(v any) bool {
		l, ok := v.([]any)
		return ok && len(l) >= n
	}
}

// whole is for a list of at least n elements where one of the words comes first; the other
// words may stand alone.
func whole(n int, full string, known ...string) form {
	short := word(known...)
	return func(v any) bool {
		if text(at(list(v), 0)) == full {
			return len(list(v)) >= n
		}
		return short(v)
	}
}

func count(v any) bool { _, ok := v.(int64); return ok }

func filled(v any) bool { s, ok := v.(string); return ok && s != "" }

func either(a, b form) form { return func(v any) bool { return a(v) || b(v) } }

func nothing(v any) bool { return v == nil }

// forms of the answers, by script. They say what the head of each Lua file says under
// "Returns".
func forms() map[string]form {
	flip := []string{"CONFLICT", "STALE", "SAME", "MISMATCH"}
	return map[string]form{
		"create": count, "enqueue": rows(1), "enqueue_once": rows(2), "reserve": count, "requeue": rows(1), "discard": count,
		"ack": rows(0), "mark": word("OK", "FENCED"), "release": whole(6, "FLIPPED", append(flip, "KEPT", "FENCED")...),
		"claim": whole(10, "OK", "FENCED"), "skim": whole(3, "OK", "FENCED"), "unpark": whole(3, "OK", "FENCED"),
		"join": whole(6, "JOINED", "TAKEN", "NOQUEUE"), "heartbeat": whole(5, "OK", "FENCED"),
		"leave": word("OK", "GONE"), "snapshot": whole(6, "OK", "FENCED"), "report": either(word("FENCED"), rows(2)),
		"lead": rows(2), "resign": count, "look": rows(8), "plan": word("PLANNED", "STALE", "CONFLICT"),
		"steal": whole(3, "FLIPPED", flip...), "evict": word("STALE", "GONE", "ALIVE", "EVICTED"),
		"revoke": word("STALE", "GONE", "REVOKED"), "permits": rows(0), "repair": either(word("STALE"), rows(0)),
		"advance": filled, "state": either(nothing, rows(10)), "counts": rows(0), "key": rows(4),
		"request": word("NOQUEUE", "WITHDRAWN", "BUSY", "ASKED", "NOWORKER"), "audit": rows(0), "ids": rows(0),
		"held": rows(0), "reclaim": count, "renew": rows(2), "confirm": count, "doubt": rows(0),
	}
}

// answered gives a script's answer, or an ErrOutcomeUnknown if it cannot be one.
func (sc *script) answered(v any) (any, error) {
	if !sc.form(v) {
		return nil, badAnswer(sc.name, v)
	}
	return v, nil
}

// mostShown is how many bytes of an answer that makes no sense are shown.
const mostShown = 200

func badAnswer(doing string, v any) error {
	shown := fmt.Sprintf("%v", v)
	if len(shown) > mostShown {
		shown = shown[:mostShown] + "..."
	}
	return &serverError{kind: job.ErrOutcomeUnknown, doing: doing, err: fmt.Errorf("the answer makes no sense: %s", shown)}
}
