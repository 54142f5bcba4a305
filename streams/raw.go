package streams

import (
	"errors"
	"strings"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// A read brings hundreds of jobs of some ten strings each. go-redis makes a value of each
// of them; here they are taken from the reply as it came (redis.io, "RESP protocol
// specification"), and only what outlives the reply is copied out of it.

// errForm: the reply is no RESP, or has not the form that was asked for.
var errForm = errors.New("read: the server's answer has another form than XREADGROUP's")

// reply walks through a raw reply. The first thing that is not as expected makes it bad;
// from then on everything is empty.
type reply struct {
	rest string
	bad  bool
}

// head takes a header: its kind and its number, -1 for null.
func (r *reply) head() (kind byte, n int) {
	s := r.rest
	switch {
	case strings.HasPrefix(s, "_\r\n"):
		r.rest = s[3:]
		return '_', -1
	case len(s) >= 5 && s[1:5] == "-1\r\n":
		r.rest = s[5:]
		return s[0], -1
	}
	i := 1
	for ; i < len(s) && i <= maxDigits && '0' <= s[i] && s[i] <= '9'; i++ {
		n = 10*n + int(s[i]-'0')
	}
	if i == 1 || !strings.HasPrefix(s[min(i, len(s)):], "\r\n") {
		r.fail()
		return 0, 0
	}
	r.rest = s[i+2:]
	return s[0], n
}

// maxDigits is more than any length has, and less than a number overflows at.
const maxDigits = 12

func (r *reply) fail() { r.rest, r.bad = "", true }

// array takes the header of an array, or of a map as one of keys and values in turn. null
// is one of length -1.
func (r *reply) array() int {
	switch kind, n := r.head(); kind {
	case '*', '_':
		return n
	case '%':
		return 2 * n
	default:
		r.fail()
		return 0
	}
}

// bulk takes a string.
func (r *reply) bulk() string {
	kind, n := r.head()
	if kind != '$' || n < 0 || n+2 > len(r.rest) {
		r.fail()
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n+2:]
	return s
}

// batch reads the reply to XREADGROUP. Its entries are good until forget.
func (r *Reader) batch(raw []byte) (job.ReadBatch, error) {
	var b job.ReadBatch
	if len(raw) == 0 {
		return b, errForm
	}
	if raw[0] == '-' || raw[0] == '!' {
		return b, answerError(errorText(string(raw)))
	}
	w := reply{rest: unsafe.String(unsafe.SliceData(raw), len(raw))} // nobody writes to raw meanwhile
	n := w.array()
	if w.bad {
		return b, errForm
	}
	if n < 0 {
		return b, redis.Nil
	}
	pairs := raw[0] == '*' // in RESP2 each stream is an array of two
	if !pairs {
		n /= 2
	}
	for ; n > 0 && !w.bad; n-- {
		if pairs && w.array() != 2 {
			w.fail()
		}
		name := w.bulk()
		if name == r.inbox {
			b.Control = w.control()
			continue
		}
		p, ok := partitionOfStream(name)
		if !ok {
			w.fail()
		}
		b.Jobs = append(b.Jobs, job.PartitionEntries{Partition: p, Entries: r.jobs(&w, p)})
	}
	if w.bad {
		return job.ReadBatch{}, errForm
	}
	return b, nil
}

// forget lets go of what the last read brought: its memory is used again.
func (r *Reader) forget() {
	clear(r.entries)
	clear(r.fields[:cap(r.fields)])
	if r.entries = r.entries[:0]; cap(r.entries) > mostEntries {
		r.entries = nil
	}
}

// errorText is an error reply without its frame.
func errorText(raw string) string {
	line, rest, _ := strings.Cut(raw, "\r\n")
	if strings.HasPrefix(raw, "!") {
		return strings.TrimSuffix(rest, "\r\n")
	}
	return line[1:]
}

// control takes the rows of the inbox.
func (r *reply) control() []job.ControlEntry {
	n := max(r.array(), 0)
	out := make([]job.ControlEntry, 0, min(n, 64))
	for ; n > 0 && !r.bad; n-- {
		if r.array() != 2 {
			r.fail()
		}
		e := job.ControlEntry{ID: strings.Clone(r.bulk()), Fields: map[string]string{}}
		for left := r.array(); left > 1 && !r.bad; left -= 2 {
			name := strings.Clone(r.bulk())
			e.Fields[name] = strings.Clone(r.bulk())
		}
		out = append(out, e)
	}
	return out
}

// jobs takes the rows of a partition. A row without fields was deleted meanwhile; it is
// left out.
func (r *Reader) jobs(w *reply, p int) []job.Entry {
	first := len(r.entries)
	for n := w.array(); n > 0 && !w.bad; n-- {
		if w.array() != 2 {
			w.fail()
		}
		id, ok := job.ParseEntryID(w.bulk())
		left := w.array()
		r.fields = r.fields[:0]
		for i := left; i > 0 && !w.bad; i-- {
			r.fields = append(r.fields, w.bulk())
		}
		if ok && left >= 0 && !w.bad {
			r.entries = append(r.entries, r.kept(job.DecodeEntry(id, r.fields, p, r.q.Partitions)))
		}
	}
	return r.entries[first:len(r.entries):len(r.entries)]
}

// kept copies what an entry has of the reply. Types are few: one copy of each serves all.
func (r *Reader) kept(e job.Entry) job.Entry {
	e.Key = strings.Clone(e.Key)
	if e.Broken != nil {
		fields := make([]string, len(e.Broken.Fields))
		for i, f := range e.Broken.Fields {
			fields[i] = strings.Clone(f)
		}
		e.Broken.Fields = fields
	}
	known, ok := r.types[e.Type]
	if !ok {
		known = strings.Clone(e.Type)
		if r.types == nil || len(r.types) >= mostTypes {
			r.types = map[string]string{}
		}
		r.types[known] = known
	}
	e.Type = known
	return e
}

// mostEntries have their place in memory kept for the next read.
const mostEntries = 16384

// mostTypes are kept; then they are collected anew.
const mostTypes = 1024
