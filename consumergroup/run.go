package consumergroup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"ringmaster/job"
)

// execute runs jobs until the worker is done. A handler that ends its goroutine
// (runtime.Goexit) gets a failed attempt, and the executor a successor.
func (w *Worker) execute() {
	finished := false
	defer func() {
		if !finished {
			go w.execute()
			return
		}
		w.executors.Done()
	}()
	var it *item
	var c job.Completion
	for {
		if it = w.next(it, c); it == nil {
			finished = true
			return
		}
		var ended bool
		if c, ended = w.run(it); !ended {
			it = nil
		}
	}
}

// run makes one attempt and returns its end, for the acker of its shard; false if there is
// none, because the job did not start.
func (w *Worker) run(it *item) (job.Completion, bool) {
	if it.prior.Guilty {
		return w.dead(it, it.prior.Attempts, fmt.Sprintf("crashed its worker %d times, at last while it ran alone", it.prior.Crashes)), true
	}
	if it.prior.Mark != "" && !w.mark(it) {
		return job.Completion{}, false
	}
	it.attempt = it.prior.Attempts + 1
	ctx := it.ctx
	ctx.begin(w.cfg.HandlerTimeout)
	d := job.Delivery{
		ID: job.ID{Partition: it.t.Partition, Entry: it.entry.ID}, Queue: w.cfg.Queue, Type: it.entry.Type, Key: it.entry.Key,
		Payload: it.entry.Payload, Partition: it.t.Partition, Epoch: it.t.Epoch, Attempt: it.attempt, Fence: it.fence,
	}
	returned := false
	defer func() {
		if !returned { // the handler has left by Goexit: only deferred calls run
			o := outcome{err: errors.New("handler ended its goroutine"), panicked: true}
			w.finish(it, w.judge(it, o, ctx.close()))
		}
	}()
	o := w.call(ctx, d)
	returned = true
	return w.judge(it, o, ctx.close()), true
}

type outcome struct {
	result   json.RawMessage
	err      error
	panicked bool
}

// call runs the handler; a panic is a failed attempt.
func (w *Worker) call(ctx context.Context, d job.Delivery) (o outcome) {
	h := w.deps.Handlers[d.Type]
	if h == nil {
		return outcome{err: fmt.Errorf("no handler for type %s", d.Type)}
	}
	defer func() {
		if p := recover(); p != nil {
			stack := debug.Stack()
			o = outcome{err: fmt.Errorf("panic: %v\n%s", p, stack[:min(len(stack), 2048)]), panicked: true}
		}
	}()
	result, err := h(ctx, d)
	return outcome{result: result, err: err}
}

