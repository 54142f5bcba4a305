// Package configs has the settings of the three programs and of the library: their
// types, their defaults, the table of their keys, and the checks that all of them pass,
// wherever they come from. It reads no flag, no environment and no file of settings:
// package configs/load does, which the programs use, and the library does not carry
// about. Files of secrets and certificates are read here.
//
// The directory also has examples of the files: worker.yaml, dispatcher.yaml, redis.conf.
package configs

import (
	"fmt"
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

// QueueSpec is what a queue gets when it is created at first use.
type QueueSpec struct {
	Partitions int  // 1 to job.MaxPartitions; fixed once the queue exists
	Shards     int  // 1 to Partitions, parts that a cluster may spread; fixed likewise
	Journal    bool // record every completion, so that the queue can be audited
}

// Ringctl is the configuration of the program ringctl.
type Ringctl struct {
	Common
	Output string // "table", "json" or "jsonl"
}

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

// DefaultRingctl is what ringctl runs with when nothing is said.
func DefaultRingctl() Ringctl {
	return Ringctl{Common: DefaultCommon(), Output: "table"}
}

// defaultLeaseTTL outlasts pauses of a garbage collector or of a busy machine.
const defaultLeaseTTL = 3 * time.Second

func defaultQueue() QueueSpec { return QueueSpec{Partitions: job.DefaultParts, Shards: 1} }

// Fields implements Settings.
func (c *Common) Fields() []Field {
	redis := text("redis", "address of Redis, redis:// or rediss://; several separated by commas with --redis-mode cluster or sentinel", &c.Redis, nil)
	redis.Hide = RedactURL
	return []Field{
		redis,
		choice("redis_mode", "what is behind the address", &c.RedisMode, "standalone", "sentinel", "cluster"),
		text("redis_password_file", "file that holds the password of Redis; read again for each new connection", &c.RedisPasswordFile, nil),
		secretText("redis_password", &c.RedisPassword),
		text("redis_ca_file", "file with the authorities that rediss:// trusts, instead of the system's", &c.TLS.CA, nil),
		text("redis_cert_file", "file with the certificate that is shown to Redis; read again for each new connection", &c.TLS.Cert, nil),
		text("redis_key_file", "file with the key of that certificate", &c.TLS.Key, nil),
		text("redis_server_name", "name that the certificate of Redis is to have, where it is not that of the address", &c.TLS.ServerName, nil),
		text("sentinel_username", "user at the sentinels themselves", &c.SentinelUsername, nil),
		text("sentinel_password_file", "file that holds the password of the sentinels themselves", &c.SentinelPasswordFile, nil),
		secretText("sentinel_password", &c.SentinelPassword),
		name("namespace", "first part of every key in Redis", &c.Namespace, false),
		durability("durability", "what a write must have reached before it is reported as done", &c.Durability),
		waitTimeout(&c.Durability.Wait),
		boolean("strict", "refuse a server whose settings put jobs at risk, instead of a warning", &c.Strict),
		choice("log_level", "least level that is logged", &c.LogLevel, "debug", "info", "warn", "error"),
		choice("log_format", "form of the log on stderr", &c.LogFormat, "text", "json"),
	}
}

func durability(key, help string, p *job.Durability) Field {
	return Field{Key: key, Kind: "string", Help: help + ": memory|fsync|replicas:N|fsync+replicas:N", Show: func() string { return p.String() },
		Set: func(given []string) error {
			d, err := job.ParseDurability(given[0])
			if err == nil {
				p.Fsync, p.Replicas = d.Fsync, d.Replicas
			}
			return err
		}}
}

// waitTimeout takes 0 as well: as long as the server's settings make it take.
func waitTimeout(p *time.Duration) Field {
	f := duration("wait_timeout", "how long a batch of writes may wait for its durability, then its outcome is unknown; 0: 1s, or 3s where the server's file is synced once a second", p, 10*time.Millisecond, time.Minute)
	within := f.Set
	f.Set = func(given []string) error {
		if given[0] == "0" || given[0] == "0s" {
			*p = 0
			return nil
		}
		return within(given)
	}
	return f
}

// Fields lists the keys of a queue, which are among those of a dispatcher and of a worker.
func (q *QueueSpec) Fields() []Field {
	return []Field{
		number("partitions", "partitions of a queue that does not exist yet", &q.Partitions, 1, job.MaxPartitions),
		number("shards", "shards of a queue that does not exist yet, which a Redis Cluster may hold on different servers", &q.Shards, 1, job.MaxPartitions),
		boolean("journal", "keep a journal in a queue that does not exist yet, so that it can be audited", &q.Journal),
	}
}

func leaseTTL(p *time.Duration) Field {
	return duration("lease_ttl", "how long a worker counts as alive without a heartbeat; the same for all workers and dispatchers", p, 300*time.Millisecond, 5*time.Minute)
}

// Fields implements Settings.
func (r *Ringctl) Fields() []Field {
	output := choice("output", "form of the output", &r.Output, "table", "json", "jsonl")
	output.Short = "o"
	return append(r.Common.Fields(), output)
}

// Finish implements Settings.
func (c *Common) Finish(l *Review) {
	if l.secret("redis_password", &c.RedisPassword, "redis_password_file", c.RedisPasswordFile) {
		c.passwordFrom = c.RedisPasswordFile
	}
	c.finishTLS(l)
	if l.Good("redis", "redis_mode") {
		e, err := parseRedis(c.Redis, c.RedisMode)
		if err != nil {
			l.badValue("redis", RedactURL(c.Redis), err)
		} else if e.Username != "" && e.Password == "" && c.RedisPassword == "" && l.Good("redis_password", "redis_password_file") {
			l.badValue("redis", RedactURL(c.Redis), fmt.Errorf("a user without a password: write user:password@ or :password@ before the host, or give redis_password_file"))
		} else if e.Password != "" && l.Sources["redis"].Kind == FromFlag {
			l.Warn("--redis holds a password, which every user of this machine can see in the list of processes: use --redis-password-file")
		}
	}
}

// Finish implements Settings.
func (r *Ringctl) Finish(l *Review) { r.Common.Finish(l) }
