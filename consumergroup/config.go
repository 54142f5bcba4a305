package consumergroup

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"ringmaster/consumergroup/driver"
	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
)

// Handler runs one attempt at a job. Its context ends with the handler timeout, or
// earlier when the worker loses the job (context.Cause tells why: job.ErrLost,
// job.ErrMoved, job.ErrStopping, job.ErrTimeout). The result is kept for a day if it is
// not null; one that is larger than Config.MaxResult, or no JSON, makes its job a dead letter,
// since another attempt would only have its effects once more. A job may be started more than once; Delivery.Fence lets other systems
// refuse an old run.
type Handler func(ctx context.Context, d job.Delivery) (json.RawMessage, error)

// Config are the worker's settings. Default gives all but the names.
type Config struct {
	Queue string
	Name  string // stable over restarts: the slot; incarnations are Name + "." + a unique part
	Host  string
	PID   int

	Concurrency    int           // handlers at a time; 16
	Weight         int           // shares of the partitions, 1 to job.MaxWeight; 1
	Elsewhere      int           // handlers at a time of other queues in this process, which dies as a whole; 0
	Window         int           // entries held of one partition at most; 256
	ReadBudget     int           // entries one read may bring at most; of all partitions so many are held, or 32 of each; 1024
	MostBudget     int           // the same where jobs end fast: some 50 ms of its work are held; 8192
	ReadBytes      int           // bytes that one answer may bring, as far as can be told before; 4 MiB
	HeldBytes      int           // payload bytes held before reading pauses, and bytes of unanswered ends before no job starts; 64 MiB
	MaxResult      int           // bytes of a handler's result; 1 MiB
	ParkBeyond     int           // jobs of a key that may wait in a full window, or behind a blocked key, before the rest is parked; 16
	Backoff        int           // jobs of each shard that may wait for their next attempt, or for others of their type, beside the window's, 1,024 of each partition at most; 16,384
	IdleLanes      int           // queues of keys that are kept while they are empty, of each shard; 16,384
	HandlerTimeout time.Duration // 30 s
	DrainTimeout   time.Duration // how long running jobs may finish after a move or a stop; 30 s
	Grace          time.Duration // their contexts end this long before; a sixth of DrainTimeout
	Heartbeat      time.Duration // 500 ms
	LeaseTTL       time.Duration // 3 s
	Block          time.Duration // how long a read waits; 1 s, and half as long again at rest, but no longer than half a lease
}

// Default is a Config with every number set.
func Default() Config {
	return Config{
		Concurrency: 16, Weight: job.DefaultWeight, Window: 256, ReadBudget: 1024, MostBudget: 8192, ReadBytes: 4 << 20, HeldBytes: 64 << 20, ParkBeyond: 16, Backoff: 16 << 10, IdleLanes: 16 << 10,
		MaxResult: job.DefaultResultBytes, HandlerTimeout: job.DefaultHandlerTimeout, DrainTimeout: 30 * time.Second,
		Heartbeat: 500 * time.Millisecond, LeaseTTL: 3 * time.Second, Block: time.Second,
	}
}

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	var errs []error
	if err := job.CheckName("queue", c.Queue); err != nil {
		errs = append(errs, err)
	}
	if err := job.CheckName("worker name", c.Name); err != nil {
		errs = append(errs, err)
	}
	positive := func(what string, n int64) {
		if n <= 0 {
			errs = append(errs, job.Invalid("%s must be positive", what))
		}
	}
	positive("concurrency", int64(c.Concurrency))
	if c.Weight < 1 || c.Weight > job.MaxWeight {
		errs = append(errs, job.Invalid("weight must be from 1 to %d", job.MaxWeight))
	}
	positive("window", int64(c.Window))
	positive("read budget", int64(c.ReadBudget))
	positive("read bytes", int64(c.ReadBytes))
	positive("held bytes", int64(c.HeldBytes))
	positive("result limit", int64(c.MaxResult))
	positive("park limit", int64(c.ParkBeyond))
	positive("backoff limit", int64(c.Backoff))
	positive("idle lanes", int64(c.IdleLanes))
	positive("handler timeout", int64(c.HandlerTimeout))
	positive("drain timeout", int64(c.DrainTimeout))
	positive("heartbeat", int64(c.Heartbeat))
	positive("block time", int64(c.Block))
	if c.LeaseTTL < 3*c.Heartbeat {
		errs = append(errs, job.Invalid("lease of %v: must be at least three heartbeats of %v", c.LeaseTTL, c.Heartbeat))
	}
	return errors.Join(errs...)
}

