package streams

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"ringmaster/job"
)

// Producer adds jobs to one queue. Concurrent calls share batches: what arrives while
// a round trip is under way goes with the next one, so batches grow with load and a
// lone job never waits for a timer. Safe for concurrent use; Close waits for what was
// handed in.
//
// Each batch carries (producer id, sequence), as Kafka's idempotent producer does
// (KIP-98): a batch whose answer was lost is sent again, and added once.
type Producer struct {
	s    *Store
	q    Queue
	id   string
	next atomic.Uint32 // partition of the next unkeyed request

	mu      sync.Mutex
	lanes   map[int]*outLane // by partition
	due     []*outLane       // those with something to send
	failure error            // of the last attempt, while it lasts
	closing bool
	wake    chan struct{} // capacity 1
	done    chan struct{}
	ctx     context.Context // ends when Close gives up
	cancel  context.CancelFunc
}

// request is one call of Enqueue.
type request struct {
	ctx      context.Context
	jobs     []*outJob // those handed over to be sent in batches
	receipts []job.Receipt
	errs     []error
	left     int
	done     chan struct{}
}

// NewProducer starts the producer's goroutine; Close ends it.
func (s *Store) NewProducer(q Queue) *Producer {
	ctx, cancel := context.WithCancel(context.Background())
	id := uuid.New()
	p := &Producer{s: s, q: q, id: id.String(), lanes: map[int]*outLane{}, wake: make(chan struct{}, 1), done: make(chan struct{}), ctx: ctx, cancel: cancel}
	p.next.Store(binary.BigEndian.Uint32(id[:])) // not always the same: many producers add one job
	go p.loop()
	return p
}

// ErrClosed: the producer was closed.
var ErrClosed = errors.New("producer is closed")

// ErrRecounted: the queue was lost and made anew with another number of partitions, so
// this producer would send keys to the wrong ones. Nothing was added; look the queue up
// again and make another producer.
var ErrRecounted = errors.New("queue has another number of partitions now")

// Enqueue adds jobs and waits for the server's answer. Jobs of one key keep the order
// of the call. The errors are parallel to the jobs (nil slice: all were added); each is
// an ErrInvalid, an ErrUnavailable or ErrFull (not added), or an ErrOutcomeUnknown
// (perhaps added; only a job with an idempotency key can be repeated safely after it). An
// ErrOutcomeUnknown is an ErrUnconfirmed where the job was added, and fewer copies than the
// store's durability asks for have confirmed it.
// The wait ends with ctx. Jobs with an idempotency key go one by one.
func (p *Producer) Enqueue(ctx context.Context, jobs ...job.Job) ([]job.Receipt, []error) {
	// Runs of one kind one after the other: a key may have jobs of both.
	var receipts []job.Receipt
	var errs []error
	failed := false
	for first, i := 0, 1; i <= len(jobs); i++ {
		if i < len(jobs) && (jobs[i].IdempotencyKey == "") == (jobs[first].IdempotencyKey == "") {
			continue
		}
		if i-first == len(jobs) {
			return p.enqueueRun(ctx, jobs)
		}
		r, e := p.enqueueRun(ctx, jobs[first:i])
		receipts = append(receipts, r...)
		failed = failed || e != nil
		if e == nil {
			e = make([]error, i-first)
		}
		errs = append(errs, e...)
		first = i
	}
	if !failed {
		return receipts, nil
	}
	return receipts, errs
}