// mark writes the suspect's mark before it starts. If it cannot, the job does not start.
func (w *Worker) mark(it *item) bool {
	ctx, cancel := context.WithTimeout(it.t.shard.session.work, w.cfg.LeaseTTL)
	defer cancel()
	err := it.t.shard.session.member.Mark(ctx, it.t.Tenure, it.entry.ID, it.prior.Mark)
	if err == nil {
		it.entry.Retry = it.prior.Mark
		return true
	}
	if errors.Is(err, job.ErrFenced) {
		it.t.shard.fenced(it.t.Tenure)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	it.prior.NotBefore = time.Now().Add(200 * time.Millisecond)
	w.putBack(it)
	return false
}

// judge turns the end of an attempt into a completion.
func (w *Worker) judge(it *item, o outcome, ended error) job.Completion {
	if o.err == nil {
		c := job.Completion{Outcome: job.Done, HasRetry: it.entry.Retry != ""}
		if result := nonNull(o.result); result != nil || it.attempt > 1 {
			c.Data = w.resultRecord(it, result)
		}
		return c
	}
	now := time.Now()
	d := w.deps.Policy.After(Failure{Record: it.entry.Retry, Attempt: it.attempt, Err: o.err, Ended: ended, Panicked: o.panicked}, now)
	switch d.Outcome {
	case job.Buried:
		w.deps.Log.Warn("job is dead", "job_id", w.id(it), "type", it.entry.Type, "attempts", d.Attempts, "error", d.Error)
		return w.dead(it, d.Attempts, d.Error)
	case job.Failed:
		w.deps.Log.Warn("attempt failed", "job_id", w.id(it), "type", it.entry.Type, "attempt", it.attempt, "error", d.Error, "retry_in", d.NotBefore.Sub(now).Round(time.Millisecond))
		it.prior = w.deps.Policy.Before(d.Record)
		return job.Completion{Outcome: job.Failed, Data: d.Record}
	default:
		return job.Completion{Outcome: job.HandBack}
	}
}

func nonNull(r json.RawMessage) json.RawMessage {
	if len(r) == 0 || string(r) == "null" {
		return nil
	}
	return r
}

func (w *Worker) id(it *item) string {
	return job.ID{Partition: it.t.Partition, Entry: it.entry.ID}.String()
}

// resultRecord is what is kept of a completed job for a day.
func (w *Worker) resultRecord(it *item, result json.RawMessage) string {
	raw, err := json.Marshal(job.ResultRecord{Type: it.entry.Type, Key: it.entry.Key, Attempts: it.attempt, Result: result, FinishedAt: time.Now().UTC()})
	if err != nil {
		// A handler's result that is not JSON: keep it as text rather than lose the completion.
		raw, _ = json.Marshal(job.ResultRecord{Type: it.entry.Type, Key: it.entry.Key, Attempts: it.attempt, FinishedAt: time.Now().UTC()})
		w.deps.Log.Error("result is not valid JSON and was not kept", "job_id", w.id(it), "type", it.entry.Type)
	}
	return string(raw)
}

func (w *Worker) dead(it *item, attempts int, reason string) job.Completion {
	e := &it.entry
	letter := job.DeadLetter{ID: w.id(it), Partition: it.t.Partition, Type: e.Type, Key: e.Key, Payload: e.Payload, Raw: rawText(e.Raw),
		Attempts: attempts, Crashes: it.prior.Crashes, Error: reason, DiedAt: time.Now().UTC().Format(time.RFC3339)}
	raw, err := json.Marshal(letter)
	if err != nil {
		letter.Payload = nil
		raw, _ = json.Marshal(letter)
	}
	return job.Completion{Outcome: job.Buried, Data: string(raw), HasRetry: e.Retry != ""}
}

// bury ends an entry that cannot be run. The worker's lock is held.
func (w *Worker) bury(it *item, reason string) {
	it.state = ending
	w.began(it)
	w.deps.Log.Warn("job cannot be run", "job_id", w.id(it), "reason", reason)
	w.end(it, w.dead(it, 0, reason))
}

// finish hands the end of a run to the acker of its shard.
func (w *Worker) finish(it *item, c job.Completion) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.finished(it, c)
}

// finished is finish; the worker's lock is held.
func (w *Worker) finished(it *item, c job.Completion) {
	it.state = ending
	it.ctx = nil
	if w.alone == it {
		w.alone = nil
		w.idle.Broadcast()
	}
	w.end(it, c)
}

// end queues a completion. The worker's lock is held.
func (w *Worker) end(it *item, c job.Completion) {
	c.Partition, c.Epoch, c.ID = it.t.Partition, it.t.Epoch, it.entry.ID
	c.Attempt, c.Key, c.Type = it.attempt, it.entry.Key, it.entry.Type
	s := it.t.shard
	if s.over {
		w.dropItem(it)
		return
	}
	s.ends = append(s.ends, ended{it, c})
	if len(s.ends) == 1 {
		s.wakeAcker() // until it has taken them all it asks by itself
	}
}

// putBack returns an item that did not start, or whose attempt ended, to the head of its
// lane. The worker's lock is held.
func (w *Worker) putBack(it *item) {
	if it.t.over {
		w.giveBack(it)
		return
	}
	w.ceased(it)
	it.state, it.ctx = waiting, nil
	if it.t.leftOut {
		it.t.shard.wakeReader() // the key may be held up from now on: see shed
	}
	defer it.t.shard.runEnded(it.t)
	now := time.Now()
	if l := it.lane; l != nil {
		l.busy = nil
		l.insert(it)
		w.dispatch(it.t, l, now)
	} else {
		w.offer(it, now)
	}
}

// giveBack ends a run of a partition that has moved. If the hand-over took it for running,
// its entry is under this incarnation's permit, and nobody can run it until that is given
// up. The worker's lock is held.
func (w *Worker) giveBack(it *item) {
	if !it.permit {
		w.dropItem(it)
		return
	}
	it.permit = false
	it.state, it.ctx = ending, nil
	w.end(it, job.Completion{Outcome: job.HandBack})
}

// rawText makes the fields of a broken entry fit for JSON.
func rawText(fields []string) []string {
	var out []string
	for _, f := range fields {
		if len(f) > 64<<10 {
			f = f[:64<<10]
		}
		out = append(out, f)
	}
	return out
}
