package sim

import (
	"maps"
	"slices"
	"strconv"

	"ringmaster/resize"
)

// leaseTTL is a worker's lease, in ms.
const leaseTTL = 3000

// The scripts: each is one atomic step, checks everything, then writes.

func (s *store) join(inc string, weight int) (resize.RingState, bool) {
	if s.used[inc] {
		return resize.RingState{}, false
	}
	s.used[inc], s.watched[inc], s.lease[inc] = true, true, s.now+leaseTTL
	s.beats[inc] = 1
	s.members[inc] = &resize.MemberRecord{Incarnation: inc, Weight: weight}
	s.news++
	return s.ringState(inc), true
}

func (s *store) leave(inc string) {
	if m := s.members[inc]; m != nil {
		m.Leaving = true
		s.news++
	}
}

func (s *store) remove(inc string) {
	delete(s.members, inc)
	s.news++
	delete(s.inbox, inc)
	delete(s.change, inc)
	delete(s.lease, inc)
	delete(s.beats, inc)
}

// left is the end of a leave.
func (s *store) left(inc string) {
	if s.members[inc] != nil {
		s.remove(inc)
		s.advance(false)
	}
}

// beat renews a lease. One that ran out while the worker is a member comes back.
func (s *store) beat(inc string) (resize.RingState, bool) {
	if s.members[inc] == nil {
		delete(s.died, inc) // it was taken for dead, and is not
		return resize.RingState{}, false
	}
	s.lease[inc] = s.now + leaseTTL
	s.beats[inc]++
	return s.ringState(inc), true
}

// lastBeat names a member's last heartbeat.
func (s *store) lastBeat(inc string) string { return strconv.Itoa(s.beats[inc]) }

// lead takes or renews the leadership. The term is 0 when somebody else leads.
func (s *store) lead(name string, lease int64) uint64 {
	if s.leading > s.now && s.leader != name {
		return 0
	}
	if s.leading <= s.now {
		s.term++
	}
	s.leader, s.leading = name, s.now+lease
	return s.term
}

// writePlan is a plan of a queue of one shard.
func (s *store) writePlan(term uint64, a resize.WritePlan) string {
	return s.planShard(term, a, a.BaseEpoch, a.BaseEpoch+1)
}

// mine reports whether a partition is in the shard.
func (s *store) mine(p int) bool { return p%s.shards == s.number }

// planShard compares the ring epoch as well as the term: two leaders may both believe.
func (s *store) planShard(term uint64, a resize.WritePlan, before, epoch uint64) string {
	if term < s.term {
		return "STALE"
	}
	if before != s.epoch || epoch <= s.epoch {
		return "CONFLICT"
	}
	for p, to := range a.Targets {
		if !s.mine(p) {
			continue
		}
		if changes := to != s.parts[p].plan || to != s.parts[p].owner.Incarnation; changes && to != "-" && !s.up(to) {
			return "CONFLICT"
		}
	}
	s.term = term
	s.epoch = epoch
	s.mode, s.phase = a.Mode, resize.Stopping
	clear(s.replies)
	clear(s.moves)
	if a.Request != "" && a.Request == s.request.ID {
		s.request = resize.Request{}
	}
	lost, kept := map[string][]int{}, map[string]bool{}
	for p, part := range s.parts {
		if !s.mine(p) {
			continue
		}
		kept[part.owner.Incarnation] = kept[part.owner.Incarnation] || part.plan != a.Targets[p] && a.Targets[p] == part.owner.Incarnation
		part.plan = a.Targets[p]
		if part.owner.Incarnation != part.plan && part.plan != "-" {
			s.moves[p] = true
			lost[part.owner.Incarnation] = append(lost[part.owner.Incarnation], p)
		}
	}
	for _, inc := range slices.Sorted(maps.Keys(s.members)) {
		if kept[inc] { // it finds a number missing, and reads the records
			s.change[inc]++
		}
		if len(lost[inc]) > 0 || kept[inc] || s.mode == resize.ModeRing {
			s.tell(inc, true, resize.Message{
				Type: resize.TypeSync, Phase: resize.Stopping, Epoch: s.epoch, Term: s.term,
				Parts: lost[inc], Mode: s.mode, Part: -1,
			})
		}
	}
	if len(s.moves) == 0 && s.mode != resize.ModeRing {
		s.finish()
	}
	return "ok"
}

// settle follows a move that is done, and writes phase 3 behind the last one.
func (s *store) settle(p int) {
	if s.moves[p] {
		delete(s.moves, p)
		if len(s.moves) == 0 && s.mode != resize.ModeRing {
			s.finish()
		}
	}
}

func (s *store) finish() {
	s.phase = resize.Stable
	s.resumed++
	s.news++
}

// flip is the only place where an owner changes. What a dead worker held counts a crash.
func (s *store) flip(p int, to string, running []int) {
	part := s.parts[p]
	from := part.owner
	draining := []string{}
	for n := 1; n <= part.delivered; n++ {
		e := part.at(n)
		switch {
		case e.held == holder{} && s.bug == BugFlipResurrects && slices.Contains(running, n):
			e.held = holder{from.Incarnation, from.Epoch}
		case e.held == holder{}:
		case e.held.permit() && s.members[e.held.inc] != nil:
		case e.held.inc == from.Incarnation && !e.held.permit() && slices.Contains(running, n):
			e.held = holder{from.Incarnation, from.Epoch}
		default:
			if s.died[e.held.inc] {
				e.crashes++
			}
			e.held = mark
			if s.bug == BugFlipDrops {
				e.held = holder{}
			}
			if s.bug == BugMarksAck {
				e.held = holder{from.Incarnation, from.Epoch}
			}
		}
	}
	for _, n := range s.drainers(p) {
		draining = append(draining, id(n))
	}
	part.owner = resize.Owner{Incarnation: to, Epoch: from.Epoch + 1}
	s.news++
	if s.members[from.Incarnation] != nil {
		s.change[from.Incarnation]++
	}
	s.tell(to, true, resize.Message{
		Type: resize.TypeSync, Phase: resize.Syncing, Epoch: s.epoch, Part: p, PartEpoch: from.Epoch + 1,
		SyncTo: map[int]string{p: id(part.delivered)}, From: from.Incarnation, Draining: draining,
	})
	if to == part.plan {
		s.settle(p)
	}
}

