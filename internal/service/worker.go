package service

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ringmaster/configs"
	"ringmaster/consumergroup"
	"ringmaster/internal/failpoint"
	"ringmaster/internal/handlers"
	"ringmaster/job"
	"ringmaster/recovery"
	"ringmaster/streams"
)

// Options are what a program adds to its configuration.
type Options struct {
	Log       *slog.Logger
	Redis     redis.UniversalClient    // nil, or what connections are made like, in place of the configuration's
	Handlers  map[string]handlers.Func // beside those of the configuration
	Types     map[string]Type          // likewise, with what each has of its own
	Second    <-chan struct{}          // closed: stop at once
	Ready     func(incarnation string) // worker: after each join; dispatcher: its id, once the server answers
	Owns      func(queue string)       // worker: nil, or called when it owns what it should, after each join
	Ended     func(Ended)              // worker: nil, or called when an attempt has ended
	Listening func(addr string)        // dispatcher: the HTTP server's address
	// Embedded starts the store of dispatcher --embedded; nil: there is none. Whoever starts a program
	// gives it, so that a client that talks to a server carries no store about.
	Embedded func() (MemoryStore, error)
}

// MemoryStore is a store in this process: package embedded has one.
type MemoryStore interface {
	URL() string
	Close()
}

// Type is a handler, and what its type has of its own. Zero: as the configuration says.
type Type struct {
	Handler     handlers.Func
	Timeout     time.Duration
	Concurrency int // handlers at a time
	MaxAttempts int
	Backoff     recovery.Backoff
}

// Ended is how an attempt ended.
type Ended = consumergroup.Ended

func (o Options) log() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return Guard(o.Log)
}

// RunWorker runs one worker for each of the configured queues until ctx ends; then they
// leave gracefully, within the drain timeout. It returns nil after that, and an error
// if a queue cannot be served at all. While the server is away it waits.
func RunWorker(ctx context.Context, cfg configs.Worker, o Options) error {
	s, err := OpenLike(o.Redis, cfg.Common, "ringmaster-worker")
	if err != nil {
		return err
	}
	defer s.Close()
	if cfg.Strict || !cfg.Durability.Memory() {
		if !waitFor(ctx, s, o.log()) {
			return nil
		}
		if err := admit(ctx, s, cfg.Common); err != nil {
			return err
		}
	}
	hard, stopNow := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopNow(nil)
	if o.Second != nil {
		done := make(chan struct{})
		defer close(done)
		go func() {
			select {
			case <-o.Second:
				stopNow(errors.New("told to stop a second time"))
			case <-done:
			}
		}()
	}
	client := handlers.NewClient(len(cfg.Queues) * cfg.Concurrency)
	defer client.CloseIdleConnections()
	defer beside(hard, func(ctx context.Context) { watchClock(ctx, s, time.Minute, o.log()) })()
	errs := make([]error, len(cfg.Queues))
	leave, leaveAll := context.WithCancel(ctx)
	defer leaveAll()
	var all sync.WaitGroup
	for i, queue := range cfg.Queues {
		w, err := newWorker(s, queue, cfg, o, client)
		if err != nil {
			return err
		}
		all.Go(func() {
			defer leaveAll()
			errs[i] = w.Run(hard, leave.Done())
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// beside does something until ctx ends or stop is called, which waits for it.
func beside(ctx context.Context, do func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { do(ctx) })
	return func() {
		cancel()
		done.Wait()
	}
}

func newWorker(s *streams.Store, queue string, cfg configs.Worker, o Options, client *http.Client) (*consumergroup.Worker, error) {
	all := map[string]consumergroup.Handler{}
	for name, h := range handlers.Build(cfg, client) {
		all[name] = withPoints(h)
	}
	for name, h := range o.Handlers {
		all[name] = withPoints(h)
	}
	longest, policy := cfg.LongestTimeout(), Policy{MaxAttempts: cfg.MaxAttempts, Poison: poison(cfg.MaxCrashes),
		Backoff: recovery.Backoff{Base: cfg.BackoffBase, Max: cfg.BackoffMax}, Types: map[string]Type{}}
	limits, atATime := map[string]time.Duration{}, map[string]int{}
	for _, h := range cfg.Handlers {
		if h.Concurrency > 0 {
			atATime[h.Type] = h.Concurrency
		}
	}
	for _, t := range o.Types {
		longest = max(longest, t.Timeout)
	}
	for name, t := range o.Types {
		policy.Types[name] = t
		limits[name] = cmp.Or(t.Timeout, cfg.HandlerTimeout)
		if t.Concurrency > 0 {
			atATime[name] = t.Concurrency
		}
		all[name] = withPoints(t.Handler)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	c := consumergroup.Default()
	c.Queue, c.Name, c.Host, c.PID = queue, WorkerName(cfg.Name, host), host, os.Getpid()
	c.Concurrency, c.Weight, c.HandlerTimeout = cfg.Concurrency, cfg.Weight, longest
	c.MaxResult = cfg.MaxResultBytes
	c.Elsewhere = (len(cfg.Queues) - 1) * cfg.Concurrency
	c.DrainTimeout = max(cfg.DrainTimeout, time.Millisecond)
	c.Heartbeat, c.LeaseTTL = cfg.Heartbeat, cfg.LeaseTTL
	deps := consumergroup.Deps{
		Store:  GroupStore(s, streams.Queue{Name: queue, Partitions: cfg.Partitions, Shards: cfg.Shards, Journal: cfg.Journal}),
		Policy: policy, Ended: o.Ended, Handlers: all, Limits: limits, Concurrency: atATime, Log: o.log().With("worker", c.Name, "queue", queue), NewID: uuid.NewString, Ready: o.Ready,
	}
	if o.Owns != nil {
		deps.Owns = func() { o.Owns(queue) }
	}
	w, err := consumergroup.New(c, deps)
	if err != nil {
		return nil, fmt.Errorf("worker for queue %s: %w", queue, err)
	}
	return w, nil
}

// poison is what a setting of max_crashes asks for: 0 is never.
func poison(most int) recovery.Poison {
	if most <= 0 {
		return recovery.Poison{MaxCrashes: -1}
	}
	return recovery.Poison{MaxCrashes: most}
}

// withPoints lets tests stop a process before and after a handler.
func withPoints(h handlers.Func) consumergroup.Handler {
	if !failpoint.Enabled {
		return consumergroup.Handler(h)
	}
	return func(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
		failpoint.Hit(failpoint.W2)
		result, err := h(ctx, d)
		failpoint.Hit(failpoint.W4)
		return result, err
	}
}

// WorkerName is the configured name, or one made of the host's: valid, and the same for
// the same process.
func WorkerName(name, host string) string {
	if name != "" {
		return name
	}
	var b []rune
	for _, c := range host {
		if (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') {
			b = append(b, c)
		} else if len(b) > 0 {
			b = append(b, '-')
		}
	}
	n := string(b[:min(len(b), 40)])
	if n == "" {
		n = "worker"
	}
	return fmt.Sprintf("%s-%d", n, os.Getpid())
}
