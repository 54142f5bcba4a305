package ringtest

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"ringmaster"
)

// history makes attempts of one line each: job, key, fence, outcome; they overlap where a line ends
// in "open", until "end" of the job.
func history(text string) []Attempt {
	b := newBook()
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		j := ringmaster.Job[[]byte]{ID: "0-" + f[1] + "-0", Key: f[2], Fence: uint64(len(f[3]))}
		if f[0] == "begin" || f[0] == "run" {
			b.begun("w", j)
		}
		if f[0] == "end" || f[0] == "run" {
			b.ended("w", ringmaster.Ended{Job: j, Outcome: ringmaster.Outcome(f[4])})
		}
	}
	return b.attempts
}

func TestOutOfOrder(t *testing.T) {
	for name, tc := range map[string]struct{ history, want string }{
		"one after the other":     {"run 1 a x completed\nrun 2 a x dead\nrun 3 a x completed", ""},
		"keys do not wait":        {"begin 1 a x\nrun 2 b x completed\nend 1 a x completed", ""},
		"a retry in between":      {"run 1 a x failed\nrun 1 a x completed\nrun 2 a x completed", ""},
		"swapped":                 {"run 2 a x completed\nrun 1 a x completed", "0-1-0 (key a, by w) began after"},
		"overlapping":             {"begin 1 a x\nrun 2 a x completed\nend 1 a x completed", "0-2-0 (key a, by w) began before"},
		"after a failure":         {"run 1 a x failed\nrun 2 a x completed", "had ended for good"},
		"an old run":              {"run 1 a xx completed\nrun 2 a xx completed\nrun 1 a x completed", ""},
		"a run that is not old":   {"run 1 a x completed\nrun 2 a x completed\nrun 1 a x completed", "a later job of its key"},
		"handed back":             {"run 1 a x handed\nrun 1 a xx completed\nrun 2 a xx completed", ""},
		"nothing at all, no keys": {"", ""},
	} {
		wrong, _ := outOfOrder(history(tc.history))
		got := strings.Join(wrong, "\n")
		if (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	if _, keys := outOfOrder(history("run 1 a x completed\nrun 1 b x completed")); keys != 2 {
		t.Errorf("%d keys", keys)
	}
}

// The code of the package's documentation is the example that runs.
func TestTheDocumentationIsTheExample(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for line := range strings.Lines(string(doc)) {
		if text, ok := strings.CutPrefix(line, "//\t"); ok {
			code.WriteString(text)
		} else if line == "//\n" && code.Len() > 0 {
			if strings.HasSuffix(code.String(), "\n}\n") {
				break
			}
			code.WriteString("\n")
		}
	}
	if n := strings.Count(code.String(), "\n"); n > 20 || n < 10 || !strings.Contains(string(example), code.String()) {
		t.Errorf("%d lines, which are not those of example_test.go:\n%s", n, code.String())
	}
}

func TestLinesAreTheLast(t *testing.T) {
	l := &lines{}
	for i := range 3 * linesKept {
		_, _ = l.Write([]byte(strings.Repeat("x", i) + "\n"))
	}
	if got := strings.Count(l.String(), "\n"); got != linesKept || !strings.HasSuffix(l.String(), strings.Repeat("x", 3*linesKept-1)+"\n") {
		t.Errorf("%d lines", got)
	}
}

// BenchmarkRing is what a ring costs of real time, from the start to the end: a store, a dispatcher
// and a client.
func BenchmarkRing(b *testing.B) {
	for b.Loop() {
		inBubble(b, func(t *testing.T) { Run(t, func(*testing.T, *Ring) {}) })
	}
}

// BenchmarkWorker is the same with a worker and one job.
func BenchmarkWorker(b *testing.B) {
	for b.Loop() {
		inBubble(b, func(t *testing.T) { Run(t, work) })
	}
}

// BenchmarkHour is what an hour of virtual time costs, with one worker at rest.
func BenchmarkHour(b *testing.B) {
	for b.Loop() {
		inBubble(b, func(t *testing.T) {
			Run(t, func(t *testing.T, r *Ring) {
				work(t, r)
				<-time.After(time.Hour)
			})
		})
	}
}

func work(t *testing.T, r *Ring) {
	r.Worker(ringmaster.WorkerConfig{Queues: []string{"q"}}, func(w *ringmaster.Worker) {
		ringmaster.Handle(w, "t", func(context.Context, ringmaster.Job[int]) error { return nil })
	})
	if a := r.Work("q", "t", 1); a.Outcome != ringmaster.OutcomeCompleted {
		t.Errorf("%+v", a)
	}
}

// inBubble runs a test within a benchmark, which has none to make a bubble of.
func inBubble(b *testing.B, f func(t *testing.T)) {
	b.Helper()
	all := func(_, _ string) (bool, error) { return true, nil }
	if !testing.RunTests(all, []testing.InternalTest{{Name: "ring", F: f}}) {
		b.Fatal("it failed")
	}
}
