package consumergroup

import (
	"context"
	"fmt"
	"strings"
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
		running[i] = s.lanes.Naming(a.Part, a.Epoch)
	}
	s.w.mu.Unlock()
	answers, errs := s.reader.Release(ctx, tenures, running, s.session.alone())
	events := make([]resize.ParticipantEvent, len(as))
	for i, a := range as {
		out := resize.ReleaseAnswered{Part: a.Part, Epoch: a.Epoch}
		switch {
		case errs[i] != nil:
			s.doubt()
			out.Outcome = resize.ReleaseUnknown
		case answers[i].Outcome == job.Released:
			out.Outcome, out.Change = resize.ReleaseFlipped, answers[i].Change
			if lost := answers[i].Lost; lost > 0 {
				s.w.deps.Log.Error(jobsLost, "partition", a.Part, "lost", lost)
			}
		case answers[i].Outcome == job.ReleaseFenced:
			out.Outcome = resize.ReleaseFenced
		default:
			if answers[i].Outcome == job.ReleaseFailed {
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
	s.lanes.Drop(a.Part, a.Epoch, a.Cancel, time.Now())
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
	var out []string
	for _, t := range s.lanes.Tenures() {
		out = append(out, fmt.Sprintf(`"%d":"%s"`, t.Partition, t.LastRead))
	}
	return strings.Join(out, ",")
}
