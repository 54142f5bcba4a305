package dispatch

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"ringmaster/job"
)

// Bounds of one request with many jobs. How many there are has no bound: what is held has.
const (
	batchLines = 500
	batchBytes = 4 << 20
	lineLimit  = job.MaxPayloadBytes + maxEnvelope
	lineWait   = time.Minute // for more of the body
)

// lineResult is the answer to one line: an id, or an error and its kind.
type lineResult struct {
	line      int
	id        string
	duplicate bool
	err       error
}

// lineAnswer is the shape of what append writes.
type lineAnswer struct {
	Line      int    `json:"line"`
	ID        string `json:"id,omitempty"`
	Duplicate *bool  `json:"duplicate,omitempty"`
	Error     string `json:"error,omitempty"`
	Type      string `json:"type,omitempty"` // of the error
}

// append adds the answer to b. It has two shapes: a job that went in, and one that did not.
func (l lineResult) append(b []byte) []byte {
	b = append(b, `{"line":`...)
	b = strconv.AppendInt(b, int64(l.line), 10)
	if l.err == nil {
		return fmt.Appendf(b, `,"id":%q,"duplicate":%t}`, l.id, l.duplicate)
	}
	p := kindOf(l.err)
	return fmt.Appendf(b, `,"error":%s,"type":%q}`, quoted(p.Detail), p.Type)
}

// enqueueLines takes a job a line, as they come, any number of them: the good ones go in, the
// others are reported by number. It never holds more than a batch of them. A body that cannot
// be read to its end is an error of the request, also where its first lines are in.
func (h *handler) enqueueLines(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Idempotency-Key") != "" {
		return job.Invalid("header Idempotency-Key is for one job: with lines, use the field \"idempotency_key\" of each")
	}
	b := &batch{h: h, r: r, answers: newAnswers(w)}
	in := bufio.NewReaderSize(&patientBody{body: r.Body, control: http.NewResponseController(w)}, 64<<10)
	for n := 1; ; n++ {
		line, err := readLine(in, lineLimit)
		switch {
		case errors.Is(err, io.EOF):
			b.flush()
			if n == 1 || !b.any {
				return job.Invalid("the body is empty: want one JSON object a line")
			}
			return b.answers.end()
		case errors.Is(err, errLongLine):
			b.refuse(n, err)
		case err != nil:
			b.flush()
			return b.answers.cut(n, err)
		case len(bytes.TrimSpace(line)) > 0:
			b.add(n, line)
		}
		if b.answers.gone {
			return nil // nobody reads the answers: what is not sent would be in without a word
		}
	}
}

// patientBody is a body that may go on for any time, as long as something of it comes.
type patientBody struct {
	body    io.Reader
	control *http.ResponseController
}

func (p *patientBody) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(lineWait)) // where it cannot be set the server's own holds
	return p.body.Read(b)
}

// batch gathers lines until they are worth a call.
type batch struct {
	h       *handler
	r       *http.Request
	jobs    []job.Job
	lines   []int
	bytes   int
	down    error        // the server was not reached: what follows is not sent
	results []lineResult // of this batch
	any     bool         // a line was not empty
	answers *lineAnswers
}

func (b *batch) refuse(n int, err error) {
	b.any = true
	if b.results = append(b.results, lineResult{line: n, err: err}); len(b.results) >= batchLines {
		b.flush()
	}
}

func (b *batch) add(n int, line []byte) {
	j, err := job.Decode(line)
	if err == nil {
		err = j.Validate()
	}
	if err == nil {
		err = b.down
	}
	if err != nil {
		b.refuse(n, err)
		return
	}
	b.any = true
	b.jobs, b.lines, b.bytes = append(b.jobs, j), append(b.lines, n), b.bytes+len(line)
	if len(b.jobs) == batchLines || b.bytes >= batchBytes {
		b.flush()
	}
}

// flush sends the lines that were gathered, and answers to all since the last flush.
func (b *batch) flush() {
	if len(b.jobs) > 0 {
		b.send()
	}
	slices.SortFunc(b.results, func(x, y lineResult) int { return x.line - y.line })
	b.answers.add(b.results)
	b.results = b.results[:0]
}

func (b *batch) send() {
	ctx, cancel := b.h.bounded(b.r, b.jobs...)
	defer cancel()
	receipts, errs := b.h.api.Enqueue(ctx, b.r.PathValue("queue"), b.jobs)
	for i, n := range b.lines {
		res := lineResult{line: n}
		switch {
		case errs != nil && errs[i] != nil:
			res.err = errs[i]
			if p := kindOf(res.err); p.Status >= http.StatusInternalServerError {
				//nolint:errorlint // another line's error is told, not wrapped: it is not this line's kind
				b.down = fmt.Errorf("not sent, because line %d failed (%v): %w", n, res.err, job.ErrUnavailable)
				b.logged(p, res.err)
			}
		case i < len(receipts):
			res.id, res.duplicate = receipts[i].ID, receipts[i].Duplicate
		default:
			res.err = errors.New("no receipt")
		}
		b.results = append(b.results, res)
	}
	b.jobs, b.lines, b.bytes = b.jobs[:0], b.lines[:0], 0
}

func (b *batch) logged(p problem, err error) {
	if p.Type == "internal" {
		b.h.o.Log.Error("enqueue failed", "error", err)
	}
}

// errLongLine is an error of one line; the next may be read.
var errLongLine = job.TooLarge("the line is longer than %d bytes", lineLimit)

// readLine reads one line without its end, of at most limit bytes; a longer one is
// skipped. A body that ends in the middle of a line has that line.
func readLine(in *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > limit {
			long, line = true, nil
		} else if !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && (len(line) > 0 || long):
		case errors.Is(err, io.EOF):
			return nil, io.EOF
		case err != nil:
			return nil, readError(err)
		}
		if long {
			return nil, errLongLine
		}
		return bytes.TrimRight(line, "\r\n"), nil
	}
}

// quoted is s in JSON.
func quoted(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always has a form
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
