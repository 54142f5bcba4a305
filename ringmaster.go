// Package ringmaster runs jobs in order per key, on Redis, with workers that may come
// and go at any time.
//
// A Client hands jobs in. A Worker runs them: every partition of a queue has one owner
// among the live workers, and within a partition the jobs of one key run one after the
// other. A dispatcher process (cmd/dispatcher, or Dispatch in a program of your own)
// assigns partitions when workers join, leave or die.
//
// A job that was handed in runs at least once and completes at most once. A handler may
// start more than once; Job.Fence lets other systems refuse an old run. docs/guarantees.md
// says what exactly is promised, and which test proves it.
//
// The connections are go-redis's, which writes lines of its own to one logger for the whole process,
// by default to stderr. Each Client as it is made, and each Worker and Dispatch as it begins, has it write to
// the logger that it was given, at level debug, or nowhere if it was given none; the last one decides. The lines
// tell nothing that does not come as an error too. A program with go-redis clients of its own that
// wants their lines calls redis.SetLogger after that.
package ringmaster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"ringmaster/configs"
	"ringmaster/internal/app"
	"ringmaster/internal/embedded"
	"ringmaster/job"
	"ringmaster/streams"
)

// Errors to test for with errors.Is; package job explains each.
var (
	ErrInvalid        = job.ErrInvalid
	ErrNotFound       = job.ErrNotFound
	ErrUnknownJob     = job.ErrUnknownJob
	ErrConflict       = job.ErrConflict
	ErrUnavailable    = job.ErrUnavailable
	ErrNotPermitted   = job.ErrNotPermitted
	ErrOutcomeUnknown = job.ErrOutcomeUnknown
	ErrUnconfirmed    = job.ErrUnconfirmed
	// ErrDead: the job went to the dead letters.
	ErrDead = errors.New("job is dead")
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

// Client hands jobs in and asks about them. Safe for concurrent use.
type Client struct {
	store     *streams.Store
	log       *slog.Logger
	url       string
	stop      func() // of the embedded store
	producers *app.Producers
}

// NewClient prepares a client of the server at url (redis://host:port); it does not
// connect yet. The url "embedded" starts a store in this process's memory, at
// 127.0.0.1:6390, which ends with Close and takes all jobs with it;
// "embedded://127.0.0.1:0" starts it on a free port, which URL tells.
func NewClient(url string, opts ...ClientOption) (*Client, error) {
	cfg := clientSettings{Common: configs.DefaultCommon(), log: slog.New(slog.DiscardHandler)}
	if err := cfg.apply("client", opts); err != nil {
		return nil, err
	}
	app.GoRedisTo(cfg.log)
	c := &Client{stop: func() {}}
	if addr, ok := embeddedAddr(url); ok {
		e, err := embedded.Start(addr)
		if err != nil {
			return nil, err
		}
		c.stop, url = e.Close, e.URL()
	}
	set(&cfg.Redis, url)
	s, err := app.Open(cfg.Common, "ringmaster-client")
	if err != nil {
		c.stop()
		return nil, err
	}
	c.log, c.url, c.store, c.producers = cfg.log, streams.Redact(cfg.Redis), s, app.NewProducers(s, configs.QueueSpec{})
	return c, nil
}

// ClientOption changes a client, or what Dispatch does.
type ClientOption func(*clientSettings) error

type clientSettings struct {
	configs.Common
	log *slog.Logger
}

func (c *clientSettings) apply(whose string, opts []ClientOption) error {
	for _, o := range opts {
		if err := o(c); err != nil {
			return err
		}
	}
	if err := c.Check(); err != nil {
		return fmt.Errorf("%s: %w", whose, err)
	}
	return nil
}

// Logger has the client log what it waits for, when a job that Wait or Call waits for stands still
// because no dispatcher leads or no worker lives: after 2 s and then every 30 s. Without it the
// client is silent, and the error at the end of the context says it. For go-redis's lines see the
// package's documentation.
func Logger(log *slog.Logger) ClientOption {
	return func(c *clientSettings) error {
		if log == nil {
			return job.Invalid("Logger: it is nil")
		}
		c.log = app.Guard(log)
		return nil
	}
}

// Durable says what a job must have reached before Submit reports it as handed in: "memory"
// (the default), "fsync", "replicas:N" or "fsync+replicas:N". What has not reached it within
// wait (0: 1 s, or 3 s where the server's file is synced once a second) is an
// ErrUnconfirmed, never a success. A server that cannot confirm it is
// refused with an ErrInvalid at the first submission.
func Durable(level string, wait time.Duration) ClientOption {
	return func(c *clientSettings) error { return durable(&c.Common, level, wait) }
}

func durable(c *configs.Common, level string, wait time.Duration) error {
	d, err := job.ParseDurability(level)
	if err != nil {
		return fmt.Errorf("durability %q: %w", level, err)
	}
	d.Wait = c.Durability.Wait
	set(&d.Wait, wait)
	c.Durability = d
	return nil
}

// Mode says what is behind the URL: "standalone" (the default), "sentinel" or "cluster".
// The URL is then a list with commas; of sentinels the first ends in ?master_name=NAME.
func Mode(mode string) ClientOption {
	return func(c *clientSettings) error { c.RedisMode = mode; return nil }
}

// embeddedAddr is where the store in memory is to listen, if url asks for one.
func embeddedAddr(url string) (addr string, ok bool) {
	if url == "embedded" {
		return app.EmbeddedAddr, true
	}
	return strings.CutPrefix(url, "embedded://")
}

// URL is the server's address, without a password: what a Worker's URL and Dispatch take
// where the server asks for none.
func (c *Client) URL() string { return c.url }

// Close sends what was handed in and ends the connections.
func (c *Client) Close() error {
	c.producers.Close()
	err := c.store.Close()
	c.stop()
	return err
}

// Option changes one submission.
type Option func(*job.Job)

// Key puts the job behind all earlier ones of the same key.
func Key(key string) Option { return func(j *job.Job) { j.Key = key } }

// Once makes a repeat under the same key answer with the first one's id, for a day.
func Once(idempotencyKey string) Option {
	return func(j *job.Job) { j.IdempotencyKey = idempotencyKey }
}

// Submit hands a job in and waits until the server has it. The queue is created at
// first use, with 64 partitions. After ErrOutcomeUnknown the job may be there; repeat
// it only if it was submitted with Once. A panic of the payload's MarshalJSON is the
// caller's; nothing was handed in then.
func (c *Client) Submit(ctx context.Context, queue, jobType string, payload any, opts ...Option) (Receipt, error) {
	raw, err := json.Marshal(payload)
	if err != nil {
		return Receipt{}, fmt.Errorf("encode payload: %w", err)
	}
	j := job.Job{Type: jobType, Payload: raw}
	for _, o := range opts {
		o(&j)
	}
	receipts, errs := c.SubmitAll(ctx, queue, j)
	if errs != nil {
		return Receipt{}, errs[0]
	}
	return receipts[0], nil
}

// SubmitAll hands many jobs in, which keep their order per key. The errors are parallel
// to the jobs; nil: all are in.
func (c *Client) SubmitAll(ctx context.Context, queue string, jobs ...job.Job) ([]Receipt, []error) {
	return c.producers.Enqueue(ctx, queue, jobs)
}

// Status asks about a job.
func (c *Client) Status(ctx context.Context, queue, id string) (Status, error) {
	return c.store.Job(ctx, queue, id)
}

// Wait waits until the job is completed or dead, or ctx ends; then it answers with the last state
// it saw, which always has the id, and the context's error. See Logger for what it says meanwhile.
func (c *Client) Wait(ctx context.Context, queue, id string) (Status, error) {
	return app.Await(ctx, c.store, queue, id, c.waits(queue))
}

func (c *Client) waits(queue string) func(id, why string) {
	return func(id, why string) { c.log.Warn("job waits", "queue", queue, "job_id", id, "why", why) }
}

// Call submits a job and waits for its result, which is decoded into result unless that
// is nil. It gets the one answer whatever is killed meanwhile: while the server does not
// answer it repeats the submission under the same idempotency key (that of Once, or one
// of its own), and goes on asking. It ends with ctx, at the latest after an hour, as Wait does,
// with the id if the job was handed in. ErrDead if the job will not complete. Panics of the
// payload's MarshalJSON and of the result's
// UnmarshalJSON are the caller's.
func (c *Client) Call(ctx context.Context, queue, jobType string, payload, result any, opts ...Option) (Status, error) {
	raw, err := json.Marshal(payload)
	if err != nil {
		return Status{}, fmt.Errorf("encode payload: %w", err)
	}
	j := job.Job{Type: jobType, Payload: raw}
	for _, o := range opts {
		o(&j)
	}
	st, err := app.Call(ctx, c.store, queue, j, c.waits(queue))
	if err != nil {
		return st, err
	}
	if st.State == job.Dead {
		return st, fmt.Errorf("%w: %s", ErrDead, st.Error)
	}
	if result == nil || len(st.Result) == 0 {
		return st, nil
	}
	if err := json.Unmarshal(st.Result, result); err != nil {
		return st, fmt.Errorf("decode result: %w", err)
	}
	return st, nil
}
