package ringmaster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ringmaster/configs"
	"ringmaster/internal/service"
	"ringmaster/job"
)

// WorkerConfig is what a worker has of its own. The zero value of a field is its default.
type WorkerConfig struct {
	Queues         []string      // at least one, each once
	Name           string        // stable over restarts; one made of the host's name
	Concurrency    int           // handlers at a time, per queue; 16
	Weight         int           // shares of each queue's partitions that it gets beside other workers; at most 100; 1
	HandlerTimeout time.Duration // of one attempt, where the type has none of its own; 30 s
	DrainTimeout   time.Duration // for running jobs when the worker stops; 30 s
	MaxAttempts    int           // before a job is dead, where the type has none of its own; 20
	MaxCrashes     int           // of its workers, before a job that caused them is dead; -1: never; 4
	BackoffBase    time.Duration // of the pauses between attempts: the first is up to so long, the next up to twice that; 1 s
	BackoffMax     time.Duration // no pause is longer; 10 min
	MaxResultBytes int           // of a handler's result; at most 64 MiB; 1 MiB

	// OnEnd, if set, is told how each attempt ended, before the server knows. It may not block for
	// long: the job's key, and one of Concurrency, wait for it. What it panics over is logged.
	OnEnd func(Ended)
}

// Ended is how an attempt ended.
type Ended struct {
	Job     Job[[]byte] // with its payload as it was handed in
	Outcome Outcome
	Err     error // of an attempt that failed, or the dead letter's
	Took    time.Duration
}

// Outcome is what an attempt's end leads to.
type Outcome string

// The outcomes of an attempt.
const (
	OutcomeCompleted  Outcome = "completed"
	OutcomeFailed     Outcome = "failed"      // it runs again, after its backoff
	OutcomeDead       Outcome = "dead"        // a dead letter
	OutcomeHandedBack Outcome = "handed back" // it runs again, elsewhere: no attempt is counted
)

// Worker runs the jobs of some queues. Set it up with Handle and Use, then Run it once.
type Worker struct {
	cfg   configs.Worker
	opts  service.Options // that Config gives
	onEnd func(Ended)

	types  map[string]service.Type
	around []Middleware
	wrong  []error

	mu      sync.Mutex
	running bool
	stopped bool // before it ran
	leave   context.CancelFunc
	now     chan struct{} // closed: it stops at once
	ended   chan struct{}
	joined  map[string]bool
	ready   chan struct{}
}

// NewWorker prepares a worker; it does not connect yet.
func NewWorker(cfg Config, own WorkerConfig) (*Worker, error) {
	c := configs.DefaultWorker()
	var err error
	if c.Common, err = cfg.common(c.Common); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	c.Queues, c.Name = own.Queues, own.Name
	set(&c.Concurrency, own.Concurrency)
	set(&c.Weight, own.Weight)
	set(&c.HandlerTimeout, own.HandlerTimeout)
	set(&c.DrainTimeout, own.DrainTimeout)
	set(&c.MaxAttempts, own.MaxAttempts)
	if own.MaxCrashes == -1 {
		c.MaxCrashes = 0
	} else {
		set(&c.MaxCrashes, own.MaxCrashes)
	}
	set(&c.BackoffBase, own.BackoffBase)
	set(&c.BackoffMax, own.BackoffMax)
	set(&c.MaxResultBytes, own.MaxResultBytes)
	set(&c.Heartbeat, cfg.Heartbeat)
	set(&c.LeaseTTL, cfg.LeaseTTL)
	if len(own.Queues) == 0 {
		return nil, job.Invalid("worker: name at least one queue in Queues")
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	return &Worker{cfg: c, opts: cfg.options(), onEnd: own.OnEnd, types: map[string]service.Type{}, now: make(chan struct{}),
		ended: make(chan struct{}), joined: map[string]bool{}, ready: make(chan struct{})}, nil
}

// Run joins the rings and runs jobs until ctx ends, or Stop is called; then it leaves within
// DrainTimeout and returns nil. While the server is away it waits. It runs once. What was wrong
// with Handle and Use is an ErrInvalid, before anything is connected.
func (w *Worker) Run(ctx context.Context) error {
	ctx, err := w.begin(ctx)
	if err != nil {
		return err
	}
	defer close(w.ended)
	defer w.leave()
	if w.stopped {
		return nil
	}
	types := make(map[string]service.Type, len(w.types))
	for name, t := range w.types {
		if t.Handler, err = wrapped(w.around, t.Handler); err != nil {
			return fmt.Errorf("worker: %w", err)
		}
		types[name] = t
	}
	o := w.opts
	o.Types, o.Second, o.Owns = types, w.now, w.owns
	if w.onEnd != nil {
		o.Ended = w.tell
	}
	service.GoRedisTo(o.Log)
	return service.RunWorker(ctx, w.cfg, o)
}

func (w *Worker) begin(ctx context.Context) (context.Context, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.running:
		return nil, job.Invalid("worker: Run was called before: make another with NewWorker")
	case len(w.wrong) > 0:
		return nil, fmt.Errorf("worker: %w", errors.Join(w.wrong...))
	case len(w.types) == 0:
		return nil, job.Invalid("worker: no handler; add one with Handle")
	}
	w.running = true
	ctx, w.leave = context.WithCancel(ctx)
	return ctx, nil
}

// owns notes that the worker owns what it should of a queue.
func (w *Worker) owns(queue string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.joined[queue] {
		return
	}
	if w.joined[queue] = true; len(w.joined) == len(w.cfg.Queues) {
		close(w.ready)
	}
}

// Ready is closed once the worker owns what it should of every queue, for the first time: never, if
// Run returns before that.
func (w *Worker) Ready() <-chan struct{} { return w.ready }

// Stop has Run leave, as the end of its context does, and waits until it has returned. If ctx ends
// first, the handlers' contexts end, what runs is handed back, and the context's error returned,
// once Run has. Before Run it returns at once, and Run will too.
func (w *Worker) Stop(ctx context.Context) error {
	w.mu.Lock()
	running := w.running
	if running {
		w.leave()
	} else {
		w.stopped = true
	}
	w.mu.Unlock()
	if !running {
		return nil
	}
	select {
	case <-w.ended:
		return nil
	case <-ctx.Done():
	}
	w.mu.Lock()
	select {
	case <-w.now:
	default:
		close(w.now)
	}
	w.mu.Unlock()
	<-w.ended
	return context.Cause(ctx)
}

func (w *Worker) tell(e service.Ended) {
	how := map[job.Outcome]Outcome{job.Done: OutcomeCompleted, job.Failed: OutcomeFailed, job.Buried: OutcomeDead, job.HandBack: OutcomeHandedBack}
	w.onEnd(Ended{Job: jobOf[[]byte](e.Job, e.Job.Payload), Outcome: how[e.Outcome], Err: e.Err, Took: e.Took})
}
