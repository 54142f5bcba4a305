package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ringmaster/configs"
	"ringmaster/configs/load"
	"ringmaster/internal/service"
	"ringmaster/job"
	"ringmaster/streams"
)

// checkTimeout bounds --check: whoever asks has a limit of its own.
const checkTimeout = 3 * time.Second

// Dispatcher is the program dispatcher.
func Dispatcher(ctx context.Context, env Env) int {
	root := newRoot("dispatcher", "Serve the HTTP API and lead the rings of all queues", env)
	root.Long = `dispatcher serves the HTTP API and the page, and leads the rings of all queues: it
decides which worker owns which partition. Several may run; one of them leads a
queue's ring, the others stand by.

SIGTERM or Ctrl-C stops it in good order; a second one at once.`
	root.Args = noArgs
	load.RegisterDispatcherFlags(root.Flags())
	check := root.Flags().Bool("check", false, "ask the dispatcher that runs at --listen whether it is ready; exit 0 or 1")
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, report, err := load.Dispatcher(cmd.Flags(), configFile(cmd), env.Environ)
		if err != nil {
			return err
		}
		if *check {
			return checkDispatcher(ctx, cfg.Listen)
		}
		log := newLogger(env.Stderr, cfg.Common)
		logWarnings(log, report)
		err = service.RunDispatcher(ctx, cfg, service.Options{Log: log, Second: env.Second, Embedded: embeddedStore})
		return portError(err, "--listen", cfg.Listen)
	}
	return serve(ctx, env, root)
}

// Worker is the program worker.
func Worker(ctx context.Context, env Env) int {
	root := newRoot("worker", "Run the jobs of queues", env)
	root.Long = `worker runs the jobs of the queues it is given, with the handlers of the file given
with --config, or the types echo, sleep and fail with --builtin.

SIGTERM or Ctrl-C: it takes no more jobs, finishes what it runs or hands it back, and
leaves; a second one: at once.`
	root.Example = `  worker --queue mails --builtin
  worker --config configs/worker.yaml --name worker-1`
	root.Args = noArgs
	load.RegisterWorkerFlags(root.Flags())
	check := root.Flags().Bool("check", false, "ask Redis whether the worker of this --name, or without one any of this host, lives; exit 0 or 1")
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		read := load.Worker
		if *check {
			read = load.Dev // queues and handlers do not matter
		}
		cfg, report, err := read(cmd.Flags(), configFile(cmd), env.Environ)
		if err != nil {
			return err
		}
		if *check {
			return checkWorker(ctx, cfg, env)
		}
		log := newLogger(env.Stderr, cfg.Common)
		logWarnings(log, report)
		warnOfEmbedded(ctx, cfg.Common, env, log)
		return service.RunWorker(ctx, cfg, service.Options{Log: log, Second: env.Second})
	}
	return serve(ctx, env, root)
}

// serve is execute for a program that is meant to be stopped by a signal: having
// stopped in good order is success.
func serve(ctx context.Context, env Env, root *cobra.Command) int {
	err := root.ExecuteContext(ctx)
	if stoppedBy(ctx) != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))) {
		err = nil
	}
	unsignalled := context.WithoutCancel(ctx)
	explain(unsignalled, env.Stderr, root.Name(), err)
	return exitCode(unsignalled, err)
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usage("%s takes no arguments: %q; see %s --help", cmd.Name(), args[0], cmd.Name())
}

// portError names the flag that chooses another port, if the port was taken.
func portError(err error, flag, addr string) error {
	if !errors.Is(err, syscall.EADDRINUSE) || strings.Contains(err.Error(), "--") {
		return err
	}
	return fmt.Errorf("%s %s: the port is taken by another process: choose another one with %s: %w", flag, addr, flag, err)
}

func checkDispatcher(ctx context.Context, listen string) error {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" {
		return usage("--check needs the address of a running dispatcher: --listen %s has no fixed port", listen)
	}
	if ip, err := netip.ParseAddr(host); host == "" || (err == nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
		if err == nil && ip.Is6() {
			host = "::1"
		}
	}
	url := "http://" + net.JoinHostPort(host, port) + "/readyz"
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return failed("ask %s: %v", url, err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return failed("no dispatcher answers: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 500)) // only to say more
		return failed("not ready: %s answers %s %s", url, resp.Status, plain(strings.TrimSpace(string(body))))
	}
	return nil
}

func checkWorker(ctx context.Context, cfg configs.Worker, env Env) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	store, err := service.Open(cfg.Common, "worker-check")
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	workers, err := store.Inspect().Workers(ctx, "")
	if err != nil {
		text := fmt.Sprintf("ask %s: %v", configs.RedactURL(cfg.Redis), err)
		if hint := embeddedHint(context.WithoutCancel(ctx), cfg.Common, env); hint != "" && !streams.Answered(err) {
			text += "\n" + hint
		}
		return failed("%s", text)
	}
	host, err := os.Hostname()
	if err != nil {
		return failed("ask for this host's name: %v", err)
	}
	if alive(workers, cfg.Name, host) {
		return nil
	}
	if cfg.Name != "" {
		return failed("no worker named %s lives", cfg.Name)
	}
	return failed("no worker of host %s lives", host)
}

// warnOfEmbedded says where a store answers, if none does where the worker will wait for one.
func warnOfEmbedded(ctx context.Context, c configs.Common, env Env, log *slog.Logger) {
	store, err := service.Open(c, "worker")
	if err != nil {
		return // whoever runs the worker says it
	}
	defer func() { _ = store.Close() }()
	asked, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := store.Ping(asked); err == nil || streams.Answered(err) {
		return
	}
	if hint := embeddedHint(ctx, c, env); hint != "" {
		log.Warn("no answer from Redis", "redis", configs.RedactURL(c.Redis), "hint", hint)
	}
}

// alive looks for a worker of that name or, without a name, of that host.
func alive(workers []job.WorkerView, name, host string) bool {
	for _, w := range workers {
		wanted := w.Host == host
		if name != "" {
			wanted = w.Name == name
		}
		if wanted && w.State == "up" && w.LeaseSeconds > 0 {
			return true
		}
	}
	return false
}

// newLogger writes to w in the form and from the level that are configured.
func newLogger(w io.Writer, c configs.Common) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		level = slog.LevelInfo // package configs allows no other text
	}
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func logWarnings(log *slog.Logger, report load.Report) {
	for _, text := range report.Warnings {
		log.Warn(text)
	}
}
