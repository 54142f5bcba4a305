package consumergroup

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"ringmaster/consumergroup/lanes"
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

	lanes   *lanes.Shard
	events  []resize.ParticipantEvent
	ends    []ended
	reports []report
	heard   time.Time // when the reader last had an answer, or a part of one
	bytes   uint64    // that it had received then
	blocked bool      // the reader is in a blocking read
	woken   bool      // something came up since it last looked
	poked   bool      // and a poke is on its way
	epoch   uint64    // the newest ring epoch that heartbeats and records have told
	look    bool      // a heartbeat has stopped the starts: the reader looks at the records
	resting bool      // the participant waits for nothing, and has seen the ring as it is in rest
	rest    resize.RingState

	completions []job.Completion // acker goroutine only: memory of a batch, used again for the next
	items       []*lanes.Item    // likewise

	held    []resize.ParticipantEvent // reader goroutine only: answers to claims that were not sent, for want of room
	stirred bool                      // reader goroutine only: the participant has had news since they were given

	news   []job.ControlEntry // reader goroutine only: messages that claims have brought along
	unsure bool               // reader goroutine only: the last read's outcome is unknown
	gone   int                // reader goroutine only: consecutive reads that found a group gone
	stands time.Time          // reader goroutine only: when it was told last that partitions are not read
	lined  time.Time          // reader goroutine only: likewise, that jobs wait for others of their type
	pokes  chan struct{}      // capacity 1: asks the poker to write a poke
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
	s.w.mu.Lock()
	s.lanes.DoubtOne(t.Partition, t.Epoch)
	s.w.mu.Unlock()
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

// Tell implements lanes.Host: an event for the participant. The worker's lock is held.
func (s *shard) Tell(ev resize.ParticipantEvent) {
	s.events = append(s.events, ev)
	s.wakeReader()
}

// Wake implements lanes.Host.
func (s *shard) Wake() { s.wakeReader() }

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
	if s.lookWanted() {
		if err := s.takeStock(ctx); err != nil {
			return s.readFailed(ctx, err)
		}
		return nil
	}
	unparked, err := s.unparkWanted(ctx)
	if err != nil {
		return err
	}
	if len(s.news) > 0 {
		return s.messages(ctx, nil)
	}
	parts, count, block := s.toRead()
	s.tellStanding(time.Now())
	if !s.startBlocking() {
		if !unparked {
			return nil
		}
		block = -1 // more is to come back already: new jobs are read in between
	}
	if err := s.skim(ctx); err != nil || s.unsure {
		s.endBlocking()
		return err
	}
	batch, err := s.reader.Read(ctx, parts, count, block)
	s.endBlocking()
	if err != nil {
		return s.readFailed(ctx, err)
	}
	s.gone = 0
	s.hears()
	s.weigh(batch)
	if len(batch.Jobs) > 0 {
		s.take(batch.Jobs)
		runtime.Gosched() // a woken executor starts its job before the next read is made ready
	}
	return s.messages(ctx, batch.Control)
}

// weigh notes how fast an answer came, if it was large enough to tell.
func (s *shard) weigh(batch job.ReadBatch) {
	if batch.Speed == 0 {
		return
	}
	s.w.mu.Lock()
	s.lanes.Carried(batch.Speed)
	s.w.mu.Unlock()
}

// hears notes that the reader has had an answer.
func (s *shard) hears() {
	s.w.mu.Lock()
	s.heard = time.Now()
	s.w.mu.Unlock()
}

// deafFor is how long the reader has had no answer, and nothing of one.
func (s *shard) deafFor(now time.Time) time.Duration {
	received := s.reader.Received()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if received != s.bytes {
		s.bytes, s.heard = received, now
	}
	return now.Sub(s.heard)
}

// startBlocking announces a blocking read, unless there is something to do first.
func (s *shard) startBlocking() bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.woken || (s.stirred && len(s.held) > 0) || len(s.events) > 0 || s.lanes.UnparkWanted() {
		s.woken = false
		return false
	}
	s.blocked = true
	return true
}

func (s *shard) endBlocking() {
	s.w.mu.Lock()
	s.blocked, s.poked = false, false
	s.lanes.ReadEnded()
	s.w.mu.Unlock()
}

// toRead chooses the partitions with room, how much to ask of each, and how long to wait: -1
// for not at all.
func (s *shard) toRead() (parts []int, count int, block time.Duration) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	parts, count, block = s.lanes.ToRead(time.Now())
	longest := s.w.cfg.Block
	if s.resting && s.w.pool.Runs() == 0 {
		longest += longest / 2
	}
	longest = min(longest, s.w.cfg.LeaseTTL/2) // who hears nothing for two leases is deaf
	switch {
	case block < 0:
		block = -1
	case block == 0 || block > longest:
		block = longest
	}
	return parts, count, block
}

