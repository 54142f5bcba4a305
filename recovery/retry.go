package recovery

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Mark is written into a job's record before the job starts, so that a crash shows
// which of the pending jobs had been started. Only suspects are marked.
type Mark byte

// The marks.
const (
	Unmarked     Mark = 0
	Started      Mark = 's' // runs, among others
	StartedAlone Mark = 'a' // runs, and nothing else does in that worker
)

// MaxErrorBytes is how much of an error's text a record keeps.
const MaxErrorBytes = 1024

// RetryRecord is what Redis remembers of a job that has not simply succeeded: one field
// of the hash retry:<p>. The zero value is a job without a record.
//
// Its text is "attempts|not_before_ms|crashes|mark|error": decimal numbers, not_before_ms
// in Unix milliseconds by the server's clock (0: at once), the mark one letter or nothing.
// The error comes last because it may hold any byte, '|' included.
type RetryRecord struct {
	Attempts  int       // failed attempts that count
	NotBefore time.Time // to the millisecond; zero: at once
	Crashes   int       // see Crashed
	Mark      Mark
	Error     string // of the last failed attempt
}

// String is the text kept in Redis. Negative numbers and times before 1970 are written
// as 0, an unknown mark as none.
func (r RetryRecord) String() string {
	b := make([]byte, 0, 32+len(r.Error))
	b = strconv.AppendInt(b, int64(max(r.Attempts, 0)), 10)
	b = append(b, '|')
	notBefore := int64(0)
	if !r.NotBefore.IsZero() {
		notBefore = max(r.NotBefore.UnixMilli(), 0)
	}
	b = strconv.AppendInt(b, notBefore, 10)
	b = append(b, '|')
	b = strconv.AppendInt(b, int64(max(r.Crashes, 0)), 10)
	b = append(b, '|')
	if r.Mark == Started || r.Mark == StartedAlone {
		b = append(b, byte(r.Mark))
	}
	b = append(b, '|')
	return string(append(b, r.Error...))
}

// Parse reads what String wrote. For anything else it returns the zero record and an
// error that names the faulty part: a caller that goes on with it treats the job as one
// that never failed, which costs attempts, not the job.
func Parse(s string) (RetryRecord, error) {
	f := strings.SplitN(s, "|", 5)
	if len(f) != 5 {
		return RetryRecord{}, fmt.Errorf("retry record: %d of 5 fields", len(f))
	}
	attempts, err := number(f[0], strconv.IntSize)
	if err != nil {
		return RetryRecord{}, fmt.Errorf("retry record: attempts: %w", err)
	}
	notBefore, err := number(f[1], 64)
	if err != nil {
		return RetryRecord{}, fmt.Errorf("retry record: not before: %w", err)
	}
	crashes, err := number(f[2], strconv.IntSize)
	if err != nil {
		return RetryRecord{}, fmt.Errorf("retry record: crashes: %w", err)
	}
	r := RetryRecord{Attempts: int(attempts), Crashes: int(crashes), Error: f[4]}
	if notBefore > 0 {
		r.NotBefore = time.UnixMilli(notBefore).UTC()
	}
	switch f[3] {
	case "":
	case "s":
		r.Mark = Started
	case "a":
		r.Mark = StartedAlone
	default:
		return RetryRecord{}, fmt.Errorf("retry record: mark %.20q: want nothing, s or a", f[3])
	}
	return r, nil
}

// number reads decimal digits; a sign is refused.
func number(s string, bits int) (int64, error) {
	n, err := strconv.ParseUint(s, 10, bits-1) // ParseUint takes no sign; one bit less fits an int
	if err != nil {
		return 0, fmt.Errorf("%.20q is not a number from 0 up", s)
	}
	return int64(n), nil
}

// After is the record once a run of the job has ended by decision d, at now by the
// server's clock. The mark goes in any case: the run ended, and its worker did not.
// Crashes stay, since a job that kills its worker may fail in a milder way in between.
// Retry counts an attempt, sets NotBefore and keeps failure's first MaxErrorBytes, cut
// between characters; Dead counts it too. HandBack changes nothing but the mark.
func (r RetryRecord) After(d Decision, now time.Time, failure string) RetryRecord {
	r.Mark = Unmarked
	if d.Action == HandBack {
		return r
	}
	r.Attempts++
	r.Error = shorten(failure)
	r.NotBefore = time.Time{}
	if d.Action == Retry && d.Delay > 0 {
		// Up to the next millisecond: never before the delay is over.
		r.NotBefore = time.UnixMilli(now.Add(d.Delay + time.Millisecond - 1).UnixMilli()).UTC()
	}
	return r
}

func shorten(s string) string {
	if len(s) <= MaxErrorBytes {
		return s
	}
	cut := MaxErrorBytes
	for cut > MaxErrorBytes-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}
