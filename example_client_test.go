package ringmaster_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster"
)

func nothing(w *ringmaster.Worker) {
	ringmaster.Handle(w, "note", func(context.Context, ringmaster.Job[string]) error { return nil })
}

// fails has every job of its type be dead at once.
func fails(w *ringmaster.Worker) {
	nothing(w)
	ringmaster.Handle(w, "fail", func(context.Context, ringmaster.Job[string]) error {
		return ringmaster.Skip(errors.New("no such account"))
	})
}

// Many jobs are handed in together. Each has its own answer: what is wrong with one stops no other.
func ExampleQueue_SubmitAll() {
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, nothing)
	defer stop()
	all := client.Queue("jobs").SubmitAll(ctx,
		ringmaster.Submission{Type: "note", Payload: "first", Key: "ada"},
		ringmaster.Submission{Type: "", Payload: "of no type"},
		ringmaster.Submission{Type: "note", Payload: "second", Key: "ada"},
	)
	for _, s := range all {
		fmt.Println(s.ID != "", errors.Is(s.Err, ringmaster.ErrInvalid))
	}
	// Output:
	// true false
	// false true
	// true false
}

// Wait waits for the end of a job, wherever it runs.
func ExampleQueue_Wait() {
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, nothing)
	defer stop()
	q := client.Queue("jobs")
	receipt, err := q.Submit(ctx, "note", "hello")
	if err != nil {
		fmt.Println(err)
		return
	}
	status, err := q.Wait(ctx, receipt.ID)
	fmt.Println(status.State, status.ID == receipt.ID, err)
	// Output: completed true <nil>
}

// Who can wait no longer still has the id, and the last that was seen.
func ExampleQueue_Wait_deadline() {
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, func(w *ringmaster.Worker) {
		ringmaster.Handle(w, "long", func(ctx context.Context, _ ringmaster.Job[int]) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}, ringmaster.Attempts(1), ringmaster.Timeout(time.Second))
	})
	defer stop()
	q := client.Queue("jobs")
	receipt, err := q.Submit(ctx, "long", 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	status, err := q.Wait(short, receipt.ID)
	fmt.Println(status.ID == receipt.ID, errors.Is(err, context.DeadlineExceeded))
	// Output: true true
}

// Call gets the one answer of a job. The same idempotency key asks for the same job again: the
// handler runs once.
func ExampleQueue_Call() {
	ran := 0
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, func(w *ringmaster.Worker) {
		ringmaster.HandleResult(w, "quote", func(_ context.Context, j ringmaster.Job[string]) (string, error) {
			ran++
			return "42 for " + j.Payload, nil
		})
	})
	defer stop()
	for range 2 {
		var price string
		_, err := client.Queue("jobs").Call(ctx, "quote", "a book", &price, ringmaster.Once("quote-1"))
		fmt.Println(price, err)
	}
	fmt.Println(ran)
	// Output:
	// 42 for a book <nil>
	// 42 for a book <nil>
	// 1
}

// Job asks where a job stands.
func ExampleQueue_Job() {
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, nothing)
	defer stop()
	q := client.Queue("jobs")
	if _, err := q.Call(ctx, "note", "hello", nil); err != nil {
		fmt.Println(err)
	}
	_, err := q.Job(ctx, "0-1-0")
	fmt.Println(errors.Is(err, ringmaster.ErrNotFound))
	_, err = q.Job(ctx, "no id")
	fmt.Println(errors.Is(err, ringmaster.ErrInvalid))
	// Output:
	// true
	// true
}

// Dead letters stay until somebody decides: requeued they run again, at the end of their key.
func ExampleQueue_Requeue() {
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, fails)
	defer stop()
	q := client.Queue("jobs")
	if _, err := q.Call(ctx, "fail", "x", nil, ringmaster.Key("account-9")); err != nil {
		fmt.Println(err)
	}
	letters, err := q.DeadLetters(ctx, 10)
	fmt.Println(len(letters), letters[0].Key, letters[0].Error, err)
	again, err := q.Requeue(ctx, letters[0].ID)
	fmt.Println(again.ID != letters[0].ID, err)
	// Output:
	// job is dead: no such account (the handler gave it up after 1 attempt(s))
	// 1 account-9 no such account (the handler gave it up after 1 attempt(s)) <nil>
	// true <nil>
}

// RemoveDead forgets a dead letter for good.
func ExampleQueue_RemoveDead() {
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, fails)
	defer stop()
	q := client.Queue("jobs")
	status, _ := q.Call(ctx, "fail", "x", nil)
	fmt.Println(q.RemoveDead(ctx, status.ID))
	letters, err := q.DeadLetters(ctx, 10)
	fmt.Println(len(letters), err)
	// Output:
	// <nil>
	// 0 <nil>
}

// A queue comes into being with its first job, or is made with what suits it.
func ExampleClient_CreateQueue() {
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, nothing)
	defer stop()
	q, err := client.CreateQueue(ctx, "payments", ringmaster.QueueConfig{Partitions: 256, Journal: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	info, err := q.Info(ctx)
	fmt.Println(info.Queue, info.Partitions, info.Journal, err)
	_, err = client.CreateQueue(ctx, "payments", ringmaster.QueueConfig{Partitions: 8})
	fmt.Println(errors.Is(err, ringmaster.ErrConflict))
	// Output:
	// payments 256 true <nil>
	// true
}

// Key tells where a key stands.
func ExampleQueue_Key() {
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, nothing)
	defer stop()
	q := client.Queue("jobs")
	if _, err := q.Call(ctx, "note", "hello", nil, ringmaster.Key("account-9")); err != nil {
		fmt.Println(err)
	}
	k, err := q.Key(ctx, "account-9")
	fmt.Println(k.Key, k.Head == nil, k.Waiting, err)
	// Output: account-9 true 0 <nil>
}

// A go-redis client that you have says where the server is, and how it is reached.
func ExampleConfig() {
	own := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", Username: "orders", Password: "secret"})
	defer own.Close()
	client, err := ringmaster.NewClient(ringmaster.Config{Redis: own, Namespace: "shop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close() // it has not connected yet
	fmt.Println(client.Queue("mails").Name())
	// Output: mails
}

// Ready is closed when the worker owns what it should; Stop has it finish what runs.
func ExampleWorker_Stop() {
	var worker *ringmaster.Worker
	ctx, client, stop := inMemory(ringmaster.WorkerConfig{}, func(w *ringmaster.Worker) {
		nothing(w)
		worker = w
	})
	defer stop()
	<-worker.Ready()
	workers, err := client.Queue("jobs").Workers(ctx)
	fmt.Println(len(workers), err)
	fmt.Println(worker.Stop(ctx))
	workers, err = client.Queue("jobs").Workers(ctx)
	fmt.Println(len(workers), err)
	// Output:
	// 1 <nil>
	// <nil>
	// 0 <nil>
}
