package streams

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"ringmaster/job"
)

// maxBatch bounds what one enqueue script adds, so that it never holds the server long.
const maxBatch = 500

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
	closing bool
	wake    chan struct{} // capacity 1
	done    chan struct{}
	ctx     context.Context // ends when Close gives up
	cancel  context.CancelFunc
}

// outLane is what waits for one partition.
type outLane struct {
	seq   uint64
	retry *outBatch // sent, outcome unknown: nothing may overtake it
	queue []*outJob
}

type outJob struct {
	req     *request
	index   int
	encoded [3]string // type, key, payload
}

// request is one call of Enqueue.
type request struct {
	ctx      context.Context
	receipts []job.Receipt
	errs     []error
	left     int
	done     chan struct{}
}

type outBatch struct {
	partition int
	seq       uint64
	jobs      []*outJob
	since     time.Time
	sent      bool // at least one attempt may have been executed
}

// NewProducer starts the producer's goroutine; Close ends it.
func (s *Store) NewProducer(q Queue) *Producer {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Producer{s: s, q: q, id: uuid.NewString(), lanes: map[int]*outLane{}, wake: make(chan struct{}, 1), done: make(chan struct{}), ctx: ctx, cancel: cancel}
	go p.loop()
	return p
}

// ErrClosed: the producer was closed.
var ErrClosed = errors.New("producer is closed")

// Enqueue adds jobs and waits for the server's answer. Jobs of one key keep the order
// of the call. The errors are parallel to the jobs (nil slice: all were added); each is
// an ErrInvalid, an ErrUnavailable or ErrFull (not added), or an ErrOutcomeUnknown
// (perhaps added; only a job with an idempotency key can be repeated safely after it).
// The wait ends with ctx.
func (p *Producer) Enqueue(ctx context.Context, jobs ...job.Job) ([]job.Receipt, []error) {
	req := &request{ctx: ctx, receipts: make([]job.Receipt, len(jobs)), errs: make([]error, len(jobs)), done: make(chan struct{})}
	spread := int(p.next.Add(1))
	var out []*outJob
	var once []int
	for i, j := range jobs {
		if err := j.Validate(); err != nil {
			req.errs[i] = err
			continue
		}
		req.receipts[i].Partition = p.partition(j, spread+i/64)
		if j.IdempotencyKey != "" {
			once = append(once, i)
			continue
		}
		out = append(out, &outJob{req: req, index: i, encoded: encode(j)})
	}
	if err := p.submit(req, out); err != nil {
		return req.receipts, fill(req.errs, err)
	}
	for _, i := range once {
		req.receipts[i], req.errs[i] = p.enqueueOnce(ctx, jobs[i], req.receipts[i].Partition)
	}
	if len(out) > 0 {
		select {
		case <-req.done:
		case <-ctx.Done():
			return p.abandon(req, ctx)
		}
	}
	return req.receipts, anyError(req.errs)
}

func fill(errs []error, err error) []error {
	for i := range errs {
		if errs[i] == nil {
			errs[i] = err
		}
	}
	return errs
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
func (p *Producer) abandon(req *request, ctx context.Context) ([]job.Receipt, []error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	receipts := append([]job.Receipt(nil), req.receipts...)
	errs := append([]error(nil), req.errs...)
	for i := range receipts {
		if receipts[i].ID == "" && errs[i] == nil {
			errs[i] = fmt.Errorf("enqueue: %w: %w", job.ErrOutcomeUnknown, context.Cause(ctx))
		}
	}
	return receipts, anyError(errs)
}

// partition of a job without a key is any; of one with an idempotency key, always the same.
func (p *Producer) partition(j job.Job, spread int) int {
	switch {
	case j.Key != "":
		return job.PartitionOf(j.Key, p.q.Partitions)
	case j.IdempotencyKey != "":
		return job.PartitionOf(j.IdempotencyKey, p.q.Partitions)
	default:
		return spread % p.q.Partitions
	}
}

func encode(j job.Job) [3]string {
	payload := string(j.Payload)
	if payload == "" {
		payload = "null"
	}
	return [3]string{j.Type, j.Key, payload}
}

func (p *Producer) enqueueOnce(ctx context.Context, j job.Job, partition int) (job.Receipt, error) {
	e := encode(j)
	sum := sha256.Sum256([]byte(e[0] + "\x00" + e[1] + "\x00" + e[2]))
	args := []any{partition, j.IdempotencyKey, hex.EncodeToString(sum[:16]), job.IdempotencyTTL.Milliseconds(), e[0], e[1], e[2], ""}
	shard := p.s.shardOf(p.q, partition)
	v, err := p.s.run(ctx, p.s.cmd, &p.s.scripts.enqueueOnce, shard, args...)
	if errors.Is(err, job.ErrNotFound) {
		if err = p.recreate(ctx); err == nil {
			v, err = p.s.run(ctx, p.s.cmd, &p.s.scripts.enqueueOnce, shard, args...)
		}
	}
	if err != nil {
		return job.Receipt{}, err
	}
	l := list(v)
	id, err := job.ParseID(text(at(l, 0)))
	if err != nil {
		return job.Receipt{}, badAnswer("enqueue once", v)
	}
	return job.Receipt{ID: id.String(), Partition: id.Partition, Duplicate: text(at(l, 1)) == "1"}, nil
}

// recreate mends a queue whose records are gone, with the counts it had.
func (p *Producer) recreate(ctx context.Context) error {
	_, err := p.s.CreateQueue(ctx, p.q)
	return err
}

func (p *Producer) submit(req *request, out []*outJob) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return ErrClosed
	}
	req.left = len(out)
	for _, j := range out {
		n := req.receipts[j.index].Partition
		l := p.lanes[n]
		if l == nil {
			l = &outLane{}
			p.lanes[n] = l
		}
		l.queue = append(l.queue, j)
	}
	p.signal()
	return nil
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

