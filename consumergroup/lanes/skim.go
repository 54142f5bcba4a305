package lanes

import (
	"slices"
	"time"

	"ringmaster/job"
)

// Where keys have jobs set aside and more is unread than one read brings, most of that is of
// these keys, as a rule. If it were read here it would be sent back at once: so the store sets it
// aside, and hands out the rest.

// Nobody else is served while the store goes through jobs: so many of a partition, and partitions,
// are asked for at a time.
const (
	mostSkimmed = 256
	mostSkims   = 8
)

// skims reports whether new jobs are to be read so.
func (t *Tenure) skims() bool { return t.aside > 0 && !t.short }

// Skims takes what is to be read so, as ToRead has chosen it. Each is answered by Skimmed or
// SkimFailed.
func (s *Shard) Skims() []job.Skim {
	asks := s.skim
	s.skim = nil
	if len(asks) > mostSkims { // by turns
		first := 0
		for first < len(asks) && asks[first].Tenure.Partition < s.nextSkim {
			first++
		}
		asks = slices.Concat(asks[first:], asks[:first])[:mostSkims]
		s.nextSkim = asks[mostSkims-1].Tenure.Partition + 1
	}
	if len(asks) > 0 && s.pool.limits.ReadBytes > 0 {
		fit := max(s.pool.fits()/len(asks), 1)
		for i := range asks {
			asks[i].Room = min(asks[i].Room, fit)
		}
	}
	return asks
}

// Skimmed takes in what came, and what was set aside.
func (s *Shard) Skimmed(ask job.Skim, page *job.SkimPage, now time.Time) {
	t := s.Find(ask.Tenure.Partition, ask.Tenure.Epoch)
	if t == nil {
		return
	}
	t.short = page.Read < min(ask.Room, ask.Most)
	s.pool.arrive(t, page.Entries, false, now)
	s.pool.weight.noteArrived(page.Entries)
	for i := range page.Parked {
		k := &page.Parked[i]
		if t.LastRead.Less(k.Last) {
			t.LastRead = k.Last
		}
		l := t.lane(k.Key)
		set := l.aside(k.First, k.Last, s.pool.limits.ParkBeyond)
		set.left += k.Count
		set.size = max(set.size, k.Largest)
		if set.last.Less(k.Last) {
			set.last = k.Last
		}
		set.early = set.early || len(set.flight) > 0
		s.pool.weight.noteSkimmed(k)
		s.wantUnpark(l, now)
	}
}

// SkimFailed: nobody knows what was set aside. It is of keys that have more there anyway: how much
// it is tells the next page that comes back. The next read is a plain one.
func (s *Shard) SkimFailed(ask job.Skim) {
	if t := s.Find(ask.Tenure.Partition, ask.Tenure.Epoch); t != nil {
		t.short = true
	}
}

// chooseRead has a partition with room read in one of the two ways.
func (s *Shard) chooseRead(t *Tenure, parts []int, count, room int) ([]int, int) {
	switch {
	case t.skims() && t.parking > 0:
		// Set aside now, jobs would come before those that are on their way: it waits for these.
		t.leftOut, t.roomAt = true, s.window
		return parts, count
	case t.skims():
		s.skim = append(s.skim, job.Skim{Tenure: t.Tenure, Room: min(room, mostOfEach), Most: mostSkimmed})
		return parts, count
	}
	return append(parts, t.Partition), min(count, room)
}
