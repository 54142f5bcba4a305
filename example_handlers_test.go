package ringmaster_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"sync"
	"time"

	"ringmaster"
	"ringmaster/embedded"
)

// inMemory is what the examples run on: a store in memory, a dispatcher, a client, and a worker of
// the queue jobs whose handlers set adds. stop ends all of it.
func inMemory(own ringmaster.WorkerConfig, set func(w *ringmaster.Worker)) (ctx context.Context, client *ringmaster.Client, stop func()) {
	store, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	cfg := ringmaster.Config{URL: store.URL()}
	if client, err = ringmaster.NewClient(cfg); err != nil {
		log.Fatal(err)
	}
	own.Queues = []string{"jobs"}
	w, err := ringmaster.NewWorker(cfg, own)
	if err != nil {
		log.Fatal(err)
	}
	set(w)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	if _, err := client.CreateQueue(ctx, "jobs", ringmaster.QueueConfig{Partitions: 4}); err != nil {
		log.Fatal(err)
	}
	var services sync.WaitGroup
	services.Go(func() { _ = ringmaster.Dispatch(ctx, store.URL(), nil) })
	services.Go(func() { _ = w.Run(ctx) })
	return ctx, client, func() {
		cancel()
		services.Wait()
		_ = client.Close()
		store.Close()
	}
}

// A handler's result is kept for a day, for whoever asks.
func ExampleHandleResult() {
	type sum struct{ A, B int }
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, func(w *ringmaster.Worker) {
		ringmaster.HandleResult(w, "add", func(_ context.Context, j ringmaster.Job[sum]) (int, error) {
			return j.Payload.A + j.Payload.B, nil
		})
	})
	defer stop()
	var total int
	status, err := client.Queue("jobs").Call(ctx, "add", sum{A: 2, B: 3}, &total)
	fmt.Println(status.State, total, err)
	// Output: completed 5 <nil>
}

// A payload that does not decode is the sender's mistake: no attempt would mend it.
func ExampleHandle() {
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, func(w *ringmaster.Worker) {
		ringmaster.Handle(w, "greet", func(_ context.Context, j ringmaster.Job[Mail]) error {
			fmt.Println("hello", j.Payload.To)
			return nil
		})
	})
	defer stop()
	q := client.Queue("jobs")
	_, err := q.Call(ctx, "greet", Mail{To: "ada@example.org"}, nil)
	fmt.Println(err)
	status, err := q.Call(ctx, "greet", "no object", nil)
	fmt.Println(status.State, errors.Is(err, ringmaster.ErrDead))
	// Output:
	// hello ada@example.org
	// <nil>
	// dead true
}

// Somebody who answers "come back in a minute" is asked again in a minute, whatever the backoff.
func ExampleRetryAfter() {
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{BackoffBase: time.Hour, BackoffMax: 2 * time.Hour}, func(w *ringmaster.Worker) {
		ringmaster.Handle(w, "fetch", func(_ context.Context, j ringmaster.Job[string]) error {
			fmt.Println("attempt", j.Attempt)
			if j.Attempt < 3 {
				return ringmaster.RetryAfter(errors.New("too many requests"), 20*time.Millisecond)
			}
			return nil
		})
	})
	defer stop()
	status, err := client.Queue("jobs").Call(ctx, "fetch", "https://example.org", nil)
	fmt.Println(status.State, status.Attempts, err)
	// Output:
	// attempt 1
	// attempt 2
	// attempt 3
	// completed 3 <nil>
}

// Each type may have its own limits: here two attempts, the second a few milliseconds after the first.
func ExampleAttempts() {
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, func(w *ringmaster.Worker) {
		ringmaster.Handle(w, "charge", func(context.Context, ringmaster.Job[int]) error {
			return errors.New("declined")
		}, ringmaster.Attempts(2), ringmaster.Backoff(time.Millisecond, 5*time.Millisecond))
	})
	defer stop()
	status, err := client.Queue("jobs").Call(ctx, "charge", 100, nil)
	fmt.Println(status.State, status.Attempts, errors.Is(err, ringmaster.ErrDead))
	// Output: dead 2 true
}

// A handler whose time is over is told so by its context, and why.
func ExampleTimeout() {
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, func(w *ringmaster.Worker) {
		ringmaster.Handle(w, "slow", func(ctx context.Context, _ ringmaster.Job[int]) error {
			<-ctx.Done()
			fmt.Println(errors.Is(context.Cause(ctx), ringmaster.ErrTimeout))
			return context.Cause(ctx)
		}, ringmaster.Timeout(50*time.Millisecond), ringmaster.Attempts(1))
	})
	defer stop()
	status, _ := client.Queue("jobs").Call(ctx, "slow", 1, nil)
	fmt.Println(status.State)
	// Output:
	// true
	// dead
}

