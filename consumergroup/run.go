package consumergroup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"ringmaster/consumergroup/lanes"
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
	var it *lanes.Item
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
func (w *Worker) run(it *lanes.Item) (job.Completion, bool) {
	if it.Prior.Guilty {
		return w.dead(it, it.Prior.Attempts, fmt.Sprintf("crashed its worker %d times, at last while it ran alone", it.Prior.Crashes)), true
	}
	ctx := it.Run.(*runContext)
	if it.Prior.Mark != "" {
		if !w.mark(it) {
			return job.Completion{}, false
		}
		ctx.deadline = time.Now().Add(w.cfg.HandlerTimeout) // nobody else has it yet
	}
	it.Attempt = it.Prior.Attempts + 1
	d := job.Delivery{
		ID: job.ID{Partition: it.Tenure.Partition, Entry: it.Entry.ID}, Queue: w.cfg.Queue, Type: it.Entry.Type, Key: it.Entry.Key,
		Payload: it.Entry.Payload, Partition: it.Tenure.Partition, Epoch: it.Tenure.Epoch, Attempt: it.Attempt, Fence: it.Fence,
	}
	returned := false
	defer func() {
		if !returned { // the handler has left by Goexit: only deferred calls run
			o := outcome{err: errors.New("handler ended its goroutine"), panicked: true}
			w.finish(it, w.judge(it, o, ctx))
		}
	}()
	o := w.call(ctx, d)
	returned = true
	return w.judge(it, o, ctx), true
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
func (w *Worker) mark(it *lanes.Item) bool {
	ctx, cancel := context.WithTimeout(shardOf(it).session.work, w.cfg.LeaseTTL)
	defer cancel()
	err := shardOf(it).session.member.Mark(ctx, it.Tenure.Tenure, it.Entry.ID, it.Prior.Mark)
	if err == nil {
		it.Entry.Retry = it.Prior.Mark
		return true
	}
	if errors.Is(err, job.ErrFenced) {
		shardOf(it).fenced(it.Tenure.Tenure)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	later := *it.Prior
	later.NotBefore = time.Now().Add(200 * time.Millisecond)
	it.Prior = &later
	w.pool.PutBack(it, time.Now())
	return false
}

// judge turns the end of an attempt into a completion.
func (w *Worker) judge(it *lanes.Item, o outcome, ctx *runContext) job.Completion {
	defer ctx.close()
	if o.err == nil {
		c := job.Completion{Outcome: job.Done, HasRetry: it.Entry.Retry != ""}
		if result := nonNull(o.result); result != nil || it.Attempt > 1 {
			c.Data = w.resultRecord(it, result)
		}
		return c
	}
	now := time.Now()
	d := w.deps.Policy.After(Failure{Record: it.Entry.Retry, Attempt: it.Attempt, Err: o.err, Ended: ctx.cause(), Panicked: o.panicked}, now)
	switch d.Outcome {
	case job.Buried:
		w.deps.Log.Warn("job is dead", "job_id", w.id(it), "type", it.Entry.Type, "attempts", d.Attempts, "error", d.Error)
		return w.dead(it, d.Attempts, d.Error)
	case job.Failed:
		w.deps.Log.Warn("attempt failed", "job_id", w.id(it), "type", it.Entry.Type, "attempt", it.Attempt, "error", d.Error, "retry_in", d.NotBefore.Sub(now).Round(time.Millisecond))
		prior := w.deps.Policy.Before(d.Record)
		it.Prior = &prior
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

func (w *Worker) id(it *lanes.Item) string {
	return job.ID{Partition: it.Tenure.Partition, Entry: it.Entry.ID}.String()
}

// resultRecord is what is kept of a completed job for a day.
func (w *Worker) resultRecord(it *lanes.Item, result json.RawMessage) string {
	raw, err := json.Marshal(job.ResultRecord{Type: it.Entry.Type, Key: it.Entry.Key, Attempts: it.Attempt, Result: result, FinishedAt: time.Now().UTC()})
	if err != nil {
		// A handler's result that is not JSON: keep it as text rather than lose the completion.
		raw, _ = json.Marshal(job.ResultRecord{Type: it.Entry.Type, Key: it.Entry.Key, Attempts: it.Attempt, FinishedAt: time.Now().UTC()})
		w.deps.Log.Error("result is not valid JSON and was not kept", "job_id", w.id(it), "type", it.Entry.Type)
	}
	return string(raw)
}

func (w *Worker) dead(it *lanes.Item, attempts int, reason string) job.Completion {
	e := &it.Entry
	letter := job.DeadLetter{ID: w.id(it), Partition: it.Tenure.Partition, Type: e.Type, Key: e.Key, Payload: e.Payload,
		Attempts: attempts, Crashes: it.Prior.Crashes, Error: reason, DiedAt: time.Now().UTC().Format(time.RFC3339)}
	if e.Broken != nil {
		letter.Raw = rawText(e.Broken.Fields)
	}
	raw, err := json.Marshal(letter)
	if err != nil {
		letter.Payload = nil
		raw, _ = json.Marshal(letter)
	}
	return job.Completion{Outcome: job.Buried, Data: string(raw), HasRetry: e.Retry != ""}
}

// Broken implements lanes.Host: an entry that cannot be run is a dead letter.
func (s *shard) Broken(it *lanes.Item) job.Completion {
	reason := "cannot be run: " + it.Entry.Broken.Why
	s.w.deps.Log.Warn("job cannot be run", "job_id", s.w.id(it), "reason", reason)
	return s.w.dead(it, 0, reason)
}

// finish hands the end of a run to the acker of its shard.
func (w *Worker) finish(it *lanes.Item, c job.Completion) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pool.Finished(it, c)
}

// End implements lanes.Host: it queues a completion. The worker's lock is held.
func (s *shard) End(it *lanes.Item, c job.Completion) {
	s.ends = append(s.ends, ended{it, c})
	if len(s.ends) == 1 {
		s.wakeAcker() // until it has taken them all it asks by itself
	}
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
