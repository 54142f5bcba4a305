package streams

import (
	"slices"
	"strconv"
	"strings"

	"ringmaster/job"
)

// Answers of scripts come as nested slices of strings and integers. These readers take
// a wrong shape for a zero value: that an answer as a whole can be its script's was looked at
// before (see forms).

func list(v any) []any { l, _ := v.([]any); return l }

func at(v []any, i int) any {
	if i < len(v) {
		return v[i]
	}
	return nil
}

func text(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case int64:
		return strconv.FormatInt(x, 10)
	}
	return ""
}

func number(v any) uint64 {
	n, _ := strconv.ParseUint(text(v), 10, 64)
	return n
}

func texts(v any) []string {
	l := list(v)
	out := make([]string, len(l))
	for i := range l {
		out[i] = text(l[i])
	}
	return out
}

// pairs reads name, value, name, value...
func pairs(v any) map[string]string {
	l := list(v)
	m := make(map[string]string, len(l)/2)
	for i := 0; i+1 < len(l); i += 2 {
		m[text(l[i])] = text(l[i+1])
	}
	return m
}

// entries decodes rows [id, [field, value, ...]]. A row without fields is an entry that
// was deleted while it was pending; it is left out.
func entries(rows []any, p, partitions int) []job.Entry {
	out := make([]job.Entry, 0, len(rows))
	for _, row := range rows {
		r := list(row)
		id, ok := job.ParseEntryID(text(at(r, 0)))
		fields := list(at(r, 1))
		if !ok || fields == nil {
			continue
		}
		flat := make([]string, len(fields))
		for i := range fields {
			flat[i] = text(fields[i])
		}
		out = append(out, job.DecodeEntry(id, flat, p, partitions))
	}
	return out
}

func withRetries(es []job.Entry, records []any) []job.Entry {
	for i := range es {
		es[i].Retry = text(at(records, i))
	}
	return es
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
