package streams

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"ringmaster/job"
)

// An answer that does not look like its script's says nothing. Read field by field it would
// say a lot: a heartbeat without a first word would be an eviction, a look without rows a
// ring without members. So each script has one reader, beside the Go code that calls it: it takes the answer
// whole, as the head of the Lua file tells it under "Returns", or not at all, and then the outcome is unknown.

// answered gives a script's answer, or an ErrOutcomeUnknown if it cannot be one.
func (sc *script[A]) answered(v any) (A, error) {
	a, ok := sc.read(v)
	if !ok {
		var none A
		return none, badAnswer(sc.name, v)
	}
	return a, nil
}

// accepts reports whether a value can be the script's answer.
func (sc *script[A]) accepts(v any) bool { _, ok := sc.read(v); return ok }

// misfit replaces the answer of a call that fits its script and not what was asked.
func misfit[A any](sc *script[A], k *call[A]) {
	if k.err == nil || errors.Is(k.err, job.ErrUnconfirmed) {
		k.err = badAnswer(sc.name, k.answer)
	}
}

// items is a list in an answer, read from its beginning to its end. The first element that is not what is
// asked for spoils it, and everything that is asked for after that is nothing.
type items struct {
	rest   []any
	spoilt bool
}

// listOf begins to read a list.
func listOf(v any) items {
	l, ok := v.([]any)
	return items{l, !ok}
}

// more reports whether something is left.
func (r *items) more() bool { return !r.spoilt && len(r.rest) > 0 }

// whole reports whether everything was what was asked for, and nothing is left.
func (r *items) whole() bool { return !r.spoilt && len(r.rest) == 0 }

func (r *items) must(ok bool) { r.spoilt = r.spoilt || !ok }

func (r *items) next() any {
	if !r.more() {
		r.spoilt = true
		return nil
	}
	v := r.rest[0]
	r.rest = r.rest[1:]
	return v
}

// text is the next element, a string.
func (r *items) text() string {
	s, ok := r.next().(string)
	r.must(ok)
	return s
}

// perhaps is a field of a hash: a string, or nothing where there is no such field.
func (r *items) perhaps() string {
	v := r.next()
	s, ok := v.(string)
	r.must(ok || v == nil)
	return s
}

// word is a text that is one of those that the script says.
func (r *items) word(known ...string) string {
	w := r.text()
	r.must(slices.Contains(known, w))
	return w
}

// count is a number that the script has counted.
func (r *items) count() int {
	n, ok := countOf(r.next())
	r.must(ok)
	return n
}

// flag is 1 or 0.
func (r *items) flag() bool {
	n := r.count()
	r.must(n < 2)
	return n == 1
}

// number is a number that the script has written as a text.
func (r *items) number() uint64 {
	n, err := strconv.ParseUint(r.text(), 10, 64)
	r.must(err == nil)
	return n
}

// recorded is a number as it stands in a record: one that somebody spoiled is 0.
func (r *items) recorded() uint64 { return recorded(r.text()) }

// id is an entry's.
func (r *items) id() job.EntryID {
	id, ok := job.ParseEntryID(r.text())
	r.must(ok)
	return id
}

// list is the next element, a list. It is read with whole, or each.
func (r *items) list() items {
	l := listOf(r.next())
	r.must(!l.spoilt)
	return l
}

// each reads a list of rows: f reads one, element by element.
func (r *items) each(f func(row *items)) {
	for l := r.list(); l.more(); {
		r.row(&l, f)
	}
}

// rows reads the rest as rows.
func (r *items) rows(f func(row *items)) {
	for r.more() {
		r.row(r, f)
	}
}

func (r *items) row(from *items, f func(row *items)) {
	row := from.list()
	f(&row)
	r.must(row.whole() && !from.spoilt)
}

// flat reads a list without rows, whose elements come in groups: f reads one.
func (r *items) flat(f func(l *items)) {
	l := r.list()
	for l.more() {
		f(&l)
	}
	r.must(l.whole())
}

// texts is a list of strings.
func (r *items) texts() []string {
	l := r.list()
	out := make([]string, 0, len(l.rest))
	for l.more() {
		out = append(out, l.text())
	}
	r.must(l.whole())
	return out
}

// countOf is a number that a script has counted.
func countOf(v any) (int, bool) {
	n, ok := v.(int64)
	return int(max(n, 0)), ok && n >= 0
}

// readTexts is the reader of scripts that answer a list of strings.
func readTexts(v any) ([]string, bool) {
	all := items{rest: []any{v}}
	out := all.texts()
	return out, all.whole()
}

// eachText is an answer of one text for each that was asked for, not copied: it is on the way of every job.
type eachText []any

func (e eachText) of(i int) string { return e[i].(string) } //nolint:forcetypeassert // readEachText has looked

func readEachText(v any) (eachText, bool) {
	l, ok := v.([]any)
	for _, x := range l {
		if _, text := x.(string); !text {
			return nil, false
		}
	}
	return l, ok
}

// oneOf is the reader of scripts that say in one word how it went.
func oneOf(known ...string) func(v any) (string, bool) {
	return func(v any) (string, bool) {
		w, ok := v.(string)
		return w, ok && slices.Contains(known, w)
	}
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
