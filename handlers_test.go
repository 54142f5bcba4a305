package ringmaster_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ringmaster"
	"ringmaster/job"
)

// spiteful is an error whose methods do as they are told.
type spiteful struct{ text, unwrap, is, as func() }

func do(f func()) {
	if f != nil {
		f()
	}
}

func (s *spiteful) Error() string { do(s.text); return "spite" } // of a nil pointer: a panic
func (s *spiteful) Unwrap() error { do(s.unwrap); return nil }
func (s *spiteful) Is(error) bool { do(s.is); return false }
func (s *spiteful) As(any) bool   { do(s.as); return false }

type recursive struct{}

func (r recursive) Error() string { panic(r) }

// bomb is a payload or a result that panics when it is decoded or encoded.
type bomb struct{}

func (bomb) UnmarshalJSON([]byte) error   { panic("boom in UnmarshalJSON") }
func (bomb) MarshalJSON() ([]byte, error) { panic("boom in MarshalJSON") }

// quitter ends the goroutine that decodes or encodes it.
type quitter struct{}

func (quitter) UnmarshalJSON([]byte) error   { runtime.Goexit(); return nil }
func (quitter) MarshalJSON() ([]byte, error) { runtime.Goexit(); return nil, nil }

func boom() { panic("boom") }

// library runs a worker, a leader and a client in this process until the test ends.
func library(t *testing.T, w *ringmaster.Worker) (*ringmaster.Client, context.Context) {
	t.Helper()
	client, err := ringmaster.NewClient("embedded://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	var services sync.WaitGroup
	w.URL, w.Queues, w.Concurrency, w.MaxAttempts = client.URL(), []string{"q"}, 2, 2
	w.BackoffBase, w.DrainTimeout = time.Millisecond, 100*time.Millisecond
	services.Go(func() { _ = ringmaster.Dispatch(ctx, client.URL(), w.Logger) })
	services.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Errorf("the worker ended: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		services.Wait()
		_ = client.Close()
	})
	return client, ctx
}

func TestNothingAHandlerDoesEndsItsWorker(t *testing.T) {
	var nilError *spiteful
	tests := []struct {
		name string
		err  func() error
		dead string // part of the dead letter's error; empty: completed
	}{
		{"Skip of nothing", func() error { return ringmaster.Skip(nil) }, ""},
		{"RetryAfter of nothing", func() error { return ringmaster.RetryAfter(nil, time.Hour) }, ""},
		{"typed nil", func() error { return nilError }, "nil pointer"},
		{"Skip of a typed nil", func() error { return ringmaster.Skip(nilError) }, "nil pointer"},
		{"RetryAfter of a typed nil", func() error { return ringmaster.RetryAfter(nilError, 1) }, "nil pointer"},
		{"Error panics", func() error { return &spiteful{text: boom} }, "boom"},
		{"Error panics with itself", func() error { return recursive{} }, "panic: "},
		{"panics with what panics", func() error { panic(recursive{}) }, "panic: "},
		{"panics with a typed nil", func() error { panic(nilError) }, "panic: "},
		{"panics with nil", func() error { panic(nil) }, "panic: "}, //nolint:govet // on purpose
		{"Unwrap panics", func() error { return &spiteful{unwrap: boom} }, "boom"},
		{"As panics", func() error { return &spiteful{as: boom} }, "boom"},
		{"As panics under a Join", func() error { return errors.Join(errors.New("a"), &spiteful{as: boom}) }, "boom"},
		{"Is is not asked", func() error { return &spiteful{is: boom} }, "spite"},
		{"Error ends its goroutine", func() error { return &spiteful{text: runtime.Goexit} }, "ended its goroutine"},
		{"Unwrap ends its goroutine", func() error { return &spiteful{unwrap: runtime.Goexit} }, "ended its goroutine"},
	}
	w := &ringmaster.Worker{}
	ringmaster.Handle(w, "table", func(_ context.Context, j ringmaster.Job[int]) error { return tests[j.Payload].err() })
	ringmaster.Handle(w, "decode-panics", func(context.Context, ringmaster.Job[bomb]) error { return nil })
	ringmaster.Handle(w, "decode-quits", func(context.Context, ringmaster.Job[quitter]) error { return nil })
	ringmaster.HandleResult(w, "encode-panics", func(context.Context, ringmaster.Job[int]) (bomb, error) { return bomb{}, nil })
	ringmaster.HandleResult(w, "encode-quits", func(context.Context, ringmaster.Job[int]) (quitter, error) { return quitter{}, nil })
	ringmaster.HandleResult(w, "encode-refuses", func(context.Context, ringmaster.Job[int]) (any, error) { return math.NaN(), nil })
	client, ctx := library(t, w)

	attempts := 2
	check := func(name, jobType string, payload any, dead string) {
		st, err := client.Call(ctx, "q", jobType, payload, nil, ringmaster.Key("k"))
		switch {
		case dead == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case dead != "" && !errors.Is(err, ringmaster.ErrDead):
			t.Errorf("%s: %v, %v; want a dead letter", name, st.State, err)
		case dead != "" && (!strings.Contains(st.Error, dead) || st.Attempts != attempts):
			t.Errorf("%s: %d attempts, %q; want %d, with %q", name, st.Attempts, st.Error, attempts, dead)
		}
	}
	for i, tc := range tests {
		check(tc.name, "table", i, tc.dead)
	}
	check("payload panics", "decode-panics", 1, "boom in UnmarshalJSON")
	check("payload quits", "decode-quits", 1, "ended its goroutine")
	check("result quits", "encode-quits", 1, "ended its goroutine")
	attempts = 1 // the work is done
	check("result panics", "encode-panics", 1, "boom in MarshalJSON")
	check("result refuses", "encode-refuses", 1, "NaN")
}

