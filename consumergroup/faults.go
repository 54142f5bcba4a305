package consumergroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
	"ringmaster/resize"
)

// doubt: a call was not answered. Nothing starts, and nothing is asked of the store, until the
// connection was made anew and the records were read; see reset.
func (s *shard) doubt() {
	s.unsure = true
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.resting = false
	s.lanes.Doubt()
}

// beaten takes the answer to a heartbeat. It may tell of a new generation before the reader's
// own connection is known to be lost, as where the server before hangs: no tenure has the epoch
// any more that it had. Or a plan has brought this shard to the epoch of another that had a new
// generation, and the participant may know of it. So the reader looks, whatever the numbers say.
func (s *shard) beaten(b job.Beat) {
	s.w.mu.Lock()
	if b.RingEpoch >= s.epoch+job.GenerationJump && s.epoch > 0 {
		s.lanes.Doubt()
		s.look = true
	}
	s.epoch = max(s.epoch, b.RingEpoch)
	news := s.look || !s.resting || len(s.events) > 0 || !ringState(b).Same(s.rest)
	s.w.mu.Unlock()
	if news {
		s.post(resize.BeatAnswered{RingState: ringState(b)})
	}
}

// stirs notes that the participant has news, and settles that it has acted on them: at rest, what
// a heartbeat brings is compared without waking the reader.
func (s *shard) stirs() {
	s.w.mu.Lock()
	s.resting = false
	s.w.mu.Unlock()
}

func (s *shard) settles() {
	rest, resting := s.brain.Rest()
	s.w.mu.Lock()
	s.rest, s.resting = rest, resting && !s.unsure
	stirred := !s.resting
	s.w.mu.Unlock()
	if stirred {
		select {
		case s.session.stirred <- struct{}{}:
		default:
		}
	}
}

// lookWanted reports, once, whether a heartbeat has stopped the starts.
func (s *shard) lookWanted() bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	wanted := s.look
	s.look = false
	return wanted
}

// reset replaces the connection after a call without an answer, reads the records, and merges
// the worker's own pending list before anything else is read. It tries until ctx ends. The
// server may have come back with an older state, in which entries that were claimed are marked
// again: another look follows.
func (s *shard) reset(ctx context.Context) error {
	pause, told, word := 20*time.Millisecond, false, time.Time{}
	if s.unsure { // not so for the first connection
		s.w.mu.Lock()
		s.lanes.Unanswered()
		s.w.mu.Unlock()
	}
	for {
		err := s.reader.Reset(ctx)
		if err == nil {
			err = s.takeStock(ctx)
		}
		switch {
		case err == nil:
			s.unsure = false
			s.hears()
			if told {
				s.w.deps.Log.Info("server answers again")
			}
			return nil
		case errors.Is(err, job.ErrKillRefused):
			s.w.deps.Log.Warn("rejoining as a new incarnation: an unanswered read may still be executed", "error", err)
			return errEvicted
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if now := time.Now(); !now.Before(word) {
			s.w.deps.Log.Warn("server does not answer: trying until it does", "error", err)
			told, word = true, now.Add(job.NextWord)
		}
		if !sleep(ctx, pause) {
			return context.Cause(ctx)
		}
		pause = min(2*pause, time.Second)
	}
}

// takeStock compares what this incarnation has with the records, over a new connection: another
// server may answer now, under another generation. Of tenures that the records still have the
// own pending list is merged, and they go on. What is pending of the others is left to the
// tenures that follow: taken in here, it would start twice, first under the old fence.
func (s *shard) takeStock(ctx context.Context) error {
	snap, err := s.reader.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("look at the records: %w", err)
	}
	if snap.Fenced {
		s.post(resize.Evicted{})
		return nil
	}
	owned := epochs(snap)
	if err := s.mergeHistory(ctx, owned); err != nil {
		return err
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.epoch = max(s.epoch, snap.RingEpoch)
	s.events = append(s.events, resize.BeatAnswered{RingState: ringState(snap.Beat)})
	for _, t := range s.lanes.Tenures() {
		if epoch, has := owned[t.Partition]; has && epoch == t.Epoch {
			s.events = append(s.events, lookAgain(t.Tenure))
		} else {
			s.events = append(s.events, resize.PartitionFenced{Part: t.Partition, Epoch: t.Epoch})
		}
	}
	s.lanes.Confirm(owned, time.Now())
	return nil
}

// mergeHistory reads what the store has handed to this incarnation of the tenures that the
// records still have, and takes in what it does not know of. No end may be in flight meanwhile:
// its job would look new.
func (s *shard) mergeHistory(ctx context.Context, owned map[int]uint64) error {
	s.w.mu.Lock()
	parts := slices.Clone(s.lanes.Tenures())
	s.w.mu.Unlock()
	parts = slices.DeleteFunc(parts, func(t *lanes.Tenure) bool { return owned[t.Partition] != t.Epoch })
	if len(parts) == 0 {
		return nil
	}
	if err := s.merge.Close(ctx); err != nil {
		return fmt.Errorf("wait for acks in flight: %w", err)
	}
	defer s.merge.Open()
	for _, t := range parts {
		entries, err := s.reader.History(ctx, t.Partition)
		if errors.Is(err, job.ErrGroupGone) {
			continue // lost meanwhile; the next read tells
		}
		if err != nil {
			return fmt.Errorf("merge own pending list: %w", err)
		}
		s.w.mu.Lock()
		s.lanes.Merge(t, entries, time.Now())
		s.w.mu.Unlock()
	}
	return nil
}

// readFailed decides what a failed read means. An error it returns ends the session.
func (s *shard) readFailed(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, job.ErrGroupGone):
		return s.groupGone(ctx)
	case errors.Is(err, job.ErrOutcomeUnknown), errors.Is(err, job.ErrUnavailable):
		s.doubt()
		return nil
	}
	s.w.deps.Log.Error("read was refused", "error", err)
	return s.quarantine(ctx)
}

