package ringmaster_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ringmaster"
	"ringmaster/internal/redistest"
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

// library runs a worker, a leader and a client in this process until the test ends. setUp has the
// handlers.
func library(t *testing.T, log *slog.Logger, setUp func(w *ringmaster.Worker)) (*ringmaster.Queue, context.Context) {
	t.Helper()
	url := redistest.Mini(t).URL()
	client, err := ringmaster.NewClient(ringmaster.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	var services sync.WaitGroup
	w, err := ringmaster.NewWorker(ringmaster.Config{URL: url, Logger: log}, ringmaster.WorkerConfig{Queues: []string{"q"},
		Concurrency: 2, MaxAttempts: 2, BackoffBase: time.Millisecond, DrainTimeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	setUp(w)
	services.Go(func() { _ = ringmaster.Dispatch(ctx, url, log) })
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
	return client.Queue("q"), ctx
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
	q, ctx := library(t, nil, func(w *ringmaster.Worker) {
		ringmaster.Handle(w, "table", func(_ context.Context, j ringmaster.Job[int]) error { return tests[j.Payload].err() })
		ringmaster.Handle(w, "decode-panics", func(context.Context, ringmaster.Job[bomb]) error { return nil })
		ringmaster.Handle(w, "decode-quits", func(context.Context, ringmaster.Job[quitter]) error { return nil })
		ringmaster.HandleResult(w, "encode-panics", func(context.Context, ringmaster.Job[int]) (bomb, error) { return bomb{}, nil })
		ringmaster.HandleResult(w, "encode-quits", func(context.Context, ringmaster.Job[int]) (quitter, error) { return quitter{}, nil })
		ringmaster.HandleResult(w, "encode-refuses", func(context.Context, ringmaster.Job[int]) (any, error) { return math.NaN(), nil })
	})

	attempts := 2
	check := func(name, jobType string, payload any, dead string) {
		st, err := q.Call(ctx, jobType, payload, nil, ringmaster.Key("k"))
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
	starts := make(chan int, 100)
	q, ctx := library(t, nil, func(w *ringmaster.Worker) {
		ringmaster.Handle(w, "later", func(_ context.Context, j ringmaster.Job[int]) error {
			starts <- j.Attempt
			return ringmaster.RetryAfter(errors.New("busy"), math.MaxInt64)
		})
		ringmaster.Handle(w, "other", func(context.Context, ringmaster.Job[int]) error { return nil })
	})
	receipt, err := q.Submit(ctx, "later", 1, ringmaster.Key("k"))
	if err != nil {
		t.Fatal(err)
	}
	<-starts
	for {
		st, err := q.Job(ctx, receipt.ID)
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
	if _, err := q.Call(ctx, "other", 1, nil); err != nil {
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
			q, ctx := library(t, slog.New(sulky{how}), func(w *ringmaster.Worker) {
				ringmaster.Handle(w, "fails", func(context.Context, ringmaster.Job[int]) error { return errors.New("no") })
				ringmaster.Handle(w, "fine", func(context.Context, ringmaster.Job[int]) error { return nil })
			})
			if _, err := q.Call(ctx, "fails", 1, nil, ringmaster.Key("k")); !errors.Is(err, ringmaster.ErrDead) {
				t.Errorf("a job that fails: %v", err)
			}
			if _, err := q.Call(ctx, "fine", 1, nil, ringmaster.Key("k")); err != nil {
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
			client, err := ringmaster.NewClient(ringmaster.Config{URL: redistest.Mini(t).URL(), Logger: slog.New(sulky{func() { told <- struct{}{}; how() }})})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			receipt, err := client.Queue("q").Submit(t.Context(), "t", 1)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-told
				cancel()
			}()
			if st, err := client.Queue("q").Wait(ctx, receipt.ID); !errors.Is(err, context.Canceled) || st.ID != receipt.ID {
				t.Errorf("Wait returned %+v, %v", st, err)
			}
		})
	}
}

func TestPanicsOfThePayloadAreTheCallers(t *testing.T) {
	client, err := ringmaster.NewClient(ringmaster.Config{URL: "redis://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	defer func() {
		if p := recover(); p != "boom in MarshalJSON" {
			t.Errorf("recovered %v", p)
		}
	}()
	_, err = client.Queue("q").Submit(t.Context(), "t", bomb{})
	t.Errorf("Submit returned %v", err)
}

func TestSettingsOutOfTheirLimitsAreRefused(t *testing.T) {
	for name, w := range map[string]ringmaster.WorkerConfig{
		"handler_timeout": {HandlerTimeout: -1}, "drain_timeout": {DrainTimeout: -time.Second}, "max_attempts": {MaxAttempts: -1},
		"max_crashes": {MaxCrashes: -2}, "backoff_base": {BackoffBase: -time.Second}, "backoff_max": {BackoffMax: math.MaxInt64},
		"concurrency": {Concurrency: -3}, "name": {Name: "a b"}, "max_result_bytes": {MaxResultBytes: 1},
		"weight": {Weight: 101},
	} {
		w.Queues = []string{"q"}
		refused(t, name, func() error { _, err := ringmaster.NewWorker(ringmaster.Config{}, w); return err })
	}
	for _, queues := range [][]string{nil, {""}, {"a b"}, {"q", "q"}} {
		refused(t, "queue", func() error {
			_, err := ringmaster.NewWorker(ringmaster.Config{}, ringmaster.WorkerConfig{Queues: queues})
			return err
		})
	}
	for name, c := range map[string]ringmaster.Config{
		"redis":               {URL: "http://127.0.0.1"},
		"redis_mode":          {Mode: "foo"},
		"namespace":           {Namespace: "a b"},
		"redis_password_file": {PasswordFile: "/does/not/exist"},
		"redis_ca_file":       {URL: "rediss://127.0.0.1:1", TLS: ringmaster.TLS{CAFile: "/does/not/exist"}},
		"redis_server_name":   {TLS: ringmaster.TLS{ServerName: "a"}}, // without rediss://
		"durability":          {Durability: "sometimes"},
		"wait_timeout":        {Durability: "fsync", WaitTimeout: time.Microsecond},
	} {
		refused(t, name, func() error { _, err := ringmaster.NewClient(c); return err })
		refused(t, name, func() error { _, err := ringmaster.NewDispatcher(c, ringmaster.DispatcherConfig{}); return err })
		refused(t, name, func() error {
			_, err := ringmaster.NewWorker(c, ringmaster.WorkerConfig{Queues: []string{"q"}})
			return err
		})
	}
	for _, url := range []string{"embedded", "embedded://127.0.0.1:0"} { // no longer starts a store: it says who does
		refused(t, "embedded.Start", func() error { _, err := ringmaster.NewClient(ringmaster.Config{URL: url}); return err })
	}
	refused(t, "heartbeat", func() error {
		_, err := ringmaster.NewWorker(ringmaster.Config{Heartbeat: 2 * time.Second}, ringmaster.WorkerConfig{Queues: []string{"q"}})
		return err
	})
	for name, own := range map[string]ringmaster.DispatcherConfig{
		"leader_lease": {LeaderLease: time.Millisecond}, "detect_interval": {DetectInterval: 2 * time.Second}, "release_timeout": {ReleaseTimeout: -1},
	} {
		refused(t, name, func() error { _, err := ringmaster.NewDispatcher(ringmaster.Config{}, own); return err })
	}
	refused(t, "mode", func() error {
		_, err := ringmaster.NewDispatcher(ringmaster.Config{}, ringmaster.DispatcherConfig{ResizeMode: "foo"})
		return err
	})
}

func refused(t *testing.T, name string, f func() error) {
	t.Helper()
	if err := f(); !errors.Is(err, ringmaster.ErrInvalid) || !strings.Contains(err.Error(), name) {
		t.Errorf("%s: %v", name, err)
	}
}

// What is wrong with the handlers is told by Run, before anything is connected.
func TestWrongHandlersAreRefused(t *testing.T) {
	fine := func(context.Context, ringmaster.Job[int]) error { return nil }
	for want, setUp := range map[string]func(w *ringmaster.Worker){
		"no handler":             func(*ringmaster.Worker) {},
		`type "t": its handler`:  func(w *ringmaster.Worker) { ringmaster.Handle[int](w, "t", nil) },
		`type "t": it has a`:     func(w *ringmaster.Worker) { ringmaster.Handle(w, "t", fine); ringmaster.Handle(w, "t", fine) },
		`type "a b": `:           func(w *ringmaster.Worker) { ringmaster.Handle(w, "a b", fine) },
		`type "t": Attempts(0)`:  func(w *ringmaster.Worker) { ringmaster.Handle(w, "t", fine, ringmaster.Attempts(0)) },
		`type "t": Timeout(-1ns`: func(w *ringmaster.Worker) { ringmaster.Handle(w, "t", fine, ringmaster.Timeout(-1)) },
		`type "t": Backoff(2s`: func(w *ringmaster.Worker) {
			ringmaster.Handle(w, "t", fine, ringmaster.Backoff(2*time.Second, time.Second))
		},
		"a middleware is nil": func(w *ringmaster.Worker) { ringmaster.Handle(w, "t", fine); w.Use(nil) },
		"a nil Handler": func(w *ringmaster.Worker) {
			ringmaster.Handle(w, "t", fine)
			w.Use(func(ringmaster.Handler) ringmaster.Handler { return nil })
		},
	} {
		w, err := ringmaster.NewWorker(ringmaster.Config{URL: "redis://127.0.0.1:1"}, ringmaster.WorkerConfig{Queues: []string{"q"}})
		if err != nil {
			t.Fatal(err)
		}
		setUp(w)
		refused(t, want, func() error { return w.Run(t.Context()) })
	}
}
