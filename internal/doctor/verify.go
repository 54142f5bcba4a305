package doctor

import (
	"context"
	"time"

	"ringmaster/job"
	"ringmaster/streams"
)

// Verify audits a queue's journal, while the queue is at work or at rest. ErrConflict: the
// queue keeps no journal. It reads every open job's id and the whole journal.
func Verify(ctx context.Context, s *streams.Store, queue string) (AuditResult, error) {
	var sum AuditResult
	if _, err := s.Inspect().Journal(ctx, queue, 0, "", 1); err != nil {
		return sum, err
	}
	// The order matters: what ends after it was seen here is in the journal by then.
	seen, err := s.Inspect().Sightings(ctx, queue)
	if err != nil {
		return sum, err
	}
	for _, v := range seen {
		a := newAudit(v.Partition, v.Top, v.Added)
		add := func(page []streams.OpenJob) {
			for _, o := range page {
				a.Open(o.ID, o.Key)
			}
		}
		if err := s.Inspect().OpenJobs(ctx, queue, v.Partition, v.Top, add); err != nil {
			return sum, err
		}
		if err := feedJournal(ctx, s, queue, v.Partition, a); err != nil {
			return sum, err
		}
		sum.Add(a.Result())
	}
	return sum, nil
}

func feedJournal(ctx context.Context, s *streams.Store, queue string, partition int, a *audit) error {
	const page = 1000
	for after := ""; ; {
		entries, err := s.Inspect().Journal(ctx, queue, partition, after, page)
		if err != nil {
			return err
		}
		for _, e := range entries {
			a.Ended(ended{JobID: e.JobID, Key: e.Key, Outcome: e.Outcome, Worker: e.Worker, Epoch: e.Epoch})
			after = e.ID
		}
		if len(entries) < page {
			return nil
		}
	}
}

// Inconsistencies are what does not fit in a queue's ring and stays so for as long as
// patience: a look that finds nothing ends it at once. Where nobody leads the ring,
// nobody mends it, and a second is patience enough.
func Inconsistencies(ctx context.Context, s *streams.Store, queue string, patience time.Duration) (found []Inconsistency, led bool, err error) {
	found, led, err = look(ctx, s, queue)
	if err != nil || len(found) == 0 || patience <= 0 {
		return found, led, err
	}
	if !led {
		patience = min(patience, time.Second)
	}
	ticker := time.NewTicker(max(patience/8, 10*time.Millisecond))
	defer ticker.Stop()
	for begin := time.Now(); time.Since(begin) < patience && len(found) > 0; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, led, context.Cause(ctx)
		}
		var again []Inconsistency
		if again, led, err = look(ctx, s, queue); err != nil {
			return nil, led, err
		}
		found = lasting(found, again)
	}
	return found, led, nil
}

// look compares the records and streams of a queue once, and tells whether somebody leads.
func look(ctx context.Context, s *streams.Store, queue string) ([]Inconsistency, bool, error) {
	r, err := s.Inspect().Ring(ctx, queue)
	if err != nil {
		return nil, false, err
	}
	seen, err := s.Inspect().Sightings(ctx, queue)
	if err != nil {
		return nil, false, err
	}
	state := ringState{Queue: queue, Leader: r.Leader, Epoch: r.Epoch, Phase: r.Phase}
	for _, m := range r.Members {
		state.Members = append(state.Members, memberState{Incarnation: m.Incarnation, Up: m.State == "up", LeaseLeft: m.LeaseLeft})
	}
	for _, v := range seen {
		state.Partitions = append(state.Partitions, stateOf(v))
	}
	return consistency(state), r.Leader != "", nil
}

func stateOf(v streams.Sighting) partitionState {
	p := partitionState{Partition: v.Partition, Owner: v.Owner.Incarnation, Planned: v.Planned, Groups: v.Groups,
		Open: v.Last.Less(v.Newest), Type: v.Type}
	for _, h := range v.Pending {
		p.Holders = append(p.Holders, holderState{Consumer: h.Consumer, Drainer: h.Incarnation, Reclaim: h.Reclaim, Count: h.Count})
		p.Open = p.Open || h.Count > 0
	}
	return p
}

// blocked is a key that stands still, and why.
type blocked struct {
	Queue string
	Key   string
	Head  string // job id
	Why   string
}

// blockedKeys are keys whose head cannot run at once, at most limit of them: those with a
// failed attempt behind them, with jobs set aside, or held by a former owner.
func blockedKeys(ctx context.Context, s *streams.Store, queue string, limit int) ([]blocked, error) {
	keys, err := s.Inspect().HeldKeys(ctx, queue, limit)
	if err != nil {
		return nil, err
	}
	var out []blocked
	for _, key := range keys {
		v, err := s.Inspect().Key(ctx, queue, key)
		if err != nil {
			return nil, err
		}
		if v.Head == nil || v.Head.State == job.Running && v.Waiting == 0 {
			continue
		}
		out = append(out, blocked{Queue: queue, Key: key, Head: v.Head.ID, Why: v.Why})
	}
	return out, nil
}
