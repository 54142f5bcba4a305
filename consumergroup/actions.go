package consumergroup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"ringmaster/job"
	"ringmaster/resize"
)

// claimPageSize keeps a claim short: larger pages delay everybody else at the server, and
// the first job of the partition.
const claimPageSize = 32

var errEvicted = errors.New("incarnation was evicted")

// step feeds the participant events and does what it wants, until nothing is left.
func (s *shard) step(ctx context.Context, events ...resize.ParticipantEvent) error {
	for len(events) > 0 {
		var actions []resize.ParticipantAction
		for _, ev := range events {
			more, err := s.brain.Step(ev)
			if err != nil {
				return fmt.Errorf("participant: %w", err)
			}
			actions = append(actions, more...)
		}
		var err error
		if events, err = s.perform(ctx, actions); err != nil {
			return err
		}
		if !s.unsure {
			s.hears()
		}
	}
	return nil
}

// perform does a round of actions and returns the events that answer them. What needs no
// round trip comes first, and what it opened starts before anything waits; then releases,
// claims and readings, each kind in one round trip: no action of a round rests on the
// answer to another of it.
func (s *shard) perform(ctx context.Context, actions []resize.ParticipantAction) ([]resize.ParticipantEvent, error) {
	var claims []resize.ClaimPartition
	var releases []resize.ReleasePartition
	var unblocks []resize.Unblock
	read := false
	for _, a := range actions {
		switch a := a.(type) {
		case resize.ClaimPartition:
			claims = append(claims, a)
		case resize.ReleasePartition:
			releases = append(releases, a)
		case resize.Unblock:
			unblocks = append(unblocks, a)
		case resize.ReadRecords:
			read = true
		case resize.OpenGate:
			s.setGate(a.Part, a.Epoch, true)
		case resize.ReopenGate:
			s.setGate(a.Part, a.Epoch, true)
		case resize.CloseGate:
			s.setGate(a.Part, a.Epoch, false)
		case resize.StartReading:
			s.startReading(a.Part, a.Epoch)
		case resize.DropPartition:
			s.drop(a)
		case resize.Report:
			s.report(a)
		case resize.Rejoin:
			return nil, errEvicted
		default:
			return nil, fmt.Errorf("participant wants %v, which is not known here", a)
		}
	}
	s.startOpened()
	events := append(s.release(ctx, releases), s.claim(ctx, claims)...)
	events = append(events, s.unblock(ctx, unblocks)...)
	if read {
		more, err := s.readRecords(ctx)
		if err != nil {
			return nil, err
		}
		events = append(events, more...)
	}
	return events, nil
}

func (s *shard) tenure(part int, epoch uint64) *tenure {
	if t := s.tenures[part]; t != nil && t.Epoch == epoch {
		return t
	}
	return nil
}

// claim takes over pages of pending jobs.
func (s *shard) claim(ctx context.Context, as []resize.ClaimPartition) []resize.ParticipantEvent {
	if len(as) == 0 {
		return nil
	}
	tenures, cursors := make([]job.Tenure, len(as)), make([]string, len(as))
	s.w.mu.Lock()
	for i, a := range as {
		t := s.tenure(a.Part, a.Epoch)
		if t == nil {
			t = newTenure(s, job.Tenure{Partition: a.Part, Epoch: a.Epoch})
			s.tenures[a.Part] = t
		}
		if a.First {
			t.cursor = ""
		}
		tenures[i], cursors[i] = t.Tenure, t.cursor
		if t.cursor == "" && t.passes == 0 && len(t.items) == 0 {
			cursors[i] = job.ClaimAll
		}
	}
	s.w.mu.Unlock()
	pages, errs := s.reader.Claim(ctx, tenures, cursors, claimPageSize)
	events := make([]resize.ParticipantEvent, len(as))
	for i, a := range as {
		out := resize.ClaimAnswered{Part: a.Part, Epoch: a.Epoch}
		switch {
		case errs[i] != nil:
			s.unsure = true
			s.w.deps.Log.Debug("claim was not answered", "partition", a.Part, "epoch", a.Epoch, "error", errs[i])
			out.Outcome = resize.ClaimUnknown
		case pages[i].Fenced:
			out.Outcome = resize.ClaimFenced
		default:
			out.More = s.claimed(a, &pages[i])
		}
		events[i] = out
	}
	return events
}

// claimed takes a page in and reports whether the pass goes on.
func (s *shard) claimed(a resize.ClaimPartition, page *job.ClaimPage) bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	t := s.tenure(a.Part, a.Epoch)
	if t == nil {
		return false
	}
	now := time.Now()
	t.generation = max(t.generation, page.Generation)
	if page.Lost > 0 {
		s.w.deps.Log.Error("jobs are lost: somebody deleted pending entries", "partition", a.Part, "lost", page.Lost)
	}
	if t.passes == 0 {
		for _, k := range page.Parked {
			l := t.lane(k.Key)
			if l.parked == nil {
				l.parked = &parked{first: k.First, left: 1}
			}
		}
	}
	left := s.takePage(t, t.cursor, page, now)
	t.cursor = page.Cursor
	if !lastPage(page) {
		return true
	}
	if left {
		t.cursor = ""
		return true
	}
	t.passes++
	for _, l := range t.lanes {
		s.wantUnpark(l)
	}
	return false
}

func lastPage(page *job.ClaimPage) bool { return page.Cursor == "0-0" || page.Cursor == "" }