func (p *Producer) loop() {
	defer close(p.done)
	pause := time.Duration(0)
	for {
		batches, closing := p.collect()
		if len(batches) == 0 {
			if closing {
				return
			}
			<-p.wake
			continue
		}
		if p.send(batches) {
			pause = 0
			continue
		}
		pause = min(max(2*pause, 20*time.Millisecond), time.Second)
		select {
		case <-time.After(pause):
		case <-p.ctx.Done():
			p.failAll(batches)
			return
		}
	}
}

// collect takes at most one batch of each partition.
func (p *Producer) collect() ([]*outBatch, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*outBatch
	for n, l := range p.lanes {
		if l.retry != nil {
			out = append(out, l.retry)
			continue
		}
		batch := l.take(n)
		if batch == nil {
			delete(p.lanes, n)
			if l.seq > 0 {
				p.lanes[n] = &outLane{seq: l.seq}
			}
			continue
		}
		out = append(out, batch)
	}
	return out, p.closing
}

// take makes the next batch of what is still wanted; nil if there is none.
func (l *outLane) take(partition int) *outBatch {
	var jobs []*outJob
	i := 0
	for ; i < len(l.queue) && len(jobs) < maxBatch; i++ {
		if j := l.queue[i]; j.req.ctx.Err() == nil {
			jobs = append(jobs, j)
		} else {
			j.req.finish(j.index, job.Receipt{}, fmt.Errorf("enqueue: %w: %w", job.ErrUnavailable, j.req.ctx.Err()))
		}
	}
	l.queue = l.queue[i:]
	if len(jobs) == 0 {
		return nil
	}
	l.seq++
	l.retry = &outBatch{partition: partition, seq: l.seq, jobs: jobs, since: time.Now()}
	return l.retry
}

// send makes one attempt at every batch, in one round trip for each maxPipe of them. It
// reports false if the server should be given a pause.
func (p *Producer) send(batches []*outBatch) bool {
	ctx, cancel := context.WithTimeout(p.ctx, p.s.opts.Timeout)
	defer cancel()
	calls := make([]*call, len(batches))
	for i, b := range batches {
		args := append(make([]any, 0, 4+4*len(b.jobs)), b.partition, p.id, epochText(b.seq), job.IdempotencyTTL.Milliseconds())
		for _, j := range b.jobs {
			args = append(args, j.encoded[0], j.encoded[1], j.encoded[2], "")
		}
		calls[i] = &call{shard: p.s.shardOf(p.q, b.partition), args: args}
	}
	p.s.runAll(ctx, p.s.cmd, &p.s.scripts.enqueue, calls)
	healthy, missing := true, false
	p.mu.Lock()
	for i, b := range batches {
		if errors.Is(calls[i].err, job.ErrNotFound) {
			missing = true
		} else if !p.settle(b, calls[i]) {
			healthy = false
		}
	}
	p.mu.Unlock()
	if missing {
		// The queue's records are gone (FLUSHALL, a new server): make them again.
		return p.recreate(ctx) == nil && healthy
	}
	return healthy
}

// settle ends a batch, or leaves it to be sent again. It reports false for the latter.
func (p *Producer) settle(b *outBatch, k *call) bool {
	err := k.err
	switch {
	case err == nil:
		l := list(k.value)
		first, ok := job.ParseEntryID(text(at(l, 0)))
		if !ok || int(number(at(l, 1))) != len(b.jobs) {
			err = badAnswer("enqueue", k.value)
			break
		}
		for i, j := range b.jobs {
			id := job.ID{Partition: b.partition, Entry: job.EntryID{Ms: first.Ms, Seq: first.Seq + uint64(i)}}
			j.req.finish(j.index, job.Receipt{ID: id.String(), Partition: b.partition}, nil)
		}
		p.lanes[b.partition].retry = nil
		return true
	case errors.Is(err, job.ErrOutcomeUnknown):
		b.sent = true
		if b.wanted() && p.ctx.Err() == nil {
			return false
		}
	case errors.Is(err, job.ErrUnavailable):
		if b.wanted() && p.ctx.Err() == nil {
			return false
		}
		if b.sent {
			err = fmt.Errorf("%w: %w", job.ErrOutcomeUnknown, err)
		}
	}
	p.lanes[b.partition].retry = nil
	for _, j := range b.jobs {
		j.req.finish(j.index, job.Receipt{}, err)
	}
	return true
}

// wanted reports whether anybody still waits for the batch. One that is given up can
// never be added later: the next one's sequence is higher.
func (b *outBatch) wanted() bool {
	for _, j := range b.jobs {
		if j.req.ctx.Err() == nil {
			return true
		}
	}
	return false
}

func (p *Producer) failAll(batches []*outBatch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range batches {
		for _, j := range b.jobs {
			j.req.finish(j.index, job.Receipt{}, ErrClosed)
		}
	}
	for _, l := range p.lanes {
		for _, j := range l.queue {
			j.req.finish(j.index, job.Receipt{}, ErrClosed)
		}
	}
}

// finish records one job's answer; the producer's lock is held.
func (r *request) finish(i int, receipt job.Receipt, err error) {
	if receipt.ID != "" {
		r.receipts[i] = receipt
	}
	r.errs[i] = err
	if r.left--; r.left == 0 {
		close(r.done)
	}
}
