package ledger

import (
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"ringmaster/job"
)

// Kind is what a record is about.
type Kind string

// Kinds, with the fields that each must have besides Seq and At.
const (
	Open  Kind = "open"  // first record of a file; Note: what the process is
	Close Kind = "close" // last record of a process that ended in its own time

	Invoke   Kind = "invoke"   // about to hand a job in; Token, Key
	Accepted Kind = "accepted" // it is in; Token, Job
	Refused  Kind = "refused"  // it is not in, for sure; Token
	Unknown  Kind = "unknown"  // nobody knows; Token

	Join  Kind = "join"  // a worker is a member from now on as Worker
	Start Kind = "start" // a handler starts; Run, Job, Key, Token, Worker, Epoch, Fence, Attempt
	End   Kind = "end"   // it ends well; Run
	Fail  Kind = "fail"  // it ends with an error; Run

	Effect Kind = "effect" // the fenced sink took an effect; Job, Key, Fence
	Kept   Kind = "kept"   // the fenced sink refused one; Job, Key, Fence, Note: why

	Phase Kind = "phase" // a message of a resize, in the order of the control stream; Epoch of the ring, Attempt: the phase
	Fault Kind = "fault" // injected from outside; Note: what, Worker: at whom
)

// Record is one thing that happened in a process.
type Record struct {
	Seq  uint64 // 1 for the first of a file
	At   int64  // ns since 1970; never falls within a file
	Kind Kind

	Run     uint64 // Start: its own Seq; End, Fail: that of its Start
	Token   string // of a submission, its own name
	Key     string
	Job     job.ID
	Worker  string // incarnation
	Epoch   uint64
	Fence   uint64
	Attempt int
	Note    string
}

// Time is At.
func (r *Record) Time() time.Time { return time.Unix(0, r.At) }

var table = crc32.MakeTable(crc32.Castagnoli)

// Append adds the record's line to b: checksum of the rest, number, time, kind, and the
// fields that are not zero, each with a letter. Tabs separate them.
func (r *Record) Append(b []byte) []byte {
	begin := len(b)
	b = append(b, "00000000\t"...)
	b = strconv.AppendUint(b, r.Seq, 10)
	b = append(b, '\t')
	b = strconv.AppendInt(b, r.At, 10)
	b = append(b, '\t')
	b = append(b, r.Kind...)
	number := func(letter string, n uint64) {
		if n != 0 {
			b = append(b, letter...)
			b = strconv.AppendUint(b, n, 10)
		}
	}
	text := func(letter, s string) {
		if s != "" {
			b = append(b, letter...)
			b = strconv.AppendQuote(b, s)
		}
	}
	number("\tr", r.Run)
	text("\tt", r.Token)
	text("\tk", r.Key)
	if !r.Job.Entry.IsZero() {
		b = append(b, "\tj"...)
		b = append(b, r.Job.String()...)
	}
	text("\tw", r.Worker)
	number("\te", r.Epoch)
	number("\tf", r.Fence)
	number("\tn", uint64(max(r.Attempt, 0)))
	text("\tx", r.Note)
	const digits = "0123456789abcdef"
	sum := crc32.Checksum(b[begin+9:], table)
	for i := range 8 {
		b[begin+i] = digits[sum>>(28-4*i)&15]
	}
	return append(b, '\n')
}

var errGarbled = errors.New("not a record, or its checksum is wrong")

// Parse reads a line without its end.
func Parse(line string) (Record, error) {
	var r Record
	if len(line) < 10 || line[8] != '\t' {
		return r, errGarbled
	}
	sum, err := strconv.ParseUint(line[:8], 16, 32)
	if err != nil || crc32.Checksum([]byte(line[9:]), table) != uint32(sum) {
		return r, errGarbled
	}
	rest := line[9:]
	var f [3]string
	for i := range f {
		f[i], rest, _ = strings.Cut(rest, "\t")
	}
	r.Kind = Kind(f[2])
	if r.Seq, err = strconv.ParseUint(f[0], 10, 64); err == nil {
		r.At, err = strconv.ParseInt(f[1], 10, 64)
	}
	for err == nil && rest != "" {
		var field string
		field, rest, _ = strings.Cut(rest, "\t")
		err = r.set(field)
	}
	if err != nil {
		return r, fmt.Errorf("%w: %w", errGarbled, err)
	}
	return r, nil
}

func (r *Record) set(field string) (err error) {
	if field == "" {
		return errGarbled
	}
	v := field[1:]
	switch field[0] {
	case 'r':
		r.Run, err = strconv.ParseUint(v, 10, 64)
	case 'e':
		r.Epoch, err = strconv.ParseUint(v, 10, 64)
	case 'f':
		r.Fence, err = strconv.ParseUint(v, 10, 64)
	case 'n':
		r.Attempt, err = strconv.Atoi(v)
	case 'j':
		r.Job, err = job.ParseID(v)
	case 't':
		r.Token, err = strconv.Unquote(v)
	case 'k':
		r.Key, err = strconv.Unquote(v)
	case 'w':
		r.Worker, err = strconv.Unquote(v)
	case 'x':
		r.Note, err = strconv.Unquote(v)
	default:
		err = errGarbled
	}
	return err
}