// Prefetch is the most jobs that a worker holds of so many partitions without running them.
func (c Config) Prefetch(partitions int) int { return c.limits().Prefetch(partitions) }

func (c Config) limits() lanes.Limits {
	return lanes.Limits{Window: c.Window, ReadBudget: c.ReadBudget, MostBudget: c.MostBudget, ReadBytes: c.ReadBytes, HeldBytes: c.HeldBytes,
		ParkBeyond: c.ParkBeyond, Backoff: c.Backoff, IdleLanes: c.IdleLanes}
}

func (c Config) grace() time.Duration {
	if c.Grace > 0 {
		return c.Grace
	}
	return c.DrainTimeout / 6
}

// margin is how long before the store could end the lease the worker stops by itself:
// clock rates may differ by margin/TTL.
func (c Config) margin() time.Duration {
	return max(c.LeaseTTL/8, min(200*time.Millisecond, c.LeaseTTL/4))
}

// Policy decides about jobs with a history.
type Policy interface {
	// Before reads a retry record when the job is about to be held. now, and the times it answers,
	// are of the store's clock, as those in the record are.
	Before(record string, now time.Time) lanes.Prior
	// Guilty weighs the deaths of workers in which a job ran, by its record, against all deaths
	// that are known, and tells what they say.
	Guilty(record string, deaths []time.Time) (bool, string)
	// After decides what a failed attempt leads to.
	After(f Failure) Decision
}

// Failure is an attempt that did not complete.
type Failure struct {
	Type     string // of the job
	Record   string
	Attempt  int
	Err      error
	Ended    error // cause of the context's end, nil if it had not ended
	Panicked bool
}

// Decision is what becomes of the job.
type Decision struct {
	Outcome  job.Outcome   // Failed, Buried or HandBack
	Record   string        // Failed: the new retry record
	Delay    time.Duration // Failed: before the next attempt
	Attempts int           // counted with this one
	Error    string
}

// Reader is the connection on which one incarnation reads one shard. See streams.Reader.
type Reader interface {
	driver.Reader
	Received() uint64
	// Clock is what the store's clock said at a moment of this machine's, as of the last answer that
	// told it; zero times before. Safe for concurrent use.
	Clock() (store, at time.Time)
	Close() error
}

// Member is one incarnation's membership. See streams.Member. Safe for concurrent use.
type Member interface {
	driver.Member
	// Watch calls lost, from other goroutines, when the server may have missed this worker.
	Watch(ctx context.Context, lost func()) (stop func(), err error)
	Join(ctx context.Context) ([]job.Joined, error)
	Heartbeat(ctx context.Context) ([]job.Beat, error)
	// Renew is Heartbeat for a member at rest; no two at a time.
	Renew(ctx context.Context) ([]job.Beat, error)
	Leaving(ctx context.Context) error
	Left(ctx context.Context) error
	Poke(ctx context.Context, shard int) error
	Mark(ctx context.Context, t job.Tenure, id job.EntryID, runs int, apart time.Duration) error
	Deaths(ctx context.Context, partition int) ([]time.Time, error)
	Stand(ctx context.Context) (job.Stand, error)
}

// Store makes what an incarnation needs, once Prepare has succeeded.
type Store interface {
	// Prepare makes sure that the queue exists and tells its number of shards. It is
	// called before every join: whatever was lost at the server is made again.
	Prepare(ctx context.Context) (shards int, err error)
	Member(info job.MemberInfo, ttl time.Duration) Member
	Reader(shard int, incarnation string) Reader
}

// Deps are what a worker is built from. All are required but Ready.
type Deps struct {
	Store    Store
	Policy   Policy
	Handlers map[string]Handler
	Limits   map[string]time.Duration // of one attempt, of types that have their own, at most Config.HandlerTimeout
	// Concurrency is how many handlers of a type run at a time, at least 1, of types that have a limit
	// of their own. One of Config.Concurrency or more changes nothing.
	Concurrency map[string]int
	Log         *slog.Logger
	NewID       func() string            // unique part of an incarnation
	Ready       func(incarnation string) // called after each join
	Owns        func()                   // nil, or called when the worker owns what it should, after each join
	Ended       func(Ended)              // nil, or called when an attempt has ended, before its key goes on
}

// Ended is how an attempt ended.
type Ended struct {
	Job     job.Delivery
	Outcome job.Outcome // Done, Failed, Buried or HandBack
	Err     error       // nil if it is done
	Took    time.Duration
}
