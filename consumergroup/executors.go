package consumergroup

import (
	"time"

	"ringmaster/consumergroup/driver"
	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
)

// crew is the worker as its lanes know it: who runs the jobs. The worker's lock is held.
type crew struct{ w *Worker }

func (c crew) Ready() { c.w.idle.Signal() }
func (c crew) Quiet() { c.w.idle.Broadcast() }

// Alarm tells the alarm goroutine that an earlier alarm was set.
func (c crew) Alarm() {
	select {
	case c.w.alarmSet <- struct{}{}:
	default:
	}
}

// next hands over how the last job ended, if there is one, and waits for the next to run.
// It returns nil when the worker is done.
func (w *Worker) next(last *lanes.Item, c job.Completion) *lanes.Item {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last != nil {
		w.pool.Finished(last, c)
	}
	for !w.done {
		if it := w.start(time.Now()); it != nil {
			return it
		}
		w.idle.Wait()
	}
	return nil
}

// start starts the next job, nil if none may start now. The lock is held.
func (w *Worker) start(now time.Time) *lanes.Item {
	if !w.leaseValid(now) {
		return nil
	}
	it := w.pool.Next(now)
	if it != nil {
		it.Run = newRunContext(shardOf(it).session.work, now.Add(w.limit(it)), it)
		it.Fence = job.NewFence(it.Tenure.Generation, it.Tenure.Epoch)
	}
	return it
}

// limit is how long an attempt may take.
func (w *Worker) limit(it *lanes.Item) time.Duration {
	if own := w.deps.Limits[it.Entry.Type]; own > 0 {
		return own
	}
	return w.cfg.HandlerTimeout
}

// shardOf is the shard an item was read from.
func shardOf(it *lanes.Item) *shard { return it.Tenure.Shard.Host().(*driver.Driver).Host().(*shard) }

// ringAlarms offers jobs when their backoff is over, until done is closed.
func (w *Worker) ringAlarms(done <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		w.mu.Lock()
		now, wait := time.Now(), time.Hour
		if at, set := w.pool.Ring(now); set {
			wait = at.Sub(now)
		}
		w.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-w.alarmSet:
		case <-done:
			return
		}
	}
}
