package ringmaster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"ringmaster"
	"ringmaster/internal/redistest"
)

// parties runs a dispatcher and a client until the test ends.
func parties(t *testing.T) (*ringmaster.Client, ringmaster.Config, context.Context) {
	t.Helper()
	cfg := ringmaster.Config{URL: redistest.Real(t).URL(), Namespace: "own"}
	client, err := ringmaster.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d, err := ringmaster.NewDispatcher(cfg, ringmaster.DispatcherConfig{ResizeMode: "partition"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	var services sync.WaitGroup
	services.Go(func() {
		if err := d.Run(ctx); err != nil {
			t.Errorf("dispatcher: %v", err)
		}
		if err := d.Run(ctx); !errors.Is(err, ringmaster.ErrInvalid) {
			t.Errorf("a second Run: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		services.Wait()
		_ = client.Close()
	})
	return client, cfg, ctx
}

func newWorker(t *testing.T, cfg ringmaster.Config, own ringmaster.WorkerConfig) *ringmaster.Worker {
	t.Helper()
	w, err := ringmaster.NewWorker(cfg, own)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// run runs a worker until the test ends, and waits until it is ready.
func run(ctx context.Context, t *testing.T, w *ringmaster.Worker) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		if err := w.Stop(context.Background()); err != nil {
			t.Errorf("Stop: %v", err)
		}
		if err := <-ended; err != nil && !strings.Contains(err.Error(), "at once") {
			t.Errorf("worker: %v", err)
		}
	})
	select {
	case <-w.Ready():
	case <-ctx.Done():
		t.Fatal("the worker is not ready")
	}
}

func TestEachTypeHasItsOwnLimits(t *testing.T) {
	client, cfg, ctx := parties(t)
	w := newWorker(t, cfg, ringmaster.WorkerConfig{Queues: []string{"q"}, MaxAttempts: 3, BackoffBase: time.Millisecond, HandlerTimeout: 50 * time.Millisecond})
	fails := func(context.Context, ringmaster.Job[int]) error { return errors.New("no") }
	until := func(ctx context.Context, _ ringmaster.Job[int]) error {
		<-ctx.Done()
		return fmt.Errorf("%v: %w", errors.Is(context.Cause(ctx), ringmaster.ErrTimeout), context.Cause(ctx))
	}
	ringmaster.Handle(w, "three", fails)
	ringmaster.Handle(w, "once", fails, ringmaster.Attempts(1))
	ringmaster.Handle(w, "patient", fails, ringmaster.Attempts(2), ringmaster.Backoff(time.Hour, 2*time.Hour))
	ringmaster.Handle(w, "short", until, ringmaster.Attempts(1))
	ringmaster.Handle(w, "long", until, ringmaster.Attempts(1), ringmaster.Timeout(400*time.Millisecond))
	run(ctx, t, w)
	q := client.Queue("q")
	for jobType, want := range map[string]int{"three": 3, "once": 1} {
		if st, err := q.Call(ctx, jobType, 1, nil); !errors.Is(err, ringmaster.ErrDead) || st.Attempts != want {
			t.Errorf("%s: %d attempts, %v", jobType, st.Attempts, err)
		}
	}
	r, err := q.Submit(ctx, "patient", 1)
	if err != nil {
		t.Fatal(err)
	}
	for jobType, least := range map[string]time.Duration{"short": 50 * time.Millisecond, "long": 400 * time.Millisecond} {
		began := time.Now()
		if st, err := q.Call(ctx, jobType, 1, nil); !errors.Is(err, ringmaster.ErrDead) || !strings.Contains(st.Error, "true: ") || time.Since(began) < least {
			t.Errorf("%s: after %v: %s, %v", jobType, time.Since(began), st.Error, err)
		}
	}
	if st, err := q.Job(ctx, r.ID); err != nil || st.State != ringmaster.Retrying {
		t.Errorf("patient: %s, %v", st.State, err)
	}
}

func TestMiddlewareAndHooks(t *testing.T) {
	client, cfg, ctx := parties(t)
	var mu sync.Mutex
	var seen []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprintf(format, args...))
	}
	w := newWorker(t, cfg, ringmaster.WorkerConfig{Queues: []string{"q"}, MaxAttempts: 2, BackoffBase: time.Millisecond, OnEnd: func(e ringmaster.Ended) {
		note("%s %s %v %d %s", e.Job.Type, e.Outcome, e.Err, e.Job.Attempt, e.Job.Payload)
		if e.Took < 0 || e.Took > time.Minute {
			t.Errorf("it took %v", e.Took)
		}
		panic("a hook that fails")
	}})
	around := func(name string) ringmaster.Middleware {
		return func(next ringmaster.Handler) ringmaster.Handler {
			return func(ctx context.Context, j ringmaster.Job[[]byte]) ([]byte, error) {
				note("%s(", name)
				result, err := next(ctx, j)
				note(")%s", name)
				return result, err
			}
		}
	}
	w.Use(around("a"), around("b"))
	w.Use(func(next ringmaster.Handler) ringmaster.Handler {
		return func(ctx context.Context, j ringmaster.Job[[]byte]) ([]byte, error) {
			if j.Key == "changed" {
				j.Payload = []byte("7")
			}
			return next(ctx, j)
		}
	})
	var logged strings.Builder
	log := slog.New(slog.NewTextHandler(&logged, nil))
	ringmaster.HandleResult(w, "double", func(ctx context.Context, j ringmaster.Job[int]) (int, error) {
		me, ok := ringmaster.FromContext(ctx)
		if !ok || me.ID != j.ID || me.Attempt != j.Attempt || me.Fence != j.Fence || me.Queue != "q" {
			t.Errorf("the context has %+v, %v", me, ok)
		}
		ringmaster.Log(ctx, log).Info("at work")
		return 2 * j.Payload, nil
	})
	ringmaster.Handle(w, "fail", func(context.Context, ringmaster.Job[int]) error { return errors.New("no") })
	run(ctx, t, w)
	q := client.Queue("q")
	var result int
	if _, err := q.Call(ctx, "double", 1, &result, ringmaster.Key("changed")); err != nil || result != 14 {
		t.Errorf("%d, %v", result, err)
	}
	if _, err := q.Call(ctx, "fail", 1, nil); !errors.Is(err, ringmaster.ErrDead) {
		t.Error(err)
	}
	want := "a( b( )b )a double completed <nil> 1 1 a( b( )b )a fail failed no 1 1 a( b( )b )a fail dead no 2 1"
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(seen, " "); got != want {
		t.Errorf("seen\n%s, want\n%s", got, want)
	}
	if !strings.Contains(logged.String(), "job_id=") || !strings.Contains(logged.String(), "key=changed") {
		t.Errorf("logged %q", logged.String())
	}
	if _, ok := ringmaster.FromContext(ctx); ok {
		t.Error("a context that is no handler's has a job")
	}
}

