package ringmaster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"ringmaster/internal/handlers"
	"ringmaster/internal/service"
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

func jobOf[T any](d job.Delivery, payload T) Job[T] {
	return Job[T]{Payload: payload, ID: d.ID.String(), Queue: d.Queue, Type: d.Type, Key: d.Key, Attempt: d.Attempt, Fence: uint64(d.Fence)}
}

// HandlerOption is for the jobs of one type.
type HandlerOption func(*service.Type) error

// Timeout is the limit of one attempt, in place of WorkerConfig.HandlerTimeout: 10 ms to a day.
func Timeout(d time.Duration) HandlerOption {
	return func(t *service.Type) error {
		if d < 10*time.Millisecond || d > 24*time.Hour {
			return job.Invalid("Timeout(%v): want 10ms to 24h", d)
		}
		t.Timeout = d
		return nil
	}
}

// Attempts is how many there are before a job is dead, in place of WorkerConfig.MaxAttempts: 1 to
// 1,000.
func Attempts(n int) HandlerOption {
	return func(t *service.Type) error {
		if n < 1 || n > 1000 {
			return job.Invalid("Attempts(%d): want 1 to 1000", n)
		}
		t.MaxAttempts = n
		return nil
	}
}

// Backoff is the first pause between attempts at most, which doubles with each, and the longest,
// in place of WorkerConfig.BackoffBase and BackoffMax.
func Backoff(base, most time.Duration) HandlerOption {
	return func(t *service.Type) error {
		if base < time.Millisecond || most < base || most > 7*24*time.Hour {
			return job.Invalid("Backoff(%v, %v): want at least 1ms, and a longest of at least that and at most 168h", base, most)
		}
		t.Backoff.Base, t.Backoff.Max = base, most
		return nil
	}
}

// Concurrency is how many handlers of the type run at a time at most, in this worker and per queue:
// at least 1. More than WorkerConfig.Concurrency is no error, and no limit. The others wait, in the
// order in which they could have started, and so does what comes after them in their keys; jobs of
// other types and keys do not. A handler counts until it has returned, also where its time is over,
// or its job is another worker's by then. For a limit over all workers divide it by their number.
func Concurrency(n int) HandlerOption {
	return func(t *service.Type) error {
		if n < 1 {
			return job.Invalid("Concurrency(%d): want at least 1", n)
		}
		t.Concurrency = n
		return nil
	}
}

// Handle runs jobs of a type with fn. A payload that does not decode into T goes to the
// dead letters. fn returns nil when the job is done; any other error is a failed attempt
// (see Skip and RetryAfter). So are its panic, the end of its goroutine, and panics in the
// methods of its error or its payload. Its context ends with the handler
// timeout, or when the worker loses the job. Call it before Run, once for each type: what is
// wrong with it Run returns at once.
func Handle[T any](w *Worker, jobType string, fn func(ctx context.Context, j Job[T]) error, opts ...HandlerOption) {
	if fn == nil {
		w.add(jobType, nil, opts)
		return
	}
	HandleResult(w, jobType, func(ctx context.Context, j Job[T]) (any, error) { return nil, fn(ctx, j) }, opts...)
}

// HandleResult is Handle for handlers with a result, which is kept for a day. One that cannot
// be encoded as JSON (a channel, a NaN, a MarshalJSON that panics), or takes more than
// MaxResultBytes of it, makes the job a dead letter: fn has done its work, and another attempt
// would do it once more. A string counts as its text.
func HandleResult[T, R any](w *Worker, jobType string, fn func(ctx context.Context, j Job[T]) (R, error), opts ...HandlerOption) {
	if fn == nil {
		w.add(jobType, nil, opts)
		return
	}
	w.add(jobType, func(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
		var payload T
		if err := json.Unmarshal(d.Payload, &payload); err != nil {
			return nil, job.Skip(fmt.Errorf("decode payload: %w", err))
		}
		result, err := fn(ctx, jobOf(d, payload))
		if err != nil {
			return nil, err
		}
		return encode(result)
	}, opts)
}

func (w *Worker) add(jobType string, fn handlers.Func, opts []HandlerOption) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := service.Type{Handler: fn}
	var err error
	switch {
	case w.running:
		err = job.Invalid("it was added after Run")
	case fn == nil:
		err = job.Invalid("its handler is nil")
	case w.types[jobType].Handler != nil:
		err = job.Invalid("it has a handler already")
	default:
		err = job.CheckName("type", jobType)
	}
	for _, o := range opts {
		if err == nil {
			err = o(&t)
		}
	}
	if err != nil {
		w.wrong = append(w.wrong, fmt.Errorf("type %q: %w", jobType, err))
		return
	}
	w.types[jobType] = t
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

// Handler runs one attempt at a job whose payload is as it was handed in, and returns its result
// as JSON, or nil.
type Handler func(ctx context.Context, j Job[[]byte]) (result []byte, err error)

// Middleware is around a handler: it does what it has to, calls next or not, and returns. Its
// panics are failed attempts, as the handler's.
type Middleware func(next Handler) Handler

// Use puts middleware around the handlers of all types, the first one outermost. Call it before
// Run.
func (w *Worker) Use(all ...Middleware) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range all {
		if m == nil || w.running {
			w.wrong = append(w.wrong, job.Invalid("Use: a middleware is nil, or was added after Run"))
			return
		}
	}
	w.around = append(w.around, all...)
}

// wrapped is a handler with middleware around it.
func wrapped(all []Middleware, inner handlers.Func) (handlers.Func, error) {
	if len(all) == 0 {
		return inner, nil
	}
	outer := Handler(func(ctx context.Context, j Job[[]byte]) ([]byte, error) {
		d, ok := job.DeliveryOf(ctx)
		if !ok {
			return nil, errors.New("a middleware has called next with another context than its own, or one made of that")
		}
		d.Payload = j.Payload
		return inner(ctx, d)
	})
	for _, m := range slices.Backward(all) {
		if outer = m(outer); outer == nil {
			return nil, job.Invalid("Use: a middleware has returned a nil Handler")
		}
	}
	return func(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
		return outer(ctx, jobOf[[]byte](d, d.Payload))
	}, nil
}

// FromContext is the job that a handler's context belongs to, with its payload as it was handed
// in; false if it is no handler's.
func FromContext(ctx context.Context) (Job[[]byte], bool) {
	d, ok := job.DeliveryOf(ctx)
	if !ok {
		return Job[[]byte]{}, false
	}
	return jobOf[[]byte](d, d.Payload), true
}

// Log is log with the job that a handler's context belongs to: its id, queue, type, key and
// attempt. Without a job it is log as it is.
func Log(ctx context.Context, log *slog.Logger) *slog.Logger {
	d, ok := job.DeliveryOf(ctx)
	if !ok {
		return log
	}
	return log.With("job_id", d.ID.String(), "queue", d.Queue, "type", d.Type, "key", d.Key, "attempt", d.Attempt)
}
