package lanes

import (
	"math"
	"slices"
	"time"

	"ringmaster/job"
)

// minWindow is more than can be under way for one partition between two reads.
const minWindow = 32

// Claimed takes a page of pending jobs in, and reports whether the claim goes on.
func (s *Shard) Claimed(part int, epoch uint64, page *job.ClaimPage, now time.Time) (more bool) {
	t := s.Find(part, epoch)
	if t == nil {
		return false
	}
	t.Generation = max(t.Generation, page.Generation)
	t.paged = true
	if t.passes == 0 {
		for _, k := range page.Parked {
			if l := t.lane(k.Key); l.parked == nil {
				l.parked = &parked{first: k.First, left: 1}
			}
		}
	}
	left := s.page(t, t.cursor, page, now)
	t.cursor = page.Cursor
	if !lastPage(page) {
		return true
	}
	if left {
		t.cursor = ""
		return true
	}
	t.passes++
	var set []*Lane
	for _, l := range t.lanes {
		if l.parked != nil {
			set = append(set, l)
		}
	}
	slices.SortFunc(set, byKey)
	for _, l := range set {
		s.wantUnpark(l, now)
	}
	return false
}

// Looked takes in the first page, asked for because a former owner may be done. It
// reports whether a whole claim must tell the rest.
func (s *Shard) Looked(part int, epoch uint64, page *job.ClaimPage, now time.Time) (again bool) {
	t := s.Find(part, epoch)
	return t != nil && s.page(t, "", page, now)
}

func lastPage(page *job.ClaimPage) bool { return page.Cursor == "0-0" || page.Cursor == "" }

// page takes in what a page brought that was asked for from a cursor on: permits first,
// so that no key starts beside a former owner's run. It reports whether another pass must
// tell what became of a permit.
func (s *Shard) page(t *Tenure, cursor string, page *job.ClaimPage, now time.Time) bool {
	if t.LastRead.Less(page.LastDelivered) {
		t.LastRead = page.LastDelivered
	}
	var freed []string
	for key, n := range t.blocked {
		if n > 0 {
			freed = append(freed, key)
		}
	}
	slices.Sort(freed)
	from, _ := job.ParseEntryID(cursor)
	to := job.EntryID{Ms: math.MaxUint64, Seq: math.MaxUint64}
	if !lastPage(page) {
		to, _ = job.ParseEntryID(page.Cursor)
	}
	left := t.setPermits(page.Permits, from, to)
	s.pool.arrive(t, page.Entries, now)
	s.pool.weight.noteArrived(page.Entries)
	for _, key := range freed {
		if l := t.lanes[key]; l != nil && t.blocked[key] == 0 {
			s.pool.dispatch(l, now)
			s.wantUnpark(l, now)
		}
	}
	return left
}

// Blocked are the claimed tenures in which former owners' runs block keys. A lost hint
// that they are done would block them for ever: whoever reads the records looks again.
func (s *Shard) Blocked() []job.Tenure {
	var out []job.Tenure
	for _, t := range s.tenures {
		if t.passes > 0 && len(t.permits) > 0 {
			out = append(out, t.Tenure)
		}
	}
	return out
}

// Prefetch is the most that is held of so many partitions that are read: more may be
// handed over with a partition, and is not read beyond.
func (l Limits) Prefetch(open int) int {
	return open * l.window(max(l.ReadBudget, l.MostBudget), open)
}

// window is how many entries of one partition may be held: what is held must be moved
// when the partition is, so with many partitions each holds less.
func (l *Limits) window(budget, open int) int {
	return max(min(l.Window, budget/max(open, 1)), min(l.Window, minWindow))
}

// mostOfEach is how much a read asks of one partition at most.
const mostOfEach = 128

// ToRead chooses the partitions with room for new jobs, and how much to ask of each. Until
// ReadEnded the others are watched: Host.Wake tells when one has room again. If wait is false
// there are more to ask, and the read must not wait for jobs.
func (s *Shard) ToRead(now time.Time) (parts []int, count int, wait bool) {
	open := 0
	for _, t := range s.tenures {
		if t.reading && t.gate {
			open++
		}
	}
	if open == 0 {
		return nil, mostOfEach, true // messages alone
	}
	budget := s.pool.readBudget(now)
	window := s.pool.limits.window(budget, open)
	count = max(1, min(mostOfEach, budget/open, window/2))
	full := s.pool.bytes >= s.pool.limits.HeldBytes
	parts = make([]int, 0, open)
	for _, t := range s.tenures {
		if !t.reading || !t.gate || t.brokenUntil.After(now) {
			continue
		}
		if full || t.stalled > 0 || window-len(t.items) < count {
			t.leftOut, t.roomAt = true, window-count
			s.pool.shed(t, now)
			continue
		}
		parts = append(parts, t.Partition)
	}
	return s.pool.weighed(parts, count)
}

// ReadEnded tells that the read which ToRead began is over.
func (s *Shard) ReadEnded() {
	for _, t := range s.tenures {
		t.leftOut = false
	}
}

// LeaveOut keeps a partition out of reads for a while: its stream cannot be read.
func (s *Shard) LeaveOut(part int, until time.Time) {
	if t := s.At(part); t != nil {
		t.brokenUntil = until
	}
}

// roomMade wakes the reader if a partition that was left out of the read has room again.
func (s *Shard) roomMade(t *Tenure) {
	if t.leftOut && len(t.items) <= t.roomAt && s.pool.bytes < s.pool.limits.HeldBytes {
		t.leftOut = false
		s.host.Wake()
	}
}
