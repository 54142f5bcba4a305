// Ledger books amounts to accounts, in order per account, while workers come and go: two work from
// the start, a third joins in the middle of it, and the first leaves. The books are kept by somebody who
// trusts nobody: an amount that comes out of turn, twice, or from a worker that lost the account is
// refused.
//
// Without -redis it runs on a store in memory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"sync"
	"time"

	"ringmaster"
	"ringmaster/embedded"
)

const (
	accounts = 20
	each     = 50
)

// Booking is the payload of a job.
type Booking struct {
	Account int `json:"account"`
	Number  int `json:"number"` // 1, 2, 3... of the account
	Amount  int `json:"amount"`
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
	cfg := ringmaster.Config{URL: url}
	client, err := ringmaster.NewClient(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	// A queue of its own for each run: what is left of an earlier one does not count.
	queue := fmt.Sprintf("ledger-%d", time.Now().UnixMilli())
	if _, err := client.CreateQueue(ctx, queue, ringmaster.QueueConfig{Partitions: 16}); err != nil {
		return err
	}
	s := &services{cfg: cfg, queue: queue, books: newBooks()}
	ctx, cancel := context.WithCancel(ctx)
	defer s.all.Wait()
	defer cancel()
	s.all.Go(func() { s.failed(ringmaster.Dispatch(ctx, url, nil)) })
	first, err := s.work(ctx, "first")
	if err != nil {
		return err
	}
	if _, err := s.work(ctx, "second"); err != nil {
		return err
	}
	if _, err := handIn(ctx, client.Queue(queue), 1, each/2); err != nil {
		return err
	}
	if _, err := s.work(ctx, "third"); err != nil {
		return err
	}
	last, err := handIn(ctx, client.Queue(queue), each/2+1, each)
	if err != nil {
		return err
	}
	if err := first.Stop(ctx); err != nil {
		return err
	}
	for _, id := range last {
		if _, err := client.Queue(queue).Wait(ctx, id); err != nil {
			return err
		}
	}
	return s.books.report(out)
}

// handIn hands these bookings of each account in, and returns the id of each account's last.
func handIn(ctx context.Context, q *ringmaster.Queue, from, to int) (last []string, err error) {
	var jobs []ringmaster.Submission
	for n := from; n <= to; n++ {
		for account := range accounts {
			jobs = append(jobs, ringmaster.Submission{Type: "book", Key: fmt.Sprint("account-", account), Payload: Booking{account, n, 10 * n}})
		}
	}
	for _, s := range q.SubmitAll(ctx, jobs...) {
		if s.Err != nil {
			return nil, s.Err
		}
		last = append(last, s.ID)
	}
	return last[len(last)-accounts:], nil
}

type services struct {
	cfg   ringmaster.Config
	queue string
	books *books
	all   sync.WaitGroup
}

// work starts a worker and waits until it owns its part of the partitions.
func (s *services) work(ctx context.Context, name string) (*ringmaster.Worker, error) {
	w, err := ringmaster.NewWorker(s.cfg, ringmaster.WorkerConfig{Queues: []string{s.queue}, Name: name})
	if err != nil {
		return nil, err
	}
	ringmaster.Handle(w, "book", func(_ context.Context, j ringmaster.Job[Booking]) error {
		time.Sleep(time.Millisecond) // as the database would take
		return s.books.book(j.Payload, j.Fence, name)
	})
	ended := make(chan error, 1)
	s.all.Go(func() {
		err := w.Run(ctx)
		s.failed(err)
		ended <- err
	})
	select {
	case <-w.Ready():
		return w, nil
	case err := <-ended: // Ready is not closed any more
		return nil, fmt.Errorf("worker %s has ended: %w", name, err)
	}
}

func (s *services) failed(err error) {
	if err != nil {
		log.Print(err)
	}
}

// books are what a database would hold: for each account the balance, the number of the last booking and
// the highest fence.
type books struct {
	mu       sync.Mutex
	balances [accounts]int
	last     [accounts]int
	fences   [accounts]uint64
	by       map[string]int
	repeated int
}

func newBooks() *books { return &books{by: map[string]int{}} }

// errStale is for a worker that was told too late that another one has the account now.
var errStale = errors.New("a later owner has booked")

func (b *books) book(x Booking, fence uint64, worker string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case fence < b.fences[x.Account]:
		return errStale
	case x.Number <= b.last[x.Account]:
		b.repeated++ // the worker before was killed after it had booked, and before it could say so
		return nil
	case x.Number > b.last[x.Account]+1:
		return ringmaster.Skip(fmt.Errorf("account %d: booking %d after %d", x.Account, x.Number, b.last[x.Account]))
	}
	b.fences[x.Account], b.last[x.Account] = fence, x.Number
	b.balances[x.Account] += x.Amount
	b.by[worker]++
	return nil
}

func (b *books) report(out io.Writer) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for account, balance := range b.balances {
		if want := 10 * each * (each + 1) / 2; balance != want {
			return fmt.Errorf("account %d has %d, want %d", account, balance, want)
		}
	}
	if len(b.by) < 3 {
		return fmt.Errorf("%d workers have booked, want 3", len(b.by))
	}
	_, _ = fmt.Fprintf(out, "%d bookings by %d workers, %d repeated: all %d accounts balance\n", accounts*each, len(b.by), b.repeated, accounts)
	return nil
}
