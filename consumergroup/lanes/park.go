package lanes

import (
	"cmp"
	"slices"
	"time"

	"ringmaster/job"
)

// setAside reports whether a job of the key that has just arrived must be parked.
func (l *Lane) setAside(id job.EntryID, beyond int, now time.Time) bool {
	if l.parked != nil {
		return !id.Less(l.parked.first)
	}
	n := len(l.queue)
	return n >= beyond && l.queue[n-1].Entry.ID.Less(id) && l.held(now)
}

// park sends a job to wait in the store, behind those of its key.
func (p *Pool) park(it *Item) {
	l := it.lane
	if l.parked == nil || it.Entry.ID.Less(l.parked.first) {
		if l.parked == nil {
			l.parked = &parked{}
		}
		l.parked.first = it.Entry.ID
	}
	l.parked.flight = append(l.parked.flight, it.Entry.ID)
	it.state = parking
	it.Tenure.parking++
	it.Tenure.Shard.end(it, job.Completion{Outcome: job.Parked})
}

// shed makes room in a full window: what waits behind a held key may have come before
// the key was held. First the long queues, then all but the head of each.
func (p *Pool) shed(t *Tenure, now time.Time) {
	if t.parking > 0 {
		return // room is on its way
	}
	var held []*Lane
	keep := 1 // all are cut to their head, unless some are long: then those, to what is usual
	// Most lanes hold nothing: it is shorter to look at what is held.
	for _, it := range t.items {
		if l := it.lane; l != nil && it.heads(l) && len(l.queue) > 1 && l.held(now) {
			held = append(held, l)
			if len(l.queue) > p.limits.ParkBeyond {
				keep = p.limits.ParkBeyond
			}
		}
	}
	slices.SortFunc(held, byKey)
	for _, l := range held {
		if len(l.queue) <= keep {
			continue
		}
		rest := l.queue[keep:]
		l.queue = l.queue[:keep:keep]
		for _, it := range rest {
			p.park(it)
		}
	}
}

func byKey(a, b *Lane) int { return cmp.Compare(a.Key, b.Key) }

// parkedNow: the job waits in the store.
func (p *Pool) parkedNow(it *Item, now time.Time) {
	l := it.lane
	p.forget(it)
	set := l.parked
	set.left++
	if i := slices.Index(set.flight, it.Entry.ID); i >= 0 {
		set.flight = slices.Delete(set.flight, i, i+1)
	}
	if l.stalled && len(set.flight) == 0 {
		l.stalled, l.wanted = false, false
		l.Tenure.stalled--
		l.Tenure.Shard.host.Wake()
	}
	l.Tenure.Shard.wantUnpark(l, now)
}

// wantUnpark asks the reader for parked jobs once few of the key are left here.
func (s *Shard) wantUnpark(l *Lane, now time.Time) {
	set := l.parked
	if set == nil || l.wanted || len(l.queue) > s.pool.limits.ParkBeyond/2 {
		return
	}
	if !s.has(l) || (set.left == 0 && len(set.flight) > 0) {
		return
	}
	if set.left == 0 {
		l.parked = nil
		return
	}
	if len(l.queue) > 0 && l.held(now) {
		return
	}
	l.wanted = true
	s.unpark = append(s.unpark, l)
	s.host.Wake()
}

// has reports whether a lane is one of a tenure that goes on.
func (s *Shard) has(l *Lane) bool {
	return s.At(l.Tenure.Partition) == l.Tenure && l.Tenure.lanes[l.Key] == l
}

// UnparkWanted reports whether Unparks would return any.
func (s *Shard) UnparkWanted() bool { return len(s.unpark) > 0 }

// Unparks takes the lanes whose parked jobs the reader is to bring back. Each is answered
// by Unparked or UnparkFailed. A lane whose last jobs are still on the way to be parked is
// put off; only the reader lets jobs be parked, so none can set out while it unparks.
func (s *Shard) Unparks() []*Lane {
	wanted := s.unpark
	s.unpark = nil
	return slices.DeleteFunc(wanted, s.stall)
}

func (s *Shard) stall(l *Lane) bool {
	if l.stalled || l.parked == nil || len(l.parked.flight) == 0 {
		return l.stalled
	}
	l.stalled = true
	l.Tenure.stalled++
	return true
}

// Unparked takes in what came back of a lane.
func (s *Shard) Unparked(l *Lane, page job.UnparkPage, now time.Time) {
	l.wanted = false
	if l.Tenure.over || l.parked == nil {
		return
	}
	l.parked.left, l.parked.first = page.Left, page.First
	if page.Left == 0 {
		l.parked = nil
	}
	s.pool.arrive(l.Tenure, page.Entries, now)
	l.Tenure.tidy(l)
}

// UnparkFailed has lanes asked for again that were not answered.
func (s *Shard) UnparkFailed(ls []*Lane) { s.unpark = append(s.unpark, ls...) }
