package dispatch

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"ringmaster/job"
)

// bodies are what clients get wrong, and some that are right.
func bodies() []string {
	return []string{
		``, ` `, `{`, `{}`, `{}{}`, `[]`, `null`, `"x"`, `1`, `{"type":"t"} x`, `{"type":"t",}`,
		`{"type":"t"}`, `{"type":"t","key":"k","payload":{"n":1},"idempotency_key":"x"}`,
		`{"key":"a","key":"b","type":"t"}`, `{"Type":"t"}`, `{"type":"t","delay":"10s"}`, `{"type":"t","key":1}`, `{"type":null}`,
		`{"type":"t","key":""}`, `{"type":"t","key":"\u0000\r\n\t {}:*../\u001b[31m"}`, "{\"type\":\"t\",\"key\":\"\xff\"}",
		`{"type":"t","key":"\ud800"}`, `{"type":"t","key":"\u202e😀"}`, `{"type":"t","key":"Zu\u0308rich"}`,
		`{"type":"t","payload":1e400}`, `{"type":"t","payload":-0}`, `{"type":"t","payload":9007199254740993}`,
		`{"type":"t","payload":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`,
		`{"type":"t","idempotency_key":""}`, `{"type":"t","payload":{"a":1,"a":2}}`,
		`{"type":"` + strings.Repeat("t", 65) + `"}`, `{"type":"t","key":"` + strings.Repeat("k", 513) + `"}`,
	}
}

// refused checks an error for people: of a known kind, short, and fit to be shown.
func refused(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, job.ErrInvalid) && !errors.Is(err, job.ErrTooLarge) {
		t.Fatalf("an error of no kind: %v", err)
	}
	if len(err.Error()) < 5 || len(err.Error()) > 500 {
		t.Fatalf("an error of %d bytes: %.600q", len(err.Error()), err)
	}
}

func FuzzResizeBody(f *testing.F) {
	for _, b := range append(bodies(), `{"mode":"ring"}`, `{"ids":["1-1-1"]}`, `{"mode":1}`) {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var order resizeOrder
		var requeue requeueOrder
		for _, err := range []error{job.DecodeObject(body, &order), job.DecodeObject(body, &requeue)} {
			if err != nil {
				refused(t, err)
			}
		}
	})
}

// FuzzLines: every line is answered once, or skipped because it is empty; a bad or long
// line harms no other.
func FuzzLines(f *testing.F) {
	f.Add([]byte(strings.Join(bodies(), "\n")))
	f.Add([]byte("{\"type\":\"t\"}\r\n\r\n\n{\"type\":\"t\"}"))
	f.Add([]byte(strings.Repeat("x", 100) + "\n{\"type\":\"t\"}\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		const limit = 64
		in := bufio.NewReaderSize(bytes.NewReader(body), 16)
		want := bytes.Split(body, []byte("\n"))
		if len(want[len(want)-1]) == 0 {
			want = want[:len(want)-1]
		}
		n := 0
		for ; ; n++ {
			line, err := readLine(in, limit)
			if errors.Is(err, io.EOF) {
				break
			}
			if n >= len(want) {
				t.Fatalf("line %d of %d: %q, %v", n+1, len(want), line, err)
			}
			switch {
			case err != nil:
				if refused(t, err); len(want[n]) < limit {
					t.Fatalf("a line of %d bytes is too long", len(want[n]))
				}
			case len(line) > limit || !bytes.Equal(line, bytes.TrimRight(want[n], "\r\n")):
				t.Fatalf("line %d is %q, want %q", n+1, line, want[n])
			}
		}
		if n != len(want) {
			t.Fatalf("%d lines, want %d", n, len(want))
		}
	})
}
