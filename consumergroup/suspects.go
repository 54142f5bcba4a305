package consumergroup

import (
	"context"
	"errors"
	"time"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
)

// markWithin bounds the calls before the start of a suspect that is held apart: the others wait.
const markWithin = time.Second

// tried does what comes before the start of a suspect: its deaths are weighed, and its mark is
// written. It reports whether the job may start; if it may not, then how it ends, if it does.
func (w *Worker) tried(it *lanes.Item) (c job.Completion, ends, starts bool) {
	if it.Prior.Weigh {
		guilty, why, err := w.weigh(it)
		if err != nil {
			w.later(it, err)
			return c, false, false
		}
		if guilty {
			w.warn("job is dead", it, "attempts", it.Prior.Attempts, "error", why)
			return w.dead(it, it.Prior.Attempts, why), true, false
		}
	}
	if err := w.mark(it); err != nil {
		w.later(it, err)
		return c, false, false
	}
	return c, false, true
}

// weigh asks whether a job's deaths make it guilty.
func (w *Worker) weigh(it *lanes.Item) (guilty bool, why string, err error) {
	ctx, cancel := context.WithTimeout(shardOf(it).session.work, markWithin/2)
	defer cancel()
	deaths, err := shardOf(it).session.member.Deaths(ctx, it.Tenure.Partition)
	if err != nil {
		return false, "", err
	}
	guilty, why = w.deps.Policy.Guilty(it.Entry.Retry, deaths)
	return guilty, why, nil
}

// mark writes a suspect's mark. One that was not written in time to be true is written again:
// others may have started beside the suspect.
func (w *Worker) mark(it *lanes.Item) error {
	ctx, cancel := context.WithTimeout(shardOf(it).session.work, w.cfg.LeaseTTL)
	defer cancel()
	member := shardOf(it).session.member
	w.mu.Lock()
	runs := w.pool.Apart(it)
	w.mu.Unlock()
	if runs > 0 {
		call, stop := context.WithTimeout(ctx, markWithin/2)
		err := member.Mark(call, it.Tenure.Tenure, it.Entry.ID, runs+w.cfg.Elsewhere, it.Prior.Apart)
		stop()
		if err != nil {
			return err
		}
		w.mu.Lock()
		apart := w.pool.Marked(it, time.Now())
		w.mu.Unlock()
		if apart {
			return nil
		}
	}
	return member.Mark(ctx, it.Tenure.Tenure, it.Entry.ID, 0, 0)
}

// later puts a suspect back that could not be prepared.
func (w *Worker) later(it *lanes.Item, err error) {
	if errors.Is(err, job.ErrFenced) {
		shardOf(it).driver.Fenced(it.Tenure.Tenure)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	later := *it.Prior
	later.NotBefore = time.Now().Add(200 * time.Millisecond)
	it.Prior = &later
	w.pool.PutBack(it, time.Now())
}
