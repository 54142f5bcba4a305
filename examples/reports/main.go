// Reports answers HTTP requests with what a job computes: a request waits for its job's result, and
// asked for again under the same Idempotency-Key gets the same one. Middleware logs each attempt, a
// hook counts, and at the end the worker is stopped as at a deploy: what runs is finished first.
//
// It asks itself for three reports and ends; with -listen it goes on serving until Ctrl-C. Without
// -redis it runs on a store in memory.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"ringmaster"
	"ringmaster/embedded"
)

// Order is the payload of a job, and Report its result.
type (
	Order  struct{ Customer string }
	Report struct {
		Customer string
		Pages    int
	}
)

func main() {
	redis := flag.String("redis", "", "URL of the server; empty: a store in memory")
	listen := flag.String("listen", "", "address to go on serving at; empty: three requests, then the end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *redis, *listen, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, redis, listen string, out io.Writer) error {
	if redis == "" {
		store, err := embedded.Start("127.0.0.1:0")
		if err != nil {
			return err
		}
		defer store.Close()
		redis = store.URL()
	}
	cfg := ringmaster.Config{URL: redis, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	client, err := ringmaster.NewClient(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	var made atomic.Int64
	w, err := newWorker(cfg, &made)
	if err != nil {
		return err
	}
	// The services outlive ctx: at its end requests under way are still answered.
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var services sync.WaitGroup
	defer services.Wait()
	defer cancel()
	services.Go(func() { logged(ringmaster.Dispatch(serving, redis, nil)) })
	services.Go(func() { logged(w.Run(serving)) })

	front, err := (&net.ListenConfig{}).Listen(ctx, "tcp", withDefault(listen, "127.0.0.1:0"))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler(client.Queue("reports")), ReadHeaderTimeout: 5 * time.Second}
	services.Go(func() {
		if err := server.Serve(front); !errors.Is(err, http.ErrServerClosed) {
			logged(err)
		}
	})
	if listen == "" {
		err = ask(ctx, "http://"+front.Addr().String(), out)
	} else {
		<-ctx.Done()
	}
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer done()
	// First nothing new comes in, then the worker finishes what runs.
	err = errors.Join(err, server.Shutdown(grace), w.Stop(grace))
	_, _ = fmt.Fprintf(out, "%d reports made\n", made.Load())
	return err
}

func newWorker(cfg ringmaster.Config, made *atomic.Int64) (*ringmaster.Worker, error) {
	w, err := ringmaster.NewWorker(cfg, ringmaster.WorkerConfig{Queues: []string{"reports"}, OnEnd: func(e ringmaster.Ended) {
		if e.Outcome == ringmaster.OutcomeCompleted {
			made.Add(1)
		}
	}})
	if err != nil {
		return nil, err
	}
	w.Use(func(next ringmaster.Handler) ringmaster.Handler {
		return func(ctx context.Context, j ringmaster.Job[[]byte]) ([]byte, error) {
			began := time.Now()
			result, err := next(ctx, j)
			ringmaster.Log(ctx, cfg.Logger).Info("attempt", "took", time.Since(began), "error", err)
			return result, err
		}
	})
	ringmaster.HandleResult(w, "make", func(ctx context.Context, j ringmaster.Job[Order]) (Report, error) {
		select {
		case <-time.After(50 * time.Millisecond): // as it takes to make one
			return Report{Customer: j.Payload.Customer, Pages: len(j.Payload.Customer)}, nil
		case <-ctx.Done():
			return Report{}, context.Cause(ctx)
		}
	})
	return w, nil
}

func logged(err error) {
	if err != nil {
		log.Print(err)
	}
}

func withDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// handler answers GET /reports/{customer}.
func handler(q *ringmaster.Queue) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /reports/{customer}", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 15*time.Second)
		defer cancel()
		customer := r.PathValue("customer")
		opts := []ringmaster.Option{ringmaster.Key(customer)}
		if once := r.Header.Get("Idempotency-Key"); once != "" {
			opts = append(opts, ringmaster.Once(once))
		}
		var report Report
		status, err := q.Call(ctx, "make", Order{Customer: customer}, &report, opts...)
		switch {
		case errors.Is(err, ringmaster.ErrInvalid):
			http.Error(w, err.Error(), http.StatusBadRequest)
		case errors.Is(err, context.DeadlineExceeded) && status.ID != "":
			http.Error(w, "still at work: job "+status.ID, http.StatusAccepted)
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadGateway)
		default:
			w.Header().Set("Content-Type", "application/json")
			logged(json.NewEncoder(w).Encode(report))
		}
	})
	return mux
}

// ask asks for two reports, one of them twice.
func ask(ctx context.Context, base string, out io.Writer) error {
	for _, customer := range []string{"ada", "grace", "ada"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/reports/"+url.PathEscape(customer), nil)
		if err != nil {
			return err
		}
		req.Header.Set("Idempotency-Key", fmt.Sprintf("%s-%d", customer, os.Getpid()))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s: %s", customer, resp.Status, body)
		}
		_, _ = fmt.Fprintf(out, "%s: %s", customer, body)
	}
	return nil
}