// takePage takes in what a page brought that was asked for from a cursor on: permits
// first, so that no key starts beside a former owner's run. It reports whether another
// pass must tell what became of a permit. The lock is held.
func (s *shard) takePage(t *tenure, cursor string, page *job.ClaimPage, now time.Time) bool {
	if t.lastRead.Less(page.LastDelivered) {
		t.lastRead = page.LastDelivered
	}
	freed := maps.Clone(t.blocked)
	from, _ := job.ParseEntryID(cursor)
	to := job.EntryID{Ms: math.MaxUint64, Seq: math.MaxUint64}
	if !lastPage(page) {
		to, _ = job.ParseEntryID(page.Cursor)
	}
	left := t.setPermits(page.Permits, from, to)
	s.w.arrive(t, page.Entries, now)
	for key := range freed {
		if l := t.lanes[key]; l != nil && t.blocked[key] == 0 {
			s.w.dispatch(t, l, now)
			s.wantUnpark(l)
		}
	}
	return left
}

// unblock: somebody says that former owners finished jobs. The messages are hints; the
// pending lists tell, and free the keys if it is so. What one page cannot tell, or no
// answer did, a whole pass of claims will: the hint does not come again.
func (s *shard) unblock(ctx context.Context, as []resize.Unblock) []resize.ParticipantEvent {
	var tenures []job.Tenure
	s.w.mu.Lock()
	for _, a := range as {
		if t := s.tenure(a.Part, a.Epoch); t != nil && !slices.Contains(tenures, t.Tenure) {
			tenures = append(tenures, t.Tenure)
		}
	}
	s.w.mu.Unlock()
	if len(tenures) == 0 {
		return nil
	}
	var events []resize.ParticipantEvent
	pages, errs := s.reader.Claim(ctx, tenures, make([]string, len(tenures)), claimPageSize)
	for i, k := range tenures {
		switch {
		case errs[i] != nil:
			s.unsure = true
			events = append(events, lookAgain(k))
		case pages[i].Fenced:
			s.fenced(k)
		default:
			s.w.mu.Lock()
			if t := s.tenure(k.Partition, k.Epoch); t != nil && s.takePage(t, "", &pages[i], time.Now()) {
				events = append(events, lookAgain(k))
			}
			s.w.mu.Unlock()
		}
	}
	return events
}

// lookAgain has a partition's pending jobs claimed once more, as a message would.
func lookAgain(t job.Tenure) resize.ParticipantEvent {
	return resize.MessageReceived{Message: resize.Message{Type: resize.TypeUndrained, Name: resize.Master, Part: t.Partition, PartEpoch: t.Epoch}}
}

// readRecords reads what the store says of this incarnation.
func (s *shard) readRecords(ctx context.Context) ([]resize.ParticipantEvent, error) {
	if s.unsure {
		if err := s.reset(ctx); err != nil {
			return nil, err
		}
	}
	for {
		snap, err := s.reader.Snapshot(ctx)
		if err == nil {
			return s.snapshotEvents(snap), nil
		}
		if err := s.readFailed(ctx, err); err != nil {
			return nil, err
		}
		if err := s.reset(ctx); err != nil {
			return nil, err
		}
	}
}

func (s *shard) snapshotEvents(snap job.Snapshot) []resize.ParticipantEvent {
	if snap.Fenced {
		return []resize.ParticipantEvent{resize.Evicted{}}
	}
	ev := resize.SnapshotRead{Owned: map[int]uint64{}, Plan: map[int]string{}, RingState: ringState(snap.Beat)}
	for _, o := range snap.Owned {
		ev.Owned[o.Partition], ev.Plan[o.Partition] = o.Epoch, o.Planned
	}
	s.w.mu.Lock()
	parts := make([]job.Tenure, 0, len(s.tenures))
	for _, t := range s.tenures {
		if t.passes > 0 && len(t.permits) > 0 {
			parts = append(parts, t.Tenure)
		}
	}
	s.w.mu.Unlock()
	events := []resize.ParticipantEvent{ev}
	// A lost hint about a drainer would block its key for ever: look again.
	for _, t := range parts {
		events = append(events, lookAgain(t))
	}
	return events
}

func ringState(b job.Beat) resize.RingState {
	mode, err := resize.ParseMode(b.Mode)
	if err != nil {
		mode = resize.ModeKey
	}
	return resize.RingState{Epoch: b.RingEpoch, Phase: resize.Phase(b.Phase), Mode: mode, Change: b.Change}
}

// setGate opens or closes a gate. Closing is one step with knowing what runs.
func (s *shard) setGate(part int, epoch uint64, open bool) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	t := s.tenure(part, epoch)
	if t == nil {
		return
	}
	s.w.deps.Log.Debug("gate", "partition", part, "epoch", epoch, "open", open)
	t.gate = open
	if open {
		t.closedAt = time.Time{}
		delete(s.closing, t)
		s.opened = append(s.opened, t)
		return
	}
	t.closedAt = time.Now()
	s.closing[t] = true
	s.barrier = true
	s.runEnded(t)
}

// startOpened dispatches what the gates that were opened let through, all together: the
// first partition to open would otherwise take every executor before the second one does.
func (s *shard) startOpened() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	now := time.Now()
	for _, t := range s.opened {
		if t.gate {
			s.w.dispatchAll(t, now)
		}
	}
	s.opened = nil
}

func (s *shard) startReading(part int, epoch uint64) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if t := s.tenure(part, epoch); t != nil {
		t.reading = true
	}
}
