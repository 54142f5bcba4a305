package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ringmaster/job"
	"ringmaster/resize"
)

// modelSide is the model, in the harness's terms.
type modelSide struct {
	s    *store
	seq  int
	seen map[string][]resize.Message // by incarnation: what its reads and claims took

	heard map[string][]resize.Message // what its claims took since its last read

	parked [diffParts]bool // a job of it was ever set aside
}

func newModelSide() *modelSide {
	m := &modelSide{s: newStore(diffParts), seen: map[string][]resize.Message{}, heard: map[string][]resize.Message{}}
	m.s.lead("d", 1<<60)
	return m
}

func (m *modelSide) do(o op) string {
	s := m.s
	defer func() { clear(s.watched) }() // the harness keeps no subscriptions
	switch o.verb {
	case "join":
		if s.members[o.inc] != nil {
			return "taken"
		}
		delete(s.used, o.inc)
		delete(m.seen, o.inc)
		delete(m.heard, o.inc)
		state, _ := s.join(o.inc, 1)
		return told(state.Epoch, int(state.Phase), state.Mode, 0)
	case "beat":
		return m.ring(s.beat(o.inc))
	case "leaving":
		s.leave(o.inc)
	case "left":
		s.left(o.inc)
	case "silence":
		s.silence(o.inc)
	case "enqueue":
		p := job.PartitionOf(o.key, diffParts)
		for range o.n {
			m.seq++
			s.enqueue(1, m.seq, p, o.key, 0)
		}
	case "report":
		s.report(o.inc, o.epoch, resize.Phase(o.phase))
		return "-" // the call tells nothing
	case "snapshot":
		r := s.snapshot(o.inc)
		if r.Fenced {
			return "fenced"
		}
		owned, plan := map[int]uint64{}, map[int]string{}
		for _, p := range r.Owned {
			owned[p.Partition], plan[p.Partition] = p.Epoch, p.Planned
		}
		return told(r.RingEpoch, r.Phase, r.Mode, r.Change) + fmt.Sprint(owned, plan)
	case "plan":
		mode, err := resize.ParseMode(o.mode)
		if err != nil {
			panic(err)
		}
		return s.writePlan(o.term, resize.WritePlan{BaseEpoch: o.epoch, Mode: mode, Targets: o.targets})
	case "advance":
		if o.term < s.term {
			return "STALE"
		}
		if o.epoch == s.epoch {
			s.advance(true)
		}
	case "steal":
		return s.steal(o.term, resize.StealPartition{Partition: o.p, From: o.inc, Epoch: o.epoch, To: o.to})
	case "evict":
		return m.evict(o)
	case "revoke": // a permit that is gone is none of the leader's worries
		return strings.Replace(s.revoke(o.term, resize.RevokePermit{Partition: o.p, ID: id(o.n), Incarnation: o.inc, Epoch: o.epoch}), "CONFLICT", "ok", 1)
	default:
		return m.jobs(o)
	}
	return "ok"
}

func (m *modelSide) ring(state resize.RingState, ok bool) string {
	if !ok {
		return "fenced"
	}
	return told(state.Epoch, int(state.Phase), state.Mode, state.Change)
}

func told(epoch uint64, phase int, mode any, change uint64) string {
	return fmt.Sprintf("epoch %d phase %d mode %s change %d ", epoch, phase, mode, change)
}

func (m *modelSide) evict(o op) string {
	if o.term < m.s.term {
		return "STALE"
	}
	evidence := map[string]resize.Evidence{"ttl": resize.EvidenceTTL, "connection": resize.EvidenceConnection, "deaf": resize.EvidenceDeaf, "silent": resize.EvidenceSilent}[o.evidence]
	beat := m.s.lastBeat(o.inc)
	if o.flag {
		beat = "another"
	}
	gone := m.s.members[o.inc] == nil // then it is as good as evicted
	word := m.s.evict(o.term, resize.EvictWorker{Incarnation: o.inc, Evidence: evidence, Partition: o.p, Epoch: o.epoch, Phase: resize.Phase(o.phase), Beat: beat})
	return fmt.Sprint("gone ", gone || word == "ok")
}

