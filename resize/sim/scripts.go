package sim

import (
	"maps"
	"slices"

	"ringmaster/resize"
)

// The scripts: each is one atomic step, checks everything, then writes.

func (s *store) join(inc string, weight int) (resize.RingState, bool) {
	if s.used[inc] {
		return resize.RingState{}, false
	}
	s.used[inc], s.alive[inc] = true, true
	s.members[inc] = &resize.MemberRecord{Incarnation: inc, Weight: weight}
	return s.ringState(inc), true
}

func (s *store) leave(inc string) {
	if m := s.members[inc]; m != nil {
		m.Leaving = true
	}
}

func (s *store) remove(inc string) {
	delete(s.members, inc)
	delete(s.inbox, inc)
	delete(s.replies, inc)
}

// writePlan compares the ring epoch as well as the term: two leaders may both believe.
func (s *store) writePlan(term uint64, a resize.WritePlan) string {
	if term < s.term {
		return "STALE"
	}
	if a.BaseEpoch != s.epoch {
		return "CONFLICT"
	}
	for p, part := range s.parts {
		if to := a.Targets[p]; to != part.plan && !s.up(to) {
			return "CONFLICT"
		}
	}
	s.term = term
	s.epoch++
	s.mode, s.phase, s.resizing = a.Mode, resize.Stopping, true
	clear(s.replies)
	if a.Request != "" && a.Request == s.request.ID {
		s.request = resize.Request{}
	}
	lost := map[string][]int{}
	for p, part := range s.parts {
		part.plan = a.Targets[p]
		delete(s.moves, p)
		if part.owner.Incarnation != part.plan {
			s.moves[p] = true
			lost[part.owner.Incarnation] = append(lost[part.owner.Incarnation], p)
		}
	}
	for _, inc := range slices.Sorted(maps.Keys(s.members)) {
		if len(lost[inc]) > 0 || s.mode == resize.ModeRing {
			s.tell(inc, false, resize.Message{
				Type: resize.TypeSync, Phase: resize.Stopping, Epoch: s.epoch, Term: s.term,
				Parts: lost[inc], Mode: s.mode, Part: -1,
			})
		}
	}
	s.settle()
	return "ok"
}

// settle writes phase 3 behind the last move. It is the one place for it.
func (s *store) settle() {
	if s.resizing && s.mode != resize.ModeRing && len(s.moves) == 0 {
		s.phase, s.resizing = resize.Stable, false
		s.resumed++
	}
}

// flip is the only place where an owner changes.
func (s *store) flip(p int, to string, running []int) {
	part := s.parts[p]
	from := part.owner
	draining := []string{}
	for n, c := range part.pending {
		inc, _, permit := holder(c)
		switch {
		case c == from.Incarnation && slices.Contains(running, n):
			part.pending[n] = consumer(from.Incarnation, from.Epoch)
		case permit && s.members[inc] != nil:
		default:
			part.pending[n] = mark
		}
	}
	for _, n := range s.drainers(p) {
		draining = append(draining, id(n))
	}
	part.owner = resize.Owner{Incarnation: to, Epoch: from.Epoch + 1}
	delete(s.moves, p)
	if to != part.plan {
		s.moves[p] = true
	}
	if s.members[from.Incarnation] != nil {
		s.change[from.Incarnation]++
	}
	s.tell(to, true, resize.Message{
		Type: resize.TypeSync, Phase: resize.Syncing, Epoch: s.epoch, Part: p, PartEpoch: from.Epoch + 1,
		SyncTo: map[int]string{p: id(part.delivered)}, From: from.Incarnation, Draining: draining,
	})
	s.settle()
}

func (s *store) owns(inc string, p int, epoch uint64) bool {
	return s.parts[p].owner == resize.Owner{Incarnation: inc, Epoch: epoch}
}

func (s *store) release(inc string, p int, epoch uint64, running []int) resize.ReleaseOutcome {
	part := s.parts[p]
	if !s.owns(inc, p, epoch) {
		return resize.ReleaseFenced
	}
	to := part.plan
	if !s.up(to) && s.members[inc].Leaving && !s.anyUp() {
		to = "-"
	}
	if to == inc || to != "-" && !s.up(to) || to == "-" && (!s.members[inc].Leaving || s.anyUp()) {
		s.settle()
		return resize.ReleaseKept
	}
	s.flip(p, to, running)
	return resize.ReleaseFlipped
}

func (s *store) anyUp() bool {
	for _, m := range s.members {
		if !m.Leaving {
			return true
		}
	}
	return false
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
	default:
		if s.alive[a.Incarnation] {
			return "CONFLICT"
		}
	}
	s.term = term
	s.remove(a.Incarnation)
	return "ok"
}

// revoke takes an entry from a drainer, while that one still holds it.
func (s *store) revoke(term uint64, a resize.RevokePermit) string {
	if term < s.term {
		return "STALE"
	}
	part := s.parts[a.Partition]
	for n, c := range part.pending {
		if id(n) == a.ID && c == consumer(a.Incarnation, a.Epoch) {
			s.term = term
			part.pending[n] = mark
			s.tell(part.owner.Incarnation, true, resize.Message{
				Type: resize.TypeUndrained, Part: a.Partition, PartEpoch: part.owner.Epoch, ID: a.ID,
			})
			return "ok"
		}
	}
	return "CONFLICT"
}

func (s *store) report(inc string, epoch uint64, phase resize.Phase) string {
	if s.members[inc] == nil {
		return "FENCED"
	}
	if epoch == s.epoch {
		s.replies[inc] = max(s.replies[inc], phase)
		s.advance()
	}
	return "ok"
}

// advance moves the barrier of mode ring when everybody has replied.
func (s *store) advance() bool {
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
		s.phase, s.resizing = resize.Stable, false
		s.resumed++
	}
	for inc := range s.members {
		s.tell(inc, false, m)
	}
	return true
}

// claim takes up to count marked entries behind the cursor, in id order.
func (s *store) claim(inc string, p int, epoch uint64, cursor, count int) (page []int, next int, ok bool) {
	if !s.owns(inc, p, epoch) {
		return nil, 0, false
	}
	part := s.parts[p]
	for _, n := range slices.Sorted(maps.Keys(part.pending)) {
		if n <= cursor || part.pending[n] != mark {
			continue
		}
		if len(page) == count {
			return page, page[count-1], true
		}
		part.pending[n] = inc
		page = append(page, n)
	}
	return page, 0, true
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
		part.pending[part.delivered] = inc
		page = append(page, part.delivered)
	}
	return page, true
}

// ack completes an entry for its owner or its drainer.
func (s *store) ack(inc string, p int, epoch uint64, n int) string {
	part := s.parts[p]
	c, pending := part.pending[n]
	answer := "FENCED"
	switch {
	case pending && c == consumer(inc, epoch):
		answer = "DRAINER"
	case !s.owns(inc, p, epoch):
		return answer
	case !pending:
		return "DUP"
	case c == inc:
		answer = "OWNER"
	default:
		return answer
	}
	delete(part.pending, n)
	part.entries[n-1].acked++
	if answer == "DRAINER" {
		s.tell(part.owner.Incarnation, true, resize.Message{
			Type: resize.TypeDrained, Part: p, PartEpoch: part.owner.Epoch, ID: id(n),
		})
	}
	return answer
}
