package streams

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringmaster/job"
)

// What one enqueue script adds is bounded, so that it never holds the server long.
const (
	maxBatch      = 500
	maxBatchBytes = 4 << 20
)

// outLane is what waits for one partition.
type outLane struct {
	partition int
	listed    bool // among those that have something to send
	seq       uint64
	retry     *outBatch // its answer is not known yet: nothing may overtake it
	queue     []*outJob
}

type outJob struct {
	req     *request
	index   int
	encoded [3]string // type, key, payload
	batch   *outBatch // nil while it waits in the queue
	dropped bool      // its caller was told that it is not added
}

func (j *outJob) size() int { return len(j.encoded[0]) + len(j.encoded[1]) + len(j.encoded[2]) }

// outBatch is what one script call adds to one partition, or a repeat of it.
type outBatch struct {
	partition int
	bytes     int
	seq       uint64
	jobs      []*outJob
	inFlight  bool
	sent      bool      // an attempt may have been executed: the content is fixed
	recreated bool      // the queue's records were made again because of it
	refused   time.Time // since when the server has refused it for a lasting reason; zero: it has not
}

// perhapsAdded reports whether the job may be in the stream, now or later.
func (j *outJob) perhapsAdded() bool { return j.batch != nil && (j.batch.inFlight || j.batch.sent) }

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
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-p.ctx.Done():
			timer.Stop()
			p.failAll()
			return
		}
	}
}

// collect takes at most one batch of each partition, and no more than fits into one call: a
// round that is long on its way keeps the next waiting. The partitions that are left come first
// then.
func (p *Producer) collect() ([]*outBatch, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*outBatch
	due, left, bytes := p.due, []*outLane(nil), 0
	p.due = p.due[:0]
	for i, l := range due {
		if bytes >= maxBatchBytes {
			left = slices.Clone(due[i:])
			break
		}
		if l.retry != nil && !l.retry.sent {
			l.retry.jobs = wantedOf(l.retry.jobs)
			if len(l.retry.jobs) == 0 {
				l.retry = nil
			}
		}
		if l.retry == nil {
			l.take()
		}
		if l.listed = l.retry != nil; l.listed {
			l.retry.inFlight = true
			bytes += l.retry.bytes
			out = append(out, l.retry)
			p.due = append(p.due, l)
		}
	}
	if left != nil {
		p.due = append(left, p.due...)
	}
	return out, p.closing
}

func wantedOf(jobs []*outJob) []*outJob {
	var out []*outJob
	for _, j := range jobs {
		if !j.dropped {
			out = append(out, j)
		}
	}
	return out
}

// take makes the next batch of what is still wanted, if there is anything.
func (l *outLane) take() {
	// The batch takes the queue's place in memory.
	b := &outBatch{partition: l.partition, seq: l.seq + 1, jobs: l.queue[:0:min(len(l.queue), maxBatch)]}
	i := 0
	for ; i < len(l.queue) && len(b.jobs) < maxBatch; i++ {
		j := l.queue[i]
		switch {
		case j.dropped:
			continue
		case j.req.ctx.Err() != nil:
			j.dropped = true
			j.req.finish(j.index, job.Receipt{}, notAdded(j.req.ctx, nil))
			continue
		}
		if b.bytes+j.size() > maxBatchBytes && len(b.jobs) > 0 {
			break
		}
		b.bytes += j.size()
		j.batch = b
		b.jobs = append(b.jobs, j)
	}
	if l.queue = l.queue[i:]; len(l.queue) == 0 {
		l.queue = nil
	}
	if len(b.jobs) > 0 {
		l.seq, l.retry = b.seq, b
	}
}

// notAdded is the answer to a caller whose context ended before its job was sent; last
// is how the latest attempt at anything failed, if it did.
func notAdded(ctx context.Context, last error) error {
	if last != nil {
		//nolint:errorlint // last is told, not wrapped: it may have a kind of its own
		return fmt.Errorf("enqueue: %w: %w (%v)", job.ErrUnavailable, context.Cause(ctx), last)
	}
	return fmt.Errorf("enqueue: %w: %w", job.ErrUnavailable, context.Cause(ctx))
}

// outCall is one script call: batches of partitions of one shard.
type outCall struct {
	call[eachText]
	batches []*outBatch
	jobs    int
	bytes   int
}

// calls puts batches together, so that the fixed part of a script is paid once for all of
// a shard, within the bounds of one call.
func (p *Producer) calls(batches []*outBatch) []*outCall {
	var out []*outCall
	last := map[string]*outCall{}
	for _, b := range batches {
		shard := p.s.shardOf(p.q, b.partition)
		c := last[shard]
		if c == nil || c.jobs+len(b.jobs) > maxBatch || c.bytes+b.bytes > maxBatchBytes {
			c = &outCall{call: call[eachText]{shard: shard}}
			last[shard] = c
			out = append(out, c)
		}
		c.batches = append(c.batches, b)
		c.jobs += len(b.jobs)
		c.bytes += b.bytes
	}
	for _, c := range out {
		c.args = append(make([]any, 0, 3+3*len(c.batches)+3*c.jobs), p.id, job.IdempotencyTTL.Milliseconds(), p.q.Partitions)
		for _, b := range c.batches {
			c.args = append(c.args, b.partition, epochText(b.seq), len(b.jobs))
			for _, j := range b.jobs {
				// Pointers: a string in an interface is copied to the heap.
				c.args = append(c.args, &j.encoded[0], &j.encoded[1], &j.encoded[2])
			}
		}
	}
	return out
}

