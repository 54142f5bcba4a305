package driver

import (
	"context"
	"fmt"
	"strings"

	"ringmaster/job"
	"ringmaster/resize"
)

// release gives partitions up.
func (d *Driver) release(ctx context.Context, as []resize.ReleasePartition) []resize.ParticipantEvent {
	if len(as) == 0 {
		return nil
	}
	tenures, running := make([]job.Tenure, len(as)), make([][]job.EntryID, len(as))
	d.lock.Lock()
	for i, a := range as {
		tenures[i] = job.Tenure{Partition: a.Part, Epoch: a.Epoch}
		running[i] = d.lanes.Naming(a.Part, a.Epoch)
	}
	d.lock.Unlock()
	answers, errs := d.reader.Release(ctx, tenures, running, d.host.Alone())
	events := make([]resize.ParticipantEvent, len(as))
	for i, a := range as {
		out := resize.ReleaseAnswered{Part: a.Part, Epoch: a.Epoch}
		switch {
		case errs[i] != nil:
			d.doubt()
			out.Outcome = resize.ReleaseUnknown
		case answers[i].Outcome == job.Released:
			out.Outcome, out.Change = resize.ReleaseFlipped, answers[i].Change
			if lost := answers[i].Lost; lost > 0 {
				d.log.Error(jobsLost, "partition", a.Part, "lost", lost)
			}
		case answers[i].Outcome == job.ReleaseFenced:
			out.Outcome = resize.ReleaseFenced
		default:
			if answers[i].Outcome == job.ReleaseFailed {
				d.log.Error("release was refused: the pending list did not move whole", "partition", a.Part)
			}
			out.Outcome = resize.ReleaseKept
		}
		events[i] = out
	}
	return events
}

// drop forgets a tenure. Its runs go on under permits, or are cancelled.
func (d *Driver) drop(a resize.DropPartition) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.lanes.Drop(a.Part, a.Epoch, a.Cancel, d.clock.Now())
}

func (d *Driver) report(a resize.Report) {
	data := fmt.Sprintf(`{"epoch":"%d","ack":"ok"}`, a.Epoch)
	d.lock.Lock()
	defer d.lock.Unlock()
	if a.Phase == resize.Stopping {
		data = fmt.Sprintf(`{"epoch":"%d","current_job":{%s}}`, a.Epoch, d.currentJobs())
	}
	d.reports = append(d.reports, report{a.Epoch, int(a.Phase), data})
	d.due.Set()
}

// currentJobs are the last ids handed out, by partition, as JSON members.
func (d *Driver) currentJobs() string {
	var out []string
	for _, t := range d.lanes.Tenures() {
		out = append(out, fmt.Sprintf(`"%d":"%s"`, t.Partition, t.LastRead))
	}
	return strings.Join(out, ",")
}
