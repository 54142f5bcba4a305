package consumergroup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
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
	ctx := it.Run.(*runContext)
	if it.Prior.Suspect {
		if c, ends, starts := w.tried(it); !starts {
			return c, ends
		}
		w.mu.Lock()
		ctx.deadline = time.Now().Add(w.limit(it))
		w.mu.Unlock()
	}
	it.Attempt = it.Prior.Attempts + 1
	d := w.delivery(it)
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

// delivery is the attempt under way as its handler sees it.
func (w *Worker) delivery(it *lanes.Item) job.Delivery {
	return job.Delivery{
		ID: job.ID{Partition: it.Tenure.Partition, Entry: it.Entry.ID}, Queue: w.cfg.Queue, Type: it.Entry.Type, Key: it.Entry.Key,
		Payload: it.Entry.Payload, Partition: it.Tenure.Partition, Epoch: it.Tenure.Epoch, Attempt: it.Attempt, Fence: it.Fence,
	}
}

type outcome struct {
	result   json.RawMessage
	err      error
	panicked bool
	stack    []byte // of a panic
}

// where is for the log: nothing, or where a handler panicked.
func (o outcome) where() slog.Attr {
	if len(o.stack) == 0 {
		return slog.Attr{}
	}
	return slog.String("stack", string(o.stack))
}

// call runs the handler; a panic is a failed attempt. Where it was is for the log: it says nothing to
// who reads the job's error, and that is kept. The error is settled here: its
// methods are the handler's code too, and nobody calls them beyond this recover.
func (w *Worker) call(ctx context.Context, d job.Delivery) (o outcome) {
	h := w.deps.Handlers[d.Type]
	if h == nil {
		return outcome{err: fmt.Errorf("no handler for type %s", d.Type)}
	}
	defer func() {
		if p := recover(); p != nil {
			o = outcome{err: fmt.Errorf("panic: %s", job.PanicText(p)), panicked: true, stack: debug.Stack()}
		}
	}()
	result, err := h(ctx, d)
	return outcome{result: result, err: job.Settle(err)}
}

// judge turns the end of an attempt into a completion. It calls nothing of the handler's.
func (w *Worker) judge(it *lanes.Item, o outcome, ctx *runContext) job.Completion {
	defer ctx.close()
	var ended error
	if o.err != nil {
		ended = ctx.cause()
	} else {
		c, err := w.completed(it, o.result)
		if err == nil {
			w.tell(it, job.Done, nil)
			return c
		}
		// The handler has done its work, whatever became of its context since: it is not to do
		// it again for a result that will be refused again.
		o.err = job.Skip(err)
	}
	d := w.deps.Policy.After(Failure{Type: it.Entry.Type, Record: it.Entry.Retry, Attempt: it.Attempt, Err: o.err, Ended: ended, Panicked: o.panicked})
	w.tell(it, d.Outcome, o.err)
	switch d.Outcome {
	case job.Buried:
		w.warn("job is dead", it, "attempts", d.Attempts, "error", d.Error, o.where())
		return w.dead(it, d.Attempts, d.Error)
	case job.Failed:
		w.warn("attempt failed", it, "attempt", it.Attempt, "error", d.Error, "retry_in", d.Delay.Round(time.Millisecond), o.where())
		prior := shardOf(it).Before(d.Record, time.Now())
		it.Prior = &prior
		return job.Completion{Outcome: job.Failed, Data: d.Record}
	default:
		return job.Completion{Outcome: job.HandBack}
	}
}

// warn logs what became of a job.
func (w *Worker) warn(what string, it *lanes.Item, args ...any) {
	w.deps.Log.Warn(what, append([]any{"job_id", w.id(it), "type", it.Entry.Type, "key", it.Entry.Key}, args...)...)
}

// tell tells whoever wants to know how an attempt has ended. What that does ends nothing here.
func (w *Worker) tell(it *lanes.Item, how job.Outcome, err error) {
	if w.deps.Ended == nil {
		return
	}
	e := Ended{Job: w.delivery(it), Outcome: how, Err: err, Took: time.Since(it.Began())}
	if why := job.Apart(func() { w.deps.Ended(e) }); why != "" {
		w.deps.Log.Error("the hook for ended attempts did not return", "job_id", w.id(it), "why", why)
	}
}

func (w *Worker) id(it *lanes.Item) string {
	return job.ID{Partition: it.Tenure.Partition, Entry: it.Entry.ID}.String()
}

// Broken implements driver.Host: an entry that cannot be run is a dead letter.
func (s *shard) Broken(it *lanes.Item) job.Completion {
	reason := "cannot be run: " + it.Entry.Broken.Why
	s.w.warn("job cannot be run", it, "reason", reason)
	return s.w.dead(it, 0, reason)
}

// finish hands the end of a run to the acker of its shard.
func (w *Worker) finish(it *lanes.Item, c job.Completion) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pool.Finished(it, c)
}