// send makes one attempt at every batch, all in one round trip. It reports false if the
// server should be given a pause.
func (p *Producer) send(batches []*outBatch) bool {
	out := p.calls(batches)
	bytes := 0
	for _, c := range out {
		bytes += c.bytes
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.s.opts.Timeout+job.OnItsWay(bytes))
	defer cancel()
	var calls []*call[eachText]
	for _, c := range out {
		if c.err = p.s.meet(ctx, c.shard); c.err == nil {
			calls = append(calls, &c.call)
		}
	}
	if len(calls) > 0 {
		runAllConfirmed(ctx, p.s, &p.s.scripts.enqueue, calls)
	}
	healthy, missing := true, false
	p.mu.Lock()
	p.failure = nil
	for _, c := range out {
		if len(c.answer) != len(c.batches) {
			misfit(&p.s.scripts.enqueue, &c.call)
		}
		for i, b := range c.batches {
			b.inFlight = false
			answer := ""
			if len(c.answer) == len(c.batches) {
				answer = c.answer.of(i)
			}
			if (errors.Is(c.err, job.ErrNotFound) || strings.HasPrefix(answer, "NOQUEUE")) && !b.recreated {
				b.recreated, missing = true, true
			} else if !p.settle(b, c.err, answer) {
				healthy = false
			}
		}
	}
	p.mu.Unlock()
	if missing {
		// The queue's records are gone (FLUSHALL, a new server): make them again.
		err := p.recreate(ctx)
		if errors.Is(err, job.ErrUnavailable) {
			p.postpone(out, err)
		}
		return err == nil && healthy
	}
	return healthy
}

// postpone has records looked for once more, when they could not be made for now.
func (p *Producer) postpone(out []*outCall, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure = err
	for _, c := range out {
		for _, b := range c.batches {
			b.recreated = false
		}
	}
}

// added reads an answer of the script to one batch.
func (b *outBatch) added(answer string) (job.EntryID, error) {
	id, rest, _ := strings.Cut(answer, " ")
	first, ok := job.ParseEntryID(id)
	if !ok {
		if answer == "" {
			return first, badAnswer("enqueue", answer)
		}
		return first, wrap("enqueue", answerError(answer))
	}
	if count, _, _ := strings.Cut(rest, " "); count != strconv.Itoa(len(b.jobs)) {
		return first, badAnswer("enqueue", answer)
	}
	return first, nil
}

// settle ends a batch, or leaves it to be sent again. It reports false for the latter.
func (p *Producer) settle(b *outBatch, err error, answer string) bool {
	var first job.EntryID
	if err == nil {
		first, err = b.added(answer)
	}
	switch {
	case err == nil:
		ids := job.IDsFrom(job.ID{Partition: b.partition, Entry: first}, len(b.jobs))
		for i, j := range b.jobs {
			j.req.finish(j.index, job.Receipt{ID: ids[i], Partition: b.partition}, nil)
		}
		p.lanes[b.partition].retry = nil
		return true
	case errors.Is(err, job.ErrUnconfirmed):
		// It waited as long as it was told to. The caller decides: repeating waits again.
		b.sent = true
	case errors.Is(err, job.ErrOutcomeUnknown):
		b.sent = true
		p.failure = err
		if b.wanted() && p.ctx.Err() == nil {
			return false
		}
	case errors.Is(err, job.ErrUnavailable):
		p.failure = err
		if b.wanted() && p.ctx.Err() == nil && !b.refusedForLong(err, time.Now()) {
			return false
		}
	}
	if b.sent && !errors.Is(err, job.ErrOutcomeUnknown) {
		//nolint:errorlint // the last attempt's error is told, not wrapped: an earlier one may have been executed
		err = fmt.Errorf("an earlier attempt: %w; the last: %v", job.ErrOutcomeUnknown, err)
	}
	p.lanes[b.partition].retry = nil
	for _, j := range b.jobs {
		j.req.finish(j.index, job.Receipt{}, err)
	}
	return true
}

// refusedForLong reports whether the server, in a state that does not pass by itself, has refused a
// batch that it surely does not have: whoever handed it in is told the state, and not a timeout.
func (b *outBatch) refusedForLong(err error, now time.Time) bool {
	if _, lasting := stateOf(err); !lasting || b.sent {
		b.refused = time.Time{}
		return false
	}
	if b.refused.IsZero() {
		b.refused = now
	}
	return now.Sub(b.refused) >= lastingRefusal
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

// failAll ends everything that is still open.
func (p *Producer) failAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lanes {
		jobs := l.queue
		if l.retry != nil {
			jobs = append(l.retry.jobs, jobs...)
		}
		for _, j := range jobs {
			switch {
			case j.dropped:
			case j.perhapsAdded():
				j.req.finish(j.index, job.Receipt{}, fmt.Errorf("%w: %w", ErrClosed, job.ErrOutcomeUnknown))
			default:
				j.req.finish(j.index, job.Receipt{}, ErrClosed)
			}
		}
		l.retry, l.queue = nil, nil
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
