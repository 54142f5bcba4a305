package producing

import (
	"context"
	"errors"
	"slices"
	"sync"

	"ringmaster/configs"
	"ringmaster/job"
	"ringmaster/streams"
)

// Set are the producers of one process, one for each queue, made at first use.
// Safe for concurrent use.
type Set struct {
	store *streams.Store
	want  configs.QueueSpec // of queues that are created

	mu     sync.Mutex
	byName map[string]*streams.Producer
	closed bool
}

// NewSet makes one that has none yet. Queues that do not exist are created as want says.
func NewSet(s *streams.Store, want configs.QueueSpec) *Set {
	return &Set{store: s, want: want, byName: map[string]*streams.Producer{}}
}

// Close sends what was handed in.
func (p *Set) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, x := range p.byName {
		x.Close()
	}
}

// Enqueue is streams.Producer.Enqueue for a queue by name.
func (p *Set) Enqueue(ctx context.Context, queue string, jobs []job.Job) ([]job.Receipt, []error) {
	x, err := p.of(ctx, queue)
	if err != nil {
		return make([]job.Receipt, len(jobs)), slices.Repeat([]error{err}, len(jobs))
	}
	receipts, errs := x.Enqueue(ctx, jobs...)
	if !slices.ContainsFunc(errs, recounted) {
		return receipts, errs
	}
	// The queue was lost at the server and made anew. Nothing of these was added.
	p.forget(queue, x)
	for i, err := range errs {
		if !recounted(err) {
			continue
		}
		again, err := p.of(ctx, queue)
		if errs[i] = err; err != nil {
			continue
		}
		r, e := again.Enqueue(ctx, jobs[i])
		receipts[i] = r[0]
		if e != nil {
			errs[i] = e[0]
		}
	}
	if slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		return receipts, errs
	}
	return receipts, nil
}

func recounted(err error) bool { return errors.Is(err, streams.ErrRecounted) }

func (p *Set) forget(queue string, x *streams.Producer) {
	p.mu.Lock()
	if p.byName[queue] == x {
		delete(p.byName, queue)
	}
	p.mu.Unlock()
	x.Close()
}

func (p *Set) of(ctx context.Context, queue string) (*streams.Producer, error) {
	p.mu.Lock()
	x := p.byName[queue]
	p.mu.Unlock()
	if x != nil {
		return x, nil
	}
	q, err := openQueue(ctx, p.store, queue, p.want)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, streams.ErrClosed
	}
	if p.byName[queue] == nil {
		p.byName[queue] = p.store.NewProducer(q)
	}
	return p.byName[queue], nil
}

// openQueue finds a queue, or creates it as want says.
func openQueue(ctx context.Context, s *streams.Store, name string, want configs.QueueSpec) (streams.Queue, error) {
	if err := job.CheckName("queue", name); err != nil {
		return streams.Queue{}, err
	}
	q, err := s.LookupQueue(ctx, name)
	if errors.Is(err, job.ErrNotFound) {
		q, err = s.CreateQueue(ctx, streams.Queue{Name: name, Partitions: want.Partitions, Shards: want.Shards, Journal: want.Journal})
		if errors.Is(err, job.ErrConflict) {
			return s.LookupQueue(ctx, name) // somebody else was first, with other counts
		}
	}
	return q, err
}