// Stop waits for what runs; when its context ends it waits no longer.
func TestStop(t *testing.T) {
	client, cfg, ctx := parties(t)
	for _, patient := range []bool{true, false} {
		w := newWorker(t, cfg, ringmaster.WorkerConfig{Queues: []string{"q", "other"}})
		begun, finish := make(chan struct{}), make(chan struct{})
		ringmaster.Handle(w, "t", func(ctx context.Context, _ ringmaster.Job[int]) error {
			close(begun)
			select {
			case <-finish:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		run(ctx, t, w)
		if err := w.Run(ctx); !errors.Is(err, ringmaster.ErrInvalid) {
			t.Errorf("a second Run: %v", err)
		}
		r, err := client.Queue("q").Submit(ctx, "t", 1)
		if err != nil {
			t.Fatal(err)
		}
		<-begun
		stop, cancel := context.WithCancel(ctx)
		if patient {
			time.AfterFunc(10*time.Millisecond, func() { close(finish) })
		} else {
			cancel()
		}
		if err := w.Stop(stop); (err == nil) != patient {
			t.Errorf("Stop: %v", err)
		}
		cancel()
		st, err := client.Queue("q").Job(ctx, r.ID)
		if want := map[bool]ringmaster.State{true: ringmaster.Completed, false: ringmaster.Waiting}[patient]; err != nil || st.State != want && (patient || st.State.Terminal()) {
			t.Errorf("the job is %s, %v; want %s", st.State, err, want)
		}
	}
}

func TestAWorkerThatIsStoppedBeforeItRunsDoesNot(t *testing.T) {
	w := newWorker(t, ringmaster.Config{URL: "redis://127.0.0.1:1"}, ringmaster.WorkerConfig{Queues: []string{"q"}})
	ringmaster.Handle(w, "t", func(context.Context, ringmaster.Job[int]) error { return nil })
	if err := w.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := w.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSubmitAllAnswersForEach(t *testing.T) {
	client, _, ctx := parties(t)
	q := client.Queue("q")
	many := []ringmaster.Submission{
		{Type: "t", Payload: 1, Key: "a", Once: "x"},
		{Type: "a b", Payload: 1},
		{Type: "t", Payload: make(chan int)},
		{Type: "t", Payload: json.RawMessage(`{"raw":1}`)},
		{Type: "t", Payload: json.RawMessage(`{`)},
		{Type: "t", Payload: strings.Repeat("x", 2<<20)},
		{Type: "t", Payload: 1, Key: "a", Once: "x"},
		{Type: "t", Payload: 2, Key: "a", Once: "x"},
	}
	want := []error{nil, ringmaster.ErrInvalid, ringmaster.ErrInvalid, nil, ringmaster.ErrInvalid, ringmaster.ErrTooLarge, nil, ringmaster.ErrConflict}
	got := q.SubmitAll(ctx, many...)
	for i, s := range got {
		if !errors.Is(s.Err, want[i]) || (s.Err == nil) != (s.ID != "") {
			t.Errorf("%d: %+v", i, s)
		}
	}
	if got[6].ID != got[0].ID || !got[6].Duplicate || len(q.SubmitAll(ctx)) != 0 {
		t.Errorf("a repeat: %+v, %+v", got[0], got[6])
	}
}

// What ringctl does to a queue, the library does.
func TestAdministration(t *testing.T) {
	client, cfg, ctx := parties(t)
	q, err := client.CreateQueue(ctx, "q", ringmaster.QueueConfig{Partitions: 4, Journal: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateQueue(ctx, "q", ringmaster.QueueConfig{Partitions: 8}); !errors.Is(err, ringmaster.ErrConflict) {
		t.Errorf("other counts: %v", err)
	}
	w := newWorker(t, cfg, ringmaster.WorkerConfig{Queues: []string{"q"}, Name: "w1"})
	ringmaster.Handle(w, "t", func(_ context.Context, j ringmaster.Job[string]) error {
		if j.Payload == "bad" {
			return ringmaster.Skip(errors.New("no"))
		}
		return nil
	})
	run(ctx, t, w)
	st, err := q.Call(ctx, "t", "bad", nil, ringmaster.Key("k"))
	if !errors.Is(err, ringmaster.ErrDead) {
		t.Fatal(err)
	}
	letters, err := q.DeadLetters(ctx, 10)
	if err != nil || len(letters) != 1 || letters[0].ID != st.ID {
		t.Fatalf("%+v, %v", letters, err)
	}
	r, err := q.Requeue(ctx, st.ID)
	if err != nil {
		t.Fatal(err)
	}
	if st, err = q.Wait(ctx, r.ID); err != nil || st.State != ringmaster.Dead {
		t.Errorf("requeued: %+v, %v", st, err)
	}
	if err := q.RemoveDead(ctx, st.ID); err != nil {
		t.Error(err)
	}
	info, err := q.Info(ctx)
	if err != nil || info.Partitions != 4 || info.Dead != 0 || info.Owned != 4 {
		t.Errorf("%+v, %v", info, err)
	}
	if all, err := client.Queues(ctx); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	if ring, err := q.Ring(ctx); err != nil || len(ring.Members) != 1 {
		t.Errorf("%+v, %v", ring, err)
	}
	if key, err := q.Key(ctx, "k"); err != nil || !strings.HasPrefix(key.Owner, "w1.") {
		t.Errorf("%+v, %v", key, err)
	}
	if _, err := q.Resize(ctx, "foo"); !errors.Is(err, ringmaster.ErrInvalid) {
		t.Errorf("an unknown mode: %v", err)
	}
	if _, err := q.Resize(ctx, "key"); err != nil {
		t.Error(err)
	}
	if ws, err := q.Workers(ctx); err != nil || len(ws) != 1 {
		t.Errorf("%+v, %v", ws, err)
	}
	if who, err := client.Drain(ctx, "w1"); err != nil || len(who) != 1 || !strings.HasPrefix(who[0], "w1.") {
		t.Errorf("%v, %v", who, err)
	}
}