func (m *modelSide) jobs(o op) string {
	s := m.s
	switch o.verb {
	case "release":
		out := s.release(o.inc, o.p, o.epoch, o.ids, o.flag)
		if out.Outcome == resize.ReleaseFlipped { // the script writes the reply too, the model's worker does it after
			s.replies[o.inc] = max(s.replies[o.inc], resize.Stopping)
		}
		return fmt.Sprint([]string{"flipped", "kept", "fenced"}[slices.Index([]resize.ReleaseOutcome{resize.ReleaseFlipped, resize.ReleaseKept, resize.ReleaseFenced}, out.Outcome)], out.Change)
	case "claim":
		return m.claim(o)
	case "read":
		if s.members[o.inc] == nil || s.parts[o.p].owner.Incarnation != o.inc {
			return "gone"
		}
		box := s.inbox[o.inc]
		n := min(o.n, len(box))
		m.seen[o.inc] = append(m.seen[o.inc], box[:n]...)
		s.inbox[o.inc] = box[n:]
		page, _ := s.read(o.inc, o.p, o.n)
		heard := append(m.heard[o.inc], box[:n]...)
		delete(m.heard, o.inc)
		return fmt.Sprint(page, " ", texts(heard))
	case "own":
		page, ok := s.own(o.inc, o.p)
		if !ok {
			return "gone"
		}
		return fmt.Sprint(page)
	case "ack":
		return m.ack(o)
	case "skim":
		page := s.skim(o.inc, o.p, o.epoch, o.n, 2*o.n)
		if page.Fenced {
			return "fenced"
		}
		out := fmt.Sprint(page.Read)
		for _, e := range page.Entries {
			out += fmt.Sprint(" ", e.ID.Ms)
		}
		for _, k := range page.Parked {
			out += fmt.Sprint(" ", k.Key, k.Count, k.First.Ms, k.Last.Ms)
		}
		return out
	case "unpark":
		page := s.unpark(o.inc, o.p, o.epoch, o.key, o.n)
		if page.Fenced {
			return "fenced"
		}
		var ids []int
		for _, e := range page.Entries {
			ids = append(ids, int(e.ID.Ms))
		}
		return fmt.Sprint(ids, page.Left, page.First.Ms)
	}
	panic(o.verb)
}

// claim makes a whole pass: how much one page brings is the server's affair.
func (m *modelSide) claim(o op) string {
	var all []int
	m.heard[o.inc] = append(m.heard[o.inc], m.s.inbox[o.inc]...)
	m.seen[o.inc] = append(m.seen[o.inc], m.s.inbox[o.inc]...)
	m.s.inbox[o.inc] = nil
	for cursor := 0; ; {
		page, next, ok := m.s.claim(o.inc, o.p, o.epoch, cursor, o.n)
		if !ok {
			return "fenced"
		}
		all = append(all, page...)
		if cursor = next; next == 0 {
			var permits []string
			for _, n := range m.s.drainers(o.p) {
				permits = append(permits, fmt.Sprint(n, " ", m.s.parts[o.p].at(n).held, " ", m.s.parts[o.p].at(n).key))
			}
			slices.Sort(permits)
			return fmt.Sprint(all, permits, m.s.parts[o.p].delivered)
		}
	}
}

// parkedOf are the jobs of a key that are set aside.
func (p *partition) parkedOf(key string) []int {
	var out []int
	for i := range p.entries {
		if e := &p.entries[i]; e.parked && e.key == key {
			out = append(out, i+1)
		}
	}
	return out
}

