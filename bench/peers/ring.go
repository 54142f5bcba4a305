package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"sync"

	"ringmaster"
)

// ring is ours, by its public interface: a leader and a worker in this process, the
// defaults apart from the number of handlers. Producers hand in batches.
func ring(keys int) func(context.Context, string) (system, error) {
	return func(ctx context.Context, at string) (system, error) {
		const queue, work = "bench", "work"
		url := "redis://" + at
		cfg := ringmaster.Config{URL: url}
		client, err := ringmaster.NewClient(cfg)
		if err != nil {
			return system{}, err
		}
		load := newLoad()
		w, err := ringmaster.NewWorker(cfg, ringmaster.WorkerConfig{Queues: []string{queue}, Concurrency: concurrency})
		if err != nil {
			return system{}, err
		}
		ringmaster.Handle(w, work, func(context.Context, ringmaster.Job[json.RawMessage]) error {
			load.ran()
			return nil
		})
		ctx, cancel := context.WithCancelCause(ctx)
		var all sync.WaitGroup
		all.Go(func() { cancel(ringmaster.Dispatch(ctx, url, nil)) })
		all.Go(func() { cancel(w.Run(ctx)) })

		names := make([]string, max(keys, 1)) // "": no key
		for i := range keys {
			names[i] = "key-" + strconv.Itoa(i)
		}
		chance, body := rand.New(rand.NewPCG(1, 2)), json.RawMessage(payload())
		batch := make([]ringmaster.Submission, 0, many)
		submit := func(_ context.Context, n int) error {
			batch = batch[:0]
			for range n {
				batch = append(batch, ringmaster.Submission{Type: work, Key: names[chance.IntN(len(names))], Payload: body})
			}
			for _, s := range client.Queue(queue).SubmitAll(ctx, batch...) {
				if s.Err != nil {
					return s.Err
				}
			}
			return nil
		}
		return system{
			move: func(_ context.Context, jobs int) error { return load.move(ctx, jobs, 1, many, submit) },
			close: func() {
				cancel(nil)
				all.Wait()
				_ = client.Close()
			},
		}, nil
	}
}
