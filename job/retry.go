package job

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// RetryRecord is what Redis remembers of a job that has not simply succeeded: one field
// of the hash retry:<p>. The zero value is a job without a record.
//
// Its text is "attempts|not_before_ms|crashes|mark|error": decimal numbers, not_before_ms
// in Unix milliseconds by the server's clock (0: at once). A worker, whose clock may be any, hands in
// "+delay_ms" in its place, and the server's script adds its own time. The deaths of workers that held it
// follow the crashes, after a slash, with commas between them: "h@ms" held and nobody knows whether
// it ran, "s@ms" among others, "a2@ms" held apart with one beside it. The mark is "", "s.<epoch>" or "a<runs>.<epoch>.<until ms>". The
// error comes last because it may hold any byte, '|' included.
type RetryRecord struct {
	Attempts  int           // failed attempts that count
	NotBefore time.Time     // to the millisecond; zero: at once
	Delay     time.Duration // until then from now on, instead of NotBefore, where the server has not seen the record yet
	Crashes   int           // see Crashed
	Deaths    []Death       // of workers in which it ran, the last of them last
	Mark      Mark
	Error     string // of the last failed attempt
}

// String is the text kept in Redis, or handed in there. Negative numbers and times before 1970 are
// written as 0; a delay is rounded up: never before it is over.
func (r RetryRecord) String() string {
	b := make([]byte, 0, 32+len(r.Error))
	b = strconv.AppendInt(b, int64(max(r.Attempts, 0)), 10)
	b = append(b, '|')
	if r.Delay > 0 {
		b = strconv.AppendInt(append(b, '+'), int64((r.Delay-1)/time.Millisecond)+1, 10)
	} else {
		b = strconv.AppendInt(b, millis(r.NotBefore), 10)
	}
	b = append(b, '|')
	b = strconv.AppendInt(b, int64(max(r.Crashes, 0)), 10)
	for i, d := range r.Deaths {
		b = append(b, "/,"[min(i, 1)])
		b = append(appendRuns(b, d.Runs), '@')
		b = strconv.AppendInt(b, millis(d.At), 10)
	}
	b = append(b, '|')
	if m := r.Mark; m.Epoch > 0 {
		b = append(appendRuns(b, m.Runs), '.')
		b = strconv.AppendUint(b, m.Epoch, 10)
		if m.Runs > 0 {
			b = append(b, '.')
			b = strconv.AppendInt(b, millis(m.Until), 10)
		}
	}
	b = append(b, '|')
	return string(append(b, r.Error...))
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(t.UnixMilli(), 0)
}

func appendRuns(b []byte, runs int) []byte {
	switch {
	case runs < 0:
		return append(b, 'h')
	case runs == 0:
		return append(b, 's')
	}
	return strconv.AppendInt(append(b, 'a'), int64(runs), 10)
}

// ParseRetry reads what String wrote. For anything else it returns the zero record and an
// error that names the faulty part: a caller that goes on with it treats the job as one
// that never failed, which costs attempts, not the job. A mark alone that is not readable is none.
func ParseRetry(s string) (RetryRecord, error) {
	f := strings.SplitN(s, "|", 5)
	if len(f) != 5 {
		return RetryRecord{}, fmt.Errorf("retry record: %d of 5 fields", len(f))
	}
	attempts, err := number(f[0], strconv.IntSize)
	if err != nil {
		return RetryRecord{}, fmt.Errorf("retry record: attempts: %w", err)
	}
	when, later := strings.CutPrefix(f[1], "+")
	notBefore, err := number(when, 64)
	if err != nil {
		return RetryRecord{}, fmt.Errorf("retry record: not before: %w", err)
	}
	count, told, _ := strings.Cut(f[2], "/")
	crashes, err := number(count, strconv.IntSize)
	if err != nil {
		return RetryRecord{}, fmt.Errorf("retry record: crashes: %w", err)
	}
	r := RetryRecord{Attempts: int(attempts), Crashes: int(crashes), Mark: parseMark(f[3]), Error: f[4]}
	switch {
	case later:
		r.Delay = time.Duration(min(notBefore, int64(math.MaxInt64/time.Millisecond))) * time.Millisecond
	case notBefore > 0:
		r.NotBefore = time.UnixMilli(notBefore).UTC()
	}
	for d := range strings.SplitSeq(told, ",") {
		runs, at, _ := strings.Cut(d, "@")
		n, ok := parseRuns(runs)
		ms, err := number(at, 64)
		if ok && err == nil { // what is not readable is no evidence
			r.Deaths = append(r.Deaths, Death{At: time.UnixMilli(ms).UTC(), Runs: n})
		}
	}
	return r, nil
}

func parseRuns(s string) (int, bool) {
	switch s {
	case "h":
		return UnknownRuns, true
	case "s":
		return 0, true
	}
	n, err := number(strings.TrimPrefix(s, "a"), strconv.IntSize)
	return int(n), err == nil && s[0] == 'a' && n > 0
}

func parseMark(s string) Mark {
	f := strings.Split(s, ".")
	runs, ok := parseRuns(f[0])
	if !ok || runs < 0 || len(f) != 2+min(runs, 1) {
		return Mark{}
	}
	epoch, err := strconv.ParseUint(f[1], 10, 64)
	if err != nil || epoch == 0 {
		return Mark{}
	}
	m := Mark{Epoch: epoch, Runs: runs}
	if runs > 0 {
		ms, err := number(f[2], 64)
		if err != nil {
			return Mark{}
		}
		m.Until = time.UnixMilli(ms).UTC()
	}
	return m
}

// number reads decimal digits; a sign is refused.
func number(s string, bits int) (int64, error) {
	n, err := strconv.ParseUint(s, 10, bits-1) // ParseUint takes no sign; one bit less fits an int
	if err != nil {
		return 0, fmt.Errorf("%.20q is not a number from 0 up", s)
	}
	return int64(n), nil
}

// Death is the death of a worker that held a job.
type Death struct {
	At   time.Time // when it was found, by the server's clock, to the millisecond
	Runs int       // so many jobs ran in it, this one included; 0: among any number; UnknownRuns: nobody knows whether it ran
}

// UnknownRuns is what Runs is of the first death, before which no job is marked.
const UnknownRuns = -1

// Mark is what a worker writes into a suspect's record before it starts.
type Mark struct {
	Epoch uint64    // of the tenure in which it starts; 0: no mark
	Runs  int       // it is held apart, and so many run in its worker, itself included; 0: among any number
	Until time.Time // so long, by the server's clock; after that, among any number
}

// samePast compares the texts of two records but for the time of the next attempt: the worker that wrote one
// knows how long its job waits, and the server until when, by its own clock.
func samePast(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := ParseRetry(a)
	y, errY := ParseRetry(b)
	x.NotBefore, x.Delay, y.NotBefore, y.Delay = time.Time{}, 0, time.Time{}, 0
	return errX == nil && errY == nil && x.String() == y.String()
}