// take hands new jobs to their lanes.
func (s *shard) take(jobs []job.PartitionEntries) {
	now := time.Now()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for _, pe := range jobs {
		s.lanes.Arrive(pe.Partition, pe.Entries, now)
	}
}

// messages decodes control entries, those first that claims have brought along, and lets the
// participant act on them.
func (s *shard) messages(ctx context.Context, entries []job.ControlEntry) error {
	entries = append(s.news, entries...)
	s.news = nil
	if len(entries) == 0 {
		return nil
	}
	ids := make([]string, len(entries))
	var events []resize.ParticipantEvent
	for i, e := range entries {
		ids[i] = e.ID
		switch e.Fields["type"] {
		case "drain":
			s.session.drain()
			continue
		case "beat":
			s.session.beatSoon()
			continue
		}
		m, err := resize.Decode(e.Fields)
		if err != nil {
			s.w.deps.Log.Warn("control message ignored", "entry_id", e.ID, "error", err)
			continue
		}
		events = append(events, resize.MessageReceived{Message: m})
	}
	s.stirred = true
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
	s.tellHung(time.Now())
	s.w.mu.Lock()
	events := s.events
	s.events = nil
	s.w.mu.Unlock()
	events = slices.DeleteFunc(events, func(ev resize.ParticipantEvent) bool {
		_, is := ev.(resize.RunsEnded)
		return is && !s.stillIdle()
	})
	if len(s.held) > 0 && (len(events) > 0 || s.stirred || !s.full()) {
		events = append(events, s.held...)
		s.held, s.stirred = nil, false
	}
	return s.step(ctx, events...)
}

// full reports whether claims are to wait for room.
func (s *shard) full() bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.lanes.Full()
}

// stillIdle looks again: gates may have opened since the event was posted.
func (s *shard) stillIdle() bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.lanes.StillIdle()
}

// skim reads new jobs of partitions that have keys with parked jobs.
func (s *shard) skim(ctx context.Context) error {
	s.w.mu.Lock()
	asks := s.lanes.Skims()
	s.w.mu.Unlock()
	if len(asks) == 0 {
		return nil
	}
	pages, errs := s.reader.Skim(ctx, asks)
	var failed error
	now := time.Now()
	s.w.mu.Lock()
	for i, a := range asks {
		switch {
		case errs[i] != nil:
			s.lanes.SkimFailed(a)
			if errors.Is(errs[i], job.ErrOutcomeUnknown) || errors.Is(errs[i], job.ErrUnavailable) {
				failed = cmp.Or(failed, errs[i])
			} // else a plain read finds out the same
		case pages[i].Fenced:
			s.events = append(s.events, resize.PartitionFenced{Part: a.Tenure.Partition, Epoch: a.Tenure.Epoch})
		default:
			s.lanes.Skimmed(a, &pages[i], now)
		}
	}
	s.w.mu.Unlock()
	if failed != nil {
		return s.readFailed(ctx, failed)
	}
	return nil
}

// unparkWanted brings parked jobs back for the keys that ran low. It reports whether there
// were any.
func (s *shard) unparkWanted(ctx context.Context) (bool, error) {
	s.w.mu.Lock()
	wanted := s.lanes.Unparks()
	slices.SortStableFunc(wanted, func(a, b *lanes.Lane) int { return cmp.Compare(a.Tenure.Partition, b.Tenure.Partition) })
	asks := make([]job.Unpark, len(wanted))
	for i, l := range wanted {
		asks[i] = job.Unpark{Tenure: l.Tenure.Tenure, Key: l.Key, Count: l.Asked()}
	}
	s.w.mu.Unlock()
	if len(asks) == 0 {
		return false, nil
	}
	pages, errs := s.reader.Unpark(ctx, asks)
	var failed error
	now := time.Now()
	s.w.mu.Lock()
	for i, l := range wanted {
		switch {
		case errs[i] != nil && !waitable(errs[i]) && !errors.Is(errs[i], job.ErrGroupGone):
			s.w.deps.Log.Error("parked jobs of a key cannot be read: it stands still until its partition moves", "partition", l.Tenure.Partition, "key", l.Key, "error", errs[i])
			l.Spoiled()
		case errs[i] != nil:
			s.lanes.UnparkFailed(wanted[i : i+1])
			failed = cmp.Or(failed, errs[i])
		case pages[i].Fenced:
			s.events = append(s.events, resize.PartitionFenced{Part: l.Tenure.Partition, Epoch: l.Tenure.Epoch})
		default:
			s.lanes.Unparked(l, pages[i], now)
		}
	}
	s.w.mu.Unlock()
	if failed != nil {
		return false, s.readFailed(ctx, failed)
	}
	return true, nil
}
