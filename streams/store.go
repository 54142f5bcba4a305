// Package streams is the only package that knows Redis: its keys, its scripts, its
// errors. Everything else speaks of partitions, epochs and jobs.
//
// The idea that carries it: each partition's stream has exactly one consumer group,
// named after its owner's incarnation. A change of owner is a new group (see
// lua/part_flip.lua), so Redis itself refuses a former owner's reads and acks.
package streams

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"ringmaster/internal/failpoint"
	"ringmaster/job"
)

// Options say which server to use. The zero value of a field is its default.
type Options struct {
	// URL is redis://[user:password@]host:port[/db] or rediss://; comma-separated for
	// sentinel and cluster. Default redis://127.0.0.1:6379.
	URL string
	// Addrs, if set, are used instead of URL, with Username, Password, DB, TLS and, in
	// mode sentinel, Master.
	Addrs    []string
	Username string
	DB       int
	TLS      *tls.Config
	Master   string
	// Client, if set, is used instead of all of these, and of Mode and Credentials: connections are
	// made as it makes its own.
	Client redis.UniversalClient
	// Mode is standalone (default), sentinel or cluster.
	Mode string
	// Password overrides the URL's.
	Password string
	// Credentials, if set, gives user and password for each new connection, in place of both.
	Credentials func(ctx context.Context) (user, password string, err error)
	// SentinelUsername and SentinelPassword are for the sentinels themselves.
	SentinelUsername, SentinelPassword string
	// Namespace is the first part of every key. Default "rm".
	Namespace string
	// Timeout is how long a command that does not block is waited for without a sign: as long as
	// bytes of it, or of its reply, are on their way it goes on. Default 3 s.
	Timeout time.Duration
	// ClientName shows in CLIENT LIST.
	ClientName string
	// Durability is what jobs, their ends and changes of owner must have reached before they
	// are reported. Default: the server's memory.
	Durability job.Durability

	dial     dialer         // nil: as usual
	received *atomic.Uint64 // what the connections bring, in bytes; nil: nobody asks
	silences *atomic.Uint64 // see socket
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// Store is a connection to the server. It is safe for concurrent use. No method retries
// by itself what may have been executed.
type Store struct {
	keys    keyspace
	opts    Options
	cmd     redis.UniversalClient // scripts and commands; no retries
	admin   redis.UniversalClient // reads for people; retries are harmless
	vital   redis.UniversalClient // leases: they wait for no connection that carries jobs
	scripts *scripts
	flavor  flavor
	how     confirming

	mu     sync.Mutex
	heart  *heart            // of the members that this process has; nil: none watches
	queues map[string]Queue  // what this process knows; a queue never changes its counts
	met    map[string]string // shards that this process adds to -> the server they were found on
	homes  map[string]string // shards of a cluster -> the address of the server that is known to have all of each: see home.go
}

// Open prepares the clients. It does not talk to the server: see Ping.
func Open(o Options) (*Store, error) {
	if o.URL == "" {
		o.URL = "redis://127.0.0.1:6379"
	}
	if o.Namespace == "" {
		o.Namespace = DefaultNamespace
	}
	if o.Timeout == 0 {
		o.Timeout = 3 * time.Second
	}
	if !o.Durability.Memory() {
		o.Timeout = max(o.Timeout, max(o.Durability.Wait, longestWait(o.Durability))+2*time.Second)
	}
	var err error
	if o.Client != nil {
		if o.Mode, err = ModeOf(o.Client); err != nil {
			return nil, err
		}
	}
	sc, err := loadScripts()
	if err != nil {
		return nil, err
	}
	o.dial, o.silences = failpoint.Dialer(sc.sent()), new(atomic.Uint64)
	uo, err := universal(o)
	if err != nil {
		return nil, err
	}
	s := &Store{keys: keyspace{o.Namespace}, opts: o, scripts: sc, queues: map[string]Queue{}, met: map[string]string{}, homes: map[string]string{}}
	cmd, least := *uo, ownPool(o.Client)
	cmd.PoolSize = max(cmd.PoolSize, least)
	cmd.OnConnect = s.greeted(uo.OnConnect)
	s.cmd = newClient(o.Mode, cmd)
	adm := *uo
	adm.MaxRetries, adm.MaxRedirects = 2, 8 // while a server leaves a cluster the others disagree
	adm.PoolSize = max(4, least)
	s.admin = newClient(o.Mode, adm)
	vital := *uo
	vital.PoolSize = max(2, least)
	s.vital = newClient(o.Mode, vital)
	return s, nil
}

// Close ends all connections; calls in progress fail.
func (s *Store) Close() error { return errors.Join(s.cmd.Close(), s.admin.Close(), s.vital.Close()) }

// Ping asks the server for a sign of life and finds out what it is.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.cmd.Ping(ctx).Err(); err != nil {
		return wrap("ping", err)
	}
	return wrap("ping", s.detect(ctx))
}

