package ringmaster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"ringmaster/configs"
	"ringmaster/internal/app"
	"ringmaster/internal/handlers"
	"ringmaster/job"
)

// Job is one attempt at a job, with its payload decoded.
type Job[T any] struct {
	Payload T
	ID      string
	Queue   string
	Type    string
	Key     string
	Attempt int // 1 for the first
	// Fence never falls for the job's partition: a system that remembers the highest it
	// saw for a key, and refuses lower ones, is safe from a worker that lost the job.
	Fence uint64
}

// Worker runs the jobs of some queues. Set it up with Handle, then Run it once. The zero
// value of a field is its default.
type Worker struct {
	URL            string        // of the server; redis://127.0.0.1:6379
	Queues         []string      // at least one
	Name           string        // stable over restarts; one made of the host's name
	Concurrency    int           // handlers at a time, per queue; 16
	HandlerTimeout time.Duration // of one attempt; 30 s
	DrainTimeout   time.Duration // for running jobs when the worker stops; 30 s
	MaxAttempts    int           // before a job is dead; 20
	MaxCrashes     int           // of its workers, before a job that caused them is dead; less than 0: never; 4
	BackoffBase    time.Duration // longest wait before the second attempt, doubling with each; how long is random, from 0; 1 s
	BackoffMax     time.Duration // longest of these; 10 min
	MaxResultBytes int           // of a handler's result; at most 64 MiB; 1 MiB
	Durability     string        // what an end must have reached before its key goes on, see Durable; "memory"
	WaitTimeout    time.Duration // how long a batch of ends waits for that at a time; as the server needs, see Durable
	Mode           string        // what is behind URL, see Mode; "standalone"
	Logger         *slog.Logger  // nil: silent; a line over which it panics goes to stderr instead

	handlers map[string]handlers.Func
	wrong    []error // that Run tells: handlers that cannot be
}

// Handle runs jobs of a type with fn. A payload that does not decode into T goes to the
// dead letters. fn returns nil when the job is done; any other error is a failed attempt
// (see Skip and RetryAfter). So are its panic, the end of its goroutine, and panics in the
// methods of its error or its payload. Its context ends with the handler
// timeout, or when the worker loses the job. Call it before Run, which is an ErrInvalid where jobType is
// no name of a type, or has a handler already, or fn is nil.
func Handle[T any](w *Worker, jobType string, fn func(ctx context.Context, j Job[T]) error) {
	if fn == nil {
		w.refuse(jobType, "the handler is nil")
		return
	}
	HandleResult(w, jobType, func(ctx context.Context, j Job[T]) (any, error) { return nil, fn(ctx, j) })
}

func (w *Worker) refuse(jobType, why string) {
	w.wrong = append(w.wrong, job.Invalid("worker: handler of type %q: %s", jobType, why))
}

// HandleResult is Handle for handlers with a result, which is kept for a day. One that cannot
// be encoded as JSON (a channel, a NaN, a MarshalJSON that panics), or takes more than MaxResultBytes of it, makes the job
// a dead letter: fn has done its work, and another attempt would do it once more. A string
// counts as its text.
func HandleResult[T, R any](w *Worker, jobType string, fn func(ctx context.Context, j Job[T]) (R, error)) {
	switch {
	case fn == nil:
		w.refuse(jobType, "the handler is nil")
		return
	case w.handlers[jobType] != nil:
		w.refuse(jobType, "it has one already")
		return
	case w.handlers == nil:
		w.handlers = map[string]handlers.Func{}
	}
	if err := job.CheckName("type", jobType); err != nil {
		w.refuse(jobType, err.Error())
	}
	w.handlers[jobType] = func(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
		j := Job[T]{ID: d.ID.String(), Queue: d.Queue, Type: d.Type, Key: d.Key, Attempt: d.Attempt, Fence: uint64(d.Fence)}
		if err := json.Unmarshal(d.Payload, &j.Payload); err != nil {
			return nil, job.Skip(fmt.Errorf("decode payload: %w", err))
		}
		result, err := fn(ctx, j)
		if err != nil {
			return nil, err
		}
		return encode(result)
	}
}

// encode makes JSON of a result. A panic on the way is no failed attempt: fn was done.
func encode(result any) (raw json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = job.Skip(fmt.Errorf("encode result: panic: %s", job.PanicText(p)))
		}
	}()
	raw, err = job.JSON(result)
	if err != nil {
		return nil, job.Skip(fmt.Errorf("encode result: %w", err))
	}
	return raw, nil
}

// Run joins the ring and runs jobs until ctx ends; then it leaves within DrainTimeout and
// returns nil. While the server is away it waits.
func (w *Worker) Run(ctx context.Context) error {
	cfg := configs.DefaultWorker()
	cfg.Queues, cfg.Name = w.Queues, w.Name
	set(&cfg.Redis, w.URL)
	set(&cfg.RedisMode, w.Mode)
	if w.Durability != "" {
		if err := durable(&cfg.Common, w.Durability, w.WaitTimeout); err != nil {
			return fmt.Errorf("worker: %w", err)
		}
	}
	set(&cfg.Concurrency, w.Concurrency)
	set(&cfg.HandlerTimeout, w.HandlerTimeout)
	set(&cfg.DrainTimeout, w.DrainTimeout)
	set(&cfg.MaxAttempts, w.MaxAttempts)
	set(&cfg.MaxCrashes, w.MaxCrashes)
	set(&cfg.BackoffBase, w.BackoffBase)
	set(&cfg.BackoffMax, w.BackoffMax)
	set(&cfg.MaxResultBytes, w.MaxResultBytes)
	if len(w.Queues) == 0 {
		return job.Invalid("worker: name at least one queue in Queues")
	}
	if err := cfg.Check(); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	if err := errors.Join(w.wrong...); err != nil {
		return err
	}
	if len(w.handlers) == 0 {
		return job.Invalid("worker: no handler; add one with Handle")
	}
	app.GoRedisTo(w.Logger)
	return app.RunWorker(ctx, cfg, app.Options{Log: w.Logger, Handlers: w.handlers})
}

func set[T comparable](field *T, v T) {
	var zero T
	if v != zero {
		*field = v
	}
}

// Dispatch leads the rings of all queues at url until ctx ends, as a dispatcher process
// does, without its HTTP server. Any number may run; one leads a ring at a time. It logs to log, or
// not at all if that is nil. Of the options, Mode says what is behind url, and Durable what a change of owner must
// have reached before it is used: what the workers have. While the server is away it waits. An ErrInvalid if an
// option is wrong, or the server cannot confirm what Durable asks for.
func Dispatch(ctx context.Context, url string, log *slog.Logger, opts ...ClientOption) error {
	cfg := configs.DefaultDispatcher()
	own := clientSettings{Common: cfg.Common, log: log}
	if err := own.apply("dispatch", opts); err != nil {
		return err
	}
	cfg.Common = own.Common
	set(&cfg.Redis, url)
	app.GoRedisTo(own.log)
	return app.Lead(ctx, cfg, app.Options{Log: own.log})
}
