package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"ringmaster/job"
)

func FuzzLine(f *testing.F) {
	for _, line := range []string{
		``, `{}`, `{}{}`, `[]`, `null`, `{"type":"t"}`, `{"type":"t","key":"k","payload":[1],"idempotency_key":"x"}`, `{"type":"t","type":"u"}`,
		`{"Type":"t"}`, `{"type":1}`, `{"type":null}`, `{"type":"t","delay":"10s"}`, `{"type":"t"`, `{"type":"t"} x`, "{\"type\":\"\xff\"}",
		`{"type":"t","key":"\ud800"}`, `{"type":"t","payload":1e400}`, `{"type":"t","key":"` + strings.Repeat("k", 513) + `"}`,
		`{"type":"t","payload":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		line, tooLong, _ := readLine(bufio.NewReader(bytes.NewReader(data)))
		if tooLong {
			return
		}
		j, err := job.Decode(line)
		if err == nil {
			err = j.Validate()
		}
		if err != nil {
			if !errors.Is(err, job.ErrInvalid) && !errors.Is(err, job.ErrTooLarge) || err.Error() == "" {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if !job.ValidName(j.Type) || len(j.Key) > job.MaxKeyBytes || !utf8.ValidString(j.Key) || (len(j.Payload) > 0 && !json.Valid(j.Payload)) {
			t.Fatalf("taken: %+v", j)
		}
	})
}

// FuzzPlain: nothing that comes from a job reaches the terminal as a control sequence.
func FuzzPlain(f *testing.F) {
	for _, s := range []string{"", "k", "\x1b[31m", "a\tb\r\nc", "\u202e", "\xff", "😀", "\u0085"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range plain(s) {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q is shown as %q", s, plain(s))
			}
		}
	})
}
