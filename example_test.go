package ringmaster_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"ringmaster"
	"ringmaster/embedded"
)

type Mail struct {
	To   string `json:"to"`
	Text string `json:"text"`
}

// work runs jobs of the queue mails until ctx ends.
func work(ctx context.Context, url string) error {
	w, err := ringmaster.NewWorker(ringmaster.Config{URL: url}, ringmaster.WorkerConfig{Queues: []string{"mails"}})
	if err != nil {
		return err
	}
	ringmaster.HandleResult(w, "send", func(ctx context.Context, j ringmaster.Job[Mail]) (string, error) {
		if j.Payload.To == "" {
			return "", ringmaster.Skip(errors.New("no address")) // to the dead letters at once
		}
		return fmt.Sprintf("sent to %s, attempt %d", j.Payload.To, j.Attempt), nil
	})
	return w.Run(ctx)
}

// call hands a job in and waits for its result.
func call(ctx context.Context, client *ringmaster.Client) error {
	var answer string
	mail := Mail{To: "ada@example.org", Text: "hello"}
	status, err := client.Queue("mails").Call(ctx, "send", mail, &answer, ringmaster.Key("customer-42"))
	if err != nil {
		return err
	}
	fmt.Println(status.State, answer)
	return nil
}

// A client, a worker and a dispatcher in one process, on a store in memory. In production
// each is a process of its own, and the store is a Redis server.
func Example() {
	store, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	client, err := ringmaster.NewClient(ringmaster.Config{URL: store.URL()})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	var services sync.WaitGroup
	services.Go(func() { _ = ringmaster.Dispatch(ctx, store.URL(), nil) })
	services.Go(func() { _ = work(ctx, store.URL()) })

	if err := call(ctx, client); err != nil {
		fmt.Println(err)
	}
	stop()
	services.Wait()
	// Output: completed sent to ada@example.org, attempt 1
}

// Submit answers as soon as the server has the job. A repeat under the same idempotency
// key adds nothing, and answers with the id of the first.
func ExampleQueue_Submit() {
	store, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	client, err := ringmaster.NewClient(ringmaster.Config{URL: store.URL()})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()

	mail := Mail{To: "ada@example.org"}
	first, err := client.Queue("mails").Submit(ctx, "send", mail, ringmaster.Key("customer-42"), ringmaster.Once("order-7"))
	fmt.Println(first.Partition, first.Duplicate, err)
	again, err := client.Queue("mails").Submit(ctx, "send", mail, ringmaster.Key("customer-42"), ringmaster.Once("order-7"))
	fmt.Println(again.Partition, again.Duplicate, err, again.ID == first.ID)
	other, err := client.Queue("mails").Submit(ctx, "send", Mail{To: "bob@example.org"}, ringmaster.Key("customer-42"), ringmaster.Once("order-7"))
	fmt.Println(other.ID == "", errors.Is(err, ringmaster.ErrConflict))
	// Output:
	// 15 false <nil>
	// 15 true <nil> true
	// true true
}

// Jobs of one key run one after the other. The first attempt at the first job fails: the
// second job waits until the first has succeeded.
func ExampleKey() {
	store, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	client, err := ringmaster.NewClient(ringmaster.Config{URL: store.URL()})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	w, err := ringmaster.NewWorker(ringmaster.Config{URL: store.URL()}, ringmaster.WorkerConfig{Queues: []string{"ledger"}})
	if err != nil {
		log.Fatal(err)
	}
	ringmaster.Handle(w, "book", func(_ context.Context, j ringmaster.Job[string]) error {
		fmt.Println(j.Payload, "attempt", j.Attempt)
		if j.Payload == "open" && j.Attempt == 1 {
			return ringmaster.RetryAfter(errors.New("not yet"), 50*time.Millisecond)
		}
		return nil
	})
	var services sync.WaitGroup
	services.Go(func() { _ = ringmaster.Dispatch(ctx, store.URL(), nil) })
	services.Go(func() { _ = w.Run(ctx) })

	var last ringmaster.Receipt
	for _, step := range []string{"open", "pay", "close"} {
		if last, err = client.Queue("ledger").Submit(ctx, "book", step, ringmaster.Key("account-9")); err != nil {
			log.Fatal(err)
		}
	}
	status, err := client.Queue("ledger").Wait(ctx, last.ID)
	fmt.Println(status.State, err)
	stop()
	services.Wait()
	// Output:
	// open attempt 1
	// open attempt 2
	// pay attempt 1
	// close attempt 1
	// completed <nil>
}

// Skip sends a job to the dead letters; whoever waits for it gets ErrDead.
func ExampleSkip() {
	store, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	client, err := ringmaster.NewClient(ringmaster.Config{URL: store.URL()})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	var services sync.WaitGroup
	services.Go(func() { _ = ringmaster.Dispatch(ctx, store.URL(), nil) })
	services.Go(func() { _ = work(ctx, store.URL()) })

	status, err := client.Queue("mails").Call(ctx, "send", Mail{}, nil)
	fmt.Println(status.State, errors.Is(err, ringmaster.ErrDead))
	fmt.Println(err)
	stop()
	services.Wait()
	// Output:
	// dead true
	// job is dead: no address (the handler gave it up after 1 attempt(s))
}
