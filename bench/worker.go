package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"ringmaster/configs"
	"ringmaster/internal/app"
	"ringmaster/internal/handlers"
	"ringmaster/job"
)

// WorkerCommand is the command by which the program starts itself again as a worker.
const WorkerCommand = "bench-worker"

// errNoParent ends a worker whose parent has gone.
var errNoParent = errors.New("the benchmark has gone")

// workerSpec arrives as the first line of a worker's standard input, so that no password
// is in the list of processes; when that input ends, the worker ends too.
type workerSpec struct {
	Redis       string `json:"redis"`
	Name        string `json:"name"`
	Concurrency int    `json:"concurrency"`
}

// task is the payload of a job for such workers.
type task struct {
	N      int    `json:"n"`
	Holder string `json:"holder"` // the worker that holds it until it is killed; others end it at once
}

// RunWorkerProcess is the body of the command WorkerCommand. It tells its parent when it
// is ready and which jobs it starts, a line for each.
func RunWorkerProcess(ctx context.Context, in io.Reader, out, log io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lines := bufio.NewReader(in)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return job.Invalid("this command is for ringctl bench alone")
	}
	var spec workerSpec
	if err := json.Unmarshal(first, &spec); err != nil {
		return job.Invalid("this command is for ringctl bench alone: %v", err)
	}
	// Ends with the input: not waited for, since a terminal's would outlive the command.
	go func() {
		_, _ = io.Copy(io.Discard, lines)
		cancel(errNoParent)
	}()
	var mu sync.Mutex
	tell := func(word string, what any) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintln(out, word, what) // a parent that does not read has gone
	}
	cfg := configs.DefaultWorker()
	cfg.Redis, cfg.Queues, cfg.Name, cfg.Concurrency = spec.Redis, []string{queueName}, spec.Name, spec.Concurrency
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
	return app.RunWorker(ctx, cfg, app.Options{
		Log:      slog.New(slog.NewTextHandler(log, nil)),
		Handlers: map[string]handlers.Func{jobType: handler},
		Ready:    func(incarnation string) { tell("ready", incarnation) },
	})
}
