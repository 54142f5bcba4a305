package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ringmaster/configs"
	"ringmaster/internal/handlers"
	"ringmaster/internal/service"
	"ringmaster/job"
)

// Kinds of roles.
const (
	worker     = "worker"
	dispatcher = "dispatcher"
	producer   = "producer"
)

// Role is what a process is told, as JSON in its environment.
type Role struct {
	Kind       string
	Name       string
	URL        string
	Durability string // of writes; memory if empty
	Mode       string // of the server: standalone, sentinel, cluster; standalone if empty
	Queue      string
	Dir        string // of the ring; sinks are in it
	Ledger     string // append-only
	Points     string // directory of the failpoints
	Stat       string // file with Stats
	Log        string

	Collect bool // give free memory back before the numbers are told, so that what is left is in use

	Plans string // dispatcher: mode of its plans
	As    string // worker: its name in the ring; Name if empty

	Slots          int           // worker: handlers at a time; the default if 0
	MaxAttempts    int           // worker; the default if 0
	HandlerTimeout time.Duration // worker; the default if 0
	DrainTimeout   time.Duration // worker; the default if 0

	Rate    int    // producer: jobs per second
	Keys    int    // producer: how many keys it uses
	Seed    uint64 // producer
	Once    bool   // producer: every job with an idempotency key of its own, and repeated until it is answered
	Timeout time.Duration
}

// durability is what writes must have reached.
func (r Role) durability(c *configs.Common) error {
	if r.Durability == "" {
		return nil
	}
	d, err := job.ParseDurability(r.Durability)
	if err != nil {
		return fmt.Errorf("role %s: %w", r.Name, err)
	}
	c.Durability.Fsync, c.Durability.Replicas = d.Fsync, d.Replicas
	return nil
}

// numbers are what a role tells of itself.
type counters struct {
	accepted atomic.Int64
	failed   atomic.Int64
	idle     atomic.Bool
}

func play(raw string) int {
	var r Role
	if err := json.Unmarshal([]byte(raw), &r); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var n counters
	told, end := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	helpers.Go(func() { tell(told, r, &n) })
	err := perform(ctx, r, &n)
	end()
	helpers.Wait()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func perform(ctx context.Context, r Role, n *counters) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	switch r.Kind {
	case dispatcher:
		cfg := configs.DefaultDispatcher()
		cfg.Redis, cfg.Listen = r.URL, "127.0.0.1:0"
		if r.Mode != "" {
			cfg.RedisMode = r.Mode
		}
		if r.Plans != "" {
			cfg.Mode = r.Plans
		}
		if err := r.durability(&cfg.Common); err != nil {
			return err
		}
		return service.RunDispatcher(ctx, cfg, service.Options{Log: log})
	case worker:
		return playWorker(ctx, r, log)
	case producer:
		return playProducer(ctx, r, n)
	}
	return fmt.Errorf("no role %q", r.Kind)
}

// tell writes the role's numbers four times a second, until ctx ends.
func tell(ctx context.Context, r Role, n *counters) {
	path := r.Stat
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		if r.Collect {
			debug.FreeOSMemory()
		}
		raw, err := json.Marshal(Stats{Goroutines: runtime.NumGoroutine(), Accepted: n.accepted.Load(), Failed: n.failed.Load(), Paused: n.idle.Load(), At: time.Now().UnixNano()})
		if err == nil && os.WriteFile(path+".new", raw, 0o600) == nil {
			_ = os.Rename(path+".new", path)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func playWorker(ctx context.Context, r Role, log *slog.Logger) error {
	b, err := openBook(r)
	if err != nil {
		return err
	}
	defer b.close()
	cfg := configs.DefaultWorker()
	cfg.Redis, cfg.Queues, cfg.Name = r.URL, []string{r.Queue}, r.Name
	cfg.BackoffBase, cfg.BackoffMax, cfg.MaxAttempts = 20*time.Millisecond, 200*time.Millisecond, 5
	if r.Mode != "" {
		cfg.RedisMode = r.Mode
	}
	if r.As != "" {
		cfg.Name = r.As
	}
	if err := r.durability(&cfg.Common); err != nil {
		return err
	}
	if r.Slots > 0 {
		cfg.Concurrency = r.Slots
	}
	if r.MaxAttempts > 0 {
		cfg.MaxAttempts = r.MaxAttempts
	}
	if r.HandlerTimeout > 0 {
		cfg.HandlerTimeout = r.HandlerTimeout
	}
	if r.DrainTimeout > 0 {
		cfg.DrainTimeout = r.DrainTimeout
	}
	debug.SetMaxStack(64 << 20) // an overflow soon ends the process
	h := &handler{book: b, role: r}
	return service.RunWorker(ctx, cfg, service.Options{Log: log, Ready: b.joined, Handlers: map[string]handlers.Func{"work": h.work}})
}

// orders reads what the runner tells this process.
func orders(f func(line string)) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		f(lines.Text())
	}
}
