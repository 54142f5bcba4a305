// Package ringmaster runs jobs in order per key, on Redis, with workers that may come
// and go at any time.
//
// # Parts
//
// A Client hands jobs in. A Worker runs them: every partition of a queue has one owner among the
// live workers, and within a partition the jobs of one key run one after the other. A Dispatcher
// assigns partitions when workers join, leave or die; any number may run, in processes of their
// own (cmd/dispatcher) or in yours. All three take the same Config, and talk to Redis and not to
// each other.
//
// # Guarantees
//
// A job that was handed in runs at least once and completes at most once. The next job of its key
// does not start before it has completed or is a dead letter. A handler may start more than once;
// Job.Fence lets other systems refuse an old run. docs/guarantees.md says what exactly is
// promised, and which test proves it.
//
// # Handing in
//
//	client, err := ringmaster.NewClient(ringmaster.Config{URL: "redis://127.0.0.1:6379"})
//	mails := client.Queue("mails")
//	receipt, err := mails.Submit(ctx, "send", Mail{To: "ada@example.org"}, ringmaster.Key("customer-42"))
//
// After Submit the server has the job, as durably as Config.Durability says. Queue.Wait waits for
// its end, Queue.Call does both.
//
// # Running
//
//	w, err := ringmaster.NewWorker(cfg, ringmaster.WorkerConfig{Queues: []string{"mails"}})
//	ringmaster.Handle(w, "send", func(ctx context.Context, j ringmaster.Job[Mail]) error { ... })
//	err = w.Run(ctx)
//
// A handler returns nil when the job is done. Any other error is a failed attempt, of which there
// are 20 with pauses that grow, unless it is from Skip or RetryAfter. Its context ends with the
// handler timeout, or when the worker loses the job: a handler returns soon after that. What is
// said after the handler is for its type: Timeout, Attempts, Backoff, and Concurrency, how many of
// them this worker runs at a time.
//
// # Errors
//
// Nothing of unknown outcome is reported as done or as not done. An error is one of those below,
// to be tested for with errors.Is: ErrOutcomeUnknown and ErrUnconfirmed say that the job may be
// there; all others that it is not. A submission with Once may be repeated in either case.
//
// # Testing
//
// Package ringtest has a ring in memory for your own tests, in virtual time, with workers to kill and
// to freeze and answers to lose; package embedded has the store alone, also for development.
//
//	ringtest.Run(t, func(t *testing.T, r *ringtest.Ring) {
//		r.Worker(ringmaster.WorkerConfig{Queues: []string{"mails"}}, func(w *ringmaster.Worker) {
//			ringmaster.Handle(w, "send", send)
//		})
//		receipt := r.Submit("mails", "send", Mail{To: "ada@example.org"}, ringmaster.Key("customer-42"))
//		ringtest.RequireCompleted(t, receipt)
//	})
//
// # Connections
//
// They are go-redis's, which writes lines of its own to one logger for the whole process, by
// default to stderr. Each Client as it is made, and each Worker and Dispatcher as it begins, has it
// write to Config.Logger, at level debug, or nowhere; the last one decides. The lines tell nothing
// that does not come as an error too. A program with go-redis clients of its own that wants their
// lines calls redis.SetLogger after that.
package ringmaster

import (
	"errors"
	"time"

	"ringmaster/job"
)

// Errors to test for with errors.Is. ErrConflict: it exists with other contents, such as an
// idempotency key that was used for another job. ErrTooLarge: above a limit. ErrFull: the server's
// memory is full. ErrUnavailable: not done, since the server does not answer. ErrNotPermitted: the
// server's user lacks a right. ErrUnknownJob: the server was restored or replaced after the id was
// given, and does not have the job. ErrUnconfirmed: done, but not as durably as was asked for.
var (
	ErrInvalid        = job.ErrInvalid
	ErrTooLarge       = job.ErrTooLarge
	ErrNotFound       = job.ErrNotFound
	ErrUnknownJob     = job.ErrUnknownJob
	ErrConflict       = job.ErrConflict
	ErrFull           = job.ErrFull
	ErrUnavailable    = job.ErrUnavailable
	ErrNotPermitted   = job.ErrNotPermitted
	ErrOutcomeUnknown = job.ErrOutcomeUnknown
	ErrUnconfirmed    = job.ErrUnconfirmed
	// ErrDead: the job went to the dead letters.
	ErrDead = errors.New("job is dead")
)

// Causes for which a handler's context ends, to be tested for with errors.Is and context.Cause.
var (
	ErrTimeout  = job.ErrTimeout  // the attempt had its time
	ErrMoved    = job.ErrMoved    // its partition has moved, and the time to finish is over
	ErrLost     = job.ErrLost     // the worker has lost the job: it may run elsewhere
	ErrStopping = job.ErrStopping // the worker stops, and the time to finish is over
)

// Skip sends a job to the dead letters at once. Of nil it is nil: the job is done.
func Skip(err error) error { return job.Skip(err) }

// RetryAfter chooses when the next attempt may start: after d, a year at most; 0 or less
// leaves the backoff as it is. Of nil it is nil: the job is done.
func RetryAfter(err error, d time.Duration) error { return job.RetryAfter(err, d) }

// Receipt tells the id of a job that was handed in.
type Receipt = job.Receipt

// Status is what is known of a job.
type Status = job.Status

// State is where a job stands.
type State = job.State

// The states of a job. Completed and Dead are final, but for a dead letter that is requeued.
const (
	Waiting   = job.Waiting
	Running   = job.Running
	Retrying  = job.Retrying
	Completed = job.Completed
	Dead      = job.Dead
	Unknown   = job.Unknown
)
