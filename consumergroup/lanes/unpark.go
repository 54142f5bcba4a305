package lanes

import (
	"slices"
	"time"

	"ringmaster/job"
)

const (
	// pageFor: a page holds what the key's jobs take in this time, if that many may be held.
	pageFor = 50 * time.Millisecond
	// pageBytes: it holds no more than this, if the largest payload seen is a measure.
	pageBytes = 1 << 20
)

// wantUnpark asks for parked jobs once few of the key are left here.
func (s *Shard) wantUnpark(l *Lane, now time.Time) {
	set := l.parked
	if set == nil || l.wanted || len(l.queue) > min(set.page, l.Tenure.share())/2 {
		return
	}
	if !s.has(l) || (set.left == 0 && len(set.flight) > 0) {
		return
	}
	if set.left == 0 {
		l.noneAside()
		return
	}
	if len(l.queue) > 0 && l.held(now) {
		return
	}
	l.wanted = true
	l.Tenure.wants.push(l)
	s.grant(l.Tenure, now)
}

// grant lets keys have parked jobs back, in the order in which they asked, as long as what is
// back fits into half of the window. The other half is for reading. While as much is held as may
// be it is one key at a time.
func (s *Shard) grant(t *Tenure, now time.Time) {
	full := s.pool.bytes >= s.pool.limits.HeldBytes
	for !t.over && !t.wants.empty() && t.back < s.half() && (!full || t.back == 0) {
		l := t.wants.pop()
		l.ask(l.nextPage(now))
		s.unpark = append(s.unpark, l)
		s.host.Wake()
	}
	switch {
	case t.wants.empty():
		t.wantSince = time.Time{}
	case t.wantSince.IsZero():
		t.wantSince = now
	}
}

// share is how many jobs each of the keys with jobs set aside may have back.
func (t *Tenure) share() int { return max(1, t.Shard.half()/max(1, t.aside)) }

func (s *Shard) half() int { return max(1, s.window/2) }

// nextPage is how many jobs the key gets back: by how fast it got through the last ones, an
// equal share of what all may have at most.
func (l *Lane) nextPage(now time.Time) int {
	set, share := l.parked, l.Tenure.share()
	n := set.page
	if took := now.Sub(set.asked); !set.asked.IsZero() && took > 0 {
		n = max(2, int(min(4*float64(n), float64(n)*float64(pageFor)/float64(took))))
	}
	switch p := l.Tenure.Shard.pool; {
	case p.bytes >= p.limits.HeldBytes:
		n = 1
	case set.size > 0:
		n = min(n, max(1, pageBytes/set.size))
	}
	set.page, set.asked = min(n, share), now
	return set.page
}

// notBack ends that an item counts as one that came back.
func (it *Item) notBack() {
	if it.back {
		it.back = false
		it.Tenure.back--
	}
}

// has reports whether a lane is one of a tenure that goes on.
func (s *Shard) has(l *Lane) bool {
	return s.At(l.Tenure.Partition) == l.Tenure && l.Tenure.lanes[l.Key] == l
}

// UnparkWanted reports whether Unparks may return any.
func (s *Shard) UnparkWanted() bool { return len(s.unpark) > 0 }

// Unparks takes the lanes whose parked jobs the reader is to bring back, Asked many of each.
// Each is answered by Unparked or UnparkFailed. A lane whose jobs on the way to be parked may
// be among them is put off; only the reader lets jobs be parked, so none can set out while it
// unparks. Where jobs are large it takes a few lanes, and UnparkWanted stays.
func (s *Shard) Unparks() []*Lane {
	wanted, fit := s.unpark, s.pool.most()
	out := wanted[:0]
	for len(wanted) > 0 && fit > 0 {
		l := wanted[0]
		wanted = wanted[1:]
		if !l.Tenure.over && !l.stall() {
			out = append(out, l)
			fit -= l.asked
		}
	}
	s.unpark = slices.Clone(wanted)
	return out
}

// Asked is how many parked jobs are to be brought back.
func (l *Lane) Asked() int { return l.asked }

// stall puts a lane off until nothing of it is on the way to be parked, unless the first that
// wait in the store are known to come before all that is.
func (l *Lane) stall() bool {
	set, n := l.parked, l.asked
	if set.blind = len(set.flight) > 0; set.blind {
		if n = min(n, set.left); set.early || set.unsure {
			n = 0
		}
		set.next = set.flight[0]
	}
	l.ask(n)
	if n > 0 {
		return false
	}
	l.stalled = true
	l.Tenure.stalled++
	return true
}

// ask changes how many are asked for.
func (l *Lane) ask(n int) {
	l.Tenure.back += n - l.asked
	l.asked = n
}

// Unparked takes in what came back of a lane.
func (s *Shard) Unparked(l *Lane, page job.UnparkPage, now time.Time) {
	t, set := l.Tenure, l.parked
	l.wanted = false
	l.ask(0)
	if t.over {
		return
	}
	switch {
	case set.blind:
		set.left -= page.Taken
		if set.first = set.next; page.Left > 0 && page.First.Less(set.first) {
			set.first = page.First
		}
	case page.Left == 0:
		l.noneAside()
	default:
		set.left, set.first, set.unsure = page.Left, page.First, false
	}
	s.pool.arrive(t, page.Entries, true, now)
	s.pool.weight.noteArrived(page.Entries)
	t.tidy(l)
	s.wantUnpark(l, now)
	s.grant(t, now)
}

// Spoiled: somebody damaged what the store has of the lane's parked jobs. They are not asked for again.
func (l *Lane) Spoiled() { l.ask(0) }

// UnparkFailed has lanes asked for again that were not answered.
func (s *Shard) UnparkFailed(ls []*Lane) {
	for _, l := range ls {
		if l.parked != nil {
			l.parked.unsure = true
		}
	}
	s.unpark = append(s.unpark, ls...)
}
