package sim

import (
	"maps"
	"slices"

	"ringmaster/job"
	"ringmaster/resize"
)

// claim takes up to count marked entries behind the cursor, in id order.
func (s *store) claim(inc string, p int, epoch uint64, cursor, count int) (page []int, next int, ok bool) {
	if !s.owns(inc, p, epoch) {
		return nil, 0, false
	}
	part := s.parts[p]
	for n := cursor + 1; n <= part.delivered; n++ {
		if part.at(n).held != mark {
			continue
		}
		if len(page) == count {
			return page, page[count-1], true
		}
		part.at(n).held = holder{inc: inc}
		page = append(page, n)
	}
	return page, 0, true
}

// claimPage is one page of a claim, as a worker gets it.
func (s *store) claimPage(inc string, p int, epoch uint64, cursor string, count int) *job.ClaimPage {
	if !s.owns(inc, p, epoch) {
		return &job.ClaimPage{Fenced: true}
	}
	part := s.parts[p]
	from, first := 0, cursor == "" || cursor == job.ClaimAll
	if cursor == job.ClaimAll {
		own, _ := s.own(inc, p)
		for _, n := range own {
			part.at(n).held = mark
		}
	}
	if !first {
		from = entryOf(cursor) - 1
	}
	ids, next, _ := s.claim(inc, p, epoch, from, count)
	page := &job.ClaimPage{Cursor: "0-0", Entries: part.jobs(ids), LastDelivered: job.EntryID{Ms: uint64(part.delivered)}}
	if next > 0 {
		page.Cursor = id(next + 1)
	}
	for _, n := range s.drainers(p) {
		e := part.at(n)
		page.Permits = append(page.Permits, job.Permit{ID: job.EntryID{Ms: uint64(n)}, Holder: e.held.String(), Key: e.key})
	}
	if first {
		page.Parked = part.parkedKeys()
	}
	return page
}

// jobs are entries as they are read.
func (p *partition) jobs(ids []int) []job.Entry {
	var out []job.Entry
	for _, n := range ids {
		out = append(out, jobAt(n, p.at(n)))
	}
	return out
}

// parkedKeys are the keys with jobs that are set aside, and the first of each.
func (p *partition) parkedKeys() []job.ParkedKey {
	first := map[string]int{}
	for i := range p.entries {
		if e := &p.entries[i]; e.parked && first[e.key] == 0 {
			first[e.key] = i + 1
		}
	}
	var out []job.ParkedKey
	for _, key := range slices.Sorted(maps.Keys(first)) {
		out = append(out, job.ParkedKey{Key: key, First: job.EntryID{Ms: uint64(first[key])}})
	}
	return out
}

// unpark hands up to count set-aside jobs of a key back to the owner, in order.
func (s *store) unpark(inc string, p int, epoch uint64, key string, count int) job.UnparkPage {
	if !s.owns(inc, p, epoch) {
		return job.UnparkPage{Fenced: true}
	}
	part := s.parts[p]
	var page job.UnparkPage
	for i := range part.entries {
		e := &part.entries[i]
		switch {
		case !e.parked || e.key != key:
		case len(page.Entries) < count:
			e.parked, e.held = false, holder{inc: inc}
			page.Entries = append(page.Entries, jobAt(i+1, e))
			page.Taken++
		default:
			if page.Left++; page.Left == 1 {
				page.First = job.EntryID{Ms: uint64(i + 1)}
			}
		}
	}
	return page
}

// skim reads new jobs for the owner: those of keys that have jobs set aside are set aside, too.
func (s *store) skim(inc string, p int, epoch uint64, room, most int) job.SkimPage {
	if !s.owns(inc, p, epoch) {
		return job.SkimPage{Fenced: true}
	}
	part := s.parts[p]
	var page job.SkimPage
	aside, at := part.parkedKeys(), map[string]int{}
	for part.delivered < len(part.entries) && len(page.Entries) < room && page.Read < most {
		part.delivered++
		n := part.delivered
		e := part.at(n)
		if e.void {
			continue
		}
		page.Read++
		if !slices.ContainsFunc(aside, func(k job.ParkedKey) bool { return k.Key == e.key }) {
			e.held = holder{inc: inc}
			page.Entries = append(page.Entries, jobAt(n, e))
			continue
		}
		e.parked = true
		id := job.EntryID{Ms: uint64(n)}
		if _, seen := at[e.key]; !seen {
			at[e.key] = len(page.Parked)
			page.Parked = append(page.Parked, job.ParkedJobs{Key: e.key, First: id})
		}
		k := &page.Parked[at[e.key]]
		k.Count, k.Last = k.Count+1, id
	}
	return page
}

