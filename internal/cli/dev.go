package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ringmaster/configs"
	"ringmaster/configs/load"
	"ringmaster/embedded"
	"ringmaster/internal/service"
	"ringmaster/streams"
)

const (
	// queuePoll is how soon a new queue gets its workers.
	queuePoll = 250 * time.Millisecond
	// workerPause keeps a worker that fails at once from failing all the time.
	workerPause = time.Second
)

func (s *session) dev() *cobra.Command {
	workers := 3
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "dev [--workers 3] [--config FILE]",
		Short:                 "Run a store, a dispatcher and workers in one process, to try things",
		Long: `dev runs a store in memory on 127.0.0.1:6390, a dispatcher on 127.0.0.1:7070 and
workers for every queue, all in this process. The workers offer the types echo, sleep
and fail and the handlers of the file given with --config. With --redis it uses that
server instead of the store in memory. It stays up until Ctrl-C.`,
		Args: exactArgs(0),
	}
	cmd.Flags().IntVar(&workers, "workers", workers, "number of workers for each queue, 1 to 100")
	cmd.Flags().String("listen", configs.DefaultDispatcher().Listen, "address of the HTTP server")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if workers < 1 || workers > 100 {
			return usage("--workers %d: want 1 to 100", workers)
		}
		flags, file := cmd.Flags(), configFile(cmd)
		d, _, err := load.Dispatcher(flags, file, s.env.Environ)
		if err != nil {
			return err
		}
		w, report, err := load.Dev(flags, file, s.env.Environ)
		if err != nil {
			return err
		}
		w.Builtin = true
		dev := &development{env: s.env, dispatcher: d, worker: w, workers: workers, log: newLogger(s.env.Stderr, d.Common)}
		logWarnings(dev.log, report)
		if report.Sources["redis"].Kind == configs.FromDefault {
			mem, err := startEmbedded(s.env.embeddedURL())
			if err != nil {
				return err
			}
			defer mem.Close()
			dev.use(mem.URL())
		}
		return dev.run(cmd.Context())
	}
	return cmd
}

// embeddedStore starts the store of a dispatcher with --embedded.
func embeddedStore() (service.MemoryStore, error) { return embedded.Start(embedded.DefaultAddr) }

func startEmbedded(url string) (*embedded.Store, error) {
	addr := strings.TrimPrefix(url, "redis://")
	mem, err := embedded.Start(addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("the port of the store in memory, %s, is taken: perhaps another dev runs; to use a server that runs, give --redis URL", addr)
	}
	return mem, err
}

// development is one run of dev.
type development struct {
	env        Env
	dispatcher configs.Dispatcher
	worker     configs.Worker
	workers    int
	memory     bool
	log        *slog.Logger
}

func (d *development) use(url string) {
	d.dispatcher.Redis, d.worker.Redis, d.memory = url, url, true
}

// run goes on until ctx ends or the dispatcher fails. The workers stop first, so that a
// dispatcher is there to give away what they leave.
func (d *development) run(ctx context.Context) error {
	store, err := service.Open(d.dispatcher.Common, "dev")
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()

	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	listening := make(chan string, 1)
	served := make(chan error, 1)
	go func() { // ends with serving; run waits for it
		served <- service.RunDispatcher(serving, d.dispatcher, service.Options{
			Log: d.log, Second: d.env.Second, Embedded: embeddedStore,
			Listening: func(addr string) { listening <- addr },
		})
	}()

	working, stopWorking := context.WithCancel(ctx)
	var pool sync.WaitGroup
	pool.Go(func() {
		select {
		case addr := <-listening:
			d.banner(addr)
		case <-working.Done():
			return
		}
		d.staff(working, store)
	})
	select {
	case err = <-served:
		stopWorking()
		pool.Wait()
		return portError(err, "--listen", d.dispatcher.Listen)
	case <-ctx.Done():
	}
	stopWorking()
	pool.Wait()
	stopServing()
	return portError(<-served, "--listen", d.dispatcher.Listen)
}

// staff keeps workers for every queue that exists. It returns when they have stopped.
func (d *development) staff(ctx context.Context, store *streams.Store) {
	var pool sync.WaitGroup
	defer pool.Wait()
	staffed := map[string]bool{}
	ticker := time.NewTicker(queuePoll)
	defer ticker.Stop()
	for {
		queues, bad, err := store.Queues(ctx)
		if err != nil && ctx.Err() == nil {
			d.log.Warn("cannot list queues", "err", err)
		}
		for _, q := range queues {
			if staffed[q.Name] {
				continue
			}
			staffed[q.Name] = true
			d.log.Info("workers for queue", "queue", q.Name, "workers", d.workers)
			for i := range d.workers {
				pool.Go(func() { d.work(ctx, q.Name, i+1) })
			}
		}
		for _, err := range bad {
			d.log.Debug("queue left out", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// work is one worker of one queue, started again when it fails.
func (d *development) work(ctx context.Context, queue string, n int) {
	cfg := d.worker
	cfg.Queues = []string{queue}
	cfg.Name = fmt.Sprintf("dev-%d", n)
	for {
		err := service.RunWorker(ctx, cfg, service.Options{Log: d.log, Second: d.env.Second})
		if ctx.Err() != nil {
			return
		}
		if err == nil { // drained on request
			d.log.Info("worker left", "queue", queue, "worker", cfg.Name)
			return
		}
		d.log.Error("worker failed: starting it again", "queue", queue, "worker", cfg.Name, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(workerPause):
		}
	}
}

func (d *development) banner(addr string) {
	store := configs.RedactURL(d.worker.Redis)
	flag := ""
	if d.memory {
		store += "   in memory: JOBS ARE LOST when this exits"
	}
	if d.memory || store != configs.DefaultCommon().Redis {
		flag = " --redis " + configs.RedactURL(d.worker.Redis)
	}
	types := configs.BuiltinTypes()
	for _, h := range d.worker.Handlers {
		types = append(types, h.Type)
	}
	base := "http://" + browsable(addr)
	_, _ = fmt.Fprintf(d.env.Stdout, `ringctl dev %s
  Page      %s/
  API       %s/v1/queues   (described by %s/openapi.json)
  Store     %s
  Workers   %d for each queue, types %s
Try in another terminal:
  ringctl submit hello --type echo --key k --payload '"hi"' --wait%s
Ctrl-C stops it.
`, d.env.version(), base, base, base, store, d.workers, strings.Join(types, ", "), flag)
}

// browsable is an address that a browser on this machine can use.
func browsable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
