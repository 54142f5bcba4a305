package app

import (
	"context"
	"errors"
	"sync"

	"ringmaster/configs"
	"ringmaster/job"
	"ringmaster/streams"
)

// api is the store as the HTTP handler asks for it: reads go through, enqueues through
// one producer for each queue. Safe for concurrent use.
type api struct {
	*streams.Store
	want configs.QueueSpec

	mu        sync.Mutex
	producers map[string]*streams.Producer
	closed    bool
}

func newAPI(s *streams.Store, want configs.QueueSpec) *api {
	return &api{Store: s, want: want, producers: map[string]*streams.Producer{}}
}

func (a *api) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, p := range a.producers {
		p.Close()
	}
}

// Enqueue adds jobs, creating the queue at its first use.
func (a *api) Enqueue(ctx context.Context, queue string, jobs []job.Job) ([]job.Receipt, []error) {
	p, err := a.producer(ctx, queue)
	if err != nil {
		errs := make([]error, len(jobs))
		for i := range errs {
			errs[i] = err
		}
		return make([]job.Receipt, len(jobs)), errs
	}
	return p.Enqueue(ctx, jobs...)
}

func (a *api) producer(ctx context.Context, queue string) (*streams.Producer, error) {
	a.mu.Lock()
	p := a.producers[queue]
	a.mu.Unlock()
	if p != nil {
		return p, nil
	}
	q, err := OpenQueue(ctx, a.Store, queue, a.want)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, job.ErrUnavailable
	}
	if a.producers[queue] == nil {
		a.producers[queue] = a.NewProducer(q)
	}
	return a.producers[queue], nil
}

// Ready reports whether the server answers.
func (a *api) Ready(ctx context.Context) error { return a.Ping(ctx) }

// OpenQueue finds a queue, or creates it as want says.
func OpenQueue(ctx context.Context, s *streams.Store, name string, want configs.QueueSpec) (streams.Queue, error) {
	if err := job.CheckName("queue", name); err != nil {
		return streams.Queue{}, err
	}
	q, err := s.LookupQueue(ctx, name)
	if errors.Is(err, job.ErrNotFound) {
		q, err = s.CreateQueue(ctx, streams.Queue{Name: name, Partitions: want.Partitions, Journal: want.Journal})
		if errors.Is(err, job.ErrConflict) {
			return s.LookupQueue(ctx, name) // somebody else was first, with other counts
		}
	}
	return q, err
}
