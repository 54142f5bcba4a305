// Package configs has the settings of the three programs and of the library: their
// types, their defaults, the table of their keys, and the checks that all of them pass,
// wherever they come from. It reads no flag, no environment and no file of settings:
// package configs/load does, which the programs use, and the library does not carry
// about. Files of secrets and certificates are read here.
//
// The directory also has examples of the files: worker.yaml, dispatcher.yaml, redis.conf.
package configs

import (
	"time"

	"ringmaster/job"
)

// Common is what all three programs need to reach a queue.
type Common struct {
	Redis                string         // one URL, or several separated by commas if RedisMode is not "standalone"; may hold a password, see RedactURL
	RedisMode            string         // "standalone", "sentinel" or "cluster"
	RedisPasswordFile    string         // file that holds the password; empty: none
	RedisPassword        Secret         // from RedisPasswordFile or the environment; overrides the URL's
	TLS                  TLSFiles       // for rediss://
	SentinelUsername     string         // at the sentinels themselves
	SentinelPasswordFile string         // file that holds the password of the sentinels; empty: none
	SentinelPassword     Secret         // from SentinelPasswordFile or the environment
	Namespace            string         // first part of every key in Redis
	Durability           job.Durability // what jobs, ends and changes of owner must have reached before they are reported
	Strict               bool           // a server whose settings put jobs at risk is refused
	LogLevel             string         // "debug", "info", "warn" or "error"
	LogFormat            string         // "text" or "json"

	passwordFrom string // file that RedisPassword was read from; "": none
}

// Dispatcher is the configuration of the program dispatcher.
type Dispatcher struct {
	Common
	Listen    string // host:port of the HTTP server; port 0 picks a free one
	Embedded  bool   // start a store in this process's memory
	TokenFile string // file that holds the bearer token; empty: none
	Token     Secret // from TokenFile or the environment
	QueueSpec        // how queues are made that are first named over HTTP

	Mode           string        // default mode of a resize: "key", "partition" or "ring"
	LeaseTTL       time.Duration // how long a worker counts as alive without a heartbeat
	LeaderLease    time.Duration // how long leadership lasts without renewal
	DetectInterval time.Duration // how often the leader looks for lost connections and, at most every 100 ms, for new queues
	ReleaseTimeout time.Duration // how long a worker may ignore a resize before it is evicted
}

// QueueSpec is what a queue gets when it is created at first use.
type QueueSpec struct {
	Partitions int  // 1 to job.MaxPartitions; fixed once the queue exists
	Shards     int  // 1 to Partitions, parts that a cluster may spread; fixed likewise
	Journal    bool // record every completion, so that the queue can be audited
}

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

// Ringctl is the configuration of the program ringctl.
type Ringctl struct {
	Common
	Output string // "table", "json" or "jsonl"
}

// BuiltinTypes lists the job types that a worker with Builtin offers by itself.
func BuiltinTypes() []string { return []string{"echo", "fail", "sleep"} }

// DefaultCommon is a Redis on this machine.
func DefaultCommon() Common {
	return Common{
		Redis:     "redis://127.0.0.1:6379",
		RedisMode: "standalone",
		Namespace: "rm",
		LogLevel:  "info",
		LogFormat: "text",
	}
}

// DefaultDispatcher is what a dispatcher runs with when nothing is said.
func DefaultDispatcher() Dispatcher {
	return Dispatcher{
		Common:    DefaultCommon(),
		Listen:    "127.0.0.1:7070", // loopback: going beyond it takes a token
		QueueSpec: defaultQueue(),
		Mode:      "key", // only keys that are running at the moment wait for a resize

		LeaseTTL:       defaultLeaseTTL,
		LeaderLease:    2 * time.Second,       // four renewals; a stand-by takes over within it
		DetectInterval: 30 * time.Millisecond, // two misses make a suspect: well under a tenth of a second
		ReleaseTimeout: 2 * time.Second,       // below the lease: a deaf worker goes before a dead one would
	}
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

// DefaultRingctl is what ringctl runs with when nothing is said.
func DefaultRingctl() Ringctl {
	return Ringctl{Common: DefaultCommon(), Output: "table"}
}

// MostResultBytes is the highest limit of a result that can be set.
const MostResultBytes = 64 << 20

// defaultLeaseTTL outlasts pauses of a garbage collector or of a busy machine.
const defaultLeaseTTL = 3 * time.Second

func defaultQueue() QueueSpec { return QueueSpec{Partitions: job.DefaultParts, Shards: 1} }

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
