package ringtest_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"ringmaster"
	"ringmaster/ringtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeT is a test that may fail.
type fakeT struct {
	testing.TB

	mu       sync.Mutex
	failed   bool
	text     strings.Builder
	cleanups []func()
}

func (f *fakeT) Helper() {}

func (f *fakeT) Cleanup(do func()) { f.cleanups = append(f.cleanups, do) }

func (f *fakeT) Failed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

func (f *fakeT) Logf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(&f.text, format+"\n", args...)
}

func (f *fakeT) Errorf(format string, args ...any) {
	f.Logf(format, args...)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = true
}

func (f *fakeT) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// failing runs a test that is to fail, with its cleanups, and checks what it says.
func failing(t *testing.T, test func(t testing.TB), want ...string) {
	t.Helper()
	f := &fakeT{TB: t}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() {
			for len(f.cleanups) > 0 {
				last := f.cleanups[len(f.cleanups)-1]
				f.cleanups = f.cleanups[:len(f.cleanups)-1]
				last()
			}
		}()
		test(f)
	}()
	<-ended
	if !f.failed {
		t.Errorf("it did not fail; wanted %q", want)
	}
	for _, w := range want {
		if !strings.Contains(f.text.String(), w) {
			t.Errorf("it says\n%s\nwithout %q", f.text.String(), w)
		}
	}
}

var one = ringmaster.WorkerConfig{Queues: []string{"q"}}

// handles adds one handler for the type t.
func handles(fn func(ctx context.Context, j ringmaster.Job[string]) (string, error), opts ...ringmaster.HandlerOption) func(*ringmaster.Worker) {
	return func(w *ringmaster.Worker) { ringmaster.HandleResult(w, "t", fn, opts...) }
}

// who is a handler that answers with the worker's name.
func who(name string) func(*ringmaster.Worker) {
	return handles(func(context.Context, ringmaster.Job[string]) (string, error) { return name, nil })
}

func result(st ringmaster.Status) string { return strings.Trim(string(st.Result), `"`) }

func numbers(all []ringtest.Attempt, id string) string {
	var out []string
	for _, a := range all {
		if a.ID == id {
			out = append(out, fmt.Sprintf("%s:%d:%s", a.Worker, a.Number, a.Outcome))
		}
	}
	return strings.Join(out, " ")
}

// bubble is failing in a bubble of its own.
func bubble(t *testing.T, test func(t testing.TB), want ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		failing(t, test, want...)
	})
}
