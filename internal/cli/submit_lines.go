package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"ringmaster/job"
	"ringmaster/streams"
)

const (
	batchJobs  = 500     // as many as the producer sends at once
	batchBytes = 4 << 20 // bounds the memory that a batch takes
	// maxLineBytes leaves room for a largest payload whose every byte is escaped.
	maxLineBytes = 6*job.MaxPayloadBytes + 64<<10
)

// batch is consecutive lines. All of its jobs have an idempotency key, or none has:
// the producer keeps the order of a key only among such.
type batch struct {
	jobs  []job.Job
	lines []int
	bytes int
}

func (b *batch) fits(j job.Job, size int) bool {
	switch {
	case len(b.jobs) == 0:
		return true
	case len(b.jobs) >= batchJobs, b.bytes+size > batchBytes:
		return false
	}
	return (j.IdempotencyKey == "") == (b.jobs[0].IdempotencyKey == "")
}

// lines submits one job for each line of r. What has been read is sent as soon as r
// has no more at hand, so that a slow writer sees its ids.
func (s *submission) lines(ctx context.Context, r io.Reader) error {
	in := bufio.NewReaderSize(r, 256<<10)
	var b batch
	for n := 1; ; n++ {
		line, tooLong, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return errors.Join(s.flush(ctx, &b), fmt.Errorf("read standard input, line %d: %w", n, err))
		}
		last := err != nil
		if err := s.line(ctx, &b, n, line, tooLong); err != nil {
			return err
		}
		if last || in.Buffered() == 0 {
			if err := s.flush(ctx, &b); err != nil {
				return err
			}
		}
		if last {
			if s.seen == 0 {
				_, _ = fmt.Fprintln(s.stderr, "standard input is empty: nothing was submitted")
			}
			return s.verdict()
		}
		if err := ctx.Err(); err != nil {
			return errors.Join(s.flush(ctx, &b), context.Cause(ctx))
		}
	}
}

func (s *submission) line(ctx context.Context, b *batch, n int, line []byte, tooLong bool) error {
	if n == 1 {
		line = bytes.TrimPrefix(line, []byte("\ufeff")) // some editors begin a file with it
	}
	if len(bytes.TrimSpace(line)) == 0 && !tooLong {
		return nil
	}
	s.seen++
	if tooLong {
		s.refuse(n, fmt.Errorf("the line is longer than %d bytes", maxLineBytes))
		return nil
	}
	j, err := job.Decode(line)
	if err == nil {
		err = j.Validate()
	}
	if err != nil {
		s.refuse(n, err)
		return nil
	}
	if !b.fits(j, len(line)) {
		if err := s.flush(ctx, b); err != nil {
			return err
		}
	}
	b.jobs, b.lines, b.bytes = append(b.jobs, j), append(b.lines, n), b.bytes+len(line)
	return nil
}

func (s *submission) refuse(n int, err error) {
	s.refused++
	_, _ = fmt.Fprintf(s.stderr, "line %d: %s\n", n, plain(err.Error()))
}

// flush sends the batch and empties it. What the server refused is said by line; a
// server that is gone ends the run.
func (s *submission) flush(ctx context.Context, b *batch) error {
	if len(b.jobs) == 0 {
		return nil
	}
	receipts, errs := s.enqueue(ctx, b.jobs)
	var gone error
	for i, err := range errs {
		if err == nil {
			continue
		}
		receipts[i].ID = ""
		if gone == nil || !streams.IsUnreachable(err) {
			s.refuse(b.lines[i], err)
		}
		if streams.IsUnreachable(err) && gone == nil {
			gone = fmt.Errorf("line %d and what follows: %w", b.lines[i], err)
		}
	}
	*b = batch{jobs: b.jobs[:0], lines: b.lines[:0]}
	if err := s.answer(ctx, receipts); err != nil {
		return err
	}
	return gone
}

// readLine returns one line without its end. A line that is too long is read to its
// end, and dropped. The error is io.EOF with the last line.
func readLine(in *bufio.Reader) (line []byte, tooLong bool, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if !tooLong {
			line = append(line, part...)
		}
		if len(line) > maxLineBytes {
			line, tooLong = nil, true
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimRight(line, "\r\n"), tooLong, err
		}
	}
}
