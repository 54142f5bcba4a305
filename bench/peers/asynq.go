package main

import (
	"context"
	"time"

	"github.com/hibiken/asynq"
)

// openAsynq has connections for all handlers and producers, and looks for tasks again
// after 10 ms instead of a second when it found none. It takes no batches. A task that is
// done is deleted, which is its default.
func openAsynq(_ context.Context, at string) (system, error) {
	load := newLoad()
	opt := asynq.RedisClientOpt{Addr: at, PoolSize: concurrency + askers}
	worker := asynq.NewServer(opt, asynq.Config{Concurrency: concurrency, TaskCheckInterval: 10 * time.Millisecond, LogLevel: asynq.FatalLevel})
	err := worker.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		load.ran()
		return nil
	}))
	if err != nil {
		return system{}, err
	}
	client, body := asynq.NewClient(opt), payload()
	submit := func(ctx context.Context, _ int) error {
		_, err := client.EnqueueContext(ctx, asynq.NewTask("work", body))
		return err
	}
	return system{
		move: func(ctx context.Context, jobs int) error { return load.move(ctx, jobs, askers, 1, submit) },
		close: func() {
			_ = client.Close()
			worker.Shutdown()
		},
	}, nil
}
