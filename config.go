package ringmaster

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/configs"
	"ringmaster/internal/service"
	"ringmaster/job"
	"ringmaster/streams"
)

// Config says which server has the queues, how it is reached, and what all parties of its rings
// must agree on. NewClient, NewWorker and NewDispatcher take the same. The zero value of a field
// is its default; a mistake is an ErrInvalid that names the field, before anything is connected.
type Config struct {
	// URL is redis://[user:password@]host:port[/db], or rediss:// for TLS; several separated by
	// commas with Mode "sentinel", whose first ends in ?master_name=NAME, or "cluster". Default
	// redis://127.0.0.1:6379.
	//
	// A store in the memory of this process comes from package embedded, and has a URL of its own.
	URL string
	// Redis, in place of URL, Mode, PasswordFile, the Sentinel fields and TLS, is a client that you
	// have: a *redis.Client or a *redis.ClusterClient. Connections are made as it makes its own, with
	// its addresses, Dialer, TLSConfig, credentials and OnConnect; up to 22 are for commands, or three
	// times its PoolSize if that is more. It is not used itself, since it may repeat commands whose
	// answers were lost: its hooks and time-outs are for your own commands alone. Keep it open, and
	// close it last.
	//
	// One of NewFailoverClient will do, but connections to a primary that Sentinel has replaced, and
	// that still answers, are not closed: prefer URL with Mode "sentinel".
	Redis redis.UniversalClient
	// Mode is what is behind the URL: "standalone" (the default), "sentinel" or "cluster".
	Mode string
	// Namespace is the first part of every key in Redis: "rm".
	Namespace string

	// PasswordFile holds the password of Redis. It is read for each new connection, so that it
	// may be replaced. It takes the place of the URL's.
	PasswordFile string
	// SentinelUsername and SentinelPasswordFile are for the sentinels themselves.
	SentinelUsername, SentinelPasswordFile string
	// TLS is for rediss://.
	TLS TLS

	// Durability is what a write must have reached before it is reported as done, and acted upon:
	// "memory" (the default), "fsync", "replicas:N" or "fsync+replicas:N". What has not reached it
	// within WaitTimeout is an ErrUnconfirmed, never a success. A server that cannot confirm it is
	// refused with an ErrInvalid.
	Durability string
	// WaitTimeout is how long a batch of writes waits for that: 1 s, or 3 s where the server's
	// file is synced once a second.
	WaitTimeout time.Duration

	// LeaseTTL is how long a worker counts as alive without a heartbeat, and Heartbeat how often
	// it gives one: 3 s and 500 ms. The lease is the same for all workers and dispatchers of a
	// queue, and at least three heartbeats long.
	LeaseTTL, Heartbeat time.Duration

	// Logger gets what is worth telling. Without one a Worker and a Dispatcher are silent, and so
	// is a Client. A line over which it panics goes to stderr instead, and ends nothing. A Client
	// logs what it waits for, when a job that Wait or Call waits for stands still because no
	// dispatcher leads or no worker lives: after 2 s and then every 30 s.
	Logger *slog.Logger
}

// TLS says whom a connection by rediss:// trusts and what it shows. Empty: the authorities of the
// system, no certificate of its own, the name in the address.
type TLS struct {
	CAFile            string // certificates of authorities, PEM, instead of the system's
	CertFile, KeyFile string // the client's certificate and its key, PEM; read again for each new connection
	ServerName        string // that the server's certificate is to have
}

// common is the configuration as the programs have it, with base's defaults.
func (c Config) common(base configs.Common) (configs.Common, error) {
	if c.Redis != nil {
		if c.URL != "" || c.Mode != "" || c.PasswordFile != "" || c.SentinelUsername != "" || c.SentinelPasswordFile != "" || c.TLS != (TLS{}) {
			return base, job.Invalid("Redis is set, and so is another way to reach it: leave URL, Mode, PasswordFile, the Sentinel fields and TLS empty")
		}
		mode, err := streams.ModeOf(c.Redis)
		if err != nil {
			return base, err
		}
		base.RedisMode = mode
	}
	if scheme, _, _ := strings.Cut(c.URL, ":"); scheme == "embedded" {
		return base, job.Invalid("redis = %q: a store in memory is started with embedded.Start of ringmaster/embedded; its URL() belongs here", c.URL)
	}
	set(&base.Redis, c.URL)
	set(&base.RedisMode, c.Mode)
	set(&base.Namespace, c.Namespace)
	base.RedisPasswordFile = c.PasswordFile
	base.SentinelUsername, base.SentinelPasswordFile = c.SentinelUsername, c.SentinelPasswordFile
	base.TLS = configs.TLSFiles{CA: c.TLS.CAFile, Cert: c.TLS.CertFile, Key: c.TLS.KeyFile, ServerName: c.TLS.ServerName}
	if c.Durability != "" {
		d, err := job.ParseDurability(c.Durability)
		if err != nil {
			return base, fmt.Errorf("durability %q: %w", c.Durability, err)
		}
		d.Wait = base.Durability.Wait
		base.Durability = d
	}
	set(&base.Durability.Wait, c.WaitTimeout)
	return base, nil
}

// options are what a worker and a dispatcher get beside the configuration.
func (c Config) options() service.Options { return service.Options{Log: c.Logger, Redis: c.Redis} }

func (c Config) log() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return service.Guard(c.Logger)
}

func set[T comparable](field *T, v T) {
	var zero T
	if v != zero {
		*field = v
	}
}