func (p *Producer) enqueueRun(ctx context.Context, jobs []job.Job) ([]job.Receipt, []error) {
	req := &request{ctx: ctx, receipts: make([]job.Receipt, len(jobs)), errs: make([]error, len(jobs)), left: len(jobs), done: make(chan struct{})}
	spread := int(p.next.Add(1))
	all := make([]outJob, len(jobs))
	var once []int
	open := true
	// The first go while the others are made ready.
	for first := 0; first < len(jobs); first += maxBatch {
		out := make([]*outJob, 0, min(maxBatch, len(jobs)-first))
		ended := 0
		for i := first; i < min(first+maxBatch, len(jobs)); i++ {
			j := &jobs[i]
			if err := j.Validate(); err != nil {
				req.errs[i] = err
				ended++
				continue
			}
			req.receipts[i].Partition = p.partition(j, spread+i/64)
			if j.IdempotencyKey != "" {
				once = append(once, i)
				ended++
				continue
			}
			all[i] = outJob{req: req, index: i, encoded: encode(j)}
			out = append(out, &all[i])
		}
		open = p.submit(req, out, ended) && open
	}
	for _, i := range once {
		if !open {
			req.errs[i] = ErrClosed
			continue
		}
		req.receipts[i], req.errs[i] = p.enqueueOnce(ctx, jobs[i], req.receipts[i].Partition)
	}
	select {
	case <-req.done:
	case <-ctx.Done():
		return p.abandon(ctx, req)
	}
	return req.receipts, anyError(req.errs)
}

func anyError(errs []error) []error {
	for _, err := range errs {
		if err != nil {
			return errs
		}
	}
	return nil
}

// abandon answers a caller whose context ended. What was not sent yet will not be.
func (p *Producer) abandon(ctx context.Context, req *request) ([]job.Receipt, []error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	receipts := append([]job.Receipt(nil), req.receipts...)
	errs := append([]error(nil), req.errs...)
	for _, j := range req.jobs {
		switch {
		case receipts[j.index].ID != "" || errs[j.index] != nil:
		case j.perhapsAdded():
			errs[j.index] = fmt.Errorf("enqueue: %w: %w", job.ErrOutcomeUnknown, context.Cause(ctx))
		default:
			j.dropped = true
			errs[j.index] = notAdded(ctx, p.failure)
		}
	}
	return receipts, anyError(errs)
}

// partition of a job without a key is any; of one with an idempotency key, always the same.
func (p *Producer) partition(j *job.Job, spread int) int {
	switch {
	case j.Key != "":
		return job.PartitionOf(j.Key, p.q.Partitions)
	case j.IdempotencyKey != "":
		return job.PartitionOf(j.IdempotencyKey, p.q.Partitions)
	default:
		return spread % p.q.Partitions
	}
}

func encode(j *job.Job) [3]string {
	payload := string(j.Payload)
	if payload == "" {
		payload = "null"
	}
	return [3]string{j.Type, j.Key, payload}
}

// recreate mends a queue whose records are gone, with the counts it had.
func (p *Producer) recreate(ctx context.Context) error {
	_, err := p.s.CreateQueue(ctx, p.q)
	return err
}

// submit puts jobs of a request into the queues. ended are others that need not be waited for. It
// reports false if the producer is closed.
func (p *Producer) submit(req *request, out []*outJob, ended int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		for _, j := range out {
			req.finish(j.index, job.Receipt{}, ErrClosed)
		}
		out = nil
	}
	req.jobs = append(req.jobs, out...)
	if req.left -= ended; req.left == 0 && ended > 0 {
		close(req.done)
	}
	for _, j := range out {
		n := req.receipts[j.index].Partition
		l := p.lanes[n]
		if l == nil {
			l = &outLane{partition: n}
			p.lanes[n] = l
		}
		if !l.listed {
			l.listed = true
			p.due = append(p.due, l)
		}
		l.queue = append(l.queue, j)
	}
	p.signal()
	return !p.closing
}

func (p *Producer) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Close sends what waits, for at most the store's timeout, and ends the goroutine.
func (p *Producer) Close() {
	p.mu.Lock()
	p.closing = true
	p.signal()
	p.mu.Unlock()
	timer := time.AfterFunc(p.s.opts.Timeout, p.cancel)
	<-p.done
	timer.Stop()
	p.cancel()
}
