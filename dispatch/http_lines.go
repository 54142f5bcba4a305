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

	"ringmaster/job"
)

// Bounds of one request with many jobs.
const (
	maxLines      = 10_000
	maxLinesBytes = 256 << 20
	batchLines    = 500
	batchBytes    = 4 << 20
	lineLimit     = job.MaxPayloadBytes + maxEnvelope
)

// lineResult is the answer to one line: an id, or an error and its kind.
type lineResult struct {
	line      int
	id        string
	duplicate bool
	err       error
}

// MarshalJSON has two shapes: a job that went in, and one that did not.
func (l lineResult) MarshalJSON() ([]byte, error) {
	b := append([]byte(`{"line":`), strconv.Itoa(l.line)...)
	if l.err == nil {
		return fmt.Appendf(b, `,"id":%q,"duplicate":%t}`, l.id, l.duplicate), nil
	}
	p := kindOf(l.err)
	detail, err := marshalText(p.Detail)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(b, `,"error":%s,"type":%q}`, detail, p.Type), nil
}

// enqueueLines takes a job a line, as they come: the good ones go in, the others are
// reported by number. It never holds more than a batch of them.
func (h *handler) enqueueLines(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Idempotency-Key") != "" {
		return job.Invalid("header Idempotency-Key is for one job: with lines, use the field \"idempotency_key\" of each")
	}
	b := &batch{h: h, r: r}
	in := bufio.NewReaderSize(http.MaxBytesReader(w, r.Body, maxLinesBytes), 64<<10)
	for n := 1; ; n++ {
		line, err := readLine(in, lineLimit)
		if errors.Is(err, io.EOF) {
			break
		}
		if n > maxLines {
			b.results = append(b.results, lineResult{line: n, err: job.TooLarge("more than %d lines: this line and those after it did not go in", maxLines)})
			break
		}
		if err != nil {
			b.results = append(b.results, lineResult{line: n, err: err})
			if !errors.Is(err, errLongLine) {
				break
			}
			continue
		}
		if len(bytes.TrimSpace(line)) > 0 {
			b.add(n, line)
		}
	}
	b.flush()
	if len(b.results) == 0 {
		return job.Invalid("the body is empty: want one JSON object a line")
	}
	w.Header().Set("Content-Type", typeNDJSON)
	w.WriteHeader(http.StatusOK)
	out := bufio.NewWriter(w)
	for _, res := range b.sorted() {
		text, err := res.MarshalJSON()
		if err != nil {
			return err
		}
		_, _ = out.Write(append(text, '\n'))
	}
	_ = out.Flush()
	return nil
}

// batch gathers lines until it is worth a call.
type batch struct {
	h       *handler
	r       *http.Request
	jobs    []job.Job
	lines   []int
	bytes   int
	down    error // the server was not reached: what follows is not sent
	results []lineResult
}

func (b *batch) add(n int, line []byte) {
	j, err := decodeJob(line)
	if err == nil {
		err = j.Validate()
	}
	if err == nil {
		err = b.down
	}
	if err != nil {
		b.results = append(b.results, lineResult{line: n, err: err})
		return
	}
	b.jobs, b.lines, b.bytes = append(b.jobs, j), append(b.lines, n), b.bytes+len(line)
	if len(b.jobs) == batchLines || b.bytes >= batchBytes {
		b.flush()
	}
}

func (b *batch) flush() {
	if len(b.jobs) == 0 {
		return
	}
	ctx, cancel := b.h.bounded(b.r)
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

// sorted brings errors that were found at once into line with answers that came later.
func (b *batch) sorted() []lineResult {
	slices.SortFunc(b.results, func(x, y lineResult) int { return x.line - y.line })
	return b.results
}

func marshalText(s string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(s)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
