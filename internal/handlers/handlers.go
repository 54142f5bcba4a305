// Package handlers makes functions that run jobs out of configuration: a command, an
// HTTP server, or one of the built-in types.
package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"ringmaster/configs"
	"ringmaster/job"
)

// Func runs one attempt at a job. A nil error completes the job with the result, which
// may be nil; job.Skip and job.RetryAfter around an error decide what follows a
// failure. It blocks until the attempt is over and returns soon after ctx ends. It may
// be called concurrently.
type Func func(ctx context.Context, d job.Delivery) (json.RawMessage, error)

// Build returns the functions of a worker by job type, each with its timeout around it.
// A nil client stands for one with default settings. The worker's own settings must
// have been loaded: they are not checked again.
func Build(w configs.Worker, client *http.Client) map[string]Func {
	funcs := map[string]Func{}
	if w.Builtin {
		for name, f := range Builtin() {
			funcs[name] = withTimeout(f, w.HandlerTimeout)
		}
	}
	for _, h := range w.Handlers {
		timeout := h.Timeout(w.HandlerTimeout)
		switch {
		case h.Exec != nil:
			funcs[h.Type] = Exec(configs.Exec{Command: h.Exec.Command, Timeout: timeout}, w.MaxResultBytes)
		case h.HTTP != nil:
			funcs[h.Type] = HTTP(configs.HTTP{URL: h.HTTP.URL, Timeout: timeout}, w.MaxResultBytes, client)
		}
	}
	return funcs
}

// withTimeout ends f's context with job.ErrTimeout after d; 0 is no limit.
func withTimeout(f Func, d time.Duration) Func {
	if d <= 0 {
		return f
	}
	return func(ctx context.Context, delivery job.Delivery) (json.RawMessage, error) {
		ctx, cancel := context.WithTimeoutCause(ctx, d, fmt.Errorf("%w after %s", job.ErrTimeout, d))
		defer cancel()
		return f(ctx, delivery)
	}
}

// tooLarge is the error of an output above the limit. Another attempt would print as much, and
// have its effects once more.
func tooLarge(limit int) error {
	return job.Skip(fmt.Errorf("the output is larger than %d bytes (max_result_bytes)", limit))
}

// result makes a job's result of output, of which a trailing newline does not count: valid
// JSON is kept as it is, anything else becomes a JSON string, in which bytes that are not
// UTF-8 are U+FFFD. Nothing, and the JSON null, is no result.
func result(output []byte, limit int) (json.RawMessage, error) {
	output = bytes.TrimSuffix(output, []byte("\n"))
	if len(output) > limit {
		return nil, tooLarge(limit)
	}
	if len(output) == 0 {
		return nil, nil
	}
	if utf8.Valid(output) && json.Valid(output) {
		if bytes.Equal(bytes.TrimSpace(output), []byte("null")) {
			return nil, nil
		}
		return json.RawMessage(output), nil
	}
	text, err := job.JSON(strings.ToValidUTF8(string(output), "\uFFFD"))
	if err != nil {
		return nil, fmt.Errorf("store the output: %w", err)
	}
	return text, nil
}

// capped collects up to limit bytes and refuses more.
type capped struct {
	buf   bytes.Buffer
	limit int
	full  func() // called once, when more than limit arrives; may be nil
	over  bool
}

var errFull = errors.New("no more than the limit is taken")

// Write implements io.Writer.
func (c *capped) Write(p []byte) (int, error) {
	if c.buf.Len()+len(p) > c.limit {
		if !c.over && c.full != nil {
			c.full()
		}
		c.over = true
		return 0, errFull
	}
	return c.buf.Write(p)
}

// tail keeps the last bytes of what is written to it.
type tail struct{ buf []byte }

const tailBytes = 4 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if len(p) > tailBytes {
		p = p[len(p)-tailBytes:]
	}
	t.buf = append(t.buf, p...)
	if extra := len(t.buf) - tailBytes; extra > 0 {
		t.buf = append(t.buf[:0], t.buf[extra:]...)
	}
	return n, nil
}

const (
	excerptLines = 3
	excerptBytes = 600
)

// excerpt is the end of a text as one short line that is safe to show on a terminal.
func excerpt(b []byte) string {
	var lines []string
	for _, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(strings.Map(printable, strings.ToValidUTF8(line, "\uFFFD")))
		if line != "" {
			lines = append(lines, line)
		}
	}
	s := strings.Join(lines[max(0, len(lines)-excerptLines):], "; ")
	if len(s) > excerptBytes {
		s = "..." + strings.ToValidUTF8(s[len(s)-excerptBytes:], "")
	}
	return s
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}

// with appends what a command or server said to an error.
func with(err error, said []byte) error {
	if s := excerpt(said); s != "" {
		return fmt.Errorf("%w: %s", err, s)
	}
	return err
}