// ack: an end that leaves more than its ack is looked up for the owner too.
func (m *modelSide) ack(o op) string {
	if o.n == 0 || o.n > len(m.s.parts[o.p].entries) { // when a history is shortened
		return "nothing"
	}
	part := m.s.parts[o.p]
	e := part.at(o.n)
	own := m.s.owns(o.inc, o.p, o.epoch)
	how := map[string]job.Outcome{"plain": job.Done, "result": job.Done, "dead": job.Buried, "failed": job.Failed, "back": job.HandBack, "parked": job.Parked}[o.how]
	if o.how == "plain" && e.acked == 0 && (e.attempts > 0 || e.crashes > 0) {
		o.how = "result" // it ends its retry record too
	}
	answer := ""
	switch {
	case own && o.how == "result" && e.held == holder{}:
		answer = "DUP"
	case own && o.how == "result" && e.held != (holder{inc: o.inc}):
		answer = "FENCED"
	default:
		answer = m.s.ack(o.inc, o.p, o.epoch, o.n, how, 7)
	}
	if own {
		m.s.trim(o.p, part.delivered)
	}
	m.parked[o.p] = m.parked[o.p] || how == job.Parked
	return answer
}

func (m *modelSide) state() string {
	s := m.s
	var b strings.Builder
	fmt.Fprintf(&b, "ring epoch %d phase %d mode %s term %d moves %v\n", s.epoch, int(s.phase), s.mode, s.term, slices.Sorted(maps.Keys(s.moves)))
	for _, inc := range slices.Sorted(maps.Keys(s.members)) {
		fmt.Fprintf(&b, "member %s leaving %v alive %v change %d replied %d\n", inc, s.members[inc].Leaving, s.lease[inc] > s.now, s.change[inc], int(s.replies[inc]))
		for _, text := range texts(append(slices.Clone(m.seen[inc]), s.inbox[inc]...)) {
			fmt.Fprintf(&b, "  %s\n", text)
		}
	}
	for p, part := range s.parts {
		from := min(part.trimmed, len(part.entries))
		if m.parked[p] {
			from = -1 // the mark spares the millisecond of a parked job, not just the job
		}
		fmt.Fprintf(&b, "partition %d of %s %d, plan %s, groups [%s] at %d, from %d\n", p, part.owner.Incarnation, part.owner.Epoch, part.plan,
			part.owner.Incarnation, part.delivered, from)
		for _, k := range part.parkedKeys() {
			fmt.Fprintf(&b, "  parked %s %v\n", k.Key, part.parkedOf(k.Key))
		}
		for _, n := range part.pending() {
			fmt.Fprintf(&b, "  %d %s\n", n, part.at(n).held)
		}
		for i := range part.entries {
			if e := &part.entries[i]; e.acked == 0 && (e.attempts > 0 || e.crashes > 0) {
				// A suspect that had not started is not counted again; the model has no marks.
				fmt.Fprintf(&b, "  %d attempts %d, not before %d, crashed %v\n", i+1, e.attempts, e.notBefore, e.crashes > 0)
			}
		}
	}
	return b.String()
}

func texts(ms []resize.Message) []string {
	out := []string{}
	for _, m := range ms {
		slices.Sort(m.Parts)
		slices.Sort(m.Draining)
		if m.Part < 0 {
			m.SyncTo = nil // mode ring: the model leaves the cuts to the records
		}
		if m.Type != resize.TypeSync {
			m.Epoch = 0 // nobody reads it, and the model leaves it out
		}
		mode := ""
		if m.Type == resize.TypeSync && m.Phase == resize.Stopping {
			mode = m.Mode.String()
		}
		out = append(out, fmt.Sprintf("%s %d epoch %d parts %v %s part %d %d from %q sync %v draining %v id %q change %d",
			m.Type, int(m.Phase), m.Epoch, m.Parts, mode, m.Part, m.PartEpoch, m.From, m.SyncTo, m.Draining, m.ID, m.Change))
	}
	return out
}
