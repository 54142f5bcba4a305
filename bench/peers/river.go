package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

type riverArgs struct {
	Body string `json:"body"`
}

// Kind names the type of job.
func (riverArgs) Kind() string { return "work" }

// postgres is one that runs already. It counts the CPU time of the server if that is on
// this machine.
func postgres(url string) func(context.Context) (server, error) {
	return func(ctx context.Context) (server, error) {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return server{}, err
		}
		defer func() { _ = conn.Close(ctx) }()
		var backend int
		if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&backend); err != nil {
			return server{}, err
		}
		return server{at: url, pid: parentOf(backend, "postgres"), stop: func() {}}, nil
	}
}

// openRiver fetches as often as it lets itself be set to, every millisecond; inserts come
// by COPY. It fetches no more jobs at a time than it has idle workers, so it gets 16 times
// as many as the others have handlers: with 64 it is slower by a third. Jobs that are done
// stay for a day, which is its default.
func openRiver(ctx context.Context, url string) (system, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return system{}, err
	}
	config.MaxConns = 20
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return system{}, err
	}
	driver := riverpgxv5.New(pool)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: log})
	if err != nil {
		return system{}, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return system{}, err
	}
	if _, err := pool.Exec(ctx, "TRUNCATE river_job"); err != nil {
		return system{}, err
	}
	load := newLoad()
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(context.Context, *river.Job[riverArgs]) error {
		load.ran()
		return nil
	}))
	client, err := river.NewClient(driver, &river.Config{
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 16 * concurrency}},
		FetchCooldown: time.Millisecond, FetchPollInterval: 20 * time.Millisecond, Workers: workers, Logger: log,
	})
	if err != nil {
		return system{}, err
	}
	if err := client.Start(ctx); err != nil {
		return system{}, err
	}
	args := riverArgs{Body: string(payload())[:90]} // with its name, as long as the others
	submit := func(ctx context.Context, n int) error {
		batch := make([]river.InsertManyParams, n)
		for i := range batch {
			batch[i].Args = args
		}
		_, err := client.InsertManyFast(ctx, batch)
		return err
	}
	return system{
		move: func(ctx context.Context, jobs int) error { return load.move(ctx, jobs, 1, many, submit) },
		close: func() {
			if err := client.Stop(context.WithoutCancel(ctx)); err != nil {
				fmt.Fprintln(os.Stderr, "stop River:", err)
			}
			pool.Close()
		},
	}, nil
}