// Middleware is around the handlers of all types: for traces, metrics, a transaction.
func ExampleWorker_Use() {
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, func(w *ringmaster.Worker) {
		w.Use(func(next ringmaster.Handler) ringmaster.Handler {
			return func(ctx context.Context, j ringmaster.Job[[]byte]) ([]byte, error) {
				fmt.Println("begin", j.Type, string(j.Payload))
				result, err := next(ctx, j)
				fmt.Println("end", j.Type, err)
				return result, err
			}
		})
		ringmaster.Handle(w, "send", func(_ context.Context, j ringmaster.Job[Mail]) error {
			fmt.Println("sending to", j.Payload.To)
			return nil
		})
	})
	defer stop()
	_, err := client.Queue("jobs").Call(ctx, "send", Mail{To: "ada@example.org"}, nil)
	fmt.Println(err)
	// Output:
	// begin send {"to":"ada@example.org","text":""}
	// sending to ada@example.org
	// end send <nil>
	// <nil>
}

// OnEnd hears how each attempt ended: what metrics count.
func ExampleEnded() {
	ended := make(chan ringmaster.Ended, 2)
	own := ringmaster.WorkerConfig{BackoffBase: time.Millisecond, OnEnd: func(e ringmaster.Ended) { ended <- e }}
	ctx, client, stop := inMemory(own, func(w *ringmaster.Worker) {
		ringmaster.Handle(w, "flaky", func(_ context.Context, j ringmaster.Job[int]) error {
			if j.Attempt == 1 {
				return errors.New("connection reset")
			}
			return nil
		})
	})
	defer stop()
	if _, err := client.Queue("jobs").Call(ctx, "flaky", 1, nil); err != nil {
		log.Fatal(err)
	}
	for range 2 {
		e := <-ended
		fmt.Println(e.Job.Type, e.Job.Attempt, e.Outcome, e.Err)
	}
	// Output:
	// flaky 1 failed connection reset
	// flaky 2 completed <nil>
}

// What a handler calls finds the job in the context: nothing has to hand it on.
func ExampleFromContext() {
	audit := func(ctx context.Context, what string) {
		if j, ok := ringmaster.FromContext(ctx); ok {
			fmt.Printf("%s (%s of %s, attempt %d)\n", what, j.Type, j.Key, j.Attempt)
		}
	}
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, func(w *ringmaster.Worker) {
		ringmaster.Handle(w, "book", func(ctx context.Context, _ ringmaster.Job[int]) error {
			audit(ctx, "booked")
			return nil
		})
	})
	defer stop()
	if _, err := client.Queue("jobs").Call(ctx, "book", 1, nil, ringmaster.Key("account-9")); err != nil {
		fmt.Println(err)
	}
	// Output: booked (book of account-9, attempt 1)
}

// Log puts the job on each line.
func ExampleLog() {
	lines := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "job_id" {
			return slog.Attr{} // they change from run to run
		}
		return a
	}}))
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, func(w *ringmaster.Worker) {
		ringmaster.Handle(w, "book", func(ctx context.Context, _ ringmaster.Job[int]) error {
			ringmaster.Log(ctx, lines).Info("booked")
			return nil
		})
	})
	defer stop()
	if _, err := client.Queue("jobs").Call(ctx, "book", 1, nil, ringmaster.Key("account-9")); err != nil {
		fmt.Println(err)
	}
	// Output: level=INFO msg=booked queue=jobs type=book key=account-9 attempt=1
}

// A worker that died may come back to life in the middle of a job that another one has taken over.
// What it then writes can be told by its lower fence: the ledger keeps the highest it saw.
func ExampleJob() {
	var highest uint64
	write := func(fence uint64, what string) {
		if fence < highest {
			fmt.Println("refused:", what)
			return
		}
		highest = fence
		fmt.Println("written:", what)
	}
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, func(w *ringmaster.Worker) {
		ringmaster.Handle(w, "book", func(_ context.Context, j ringmaster.Job[string]) error {
			write(j.Fence, j.Payload)
			write(j.Fence-1, "by the worker before")
			return nil
		})
	})
	defer stop()
	if _, err := client.Queue("jobs").Call(ctx, "book", "by the owner", nil, ringmaster.Key("account-9")); err != nil {
		fmt.Println(err)
	}
	// Output:
	// written: by the owner
	// refused: by the worker before
}