func TestALongRetryAfterIsNotAtOnce(t *testing.T) {
	w := &ringmaster.Worker{}
	starts := make(chan int, 100)
	ringmaster.Handle(w, "later", func(_ context.Context, j ringmaster.Job[int]) error {
		starts <- j.Attempt
		return ringmaster.RetryAfter(errors.New("busy"), math.MaxInt64)
	})
	ringmaster.Handle(w, "other", func(context.Context, ringmaster.Job[int]) error { return nil })
	client, ctx := library(t, w)
	receipt, err := client.Submit(ctx, "q", "later", 1, ringmaster.Key("k"))
	if err != nil {
		t.Fatal(err)
	}
	<-starts
	for {
		st, err := client.Status(ctx, "q", receipt.ID)
		if err != nil {
			t.Fatal(err)
		}
		if st.State == job.Dead || len(starts) > 0 {
			t.Fatalf("the job is %s after %d attempts: the wait was not kept", st.State, st.Attempts)
		}
		if st.State == job.Retrying {
			break
		}
	}
	// What was to wait a year waits while others run.
	if _, err := client.Call(ctx, "q", "other", 1, nil); err != nil {
		t.Error(err)
	}
	if len(starts) > 0 {
		t.Error("it was started again")
	}
}

// sulky is a user's log handler that fails over every line.
type sulky struct{ how func() }

func (s sulky) Enabled(context.Context, slog.Level) bool  { s.how(); return true }
func (s sulky) Handle(context.Context, slog.Record) error { s.how(); return nil }
func (s sulky) WithAttrs([]slog.Attr) slog.Handler        { s.how(); return s }
func (s sulky) WithGroup(string) slog.Handler             { s.how(); return s }

func TestALoggerThatFailsEndsNobody(t *testing.T) {
	for name, how := range map[string]func(){"panic": boom, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			w := &ringmaster.Worker{Logger: slog.New(sulky{how})}
			ringmaster.Handle(w, "fails", func(context.Context, ringmaster.Job[int]) error { return errors.New("no") })
			ringmaster.Handle(w, "fine", func(context.Context, ringmaster.Job[int]) error { return nil })
			client, ctx := library(t, w)
			if _, err := client.Call(ctx, "q", "fails", 1, nil, ringmaster.Key("k")); !errors.Is(err, ringmaster.ErrDead) {
				t.Errorf("a job that fails: %v", err)
			}
			if _, err := client.Call(ctx, "q", "fine", 1, nil, ringmaster.Key("k")); err != nil {
				t.Errorf("the next of its key: %v", err)
			}
		})
	}
}

// A job that nobody works on is told to the client's logger, which fails over it: Wait goes on.
func TestALoggerThatFailsEndsNoWait(t *testing.T) {
	for name, how := range map[string]func(){"panic": boom, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told := make(chan struct{}, 100)
			client, err := ringmaster.NewClient("embedded://127.0.0.1:0", ringmaster.Logger(slog.New(sulky{func() { told <- struct{}{}; how() }})))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			receipt, err := client.Submit(t.Context(), "q", "t", 1)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-told
				cancel()
			}()
			if st, err := client.Wait(ctx, "q", receipt.ID); !errors.Is(err, context.Canceled) || st.ID != receipt.ID {
				t.Errorf("Wait returned %+v, %v", st, err)
			}
		})
	}
}

func TestPanicsOfThePayloadAreTheCallers(t *testing.T) {
	client, err := ringmaster.NewClient("redis://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	defer func() {
		if p := recover(); p != "boom in MarshalJSON" {
			t.Errorf("recovered %v", p)
		}
	}()
	_, err = client.Submit(t.Context(), "q", "t", bomb{})
	t.Errorf("Submit returned %v", err)
}

func TestSettingsOutOfTheirLimitsAreRefused(t *testing.T) {
	for name, w := range map[string]*ringmaster.Worker{
		"handler_timeout": {HandlerTimeout: -1}, "drain_timeout": {DrainTimeout: -time.Second}, "max_attempts": {MaxAttempts: -1},
		"backoff_base": {BackoffBase: -time.Second}, "backoff_max": {BackoffMax: math.MaxInt64}, "concurrency": {Concurrency: -3},
		"wait_timeout": {Durability: "fsync", WaitTimeout: time.Microsecond},
	} {
		w.Queues = []string{"q"}
		ringmaster.Handle(w, "t", func(context.Context, ringmaster.Job[json.RawMessage]) error { return nil })
		if err := w.Run(t.Context()); !errors.Is(err, ringmaster.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, wait := range []time.Duration{-1, time.Microsecond, math.MaxInt64} {
		if _, err := ringmaster.NewClient("redis://127.0.0.1:1", ringmaster.Durable("fsync", wait)); !errors.Is(err, ringmaster.ErrInvalid) {
			t.Errorf("a wait of %v: %v", wait, err)
		}
	}
}