// groupGone: a partition, or the whole membership, is lost. The records tell which. If
// they say that nothing is, somebody deleted a group: it is made again.
func (s *shard) groupGone(ctx context.Context) error {
	s.gone++
	events, err := s.readRecords(ctx)
	if err != nil {
		return err
	}
	if err := s.step(ctx, events...); err != nil {
		return err
	}
	if s.gone < 2 {
		return nil
	}
	s.w.mu.Lock()
	var parts []int
	for _, t := range s.lanes.Tenures() {
		parts = append(parts, t.Partition)
	}
	s.w.mu.Unlock()
	mended, err := s.session.member.Heal(ctx, parts)
	for _, m := range mended {
		s.w.deps.Log.Error("state was lost at the server", "mended", m)
	}
	if err != nil && !waitable(err) {
		return err
	}
	if err == nil && len(mended) == 0 && s.gone > 3 {
		// Not a partition: the control stream itself is gone, so messages are lost.
		s.w.deps.Log.Warn("control stream is gone: rejoining as a new incarnation")
		return errEvicted
	}
	if !sleep(ctx, 10*time.Millisecond) {
		return context.Cause(ctx)
	}
	return nil
}

// quarantine finds the partitions whose stream cannot be read (another type was written
// there by hand, say) and leaves them out for a while; the others go on.
func (s *shard) quarantine(ctx context.Context) error {
	parts, _, _ := s.toRead()
	found := false
	for _, p := range parts {
		b, err := s.reader.Read(ctx, []int{p}, 1, -1)
		if err == nil {
			s.take(b.Jobs)
			if err := s.messages(ctx, b.Control); err != nil {
				return err
			}
			continue
		}
		if errors.Is(err, job.ErrGroupGone) || waitable(err) {
			return s.readFailed(ctx, err)
		}
		found = true
		s.w.deps.Log.Error("partition cannot be read: left out for 5 s, the others go on", "partition", p, "error", err)
		s.w.mu.Lock()
		s.lanes.LeaveOut(p, time.Now().Add(5*time.Second))
		s.w.mu.Unlock()
	}
	if !found && !sleep(ctx, 200*time.Millisecond) {
		return context.Cause(ctx)
	}
	return nil
}

// drainTimers ends the contexts of runs that keep a moved or moving partition too long.
func (s *shard) drainTimers() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.lanes.Overdue(time.Now(), s.w.cfg.DrainTimeout-s.w.cfg.grace())
}