// read is the plain group read: fenced by the group's name alone.
func (s *store) read(inc string, p, count int) ([]int, bool) {
	part := s.parts[p]
	if part.owner.Incarnation != inc {
		return nil, false
	}
	var page []int
	for part.delivered < len(part.entries) && len(page) < count {
		part.delivered++
		if part.at(part.delivered).void {
			continue
		}
		part.at(part.delivered).held = holder{inc: inc}
		page = append(page, part.delivered)
	}
	return page, true
}

// own is a worker's own pending list: what it was handed and has not ended.
func (s *store) own(inc string, p int) ([]int, bool) {
	part := s.parts[p]
	if part.owner.Incarnation != inc {
		return nil, false
	}
	var out []int
	for n := 1; n <= part.delivered; n++ {
		if part.at(n).held == (holder{inc: inc}) {
			out = append(out, n)
		}
	}
	return out, true
}

// ack ends a run for its owner or its drainer: OWNER, DRAINER, DUP (pending for nobody,
// the caller owns the partition), GONE (and does not own it), FENCED (pending for
// another). A plain completion by the owner is not looked up, so its repeat is OWNER too.
func (s *store) ack(inc string, p int, epoch uint64, n int, how job.Outcome, notBefore int64) string {
	part := s.parts[p]
	e := part.at(n)
	own := s.owns(inc, p, epoch)
	if s.bug == BugUnfencedAck && how == job.Done {
		if e.held != (holder{}) {
			e.held = holder{}
			e.acked++
		}
		return "OWNER"
	}
	me := holder{inc: inc}
	if !own {
		me.epoch = epoch
	}
	switch {
	case own && how == job.Done:
		if e.held != (holder{}) {
			e.held = holder{}
			e.acked++
		}
		return "OWNER"
	case e.held == holder{} && own:
		return "DUP"
	case e.held == holder{}:
		return "GONE"
	case e.held != me, how == job.Parked && (!own || s.members[inc] == nil):
		return "FENCED"
	}
	kind := resize.TypeDrained
	switch how {
	case job.Failed, job.HandBack:
		if how == job.Failed {
			e.attempts, e.notBefore = e.attempts+1, notBefore
		}
		if own {
			return "OWNER"
		}
		e.held = mark
		kind = resize.TypeUndrained
	case job.Parked:
		e.held, e.parked = holder{}, true
	default:
		e.held, e.dead = holder{}, how == job.Buried
		e.acked++
	}
	if own {
		return "OWNER"
	}
	s.tell(part.owner.Incarnation, true, resize.Message{
		Type: kind, Part: p, PartEpoch: part.owner.Epoch, ID: id(n),
	})
	return "DRAINER"
}

// late reports whether a later call of the same caller was executed already. Only calls
// that leave jobs unfinished have a number.
func (s *store) late(inc string, call int) bool {
	if call == 0 || s.members[inc] == nil {
		return false
	}
	if call <= s.calls[inc] && s.bug != BugLateParks {
		return true
	}
	s.calls[inc] = max(s.calls[inc], call)
	return false
}

// trim drops from the stream what lies below the low-water mark: the lowest id that
// is pending, or the id after the last one that its owner read.
func (s *store) trim(p, lastRead int) {
	part := s.parts[p]
	if s.bug == BugTrimUnread {
		lastRead = len(part.entries)
	}
	mark := min(lastRead, part.delivered) // a failover may have forgotten what was read
	if s.bug == BugTrimUnread {
		mark = lastRead
	}
	for n := part.trimmed + 1; n <= min(lastRead, part.delivered); n++ {
		if part.at(n).parked && s.bug != BugTrimParked {
			mark = n - 1
			break
		}
		if h := part.at(n).held; h != (holder{}) && (s.bug != BugTrimDrainers || !h.permit()) {
			mark = n - 1
			break
		}
	}
	part.trimmed = max(part.trimmed, mark)
}

// enqueue adds a job once per producer and sequence. It answers 0 for a sequence that
// was given up.
func (s *store) enqueue(producer, seq, p int, key string, serial int) int {
	m := memoryOf{producer, p}
	switch last := s.memory[m]; {
	case last.seq == seq && s.bug != BugEnqueueTwice:
		return last.id
	case last.seq > seq:
		return 0
	}
	part := s.parts[p]
	part.entries = append(part.entries, entry{key: key, serial: serial})
	s.memory[m] = batch{seq, len(part.entries)}
	return len(part.entries)
}
