package lanes

import (
	"cmp"
	"slices"
	"time"

	"ringmaster/job"
	"ringmaster/resize"
)

// Host is who drives the lanes of one shard: a reader that carries out what the
// resize.Participant wants, and an acker that sends ends. Its methods are called from
// within the calls to the shard and its pool, and may not call back.
type Host interface {
	End(it *Item, c job.Completion) // send this end to the store, and give its answer to Answered
	Broken(it *Item) job.Completion // how an entry ends that cannot be run
	// Before reads a retry record, which is not "". The store's times in it become times of the clock
	// that now is of.
	Before(record string, now time.Time) Prior
	Tell(ev resize.ParticipantEvent) // something for the participant
	Wake()                           // the reader has something to do: room, or parked jobs to bring back
}

// Shard is what one incarnation holds of one shard of the queue.
type Shard struct {
	pool     *Pool
	host     Host
	tenures  []*Tenure  // by partition
	started  []*Item    // runs whose end is not answered, of any tenure; each knows its place
	closing  []*Tenure  // gates closed, waiting for runs to end
	opened   []*Tenure  // gates opened, not dispatched yet
	unpark   []*Lane    // that the reader is to bring jobs back for
	skim     []job.Skim // what the reader is to read so
	nextSkim int        // partition at which the next of these begin, where there are many
	skimmed  bool       // they were read last, not the others
	window   int        // entries held of one partition, as of the last choice of what to read
	spare    int        // entries of one partition that may wait for their backoff beside those, as of then
	count    int        // asked of each partition then
	fast     bool       // so many jobs end that windows drain by themselves
	barrier  bool       // all gates were closed: tell when nothing runs
	over     bool       // nobody asks the store any more
	short    bool       // the reader waits for room
}

// NewShard makes a shard that holds nothing yet.
func NewShard(p *Pool, h Host) *Shard { return &Shard{pool: p, host: h, window: p.limits.Window} }

// Host is what NewShard was given.
func (s *Shard) Host() Host { return s.host }

// Tenures are those that go on, by partition. The slice changes with the next call.
func (s *Shard) Tenures() []*Tenure { return s.tenures }

// Started are the runs whose end is not answered, of ended tenures too.
func (s *Shard) Started() []*Item { return s.started }

// Empty reports whether nothing is owned and no hand-over is under way.
func (s *Shard) Empty() bool { return len(s.tenures) == 0 && len(s.closing) == 0 }

func (s *Shard) place(part int) (int, bool) {
	return slices.BinarySearchFunc(s.tenures, part, func(t *Tenure, part int) int { return cmp.Compare(t.Partition, part) })
}

// At is the tenure of a partition, nil if there is none.
func (s *Shard) At(part int) *Tenure {
	if i, ok := s.place(part); ok {
		return s.tenures[i]
	}
	return nil
}

// Find is the tenure of a partition that began with an epoch, nil if there is none.
func (s *Shard) Find(part int, epoch uint64) *Tenure {
	if t := s.At(part); t != nil && t.Epoch == epoch {
		return t
	}
	return nil
}

// Paged is Find once the first page of a claim was answered, and nil before: that page tells
// all that a look could, and of keys with jobs set aside it alone does.
func (s *Shard) Paged(part int, epoch uint64) *Tenure {
	if t := s.Find(part, epoch); t != nil && t.paged {
		return t
	}
	return nil
}

// Claim begins or goes on with a claim of a partition's pending jobs; first begins a pass.
// It returns where the next page begins.
func (s *Shard) Claim(part int, epoch uint64, first bool) (t *Tenure, cursor string) {
	i, ok := s.place(part)
	if !ok || s.tenures[i].Epoch != epoch {
		// A claim that was asked for before a tenure ended says nothing about what is kept of that.
		s.pool.loseOf(s, func(it *Item) bool {
			return it.Tenure.Partition == part && epoch > it.Tenure.Epoch && !follows(it.Tenure.Epoch, epoch)
		})
	}
	switch {
	case !ok:
		t = newTenure(s, job.Tenure{Partition: part, Epoch: epoch})
		s.tenures = slices.Insert(s.tenures, i, t)
	case s.tenures[i].Epoch != epoch:
		t = newTenure(s, job.Tenure{Partition: part, Epoch: epoch})
		s.tenures[i] = t
	default:
		t = s.tenures[i]
	}
	if first {
		t.cursor = ""
	}
	if t.cursor == "" && t.passes == 0 && len(t.items) == 0 {
		return t, job.ClaimAll
	}
	return t, t.cursor
}

// Arrive takes new jobs in.
func (s *Shard) Arrive(part int, entries []job.Entry, now time.Time) {
	if t := s.At(part); t != nil {
		t.short = t.short && len(entries) < s.count
		s.pool.arrive(t, entries, false, now)
		s.pool.weight.noteArrived(entries)
	}
}

