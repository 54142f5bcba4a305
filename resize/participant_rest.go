package resize

// Rest tells whether the participant waits for nothing, and the state of the ring that it has
// seen. A heartbeat that brings the same, before any other event, changes nothing and calls for
// nothing: nobody need be woken for it.
func (p *Participant) Rest() (RingState, bool) {
	seen := RingState{Epoch: p.plan, Phase: Stable, Change: p.change}
	if !p.joined || p.stopping || p.expired || p.reading.active || p.barrier.epoch != 0 || p.syncing != 0 {
		return seen, false
	}
	for _, t := range p.tenures {
		if t.state != Open || t.claim != claimIdle || t.release != releaseIdle || t.again || !t.gate {
			return seen, false
		}
	}
	return seen, p.heard <= p.change && p.finished >= p.plan
}

// Same reports whether two tell a worker the same. At rest it does not matter by which mode the
// ring came there.
func (r RingState) Same(as RingState) bool {
	return r.Epoch == as.Epoch && r.Phase == as.Phase && r.Change == as.Change && (r.Phase == Stable || r.Mode == as.Mode)
}
