package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"ringmaster/configs"
	"ringmaster/internal/handlers"
	"ringmaster/internal/service"
	"ringmaster/job"
)

var chaosKills = flag.Int("chaos.kills", 6, "how many processes TestChaosKills kills, workers and leaders in turn")

// A test process starts itself again as a worker or a dispatcher: the services are those
// of the programs, only the handlers are the tests' own.
const roleVariable = "RINGMASTER_E2E_ROLE"

// role is what a process is told, as JSON in its environment.
type role struct {
	Kind   string // worker | dispatcher
	URL    string
	Queue  string
	Name   string
	Ledger string // append-only file of the handlers' starts and ends
	Slots  int    // worker: handlers at a time; 0: the default
	Mode   string // dispatcher: mode of its plans
}

func TestMain(m *testing.M) {
	service.Quiet()
	if raw := os.Getenv(roleVariable); raw != "" {
		os.Exit(play(raw))
	}
	os.Exit(m.Run())
}

func play(raw string) int {
	var r role
	if err := json.Unmarshal([]byte(raw), &r); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	o := service.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	var err error
	switch r.Kind {
	case "worker":
		err = playWorker(ctx, r, o)
	case "dispatcher":
		cfg := configs.DefaultDispatcher()
		cfg.Redis, cfg.Listen, cfg.Mode = r.URL, "127.0.0.1:0", r.Mode
		err = service.RunDispatcher(ctx, cfg, o)
	default:
		err = fmt.Errorf("no role %q", r.Kind)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// work is the payload of the tests' jobs: the N-th of its key takes Ms milliseconds.
type work struct {
	N  int `json:"n"`
	Ms int `json:"ms"`
}

func playWorker(ctx context.Context, r role, o service.Options) error {
	ledger, err := os.OpenFile(r.Ledger, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer ledger.Close()
	// One write for each line: a killed process leaves whole lines.
	note := func(what string, d job.Delivery) error {
		_, err := fmt.Fprintf(ledger, "%s %s %s %d %d %d\n", what, d.ID, d.Key, d.Attempt, d.Fence, time.Now().UnixNano())
		return err
	}
	cfg := configs.DefaultWorker()
	cfg.Redis, cfg.Queues, cfg.Name, cfg.Builtin = r.URL, []string{r.Queue}, r.Name, true
	if r.Slots > 0 {
		cfg.Concurrency = r.Slots
	}
	o.Handlers = map[string]handlers.Func{"work": func(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
		var w work
		if err := json.Unmarshal(d.Payload, &w); err != nil {
			return nil, err
		}
		if err := note("start", d); err != nil {
			return nil, err
		}
		select {
		case <-time.After(time.Duration(w.Ms) * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		return nil, note("end", d)
	}}
	return service.RunWorker(ctx, cfg, o)
}
