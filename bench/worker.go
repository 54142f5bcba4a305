package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"ringmaster/configs"
	"ringmaster/internal/handlers"
	"ringmaster/internal/reexec"
	"ringmaster/internal/service"
	"ringmaster/job"
)

// WorkerCommand is the command by which the program starts itself again as a worker.
const WorkerCommand = "bench-worker"

// workerSpec tells a worker what to be.
type workerSpec struct {
	Redis       string `json:"redis"`
	Name        string `json:"name"`
	Concurrency int    `json:"concurrency"`

	Queues []string `json:"queues,omitempty"` // empty: the one
	Leads  bool     `json:"leads,omitempty"`  // it is a dispatcher
}

// task is the payload of a job for such workers.
type task struct {
	N      int    `json:"n"`
	Holder string `json:"holder"` // the worker that holds it until it is killed; others end it at once
}

// RunWorkerProcess is the body of the command WorkerCommand. It tells its parent when it
// is ready and which jobs it starts, a line for each.
func RunWorkerProcess(ctx context.Context, in io.Reader, out, log io.Writer) error {
	var spec workerSpec
	ctx, cancel, err := reexec.Settings(ctx, in, &spec)
	if err != nil {
		return err
	}
	defer cancel()
	var mu sync.Mutex
	tell := func(word string, what any) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintln(out, word, what) // a parent that does not read has gone
	}
	if spec.Leads {
		cfg := configs.DefaultDispatcher()
		cfg.Redis = spec.Redis
		return service.Lead(ctx, cfg, service.Options{Log: slog.New(slog.NewTextHandler(log, nil)), Ready: func(id string) { tell("ready", id) }})
	}
	cfg := configs.DefaultWorker()
	cfg.Redis, cfg.Queues, cfg.Name, cfg.Concurrency = spec.Redis, []string{queueName}, spec.Name, spec.Concurrency
	if len(spec.Queues) > 0 {
		cfg.Queues = spec.Queues
	}
	handler := func(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
		var t task
		if err := json.Unmarshal(d.Payload, &t); err != nil {
			return nil, job.Skip(err)
		}
		tell("start", t.N)
		if t.Holder != spec.Name {
			return nil, nil
		}
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return service.RunWorker(ctx, cfg, service.Options{
		Log:      slog.New(slog.NewTextHandler(log, nil)),
		Handlers: map[string]handlers.Func{jobType: handler},
		Ready:    func(incarnation string) { tell("ready", incarnation) },
	})
}
