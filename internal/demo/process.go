package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"ringmaster/configs"
	"ringmaster/internal/handlers"
	"ringmaster/internal/reexec"
	"ringmaster/internal/service"
)

// Names of the commands by which the demo's program starts itself again.
const (
	DispatcherCommand = "demo-dispatcher"
	WorkerCommand     = "demo-worker"
)

const (
	jobType = "sha256"
	// leaderLease is as short as it may be without a busy machine losing it: the demo
	// kills a leader and has seconds, not minutes.
	leaderLease = time.Second
	// concurrency of each worker; the machine has few cores, and the handlers wait.
	concurrency = 16
)

// spec tells a process of the demo what to be.
type spec struct {
	Redis     string        `json:"redis"`
	RedisMode string        `json:"redis_mode"`
	Password  string        `json:"password"`
	Namespace string        `json:"namespace"`
	Queue     string        `json:"queue"`
	Name      string        `json:"name"`
	Ledger    string        `json:"ledger"`
	Pace      time.Duration `json:"pace"`    // a handler takes at least so long
	Unpaced   []string      `json:"unpaced"` // except for these keys
}

func (s spec) common() configs.Common {
	c := configs.DefaultCommon()
	c.Redis, c.RedisMode, c.RedisPassword, c.Namespace = s.Redis, s.RedisMode, configs.Secret(s.Password), s.Namespace
	return c
}

// process is what a process of the demo has to work with.
type process struct {
	spec
	mu  sync.Mutex
	out io.Writer
	log *slog.Logger
}

// tell writes one line for the parent.
func (p *process) tell(word, what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.out, "%s %s\n", word, what) // a parent that does not read has gone
}

// RunDispatcherProcess is the body of the command DispatcherCommand.
func RunDispatcherProcess(ctx context.Context, in io.Reader, out, log io.Writer) error {
	return runProcess(ctx, in, out, log, func(ctx context.Context, p *process) error {
		cfg := configs.DefaultDispatcher()
		cfg.Common = p.common()
		cfg.Listen = "127.0.0.1:0"
		cfg.LeaderLease = leaderLease
		return service.RunDispatcher(ctx, cfg, service.Options{
			Log:       p.log,
			Ready:     func(name string) { p.tell("ready", name) },
			Listening: func(addr string) { p.tell("listening", addr) },
		})
	})
}

// RunWorkerProcess is the body of the command WorkerCommand.
func RunWorkerProcess(ctx context.Context, in io.Reader, out, log io.Writer) error {
	return runProcess(ctx, in, out, log, func(ctx context.Context, p *process) error {
		cfg := configs.DefaultWorker()
		cfg.Common = p.common()
		cfg.Queues = []string{p.Queue}
		cfg.Name = p.Name
		cfg.Concurrency = concurrency
		ledger, err := openLedger(p.Ledger, p.Name)
		if err != nil {
			return err
		}
		err = service.RunWorker(ctx, cfg, service.Options{
			Log:      p.log,
			Handlers: map[string]handlers.Func{jobType: ledger.hashFile(p.Pace, p.Unpaced)},
			Ready:    func(incarnation string) { p.tell("ready", incarnation) },
		})
		return errors.Join(err, ledger.file.Close())
	})
}

func runProcess(ctx context.Context, in io.Reader, out, log io.Writer, body func(context.Context, *process) error) error {
	p := &process{out: out, log: slog.New(slog.NewTextHandler(log, nil))}
	ctx, cancel, err := reexec.Settings(ctx, in, &p.spec)
	if err != nil {
		return err
	}
	defer cancel()
	return body(ctx, p)
}
