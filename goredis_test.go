package ringmaster_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ringmaster"
	"ringmaster/internal/redistest"
)

const childRole = "RINGMASTER_TEST_LIBRARY"

// TestGoRedisWritesToTheUsersLogger: in a process of its own, whose stderr go-redis has held since it
// began.
func TestGoRedisWritesToTheUsersLogger(t *testing.T) {
	if how := os.Getenv(childRole); how != "" {
		unreachable(t, how)
		return
	}
	for _, how := range []string{"client", "worker", "dispatch"} {
		for _, logs := range []string{"logs", "silent"} {
			t.Run(how+" "+logs, func(t *testing.T) {
				t.Parallel()
				cmd := exec.Command(os.Args[0], "-test.run=^TestGoRedisWritesToTheUsersLogger$")
				cmd.Env = append(os.Environ(), childRole+"="+how+" "+logs)
				var errs strings.Builder
				cmd.Stderr = &errs
				out, err := cmd.Output()
				if err != nil || errs.String() != "" {
					t.Errorf("%v; stderr: %s", err, errs.String())
				}
				if strings.Contains(string(out), "msg=go-redis") != (logs == "logs") {
					t.Errorf("logged %s", out)
				}
			})
		}
	}
}

// unreachable uses a server that is not there.
func unreachable(t *testing.T, how string) {
	const url = "redis://127.0.0.1:1"
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	who, logs, _ := strings.Cut(how, " ")
	var log *slog.Logger
	if logs == "logs" {
		log = slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	cfg := ringmaster.Config{URL: url, Logger: log}
	var err error
	switch who {
	case "client":
		client, failed := ringmaster.NewClient(cfg)
		if failed != nil {
			t.Fatal(failed)
		}
		_, err = client.Queue("q").Job(ctx, "0-1-0")
		if failed := client.Close(); err == nil || failed != nil {
			t.Fatal(err, failed)
		}
	case "worker":
		w := newWorker(t, cfg, ringmaster.WorkerConfig{Queues: []string{"q"}})
		ringmaster.Handle(w, "t", func(context.Context, ringmaster.Job[int]) error { return nil })
		err = w.Run(ctx)
	default:
		err = ringmaster.Dispatch(ctx, url, log)
	}
	if who != "client" && err != nil {
		t.Fatal(err)
	}
}

// TestTheLibraryInACluster: client, worker and dispatcher, all by their options.
func TestTheLibraryInACluster(t *testing.T) {
	var urls []string
	for _, s := range redistest.Cluster(t)[:3] {
		urls = append(urls, s.Addr())
	}
	url := "redis://" + strings.Join(urls, ",")
	ctx, stop := context.WithTimeout(t.Context(), 60*time.Second)
	ended := make(chan error, 2)
	t.Cleanup(func() {
		stop()
		for range cap(ended) {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	cfg := ringmaster.Config{URL: url, Mode: "cluster"}
	w := newWorker(t, cfg, ringmaster.WorkerConfig{Queues: []string{"q"}})
	d, err := ringmaster.NewDispatcher(cfg, ringmaster.DispatcherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ringmaster.HandleResult(w, "t", func(_ context.Context, j ringmaster.Job[int]) (string, error) { return fmt.Sprint(j.Payload), nil })
	go func() { ended <- w.Run(ctx) }()
	go func() { ended <- d.Run(ctx) }()
	client, err := ringmaster.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var result string
	if st, err := client.Queue("q").Call(ctx, "t", 7, &result, ringmaster.Key("k")); err != nil || result != "7" {
		t.Errorf("%+v, %v: result %q", st, err, result)
	}
}
