package configs

import (
	"time"

	"ringmaster/job"
)

// What a worker can be set to is here, and nowhere else: the variable, its default, its key with flag,
// help and limits, and what it must fit. configs/worker.yaml shows every key.

// Worker is the configuration of the program worker.
type Worker struct {
	Common
	Queues      []string // queues to serve
	Name        string   // name of this worker; empty: the program chooses one
	Concurrency int      // handlers that run at once
	Weight      int      // 1 to job.MaxWeight: partitions it gets, in shares, beside the other workers of a queue
	QueueSpec            // how Queues are made where they do not exist
	Builtin     bool     // offer the types of BuiltinTypes

	DrainTimeout   time.Duration // how long a stop waits for running handlers; 0: not at all
	HandlerTimeout time.Duration // for one attempt, where the handler sets none of its own
	MaxAttempts    int           // attempts before a job is dead
	MaxCrashes     int           // workers that must have died of a job at least before it is dead; 0 or less: it never is
	BackoffBase    time.Duration // wait after the first failure; doubles with each
	BackoffMax     time.Duration // upper limit of that wait
	MaxResultBytes int           // of a handler's result; a larger one makes its job a dead letter

	Heartbeat time.Duration // how often this worker says that it lives
	LeaseTTL  time.Duration // how long it counts as alive without saying so

	Handlers []Handler // from the file only
}

// DefaultWorker is what a worker runs with when nothing is said. Its Queues and
// Handlers are empty.
func DefaultWorker() Worker {
	return Worker{
		Common:      DefaultCommon(),
		Concurrency: 16,
		Weight:      job.DefaultWeight,
		QueueSpec:   defaultQueue(),

		DrainTimeout:   30 * time.Second, // as long as one handler may take
		HandlerTimeout: job.DefaultHandlerTimeout,
		MaxAttempts:    job.DefaultAttempts,
		MaxCrashes:     job.DefaultCrashes,
		BackoffBase:    job.DefaultBackoffBase,
		BackoffMax:     job.DefaultBackoffMax,
		MaxResultBytes: job.DefaultResultBytes,

		Heartbeat: 500 * time.Millisecond, // six in a lease: five may be lost
		LeaseTTL:  defaultLeaseTTL,
	}
}

// Fields implements Settings.
func (w *Worker) Fields() []Field {
	const day = 24 * time.Hour
	f := w.Common.Fields()
	f = append(f,
		names("queues", "queue", "queue to serve; repeat it for several", &w.Queues),
		name("name", "name of this worker; empty: one is made from the host's name", &w.Name, true),
		number("concurrency", "handlers that run at once", &w.Concurrency, 1, 10_000),
		number("weight", "share of the partitions beside other workers: one of weight 2 gets twice as many as one of weight 1", &w.Weight, 1, job.MaxWeight),
	)
	f = append(f, w.QueueSpec.Fields()...)
	return append(f,
		boolean("builtin", "offer the types echo, sleep and fail", &w.Builtin),
		duration("drain_timeout", "how long a stop waits for running handlers", &w.DrainTimeout, 0, day),
		duration("handler_timeout", "limit of one attempt, where the handler sets none", &w.HandlerTimeout, 10*time.Millisecond, day),
		number("max_attempts", "attempts before a job is dead", &w.MaxAttempts, 1, 1000),
		number("max_crashes", "crashes of its workers before a job that caused them is dead; 0: never", &w.MaxCrashes, 0, 1000),
		duration("backoff_base", "longest wait after the first failed attempt, twice as long after each; how long of it is random, from 0", &w.BackoffBase, time.Millisecond, day),
		duration("backoff_max", "limit of the longest wait", &w.BackoffMax, time.Millisecond, 7*day),
		number("max_result_bytes", "bytes of a handler's result; a larger one makes its job a dead letter", &w.MaxResultBytes, 1<<10, MostResultBytes),
		duration("heartbeat", "how often this worker says that it lives", &w.Heartbeat, 50*time.Millisecond, time.Minute),
		leaseTTL(&w.LeaseTTL),
	)
}

// Finish implements Settings.
func (w *Worker) Finish(l *Review) {
	w.Common.Finish(l)
	l.relate(3*w.Heartbeat <= w.LeaseTTL, "heartbeat", w.Heartbeat, "at most a third of", "lease_ttl", w.LeaseTTL,
		"one late heartbeat must not cost the lease")
	l.relate(w.BackoffBase <= w.BackoffMax, "backoff_base", w.BackoffBase, "at most", "backoff_max", w.BackoffMax,
		"waits begin at the one and end at the other")
	if l.Lax {
		return
	}
	if len(w.Queues) == 0 && l.Good("queues") {
		l.Problem("no queue to serve: give --queue, %sQUEUES or queues in the file", EnvPrefix)
	}
	if len(w.Handlers) == 0 && !w.Builtin && l.Good("handlers", "builtin") {
		l.Problem("no handler: list handlers in a file given with --config, or give --builtin for the types echo, sleep and fail")
	}
}

// Check is Common.Check for a worker.
func (w *Worker) Check() error { return check(w) }

// Handler tells how jobs of one type are run. Exactly one of Exec and HTTP is set.
type Handler struct {
	Type        string
	Concurrency int // attempts at a time, of each queue; 0, or Worker.Concurrency and more: as many as of all
	Exec        *Exec
	HTTP        *HTTP
}

// Exec runs a command for each attempt, without a shell.
type Exec struct {
	Command []string      // program and arguments
	Timeout time.Duration // 0: Worker.HandlerTimeout
}

// HTTP posts each attempt to a server.
type HTTP struct {
	URL     string        // http or https
	Timeout time.Duration // 0: Worker.HandlerTimeout
}

// BuiltinTypes lists the job types that a worker with Builtin offers by itself.
func BuiltinTypes() []string { return []string{"echo", "fail", "sleep"} }

// MostResultBytes is the highest limit of a result that can be set.
const MostResultBytes = 64 << 20

// Timeout is the limit of one attempt at a job of this handler, which is fallback
// where the handler sets none.
func (h Handler) Timeout(fallback time.Duration) time.Duration {
	switch {
	case h.Exec != nil && h.Exec.Timeout > 0:
		return h.Exec.Timeout
	case h.HTTP != nil && h.HTTP.Timeout > 0:
		return h.HTTP.Timeout
	}
	return fallback
}

// LongestTimeout is the longest time that one attempt of any handler may take.
func (w Worker) LongestTimeout() time.Duration {
	longest := w.HandlerTimeout
	for _, h := range w.Handlers {
		longest = max(longest, h.Timeout(w.HandlerTimeout))
	}
	return longest
}
