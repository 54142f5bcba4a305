package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"

	"ringmaster/configs"
	"ringmaster/dispatch"
	"ringmaster/internal/leading"
	"ringmaster/internal/producing"
	"ringmaster/job"
	"ringmaster/streams"
)

// RunDispatcher serves HTTP and leads, or stands by for, the ring of every queue until
// ctx ends; then it finishes requests, resigns and returns nil. While the server is away
// it serves what it can (readiness says so) and waits.
func RunDispatcher(ctx context.Context, cfg configs.Dispatcher, o Options) error {
	log := o.log()
	if cfg.Embedded {
		if o.Embedded == nil {
			return job.Invalid("--embedded: this program has no store in memory")
		}
		store, err := o.Embedded()
		if err != nil {
			return fmt.Errorf("--embedded: %w", err)
		}
		defer store.Close()
		cfg.Redis, cfg.RedisMode = store.URL(), "standalone"
		log.Warn("embedded store: everything is in memory, jobs are lost when this process exits", "redis", store.URL())
	}
	s, err := Open(cfg.Common, "ringmaster-dispatcher")
	if err != nil {
		return err
	}
	defer s.Close()
	listener, err := listen(ctx, cfg)
	if err != nil {
		return err
	}
	api := &api{Store: s, Inspector: s.Inspect(), producers: producing.NewSet(s, cfg.QueueSpec)}
	defer api.producers.Close()
	server := dispatch.NewServer(dispatch.NewHandler(api, dispatch.HTTPOptions{Token: string(cfg.Token), Listen: listener.Addr().String(), Log: log}))
	var all sync.WaitGroup
	failed := make(chan error, 2)
	all.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("serve HTTP: %w", err)
		}
	})
	log.Info("listening", "addr", listener.Addr().String())
	if o.Listening != nil {
		o.Listening(listener.Addr().String())
	}
	rings, stopLeading := context.WithCancel(ctx)
	all.Go(func() {
		if err := lead(rings, s, cfg, o); err != nil {
			failed <- err
		}
	})
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
	}
	stopLeading()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if shut := server.Shutdown(grace); shut != nil {
		log.Warn("requests were still open", "error", shut)
		_ = server.Close()
	}
	all.Wait()
	return err
}

// Lead does what a dispatcher does besides HTTP, until ctx ends.
func Lead(ctx context.Context, cfg configs.Dispatcher, o Options) error {
	s, err := OpenLike(o.Redis, cfg.Common, "ringmaster-dispatcher")
	if err != nil {
		return err
	}
	defer s.Close()
	return lead(ctx, s, cfg, o)
}

func lead(ctx context.Context, s *streams.Store, cfg configs.Dispatcher, o Options) error {
	log := o.log()
	if !waitFor(ctx, s, log) {
		return nil
	}
	if err := admit(ctx, s, cfg.Common); err != nil {
		return err
	}
	var watching sync.WaitGroup
	watching.Go(func() { watchRisks(ctx, s, time.Minute, log) })
	watching.Go(func() { watchServer(ctx, s, job.NextWord, log) })
	defer watching.Wait()
	host, err := os.Hostname()
	if err != nil {
		host = "dispatcher"
	}
	id := WorkerName("", host) + "." + uuid.NewString()
	if o.Ready != nil {
		o.Ready(id)
	}
	l := leading.Leaders{Store: s, Dispatcher: id, Rules: leading.Rules(cfg), LeaseTTL: cfg.LeaseTTL, Log: log.With("dispatcher", id)}
	l.Run(ctx)
	return nil
}

// listen takes the port. Beyond loopback it demands a token: whoever reaches the port
// can run jobs.
func listen(ctx context.Context, cfg configs.Dispatcher) (net.Listener, error) {
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, job.Invalid("--listen %q: want host:port", cfg.Listen)
	}
	if ip := net.ParseIP(host); cfg.Token == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, job.Invalid("--listen %s is reachable from other machines: set a token (token_file or RINGMASTER_TOKEN), or listen on 127.0.0.1", cfg.Listen)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("--listen %s: the port is taken; choose another, or 127.0.0.1:0 for any free one", cfg.Listen)
	}
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w", cfg.Listen, err)
	}
	return l, nil
}
