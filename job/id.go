package job

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// EntryID is the id of a stream entry, in Redis's form ms-seq. Ids of one stream
// compare as (Ms, Seq).
type EntryID struct{ Ms, Seq uint64 }

// ParseEntryID reads "ms-seq". It refuses everything else, leading zeros and signs included.
func ParseEntryID(s string) (EntryID, bool) {
	a, b, ok := strings.Cut(s, "-")
	if !ok {
		return EntryID{}, false
	}
	ms, ok1 := parseNumber(a)
	seq, ok2 := parseNumber(b)
	return EntryID{ms, seq}, ok1 && ok2
}

func parseNumber(s string) (uint64, bool) {
	if s == "" || len(s) > 20 || (len(s) > 1 && s[0] == '0') || s[0] == '+' || s[0] == '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// String is Redis's form.
func (e EntryID) String() string { return string(e.Append(make([]byte, 0, 24))) }

// Append adds String to b.
func (e EntryID) Append(b []byte) []byte {
	b = append(strconv.AppendUint(b, e.Ms, 10), '-')
	return strconv.AppendUint(b, e.Seq, 10)
}

// Compare orders ids as their stream does.
func (e EntryID) Compare(o EntryID) int {
	if c := cmp.Compare(e.Ms, o.Ms); c != 0 {
		return c
	}
	return cmp.Compare(e.Seq, o.Seq)
}

// Less is Compare < 0.
func (e EntryID) Less(o EntryID) bool { return e.Compare(o) < 0 }

// IsZero reports the id 0-0, which no entry has.
func (e EntryID) IsZero() bool { return e == EntryID{} }

// Time is the server's clock when the entry was added, if the server chose the id.
func (e EntryID) Time() time.Time { return time.UnixMilli(int64(e.Ms)).UTC() }

// ID is a job's id: its partition and its entry there. Users treat it as opaque.
type ID struct {
	Partition int
	Entry     EntryID
}

// String is "<partition>-<ms>-<seq>".
func (id ID) String() string {
	b := append(strconv.AppendInt(make([]byte, 0, 32), int64(id.Partition), 10), '-')
	return string(id.Entry.Append(b))
}

// IDsFrom are the ids of n jobs that were added one after the other in one ms, as String
// has them. They share memory.
func IDsFrom(first ID, n int) []string {
	if n == 1 {
		return []string{first.String()}
	}
	last := first
	last.Entry.Seq += uint64(n)
	all := make([]byte, 0, n*len(last.String()))
	ends := make([]int, n)
	for i := range n {
		all = append(strconv.AppendInt(all, int64(first.Partition), 10), '-')
		all = EntryID{Ms: first.Entry.Ms, Seq: first.Entry.Seq + uint64(i)}.Append(all)
		ends[i] = len(all)
	}
	text, from := string(all), 0
	ids := make([]string, n)
	for i, to := range ends {
		ids[i], from = text[from:to], to
	}
	return ids
}

// ParseID reads what String wrote; anything else is an ErrInvalid.
func ParseID(s string) (ID, error) {
	a, b, ok := strings.Cut(s, "-")
	if ok {
		p, ok1 := parseNumber(a)
		e, ok2 := ParseEntryID(b)
		if ok1 && ok2 && p < MaxPartitions {
			return ID{int(p), e}, nil
		}
	}
	return ID{}, Invalid("job id %q: want <partition>-<ms>-<seq>, as submit printed it", s)
}
