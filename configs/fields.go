package configs

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"ringmaster/job"
)

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
func (d *Dispatcher) Fields() []Field {
	f := d.Common.Fields()
	f = append(f,
		text("listen", "address of the HTTP server; port 0 picks a free one", &d.Listen, checkListen),
		boolean("embedded", "start a store in memory; jobs are lost when it exits", &d.Embedded),
		text("token_file", "file that holds the bearer token; needed beyond loopback", &d.TokenFile, nil),
		secretText("token", &d.Token),
	)
	f = append(f, d.QueueSpec.Fields()...)
	return append(f,
		choice("mode", "what waits during a resize", &d.Mode, "key", "partition", "ring"),
		leaseTTL(&d.LeaseTTL),
		duration("leader_lease", "how long leadership lasts without renewal", &d.LeaderLease, 500*time.Millisecond, 5*time.Minute),
		duration("detect_interval", "how often the leader looks for lost connections and, at most every 100ms, for new queues", &d.DetectInterval, 5*time.Millisecond, 10*time.Second),
		duration("release_timeout", "how long a worker may ignore a resize before it is evicted", &d.ReleaseTimeout, 100*time.Millisecond, 5*time.Minute),
	)
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
func (d *Dispatcher) Finish(l *Review) {
	d.Common.Finish(l)
	l.secret("token", &d.Token, "token_file", d.TokenFile)
	if l.Good("token", "token_file") && d.Token != "" {
		switch {
		case !headerSafe(string(d.Token)):
			l.Problem("token (%s): want visible ASCII characters without spaces", l.Sources["token"])
		case len(d.Token) < 16:
			l.Warn("the token has fewer than 16 characters and can be guessed")
		}
	}
	if l.Good("listen", "token", "token_file") && !loopback(d.Listen) && d.Token == "" {
		l.needToken(d.Listen)
	}
	l.relate(3*d.DetectInterval <= d.LeaseTTL, "detect_interval", d.DetectInterval, "at most a third of", "lease_ttl", d.LeaseTTL,
		"a lost connection is to be seen before the lease ends")
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

// Finish implements Settings.
func (r *Ringctl) Finish(l *Review) { r.Common.Finish(l) }

func checkListen(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("want host:port, such as 127.0.0.1:7070 or [::1]:7070")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("want a port from 0 to 65535 after the last colon")
	}
	for _, r := range host {
		if r <= ' ' || r == '/' || r == '@' {
			return fmt.Errorf("want host:port without a scheme, a user or a path")
		}
	}
	return nil
}

// loopback reports whether only this machine can reach the address.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
