package consumergroup

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ringmaster/job"
	"ringmaster/resize"
)

// release gives partitions up.
func (s *shard) release(ctx context.Context, as []resize.ReleasePartition) []resize.ParticipantEvent {
	if len(as) == 0 {
		return nil
	}
	tenures, running := make([]job.Tenure, len(as)), make([][]job.EntryID, len(as))
	s.w.mu.Lock()
	for i, a := range as {
		tenures[i] = job.Tenure{Partition: a.Part, Epoch: a.Epoch}
		if t := s.tenure(a.Part, a.Epoch); t != nil {
			running[i] = t.runningIDs()
		}
	}
	s.w.mu.Unlock()
	outcomes, errs := s.reader.Release(ctx, tenures, running, s.session.alone())
	events := make([]resize.ParticipantEvent, len(as))
	for i, a := range as {
		out := resize.ReleaseAnswered{Part: a.Part, Epoch: a.Epoch}
		switch {
		case errs[i] != nil:
			s.unsure = true
			out.Outcome = resize.ReleaseUnknown
		case outcomes[i] == job.Released:
			out.Outcome = resize.ReleaseFlipped
		case outcomes[i] == job.ReleaseFenced:
			out.Outcome = resize.ReleaseFenced
		default:
			if outcomes[i] == job.ReleaseFailed {
				s.w.deps.Log.Error("release was refused: the pending list did not move whole", "partition", a.Part)
			}
			out.Outcome = resize.ReleaseKept
		}
		events[i] = out
	}
	return events
}

// drop forgets a tenure. Its runs go on under permits, or are cancelled.
func (s *shard) drop(a resize.DropPartition) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	t := s.tenure(a.Part, a.Epoch)
	if t == nil {
		return
	}
	delete(s.tenures, a.Part)
	// Its gate closes with it, and may have been the last one that was open.
	s.barrier = s.barrier || t.gate
	s.w.abandon(t, a.Cancel)
	if !a.Cancel && t.running > 0 {
		if t.closedAt.IsZero() {
			t.closedAt = time.Now()
		}
		s.closing[t] = true
	} else {
		delete(s.closing, t)
	}
	s.runEnded(t)
}

// abandon ends a tenure's claim on everything that does not run. The lock is held.
func (w *Worker) abandon(t *tenure, cancelRuns bool) {
	t.over, t.lost, t.gate, t.reading = true, cancelRuns, false, false
	for id, it := range t.items {
		switch it.state {
		case running, ending:
			if cancelRuns && it.ctx != nil {
				it.ctx.end(job.ErrLost)
			}
		default:
			if it.permit && it.state != parking {
				w.began(it) // its attempt ended while the hand-over was under way
				w.giveBack(it)
				continue
			}
			delete(t.items, id)
			w.heldBytes -= len(it.entry.Payload)
		}
	}
	t.lanes = map[string]*lane{}
}

func (s *shard) report(a resize.Report) {
	data := fmt.Sprintf(`{"epoch":"%d","ack":"ok"}`, a.Epoch)
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if a.Phase == resize.Stopping {
		data = fmt.Sprintf(`{"epoch":"%d","current_job":{%s}}`, a.Epoch, s.currentJobs())
	}
	s.reports = append(s.reports, report{a.Epoch, int(a.Phase), data})
	s.wakeAcker()
}

// currentJobs are the last ids handed out, by partition, as JSON members.
func (s *shard) currentJobs() string {
	parts := make([]int, 0, len(s.tenures))
	for p := range s.tenures {
		parts = append(parts, p)
	}
	slices.Sort(parts)
	out := ""
	for i, p := range parts {
		if i > 0 {
			out += ","
		}
		out += fmt.Sprintf(`"%d":"%s"`, p, s.tenures[p].lastRead)
	}
	return out
}
