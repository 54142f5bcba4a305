package service

import (
	"context"

	"ringmaster/internal/producing"
	"ringmaster/job"
	"ringmaster/streams"
)

// api is the store as the HTTP handler asks for it.
type api struct {
	*streams.Store
	*streams.Inspector
	producers *producing.Set
}

// Enqueue adds jobs, creating the queue at its first use.
func (a *api) Enqueue(ctx context.Context, queue string, jobs []job.Job) ([]job.Receipt, []error) {
	return a.producers.Enqueue(ctx, queue, jobs)
}

// Ready tries what a submission needs of the server.
func (a *api) Ready(ctx context.Context) error {
	if err := a.Ping(ctx); err != nil {
		return err
	}
	return a.Writable(ctx)
}