// Merge takes in what the store says was handed to a tenure, if that still goes on. Before the
// first page was answered nobody knows which keys have jobs set aside, whose turn is first: then
// it is left to that page, which job.ClaimAll has bring all.
func (s *Shard) Merge(t *Tenure, entries []job.Entry, now time.Time) {
	if s.At(t.Partition) == t && t.paged {
		s.pool.arrive(t, s.pool.adopt(t, entries, now), false, now)
	}
}

// SetGate opens or closes a gate. Closing is one step with knowing what runs. What an
// opened gate lets through starts with StartOpened.
func (s *Shard) SetGate(part int, epoch uint64, open bool, now time.Time) {
	t := s.Find(part, epoch)
	if t == nil {
		return
	}
	t.gate = open
	if open {
		t.closedAt = time.Time{}
		s.closed(t, false)
		s.opened = append(s.opened, t)
		return
	}
	t.closedAt = now
	s.closed(t, true)
	s.barrier = true
	s.runEnded(t)
}

// closed notes whether runs of a tenure are waited for.
func (s *Shard) closed(t *Tenure, is bool) {
	switch i := slices.Index(s.closing, t); {
	case is && i < 0:
		s.closing = append(s.closing, t)
	case !is && i >= 0:
		s.closing = slices.Delete(s.closing, i, i+1)
	}
}

// StartOpened dispatches what the gates that were opened let through, all together: the
// first partition to open would otherwise take every executor before the second one does.
func (s *Shard) StartOpened(now time.Time) {
	for _, t := range s.opened {
		if t.gate {
			s.pool.dispatchAll(t, now)
		}
	}
	s.opened = nil
}

// StartReading lets new jobs of a partition be read.
func (s *Shard) StartReading(part int, epoch uint64) {
	if t := s.Find(part, epoch); t != nil {
		t.reading = true
	}
}

// Naming are the entries that a release of a partition must name, since they run.
func (s *Shard) Naming(part int, epoch uint64) []job.EntryID {
	if t := s.Find(part, epoch); t != nil {
		return t.named()
	}
	return nil
}

// Drop forgets a tenure. Its runs go on under permits, or are cancelled, if they do not go on in
// a new generation: see adopt. Where one has begun, a release that was not answered has given
// nothing away, and left no permits.
func (s *Shard) Drop(part int, epoch uint64, cancel bool, now time.Time) {
	t := s.Find(part, epoch)
	if t == nil {
		return
	}
	cancel = cancel || t.renewed
	keep := cancel && (t.renewed || !t.denied)
	if !keep {
		s.pool.losePart(s, part)
	}
	i, _ := s.place(part)
	s.tenures = slices.Delete(s.tenures, i, i+1)
	// Its gate closes with it, and may have been the last one that was open.
	s.barrier = s.barrier || t.gate
	s.pool.abandon(t, cancel, keep)
	goesOn := !cancel && t.running > 0
	if goesOn && t.closedAt.IsZero() {
		t.closedAt = now
	}
	s.closed(t, goesOn)
	s.runEnded(t)
}

// runEnded tells the participant what it waits for while gates are closed.
func (s *Shard) runEnded(t *Tenure) {
	if t.running == 0 && slices.Contains(s.closing, t) {
		s.closed(t, false)
		s.host.Tell(resize.PartitionIdle{Part: t.Partition, Epoch: t.Epoch})
	}
	if s.barrier && s.nothingRuns() {
		s.barrier = false
		s.host.Tell(resize.RunsEnded{})
	}
}

// nothingRuns reports whether all gates of the shard are closed and nothing of it runs in this
// worker. Other shards have gates and barriers of their own.
func (s *Shard) nothingRuns() bool {
	return len(s.started) == 0 && !slices.ContainsFunc(s.tenures, (*Tenure).Gate)
}

// StillIdle looks again before a RunsEnded is believed: gates may have opened since.
func (s *Shard) StillIdle() bool {
	s.barrier = !s.nothingRuns()
	return !s.barrier
}

// Overdue ends the contexts of runs that have kept a moved or moving partition for limit.
func (s *Shard) Overdue(now time.Time, limit time.Duration) {
	for _, t := range s.closing {
		if t.closedAt.IsZero() || now.Sub(t.closedAt) < limit {
			continue
		}
		t.closedAt = time.Time{}
		for _, it := range t.items {
			it.tell(job.ErrMoved)
		}
		if !t.over {
			s.host.Tell(resize.DrainTimedOut{Part: t.Partition, Epoch: t.Epoch})
		}
	}
}

// AbandonAll ends every tenure: the incarnation is over, and its runs are told.
func (s *Shard) AbandonAll() {
	for _, t := range s.tenures {
		s.pool.abandon(t, true, false)
	}
	s.tenures = nil
	s.pool.loseOf(s, func(*Item) bool { return true })
}

// Stop lets go of ends that will not be answered any more. None is sent from now on.
func (s *Shard) Stop() {
	s.over = true
	for _, it := range slices.Clone(s.started) {
		if it.state == ending {
			s.pool.drop(it)
		}
	}
	s.pool.forgetHeirs(s)
}
