package sim

import (
	"slices"

	"ringmaster/resize"
)

// of is the shard that a partition is in.
func (e *engine) of(part int) *store { return e.stores[part%len(e.stores)] }

// part is a partition, in its shard.
func (e *engine) part(p int) *partition { return e.of(p).parts[p] }

// forwards and backwards are the shards in the order of their numbers, or against it.
func (e *engine) forwards() []int {
	out := make([]int, len(e.stores))
	for i := range out {
		out[i] = i
	}
	return out
}

func (e *engine) backwards() []int {
	out := e.forwards()
	for i := range out {
		out[i] = len(out) - 1 - i
	}
	return out
}

// each sends a request to one shard after the other, for no script is of two. exec reports
// whether the next one follows. done is told of the last answer, or that one did not come.
func (e *engine) each(from *node, c *conn, what string, shards []int, exec func(shard int) bool, done func(answered bool)) {
	more := false
	e.send(&call{from: from, conn: c, what: what, exec: func() { more = exec(shards[0]) }, done: func(answered bool) {
		if answered && more && len(shards) > 1 {
			e.each(from, c, what, shards[1:], exec, done)
			return
		}
		done(answered)
	}})
}

// some is any shard.
func (e *engine) some() int {
	if len(e.stores) == 1 {
		return 0
	}
	return e.rng.IntN(len(e.stores))
}

// others are the shards but one, in order.
func (e *engine) others(but int) []int {
	var out []int
	for _, sh := range e.forwards() {
		if sh != but {
			out = append(out, sh)
		}
	}
	return out
}

// concerned are the shards that an action is sent to, in order.
func (e *engine) concerned(a resize.CoordinatorAction) []int {
	switch a := a.(type) {
	case resize.StealPartition:
		return []int{a.Partition % len(e.stores)}
	case resize.RevokePermit:
		return []int{a.Partition % len(e.stores)}
	case resize.EvictWorker:
		first := a.Shard
		if a.Evidence == resize.EvidenceDeaf {
			first = a.Partition % len(e.stores)
		}
		return append([]int{first}, e.others(first)...)
	}
	return e.forwards()
}

// evidenceDecided: the evidence was looked at in another shard.
const evidenceDecided = resize.Evidence("decided")

// obey performs a leader's action in one shard, and makes it what the next one is told.
func (e *engine) obey(shard int, term uint64, a *resize.CoordinatorAction) string {
	s := e.stores[shard]
	evict, is := (*a).(resize.EvictWorker)
	if !is {
		before := s.phase
		result := s.obey(term, *a)
		e.audit.cut(e, s, before)
		return result
	}
	member := s.members[evict.Incarnation] != nil
	result := s.obey(term, evict)
	if !member && result == "CONFLICT" && len(e.stores) > 1 {
		result = "ok" // gone already: the others may not know
	}
	if result == "ok" && (member || evict.Evidence == resize.EvidenceDeaf || evict.Evidence == resize.EvidenceSilent) {
		evict.Evidence = evidenceDecided
		*a = evict
	}
	return result
}

// obey performs a leader's action.
func (s *store) obey(term uint64, a resize.CoordinatorAction) string {
	switch a := a.(type) {
	case resize.EvictWorker:
		if s.bug == BugStealMember {
			return s.rob(a.Incarnation)
		}
		return s.evict(term, a)
	case resize.WritePlan:
		return s.writePlan(term, a)
	case resize.StealPartition:
		return s.steal(term, a)
	case resize.RevokePermit:
		return s.revoke(term, a)
	case resize.AdvanceBarrier:
		if term < s.term {
			return "STALE"
		}
		if a.Epoch == s.epoch || s.bug == BugLateAdvance {
			s.advance(true)
		}
		return "ok"
	}
	return "CONFLICT"
}

// records are what a leader reads of all shards. One whom the first does not know, and whose
// lease is over where it is a member, is to be evicted.
func (e *engine) records() resize.Records {
	r := e.stores[0].records()
	for sh, s := range e.stores[1:] {
		other := s.records()
		r.Shards, r.Permits = append(r.Shards, other.Shards...), append(r.Permits, other.Permits...)
		for p := sh + 1; p < len(r.Owners); p += len(e.stores) {
			r.Owners[p], r.Plan[p] = other.Owners[p], other.Plan[p]
		}
		for _, m := range other.Members {
			listed := slices.ContainsFunc(r.Members, func(x resize.MemberRecord) bool { return x.Incarnation == m.Incarnation })
			if !listed && s.lease[m.Incarnation] <= s.now {
				m.Leaving = true
				r.Members = append(r.Members, m)
			}
		}
	}
	return r
}

// lease is when a member's lease ends, by the first shard that lists it.
func (e *engine) lease(inc string) int64 {
	for _, s := range e.stores {
		if s.members[inc] != nil {
			return s.lease[inc]
		}
	}
	return 0
}

// cut checks the promise of mode ring: when a shard leaves phase 1, nothing runs in any. Shards
// that have left it before may have come to the end already, or to a later plan; what had its time and was told to
// end is not waited for, nor are those who are no members.
func (a *audit) cut(e *engine, s *store, before resize.Phase) {
	if before != resize.Stopping || s.phase != resize.Syncing || a.failovers > 0 {
		return // after a failover the shards may have gone back to different plans
	}
	a.cuts++
	for _, k := range e.workers {
		if slices.ContainsFunc(e.stores, func(s *store) bool { return k.inc != "" && s.members[k.inc] == nil }) {
			continue // it is being evicted, from one shard after the other
		}
		for _, l := range k.shards {
			other := l.store()
			past := other.epoch > s.epoch || other.epoch == s.epoch && other.phase == resize.Stable // this plan
			if k.inc == "" || past {
				continue
			}
			for _, it := range l.lanes.Started() {
				if w, is := it.Run.(*attempt); is && !w.told && !it.Tenure.Lost() {
					e.fail("shard %d leaves phase 1 of epoch %d while %s runs %d/%d", s.number, s.epoch, k.inc, it.Tenure.Partition, numberOf(it))
				}
			}
		}
	}
}
