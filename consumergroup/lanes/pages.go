package lanes

import (
	"math"
	"slices"
	"time"

	"ringmaster/job"
)

// minWindow is more than can be under way for one partition between two reads.
const minWindow = 32

// lastID is above all others.
var lastID = job.EntryID{Ms: math.MaxUint64, Seq: math.MaxUint64}

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
			// One, at least: and any that is pending now may be before others.
			t.lane(k.Key).aside(k.First, lastID, s.pool.limits.ParkBeyond).left = 1
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
		// Whether it had its turn nobody knows: what has more to do than one job had.
		l.served = l.served || len(l.queue) > 1
		if l.parked != nil {
			set = append(set, l)
			if l.parked.last == lastID {
				l.parked.last = t.LastRead
			}
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
	to := lastID
	if !lastPage(page) {
		to, _ = job.ParseEntryID(page.Cursor)
	}
	left := t.setPermits(page.Permits, from, to)
	s.pool.arrive(t, s.pool.adopt(t, page.Entries, now), false, now)
	s.pool.loseOf(s, func(it *Item) bool { return it.Tenure.Partition == t.Partition && it.Entry.ID.Less(to) })
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

// Prefetch is the most that is held of so many partitions that are read, beside what waits for
// its backoff or for a seat: more may be handed over with a partition, and is not read beyond.
func (l Limits) Prefetch(open int) int {
	return open * l.window(max(l.ReadBudget, l.MostBudget), open)
}

// window is how many entries of one partition may be held: what is held must be moved
// when the partition is, so with many partitions each holds less.
func (l *Limits) window(budget, open int) int {
	return max(min(l.Window, budget/max(open, 1)), min(l.Window, minWindow))
}

// mostBackoff is how many jobs of a partition may wait for their backoff, or for a seat, without
// taking room of its window. They are handed over with it.
const mostBackoff = 1024

// spare is Limits.Backoff of one partition.
func (l *Limits) spare(open int) int { return min(mostBackoff, l.Backoff/max(open, 1)) }

// load is how much of its window a partition fills. Where what the handlers call is down, most
// jobs wait for their next attempt, and where few of a type may run, most of these for each other:
// counted, they would keep all others from being read.
func (t *Tenure) load() int { return len(t.items) - min(t.backoff+t.lined, t.Shard.spare) }

// rested ends that an item waits for its backoff.
func (it *Item) rested() {
	if it.rests {
		it.rests = false
		it.Tenure.backoff--
	}
}

// mostOfEach is how much a read asks of one partition at most.
const mostOfEach = 128

// ToRead chooses the partitions with room for new jobs, and how much to ask of each. Until
// ReadEnded the others are watched: Host.Wake tells when one has room again. wait is for how
// long the reader should wait for jobs: 0 as ever, more at most so long, since a window is full
// and is looked at again then; less not at all, since there are more partitions to ask.
func (s *Shard) ToRead(now time.Time) (parts []int, count int, wait time.Duration) {
	open := 0
	for _, t := range s.tenures {
		if t.reading && t.gate {
			open++
		}
	}
	if open == 0 {
		return nil, mostOfEach, 0 // messages alone
	}
	budget := s.pool.readBudget(now)
	s.window, s.spare = s.pool.limits.window(budget, open), s.pool.limits.spare(open)
	count = max(1, min(mostOfEach, budget/open, s.half()))
	most := count
	s.fast = budget > s.pool.limits.ReadBudget
	full := s.pool.bytes >= s.pool.limits.HeldBytes
	parts, s.skim = make([]int, 0, open), nil
	for _, t := range s.tenures {
		if !t.reading || !t.gate || t.brokenUntil.After(now) {
			continue
		}
		room := s.window - t.load()
		if !full && t.stalled == 0 && room >= most && t.wants.empty() {
			if s.fast || t.short {
				t.fullSince = time.Time{}
			}
		} else {
			wait = patience
			room = s.makeRoom(t, full, most, now)
		}
		if room > 0 {
			parts, count = s.chooseRead(t, parts, count, room)
		}
		if t.leftOut && wait == 0 {
			wait = patience
		}
	}
	parts, count, all := s.pool.weighed(parts, count)
	if !all || len(s.skim) > 0 {
		wait = -1
	}
	if len(s.skim) > 0 && len(parts) > 0 { // each alone may bring as much as there is room for
		if s.skimmed = !s.skimmed; s.skimmed {
			parts = nil
		} else {
			s.skim = nil
		}
	}
	for _, part := range parts {
		s.At(part).short = true
	}
	s.count = count
	return parts, count, wait
}

// standsAfter is how long a partition is not read before that is worth telling.
const standsAfter = 5 * time.Second

// Standing counts the partitions that are not read, for seconds now, since as much as may be held
// waits for its backoff or for a seat, and those jobs.
func (s *Shard) Standing(now time.Time) (parts, jobs int) {
	full := s.pool.bytes >= s.pool.limits.HeldBytes
	for _, t := range s.tenures {
		if t.gate && t.running == 0 && t.backoff+t.lined > 0 && (full || t.load() >= s.window) && !t.fullSince.IsZero() && now.Sub(t.fullSince) >= standsAfter {
			parts, jobs = parts+1, jobs+t.backoff+t.lined
		}
	}
	return parts, jobs
}

// makeRoom sheds what fills a window. It returns how much may be read all the same: a window
// that has been full for long is read in small pieces.
func (s *Shard) makeRoom(t *Tenure, full bool, most int, now time.Time) int {
	if t.fullSince.IsZero() {
		t.fullSince = now
	}
	late := now.Sub(t.fullSince) >= patience
	s.pool.shed(t, late, now)
	least := most
	if late {
		least = max(1, s.window/8)
	}
	if room := s.window - t.load(); !full && t.stalled == 0 && room >= least {
		return room
	}
	t.leftOut, t.roomAt = true, s.window-least
	return 0
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
	if t.leftOut && t.load() <= t.roomAt && s.pool.bytes < s.pool.limits.HeldBytes {
		t.leftOut = false
		s.host.Wake()
	}
}
