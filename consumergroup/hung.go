package consumergroup

import (
	"time"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
)

// tellHung tells of handlers that do not return although their time is over: nobody can end them but
// the process, and the key of each waits as long. It says so soon, and then rarely.
func (s *shard) tellHung(now time.Time) {
	for it, over := range s.hung(now) {
		s.w.warn("a handler does not return: its key waits until it does, or this process ends", it, "timed_out_before", over.Round(time.Second))
	}
}

// hung are those that are to be told, with how long their time has been over.
func (s *shard) hung(now time.Time) map[*lanes.Item]time.Duration {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	var out map[*lanes.Item]time.Duration
	for _, it := range s.lanes.Started() {
		ctx, runs := it.Run.(*runContext)
		if !it.Runs() || !runs || now.Before(ctx.deadline.Add(job.FirstWord)) || now.Before(ctx.told.Add(job.NextWord)) {
			continue
		}
		if out == nil {
			out = map[*lanes.Item]time.Duration{}
		}
		ctx.told, out[it] = now, now.Sub(ctx.deadline)
	}
	return out
}