// Embedded reports whether the server is the in-memory store. Known after Ping.
func (s *Store) Embedded() bool { return s.flavor.v.Load() == flavorMini }

// Address is where the server is, without secrets.
func (s *Store) Address() string {
	if c, ok := s.cmd.(*redis.ClusterClient); ok && s.opts.Client != nil {
		return strings.Join(c.Options().Addrs, ",")
	}
	if c, ok := s.opts.Client.(*redis.Client); ok {
		return c.Options().Addr
	}
	if len(s.opts.Addrs) > 0 {
		return strings.Join(s.opts.Addrs, ",")
	}
	return Redact(s.opts.URL)
}

// Redact removes the password from a server URL.
func Redact(raw string) string {
	parts := strings.Split(raw, ",")
	for i, p := range parts {
		u, err := url.Parse(p)
		if err != nil {
			parts[i] = "(unreadable URL)"
			continue
		}
		if u.User != nil {
			u.User = url.User(u.User.Username())
		}
		u.RawQuery = ""
		parts[i] = u.String()
	}
	return strings.Join(parts, ",")
}

func universal(o Options) (*redis.UniversalOptions, error) {
	uo, err := located(o)
	if err == nil {
		patiently(uo, o)
	}
	return uo, err
}

func located(o Options) (*redis.UniversalOptions, error) {
	uo := &redis.UniversalOptions{
		MaxRetries: -1, DialerRetries: 1, Protocol: 2, ClientName: o.ClientName, DisableIdentity: true,
		DialTimeout: o.Timeout, ReadTimeout: o.Timeout, WriteTimeout: o.Timeout, PoolTimeout: o.Timeout + time.Second,
		MaxRedirects:          3, // of commands on one key; scripts follow nothing: nodes.go
		ContextTimeoutEnabled: true, PoolSize: 16, PipelinePoolSize: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if o.Client != nil {
		likeOwn(uo, o.Client)
		return uo, nil
	}
	if len(o.Addrs) > 0 {
		uo.Addrs, uo.Username, uo.DB, uo.TLSConfig, uo.MasterName = o.Addrs, o.Username, o.DB, o.TLS, o.Master
		uo.IsClusterMode = o.Mode == "cluster"
		uo.Password = o.Password
		uo.SentinelUsername, uo.SentinelPassword = o.SentinelUsername, o.SentinelPassword
		uo.CredentialsProviderContext = notDialled(o.Credentials)
		return uo, nil
	}
	for i, part := range strings.Split(o.URL, ",") {
		po, err := redis.ParseURL(strings.TrimSpace(part))
		if err != nil {
			return nil, job.Invalid("redis URL %s: want redis://[user:password@]host:port[/db]", Redact(part))
		}
		uo.Addrs = append(uo.Addrs, po.Addr)
		if i == 0 {
			uo.Username, uo.Password, uo.DB = po.Username, po.Password, po.DB
			if po.TLSConfig != nil {
				uo.TLSConfig = po.TLSConfig
				uo.TLSConfig.MinVersion = tls.VersionTLS12
			}
		}
	}
	if o.Password != "" {
		uo.Password = o.Password
	}
	switch o.Mode {
	case "", "standalone":
		if len(uo.Addrs) > 1 {
			return nil, job.Invalid("several redis addresses: say --redis-mode cluster or sentinel")
		}
	case "cluster":
		uo.DB, uo.IsClusterMode = 0, true
	case "sentinel":
		return nil, job.Invalid("mode sentinel needs the addresses and the master's name, not a URL")
	default:
		return nil, job.Invalid("redis mode %q: want standalone, sentinel or cluster", o.Mode)
	}
	return uo, nil
}

// Queue is what is fixed about a queue when it is created.
type Queue struct {
	Name       string    `json:"queue"`
	Partitions int       `json:"partitions"`
	Shards     int       `json:"shards"`
	Journal    bool      `json:"journal,omitempty"`
	Created    time.Time `json:"created"`
}

// Validate returns an ErrInvalid that names the first thing wrong.
func (q Queue) Validate() error {
	if err := job.CheckName("queue", q.Name); err != nil {
		return err
	}
	if q.Partitions < 1 || q.Partitions > job.MaxPartitions {
		return job.Invalid("partitions: %d is not between 1 and %d", q.Partitions, job.MaxPartitions)
	}
	if q.Shards < 1 || q.Shards > q.Partitions {
		return job.Invalid("shards: %d is not between 1 and the number of partitions, %d", q.Shards, q.Partitions)
	}
	return nil
}

// CreateQueue makes the queue, or finds it. want's zero counts mean the defaults (64
// partitions, 1 shard), or whatever the queue has. Another explicit count than the
// queue has is an ErrConflict. It may be called again at any time: it mends records
// that were lost.
func (s *Store) CreateQueue(ctx context.Context, want Queue) (Queue, error) {
	q := want
	if q.Partitions == 0 {
		q.Partitions = job.DefaultParts
	}
	if q.Shards == 0 {
		q.Shards = 1
	}
	if err := q.Validate(); err != nil {
		return Queue{}, err
	}
	if q.Created.IsZero() {
		q.Created = s.now(ctx).Truncate(time.Second) // ids are of the server's clock
	}
	raw, err := json.Marshal(q)
	if err != nil {
		return Queue{}, fmt.Errorf("encode queue %s: %w", q.Name, err)
	}
	err = wrap("create queue", s.cmd.HSetNX(ctx, s.keys.queues(), q.Name, raw).Err())
	// With a full memory nothing is made, and what is there goes on.
	full := errors.Is(err, job.ErrFull)
	if err != nil && !full {
		return Queue{}, err
	}
	have, missing := s.LookupQueue(ctx, q.Name)
	if missing != nil {
		return Queue{}, cmp.Or(err, missing)
	}
	if (want.Partitions != 0 && want.Partitions != have.Partitions) || (want.Shards != 0 && want.Shards != have.Shards) {
		return have, job.Conflict("queue %s has %d partitions in %d shard(s): the counts of a queue cannot be changed", q.Name, have.Partitions, have.Shards)
	}
	if want.Journal && !have.Journal {
		return have, job.Conflict("queue %s exists without a journal: a journal is chosen when a queue is created", q.Name)
	}
	if err := s.whole(ctx, have); err != nil {
		return Queue{}, err
	}
	if err = s.createRecords(ctx, have); full && errors.Is(err, job.ErrFull) {
		err = nil // a dispatcher makes them again, should any be missing
	}
	return have, err
}

func (s *Store) createRecords(ctx context.Context, q Queue) error {
	const page = 256
	for sh := range q.Shards {
		node, err := s.node(ctx, s.shard(q, sh))
		if err != nil {
			return notSent("create queue", err)
		}
		server, err := s.serverID(ctx, node)
		if err != nil {
			return err
		}
		for first := sh; first < q.Partitions; first += page * q.Shards {
			last := min(first+(page-1)*q.Shards, q.Partitions-1)
			_, err := run(ctx, s, s.cmd, &s.scripts.create, s.shard(q, sh), first, last, q.Shards, q.Partitions, server)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// LookupQueue reads a queue's counts from the server; ErrNotFound if there is none.
func (s *Store) LookupQueue(ctx context.Context, name string) (Queue, error) {
	raw, err := s.cmd.HGet(ctx, s.keys.queues(), name).Result()
	if errors.Is(err, redis.Nil) {
		return Queue{}, job.NotFound("no queue %q: create it with 'ringctl queue create %s', or submit a job to it", name, name)
	}
	if err != nil {
		return Queue{}, wrap("look up queue", err)
	}
	return s.remember(name, raw)
}

func (s *Store) remember(name, raw string) (Queue, error) {
	var q Queue
	if err := json.Unmarshal([]byte(raw), &q); err != nil {
		return Queue{}, fmt.Errorf("queue %s: its record in %s is not readable: %w", name, s.keys.queues(), err)
	}
	q.Name = name
	if err := q.Validate(); err != nil {
		return Queue{}, fmt.Errorf("queue %s: its record in %s: %w", name, s.keys.queues(), err)
	}
	s.mu.Lock()
	s.queues[name] = q
	s.mu.Unlock()
	return q, nil
}

// Queues lists all queues the server has, by name. Unreadable records are left out and
// returned as the second result.
func (s *Store) Queues(ctx context.Context) ([]Queue, []error, error) {
	all, err := s.cmd.HGetAll(ctx, s.keys.queues()).Result()
	if err != nil {
		return nil, nil, wrap("list queues", err)
	}
	var out []Queue
	var bad []error
	for name, raw := range all {
		q, err := s.remember(name, raw)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		out = append(out, q)
	}
	sortQueues(out)
	return out, bad, nil
}

// queue answers from memory if it can.
func (s *Store) queue(ctx context.Context, name string) (Queue, error) {
	s.mu.Lock()
	q, ok := s.queues[name]
	s.mu.Unlock()
	if ok {
		return q, nil
	}
	return s.LookupQueue(ctx, name)
}

func (s *Store) forget(name string) {
	s.mu.Lock()
	delete(s.queues, name)
	s.mu.Unlock()
}

func (s *Store) shard(q Queue, sh int) string { return s.keys.shard(q.Name, q.Shards, sh) }

func (s *Store) shardOf(q Queue, partition int) string { return s.shard(q, partition%q.Shards) }
