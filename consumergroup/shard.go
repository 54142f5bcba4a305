package consumergroup

import (
	"context"
	"errors"
	"slices"
	"time"

	"ringmaster/job"
	"ringmaster/resize"
)

// shard is one incarnation's part in one shard of the queue. Its reader goroutine owns
// the participant; everything else is guarded by the worker's mutex.
type shard struct {
	w          *Worker
	session    *session
	number     int
	generation uint64
	reader     Reader
	brain      *resize.Participant
	merge      Gate // ends in flight are its readers, merging the own pending list its writer

	ackWake chan struct{} // capacity 1

	tenures map[int]*tenure
	started []*item // runs whose end is not answered, of any tenure; each knows its place
	over    bool    // the session has ended: nobody asks the store any more
	events  []resize.ParticipantEvent
	ends    []ended
	reports []report
	unpark  []*lane
	unparkT []*tenure
	heard   time.Time // when the reader last had an answer
	blocked bool      // the reader is in a blocking read
	woken   bool      // something came up since it last looked
	poked   bool      // and a poke is on its way

	opened  []*tenure        // gates opened in this step, not dispatched yet
	closing map[*tenure]bool // gates closed, waiting for runs to end
	barrier bool             // all gates were closed: tell when nothing runs
	unsure  bool             // reader goroutine only: the last read's outcome is unknown
	gone    int              // reader goroutine only: consecutive reads that found a group gone
	pokes   chan struct{}    // capacity 1: asks the poker to write a poke
}

// post hands the reader an event and wakes it.
func (s *shard) post(ev resize.ParticipantEvent) {
	s.w.mu.Lock()
	s.events = append(s.events, ev)
	s.wakeReader()
	s.w.mu.Unlock()
}

// fenced tells the reader that a tenure is not ours.
func (s *shard) fenced(t job.Tenure) {
	s.post(resize.PartitionFenced{Part: t.Partition, Epoch: t.Epoch})
}

// wakeReader ends a blocked read, by a message to the incarnation itself. The worker's
// lock is held.
func (s *shard) wakeReader() {
	if !s.blocked {
		s.woken = true
		return
	}
	if s.poked {
		return
	}
	s.poked = true
	select {
	case s.pokes <- struct{}{}:
	default:
	}
}

// runPoker writes pokes, so that nobody who makes room has to wait for the store.
func (s *shard) runPoker(ctx context.Context) {
	for {
		select {
		case <-s.pokes:
		case <-ctx.Done():
			return
		}
		call, cancel := context.WithTimeout(ctx, s.w.cfg.Block)
		err := s.session.member.Poke(call, s.number)
		cancel()
		s.w.mu.Lock()
		s.poked = s.poked && err == nil
		s.w.mu.Unlock()
	}
}

// roomMade wakes the reader if a partition that was left out of the read has room again.
// The worker's lock is held.
func (s *shard) roomMade(t *tenure) {
	if t.leftOut && len(t.items) <= s.window(len(s.tenures))/2 && s.w.heldBytes < s.w.cfg.HeldBytes {
		t.leftOut = false
		s.wakeReader()
	}
}

// wantUnpark asks the reader for parked jobs once few of the key are left here. The
// worker's lock is held.
func (s *shard) wantUnpark(l *lane) {
	p := l.parked
	if p == nil || l.wanted || len(l.queue) > s.w.cfg.ParkBeyond/2 {
		return
	}
	t := s.tenureOf(l)
	if t == nil || (p.left == 0 && len(p.flight) > 0) {
		return
	}
	if p.left == 0 {
		l.parked = nil
		return
	}
	if now := time.Now(); t.held(l, now) && len(l.queue) > 0 {
		return
	}
	l.wanted = true
	s.unpark = append(s.unpark, l)
	s.unparkT = append(s.unparkT, t)
	s.wakeReader()
}

func (s *shard) tenureOf(l *lane) *tenure {
	t := s.tenures[job.PartitionOf(l.key, s.w.partitions)]
	if t == nil || t.lanes[l.key] != l {
		return nil
	}
	return t
}

// runEnded tells the reader what it waits for while gates are closed. The worker's lock is held.
func (s *shard) runEnded(t *tenure) {
	if s.closing[t] && t.running == 0 {
		delete(s.closing, t)
		s.events = append(s.events, resize.PartitionIdle{Part: t.Partition, Epoch: t.Epoch})
		s.wakeReader()
	}
	if s.barrier && s.nothingRuns() {
		s.barrier = false
		s.events = append(s.events, resize.RunsEnded{})
		s.wakeReader()
	}
}

// nothingRuns reports whether all gates are closed and nothing runs in this worker.
func (s *shard) nothingRuns() bool {
	for _, t := range s.tenures {
		if t.gate {
			return false
		}
	}
	return s.w.runs == 0
}

