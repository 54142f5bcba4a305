// Webhooks tells subscribers of events: in order for each subscriber, again while one is busy, given up
// when one says that it is gone. A slow subscriber holds up nobody else's events. At the end the dead
// letters are looked at, as an operator would, and one is requeued.
//
// The subscribers are a server in this process. Without -redis it runs on a store in memory.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"time"

	"ringmaster"
	"ringmaster/embedded"
)

// Event is the payload of a job.
type Event struct {
	URL  string `json:"url"`
	Body string `json:"body"`
}

func main() {
	url := flag.String("redis", "", "URL of the server; empty: a store in memory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *url, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string, out io.Writer) error {
	if url == "" {
		store, err := embedded.Start("127.0.0.1:0")
		if err != nil {
			return err
		}
		defer store.Close()
		url = store.URL()
	}
	there := &subscribers{heard: map[string][]string{}, gone: true}
	server := httptest.NewServer(there)
	defer server.Close()

	cfg := ringmaster.Config{URL: url}
	client, err := ringmaster.NewClient(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	queue := fmt.Sprintf("webhooks-%d", time.Now().UnixMilli())
	if _, err := client.CreateQueue(ctx, queue, ringmaster.QueueConfig{Partitions: 16}); err != nil {
		return err
	}
	w, err := ringmaster.NewWorker(cfg, ringmaster.WorkerConfig{Queues: []string{queue}})
	if err != nil {
		return err
	}
	ringmaster.Handle(w, "deliver", deliver, ringmaster.Timeout(5*time.Second), ringmaster.Attempts(8), ringmaster.Backoff(50*time.Millisecond, time.Minute))

	ctx, cancel := context.WithCancel(ctx)
	var services sync.WaitGroup
	defer services.Wait()
	defer cancel()
	services.Go(func() { logged(ringmaster.Dispatch(ctx, url, nil)) })
	services.Go(func() { logged(w.Run(ctx)) })
	return tell(ctx, client.Queue(queue), server.URL, there, out)
}

func logged(err error) {
	if err != nil {
		log.Print(err)
	}
}

// tell hands three events in for each of three subscribers, and sees what becomes of them.
func tell(ctx context.Context, q *ringmaster.Queue, server string, there *subscribers, out io.Writer) error {
	var jobs []ringmaster.Submission
	for _, body := range []string{"created", "paid", "shipped"} {
		for _, subscriber := range []string{"quick", "busy", "gone"} {
			jobs = append(jobs, ringmaster.Submission{Type: "deliver", Key: subscriber, Payload: Event{URL: server + "/" + subscriber, Body: body}})
		}
	}
	for _, s := range q.SubmitAll(ctx, jobs...) {
		if s.Err != nil {
			return s.Err
		}
		if _, err := q.Wait(ctx, s.ID); err != nil {
			return err
		}
	}
	letters, err := q.DeadLetters(ctx, 10)
	if err != nil {
		return err
	}
	if len(letters) == 0 {
		return errors.New("no dead letter of the subscriber that is gone")
	}
	_, _ = fmt.Fprintf(out, "quick heard %s, busy heard %s, gone heard %d; %d dead letters: %s\n",
		strings.Join(there.list("quick"), ", "), strings.Join(there.list("busy"), ", "), len(there.list("gone")), len(letters), letters[0].Error)
	there.comesBack()
	receipt, err := q.Requeue(ctx, letters[0].ID)
	if err != nil {
		return err
	}
	if _, err := q.Wait(ctx, receipt.ID); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "requeued: gone heard %s\n", strings.Join(there.list("gone"), ", "))
	return nil
}

// deliver makes one attempt.
func deliver(ctx context.Context, j ringmaster.Job[Event]) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, j.Payload.URL, bytes.NewBufferString(j.Payload.Body))
	if err != nil {
		return ringmaster.Skip(err) // no attempt will make a URL of it
	}
	req.Header.Set("Idempotency-Key", j.ID) // an attempt may have got through without our knowing
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return err
	}
	switch {
	case resp.StatusCode < 300:
		return nil
	case resp.StatusCode == http.StatusGone:
		return ringmaster.Skip(errors.New(resp.Status))
	}
	seconds, _ := strconv.ParseFloat(resp.Header.Get("Retry-After"), 64) // 0: as the backoff says
	return ringmaster.RetryAfter(errors.New(resp.Status), time.Duration(seconds*float64(time.Second)))
}

// subscribers are three: one is quick, one is busy at every first attempt, one is gone.
type subscribers struct {
	mu    sync.Mutex
	heard map[string][]string
	busy  map[string]bool
	gone  bool
}

// ServeHTTP implements http.Handler.
func (s *subscribers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name, id := strings.TrimPrefix(r.URL.Path, "/"), r.Header.Get("Idempotency-Key")
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case name == "gone" && s.gone:
		w.WriteHeader(http.StatusGone)
	case name == "busy" && !s.busy[id]:
		if s.busy == nil {
			s.busy = map[string]bool{}
		}
		s.busy[id] = true
		w.Header().Set("Retry-After", "0.1")
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		s.heard[name] = append(s.heard[name], string(body))
	}
}

func (s *subscribers) list(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.heard[name]...)
}

func (s *subscribers) comesBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = false
}
