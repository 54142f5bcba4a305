package ringmaster

import (
	"context"

	"ringmaster/job"
)

// Info is the queue with its counts. ErrNotFound if there is none.
func (q *Queue) Info(ctx context.Context) (QueueInfo, error) {
	return q.c.store.Inspect().QueueView(ctx, q.name)
}

// RingInfo is a queue's ring: who owns what, and what is on its way.
type RingInfo = job.RingView

// Ring tells who owns which partition.
func (q *Queue) Ring(ctx context.Context) (RingInfo, error) {
	return q.c.store.Inspect().RingView(ctx, q.name)
}

// Workers lists the queue's workers.
func (q *Queue) Workers(ctx context.Context) ([]WorkerInfo, error) {
	return q.c.store.Inspect().Workers(ctx, q.name)
}

// KeyInfo is where a key stands: its partition, the owner, and its jobs in order.
type KeyInfo = job.KeyView

// Key tells where a key stands, and what it waits for.
func (q *Queue) Key(ctx context.Context, key string) (KeyInfo, error) {
	return q.c.store.Inspect().Key(ctx, q.name, key)
}

// Resize has the ring planned anew, as `ringctl ring resize` does, in mode "key", "partition" or
// "ring", or "" for the dispatcher's. It returns the epoch of the plan that is to come, and does
// not wait for it.
func (q *Queue) Resize(ctx context.Context, mode string) (epoch uint64, err error) {
	return q.c.store.RequestResize(ctx, q.name, mode)
}

// DeadLetter is a job that will not run again by itself, and why.
type DeadLetter = job.DeadLetter

// DeadLetters lists at most limit of them, the oldest of each partition first.
func (q *Queue) DeadLetters(ctx context.Context, limit int) ([]DeadLetter, error) {
	return q.c.store.Inspect().DeadLetters(ctx, q.name, limit)
}

// Requeue hands a dead letter in again, at the end of its key, with fresh attempts and a new id,
// which the receipt tells. A repeat answers with the same.
func (q *Queue) Requeue(ctx context.Context, id string) (Receipt, error) {
	return q.c.store.RequeueDead(ctx, q.name, id)
}

// RemoveDead removes a dead letter for good.
func (q *Queue) RemoveDead(ctx context.Context, id string) error {
	return q.c.store.RemoveDead(ctx, q.name, id)
}
