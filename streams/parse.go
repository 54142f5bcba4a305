package streams

import (
	"slices"
	"strconv"
	"strings"

	"ringmaster/job"
)

// recorded is a number as it stands in a record: one that somebody spoiled is 0.
func recorded(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// field is one of what HMGET has found: "" where there is no such field.
func field(found []any, i int) string {
	if i >= len(found) {
		return ""
	}
	s, _ := found[i].(string)
	return s
}

// row is an entry of a stream, in the shape [id, [field, value, ...]]. fields is nil where its message is gone.
type row struct {
	id     job.EntryID
	fields []string
}

// entries reads a list of rows.
func (r *items) entries() []row {
	l := r.list()
	if len(l.rest) == 0 {
		return nil
	}
	out := make([]row, 0, len(l.rest))
	for l.more() {
		r.row(&l, func(x *items) {
			e := row{id: x.id()}
			if len(x.rest) == 1 && x.rest[0] == nil {
				x.next()
			} else {
				e.fields = x.texts()
			}
			out = append(out, e)
		})
	}
	return out
}

// readRows reads what XRANGE answers.
func readRows(v any) ([]row, bool) {
	all := items{rest: []any{v}}
	rows := all.entries()
	return rows, all.whole()
}

// decode makes jobs of rows, with their retry records if there are any: records is empty or parallel to the
// rows. Those whose message is gone are left out.
func decode(rows []row, records []string, p, partitions int) []job.Entry {
	if len(rows) == 0 {
		return nil
	}
	out := make([]job.Entry, 0, len(rows))
	for i, r := range rows {
		if r.fields == nil {
			continue
		}
		e := job.DecodeEntry(r.id, r.fields, p, partitions)
		if len(records) > 0 {
			e.Retry = records[i]
		}
		out = append(out, e)
	}
	return out
}

// ownerRecord reads "<incarnation> <epoch>".
func ownerRecord(s string) (inc string, epoch uint64, ok bool) {
	inc, e, ok := strings.Cut(s, " ")
	if !ok || inc == "" {
		return "", 0, false
	}
	epoch, err := strconv.ParseUint(e, 10, 64)
	return inc, epoch, err == nil
}

func sortQueues(qs []Queue) {
	slices.SortFunc(qs, func(a, b Queue) int { return strings.Compare(a.Name, b.Name) })
}

func epochText(e uint64) string { return strconv.FormatUint(e, 10) }
