package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"ringmaster/internal/ledger"
	"ringmaster/job"
)

// reckoning compares what producers were told with what the server knows, where some loss
// is to be expected.
type reckoning struct {
	accepted   int
	forgotten  []loss // acknowledged, and the server knows of no end
	lost       []loss // of these, what no handler ended either
	doubled    []job.ID
	rolledBack int // ended well in a handler, and run again
	unknown    int
}

// loss is one job that is gone.
type loss struct {
	token string
	id    job.ID
	at    time.Time // at which the server took it
}

// reckon pauses the load, waits until everything that is there is done, and counts from
// all ledgers and the journal. It does not need the journal's beginning.
func (r *Rig) reckon(ctx context.Context) (reckoning, error) {
	var k reckoning
	if err := r.hush(ctx); err != nil {
		return k, err
	}
	if err := r.Done(ctx, 60*time.Second); err != nil {
		return k, err
	}
	commits := map[job.ID]int{}
	for p := range r.Queue.Partitions {
		const page = 1000
		for after, more := "", true; more; {
			entries, err := r.Store.Inspect().Journal(ctx, queueName, p, after, page)
			if err != nil {
				return k, fmt.Errorf("read journal: %w", err)
			}
			for _, e := range entries {
				after = e.ID
				if id, err := job.ParseID(e.JobID); err == nil {
					commits[id]++
				}
			}
			more = len(entries) == page
		}
	}
	files, err := filepath.Glob(filepath.Join(r.Dir, "*.ledger"))
	if err != nil {
		return k, fmt.Errorf("find ledgers: %w", err)
	}
	ends := map[job.ID]int{}
	var acks []loss
	for _, f := range files {
		runs := map[uint64]job.ID{}
		_, err := ledger.NewTail(f).Read(func(rec ledger.Record) {
			switch rec.Kind {
			case ledger.Accepted:
				acks = append(acks, loss{rec.Token, rec.Job, time.UnixMilli(int64(rec.Job.Entry.Ms))})
			case ledger.Unknown:
				k.unknown++
			case ledger.Start:
				runs[rec.Seq] = rec.Job
			case ledger.End:
				ends[runs[rec.Run]]++
			default:
			}
		}, func(string, error) {}) // the audit tells of bad lines
		if err != nil {
			return k, err
		}
	}
	k.accepted = len(acks)
	for _, l := range acks {
		if commits[l.id] > 0 {
			continue
		}
		k.forgotten = append(k.forgotten, l)
		if ends[l.id] == 0 {
			k.lost = append(k.lost, l)
		}
	}
	for id, n := range commits {
		if n > 1 {
			k.doubled = append(k.doubled, id)
		}
	}
	for _, n := range ends {
		if n > 1 {
			k.rolledBack++
		}
	}
	r.run.lost(k)
	r.Logf("%d acknowledged, of these %d rolled back (%d before they had run); %d ran again; %d unknown", k.accepted, len(k.forgotten), len(k.lost), k.rolledBack, k.unknown)
	return k, nil
}

// within checks that nothing ended twice, and that some jobs, which are gone, were taken between two moments.
func (k reckoning) within(gone []loss, from, to time.Time) error {
	if len(k.doubled) > 0 {
		return fmt.Errorf("%d jobs ended twice, such as %s", len(k.doubled), k.doubled[0])
	}
	for _, l := range gone {
		if l.at.Before(from) || l.at.After(to) {
			return fmt.Errorf("job %s of %s is lost: taken %v after the first moment at which that may be, %v before the last", l.id, l.token, l.at.Sub(from), to.Sub(l.at))
		}
	}
	return nil
}

// hush pauses the producers and waits until nothing of theirs is under way.
func (r *Rig) hush(ctx context.Context) error {
	for _, p := range r.Live(producer) {
		p.Tell("pause")
	}
	return r.Until(ctx, "producers are quiet", 60*time.Second, func() bool {
		for _, p := range r.Live(producer) {
			if !p.Stats().Paused {
				return false
			}
		}
		return true
	})
}

// loud lets the producers go on.
func (r *Rig) loud() {
	for _, p := range r.Live(producer) {
		p.Tell("resume")
	}
	r.flow = meter{}
}