func (s *store) owns(inc string, p int, epoch uint64) bool {
	return s.parts[p].owner == resize.Owner{Incarnation: inc, Epoch: epoch}
}

// release gives a partition up: alone is set by a stopping worker for which nobody has
// planned, and lets it give the partition to nobody.
func (s *store) release(inc string, p int, epoch uint64, running []int, alone bool) resize.ReleaseAnswered {
	out := resize.ReleaseAnswered{Part: p, Epoch: epoch}
	part := s.parts[p]
	if !s.owns(inc, p, epoch) {
		out.Outcome = resize.ReleaseFenced
		return out
	}
	to := part.plan
	if to == inc || to != "-" && !s.up(to) {
		if !alone {
			if to == inc {
				s.settle(p)
			}
			out.Outcome = resize.ReleaseKept
			return out
		}
		to = "-"
	} else if to == "-" && !alone {
		out.Outcome = resize.ReleaseKept
		return out
	}
	for _, n := range running {
		if n <= len(part.entries) {
			part.at(n).named = holder{inc, epoch}
		}
	}
	s.flip(p, to, running)
	out.Outcome = resize.ReleaseFlipped
	if s.members[inc] != nil {
		out.Change = s.change[inc]
	}
	return out
}

func (s *store) steal(term uint64, a resize.StealPartition) string {
	if term < s.term {
		return "STALE"
	}
	if !s.owns(a.From, a.Partition, a.Epoch) || s.members[a.From] != nil ||
		a.To != s.parts[a.Partition].plan || !s.up(a.To) || a.To == a.From {
		return "CONFLICT"
	}
	s.term = term
	s.flip(a.Partition, a.To, nil)
	return "ok"
}

func (s *store) evict(term uint64, a resize.EvictWorker) string {
	if term < s.term {
		return "STALE"
	}
	if s.members[a.Incarnation] == nil {
		return "CONFLICT"
	}
	switch a.Evidence {
	case resize.EvidenceDeaf:
		if !s.owns(a.Incarnation, a.Partition, a.Epoch) {
			return "CONFLICT"
		}
	case resize.EvidenceSilent:
		if s.epoch != a.Epoch || s.phase != a.Phase || s.replies[a.Incarnation] >= a.Phase {
			return "CONFLICT"
		}
	case evidenceDecided:
	case resize.EvidenceConnection:
		if s.watched[a.Incarnation] || a.Beat != s.lastBeat(a.Incarnation) {
			return "CONFLICT"
		}
	default:
		if s.lease[a.Incarnation] > s.now {
			return "CONFLICT"
		}
	}
	s.term = term
	if deaf := a.Evidence == resize.EvidenceDeaf || a.Evidence == resize.EvidenceSilent; !deaf && s.up(a.Incarnation) {
		s.died[a.Incarnation] = true
	}
	s.remove(a.Incarnation)
	return "ok"
}

// revoke takes an entry from a drainer, while that one still holds it.
func (s *store) revoke(term uint64, a resize.RevokePermit) string {
	if term < s.term {
		return "STALE"
	}
	part := s.parts[a.Partition]
	n := entryOf(a.ID)
	if n < 1 || n > part.delivered || part.at(n).held != (holder{a.Incarnation, a.Epoch}) {
		return "CONFLICT"
	}
	s.term = term
	e := part.at(n)
	e.held = mark
	if s.died[a.Incarnation] {
		e.crashes++
	}
	s.tell(part.owner.Incarnation, true, resize.Message{
		Type: resize.TypeUndrained, Part: a.Partition, PartEpoch: part.owner.Epoch, ID: a.ID,
	})
	return "ok"
}

func (s *store) report(inc string, epoch uint64, phase resize.Phase) string {
	if s.members[inc] == nil {
		return "FENCED"
	}
	if epoch == s.epoch {
		s.replies[inc] = max(s.replies[inc], phase)
		s.advance(false)
	}
	return "ok"
}

// advance moves the barrier of mode ring when everybody has replied. Phase 1 of a queue of
// several shards ends by the leader's word.
func (s *store) advance(led bool) bool {
	if s.phase == resize.Stopping && !led && s.shards > 1 && s.bug != BugShardAlone {
		return false
	}
	if s.mode != resize.ModeRing || s.phase == resize.Stable || s.phase == resize.Stopping && len(s.moves) > 0 {
		return false
	}
	for inc := range s.members {
		if s.replies[inc] < s.phase {
			return false
		}
	}
	next := s.phase + 1
	s.phase = next
	m := resize.Message{Type: resize.TypeSync, Phase: next, Epoch: s.epoch, Part: -1}
	if next == resize.Resuming {
		s.finish()
	}
	for _, inc := range slices.Sorted(maps.Keys(s.members)) {
		s.tell(inc, false, m)
	}
	return true
}