// run is the reader: it ends with the session, or with an error that ends it.
func (s *shard) run(ctx context.Context) error {
	defer func() { _ = s.reader.Close() }()
	if err := s.reset(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := s.turn(ctx); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// turn is one round: events, what a lost answer left open, a read.
func (s *shard) turn(ctx context.Context) error {
	if err := s.handleEvents(ctx); err != nil {
		return err
	}
	if s.unsure {
		return s.reset(ctx)
	}
	if err := s.unparkWanted(ctx); err != nil {
		return err
	}
	parts, count := s.toRead()
	if !s.startBlocking() {
		return nil
	}
	batch, err := s.reader.Read(ctx, parts, count, s.w.cfg.Block)
	s.endBlocking()
	if err != nil {
		return s.readFailed(ctx, err)
	}
	s.gone = 0
	s.hears()
	if len(batch.Jobs) > 0 {
		s.take(batch.Jobs)
	}
	return s.messages(ctx, batch.Control)
}

// hears notes that the reader has had an answer.
func (s *shard) hears() {
	s.w.mu.Lock()
	s.heard = time.Now()
	s.w.mu.Unlock()
}

// deafFor is how long the reader has had no answer.
func (s *shard) deafFor(now time.Time) time.Duration {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return now.Sub(s.heard)
}

// startBlocking announces a blocking read, unless there is something to do first.
func (s *shard) startBlocking() bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.woken || len(s.events) > 0 || len(s.unpark) > 0 {
		s.woken = false
		return false
	}
	s.blocked = true
	return true
}

func (s *shard) endBlocking() {
	s.w.mu.Lock()
	s.blocked, s.poked = false, false
	for _, t := range s.tenures {
		t.leftOut = false
	}
	s.w.mu.Unlock()
}

// window is how many entries of one partition may be held: what is held must be moved
// when the partition is, so with many partitions each holds less.
func (s *shard) window(open int) int {
	return max(min(s.w.cfg.Window, s.w.cfg.ReadBudget/max(open, 1)), min(s.w.cfg.Window, minWindow))
}

// minWindow is more than can be under way for one partition between two reads.
const minWindow = 32

// toRead chooses the partitions with room, and how much to ask of each.
func (s *shard) toRead() ([]int, int) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	open := 0
	for _, t := range s.tenures {
		if t.reading && t.gate {
			open++
		}
	}
	if open == 0 {
		return nil, 1
	}
	now := time.Now()
	window := s.window(open)
	count := max(1, min(128, s.w.cfg.ReadBudget/open, window/2))
	full := s.w.heldBytes >= s.w.cfg.HeldBytes
	parts := make([]int, 0, open)
	for _, t := range s.tenures {
		if !t.reading || !t.gate || t.brokenUntil.After(now) {
			continue
		}
		if full || t.stalled > 0 || window-len(t.items) < count {
			t.leftOut = true
			s.w.shed(t, now)
			continue
		}
		parts = append(parts, t.Partition)
	}
	return parts, count
}

// take hands new jobs to their lanes.
func (s *shard) take(jobs []job.PartitionEntries) {
	now := time.Now()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for _, pe := range jobs {
		if t := s.tenures[pe.Partition]; t != nil {
			s.w.arrive(t, pe.Entries, now)
		}
	}
}

// messages decodes control entries and lets the participant act on them.
func (s *shard) messages(ctx context.Context, entries []job.ControlEntry) error {
	if len(entries) == 0 {
		return nil
	}
	ids := make([]string, len(entries))
	var events []resize.ParticipantEvent
	for i, e := range entries {
		ids[i] = e.ID
		if e.Fields["type"] == "drain" {
			s.session.drain()
			continue
		}
		m, err := resize.Decode(e.Fields)
		if err != nil {
			s.w.deps.Log.Warn("control message ignored", "entry_id", e.ID, "error", err)
			continue
		}
		events = append(events, resize.MessageReceived{Message: m})
	}
	if err := s.step(ctx, events...); err != nil {
		return err
	}
	if err := s.reader.AckControl(ctx, ids); err != nil && !errors.Is(err, job.ErrGroupGone) {
		return s.readFailed(ctx, err)
	}
	return nil
}

// handleEvents feeds the participant what others posted.
func (s *shard) handleEvents(ctx context.Context) error {
	s.drainTimers()
	s.w.mu.Lock()
	events := s.events
	s.events = nil
	s.w.mu.Unlock()
	events = slices.DeleteFunc(events, func(ev resize.ParticipantEvent) bool {
		_, is := ev.(resize.RunsEnded)
		return is && !s.stillIdle()
	})
	return s.step(ctx, events...)
}

// stillIdle looks again: gates may have opened since the event was posted.
func (s *shard) stillIdle() bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.barrier = !s.nothingRuns()
	return !s.barrier
}

// unparkWanted brings parked jobs back for the keys that ran low.
func (s *shard) unparkWanted(ctx context.Context) error {
	s.w.mu.Lock()
	lanes, tenures := s.unpark, s.unparkT
	s.unpark, s.unparkT = nil, nil
	s.w.mu.Unlock()
	for i, l := range lanes {
		t := tenures[i]
		if s.stall(t, l) {
			continue
		}
		page, err := s.reader.Unpark(ctx, t.Tenure, l.key, s.w.cfg.ParkBeyond)
		if err != nil {
			s.w.mu.Lock()
			l.wanted = false
			s.unpark, s.unparkT = append(s.unpark, lanes[i:]...), append(s.unparkT, tenures[i:]...)
			s.w.mu.Unlock()
			return s.readFailed(ctx, err)
		}
		if page.Fenced {
			s.fenced(t.Tenure)
			continue
		}
		s.unparked(t, l, page)
	}
	return nil
}

// stall puts a lane off whose last jobs are not parked yet. Only the reader parks jobs,
// so none can set out while it unparks.
func (s *shard) stall(t *tenure, l *lane) bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if l.stalled || l.parked == nil || len(l.parked.flight) == 0 {
		return l.stalled
	}
	l.stalled = true
	t.stalled++
	return true
}

func (s *shard) unparked(t *tenure, l *lane, page job.UnparkPage) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	l.wanted = false
	p := l.parked
	if t.over || p == nil {
		return
	}
	p.left = page.Left
	p.first = page.First
	if page.Left == 0 {
		l.parked = nil
	}
	s.w.arrive(t, page.Entries, time.Now())
	t.tidy(l)
}
