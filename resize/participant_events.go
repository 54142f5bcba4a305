package resize

import (
	"maps"
	"slices"
)

// messageReceived obeys a message if its numbers follow. Whatever was missed is asked
// of the records; what repeats something known changes nothing.
func (p *Participant) messageReceived(m Message) {
	p.heard = max(p.heard, m.Change)
	missed := m.Change > p.change+1
	if m.Change == p.change+1 {
		p.change = m.Change
	}
	// Asked for before the message is obeyed, the records would count for nothing where it
	// gives a partition.
	asked := p.reading.active
	p.obey(m)
	if missed && (asked || !p.reading.active) {
		p.askRecords()
	}
}

func (p *Participant) obey(m Message) {
	switch m.Type {
	case TypeSync:
		switch m.Phase {
		case Stopping:
			p.stopTold(m)
		case Syncing:
			p.syncTold(m)
		case Resuming:
			p.resumeTold(m)
		case Stable:
		}
	case TypeDrained:
		if t := p.at(m.Part, m.PartEpoch); t != nil {
			p.do(Unblock{Part: m.Part, Epoch: m.PartEpoch, ID: m.ID})
		}
	case TypeUndrained:
		p.undrained(m)
	case TypeJoin, TypeLeave, TypeEvict, TypeRequest, TypePoke:
	}
}

// stopTold is phase 1. Two plans back, or one that skips a number, may have named
// partitions of ours in a message that is lost.
func (p *Participant) stopTold(m Message) {
	if m.Epoch < p.plan {
		return
	}
	if m.Epoch > p.plan+1 {
		p.askRecords()
	}
	p.plan = m.Epoch
	p.follow(RingState{Epoch: m.Epoch, Phase: Stopping, Mode: m.Mode})
	for _, part := range m.Parts {
		p.close(part, m.Mode)
	}
}

// syncTold is phase 2: of one partition that is ours now, or of the whole ring in mode
// ring, where it means that every hand-over is done.
func (p *Participant) syncTold(m Message) {
	switch {
	case m.Part >= 0:
		if m.PartEpoch > p.seen[m.Part] {
			p.syncing = max(p.syncing, m.Epoch)
		}
		p.gain(m.Part, m.PartEpoch)
	case m.Epoch == p.barrier.epoch:
		p.barrier.phase = max(p.barrier.phase, Syncing)
	case m.Epoch > p.barrier.epoch && m.Epoch > p.finished:
		p.askRecords() // phase 1 of this epoch never came
	}
}

// resumeTold is phase 3. It cannot have come about without our reply to phase 2, if
// that was asked for; so before that it is not believed.
func (p *Participant) resumeTold(m Message) {
	switch {
	case p.barrier.epoch == 0 || m.Epoch < p.barrier.epoch:
	case m.Epoch == p.barrier.epoch && p.barrier.reported == Syncing:
		p.lower(m.Epoch)
	default:
		p.askRecords()
		return
	}
	if m.Epoch >= p.plan {
		p.do(Report{Epoch: m.Epoch, Phase: Resuming})
	}
}

// undrained: an entry that a former owner held is to be claimed. It may lie behind the
// cursor of a claim that is under way, which then needs one more pass.
func (p *Participant) undrained(m Message) {
	t := p.at(m.Part, m.PartEpoch)
	switch {
	case t == nil:
	case t.state == Closing || t.claim != claimIdle:
		t.again = true
	default:
		p.claim(m.Part, true)
	}
}

// follow takes over the phase of the ring. A barrier that was taken down stays down:
// older news of it may still be on the way.
func (p *Participant) follow(r RingState) {
	switch {
	case r.Mode != ModeRing || r.Phase == Stable:
		if r.Epoch > p.barrier.epoch || r.Phase == Stable && r.Epoch == p.barrier.epoch {
			p.lower(r.Epoch)
		}
	case r.Epoch > p.barrier.epoch && r.Epoch > p.finished:
		p.barrier = barrier{epoch: r.Epoch, phase: r.Phase}
	case r.Epoch == p.barrier.epoch:
		p.barrier.phase = max(p.barrier.phase, r.Phase)
	}
}

func (p *Participant) lower(epoch uint64) {
	p.barrier = barrier{}
	p.finished = max(p.finished, epoch)
}

// beatAnswered compares numbers. One that says less was overtaken by messages, or the
// store has gone back in time: the records tell. A newer plan alone is no reason to read
// them: of one that concerns us the change number tells. It is also the moment to repeat
// what may have been lost.
func (p *Participant) beatAnswered(r RingState) {
	if p.reading.active {
		if p.reading.beats++; p.reading.beats >= 2 {
			p.reading.beats = 0
			p.do(ReadRecords{})
		}
		return
	}
	if r.Epoch < p.plan || r.Change != p.change {
		p.askRecords()
		return
	}
	p.plan = r.Epoch
	p.follow(r)
	p.retryKept()
	if p.barrier.epoch == r.Epoch && p.barrier.reported == r.Phase && r.Phase != Stable {
		p.do(Report{Epoch: r.Epoch, Phase: r.Phase})
	}
}

// retryKept lets a stopping worker try again to hand over what it had to keep.
func (p *Participant) retryKept() {
	for _, t := range p.tenures {
		if t.release == releaseKept {
			t.release = releaseIdle
		}
	}
}

// askRecords has the records read. A reading that is under way may miss the reason, so
// it counts for nothing, and is repeated.
func (p *Participant) askRecords() {
	if p.reading.active {
		p.reading.void = true
		return
	}
	p.reading = reading{active: true, plan: p.plan, change: max(p.change, p.heard)}
	p.do(ReadRecords{})
}

// snapshotRead makes the tenures what the records say.
func (p *Participant) snapshotRead(s SnapshotRead) {
	asked := p.reading
	if !asked.active {
		return
	}
	p.reading = reading{}
	// A number is raised before a message tells it, and the records were read after that.
	if s.Epoch < asked.plan || s.Change < asked.change {
		p.rejoin() // the store has gone back in time, or the message was forged: nothing that was learned holds
		return
	}
	if asked.void || s.Epoch < p.plan || s.Change < p.heard {
		p.askRecords()
		return
	}
	p.plan, p.change = s.Epoch, s.Change
	p.loseUnowned(s)
	for _, part := range slices.Sorted(maps.Keys(s.Owned)) {
		epoch := s.Owned[part]
		switch {
		case p.at(part, epoch) != nil:
			p.confirm(part)
		case epoch > p.seen[part]:
			p.gain(part, epoch)
		default:
			// We ended a tenure that the records still have. Nobody else can take it while
			// we are a member, and taking it up again could run its jobs beside themselves.
			p.rejoin()
			return
		}
		p.obeyPlan(part, s)
	}
	p.follow(s.RingState)
}

// loseUnowned ends tenures that the records do not have. One whose release is in flight
// waits for the answer, which tells whether its runs have permits.
func (p *Participant) loseUnowned(s SnapshotRead) {
	for _, part := range p.parts() {
		t := p.tenures[part]
		if epoch, ok := s.Owned[part]; ok && epoch == t.epoch || t.release == releaseInFlight {
			continue
		}
		p.drop(part, t.release != releaseUnsure)
	}
}

// confirm goes on with what waited to know whether the partition is still ours.
func (p *Participant) confirm(part int) {
	t := p.tenures[part]
	if t.release == releaseUnsure || t.release == releaseKept {
		t.release = releaseIdle
	}
	if t.claim == claimUnsure {
		t.claim = claimIdle
		if t.again = t.state == Closing; !t.again {
			p.claim(part, true)
		}
	}
}

// obeyPlan does what a missed phase 1 would have said, or a plan that takes it back.
func (p *Participant) obeyPlan(part int, s SnapshotRead) {
	t := p.tenures[part]
	to := s.Plan[part]
	mine := to == p.inc || to == "" || to == "-"
	switch {
	case t.release == releaseInFlight || p.stopping:
	case mine && t.state == Closing:
		p.reopen(part)
	case !mine && t.state != Closing:
		p.close(part, s.Mode)
	case !mine:
		t.mode = s.Mode
	}
}

func (p *Participant) claimAnswered(ev ClaimAnswered) {
	t := p.at(ev.Part, ev.Epoch)
	if t == nil || t.claim != claimInFlight {
		return
	}
	switch ev.Outcome {
	case ClaimFenced:
		p.drop(ev.Part, true)
		p.askRecords()
		return
	case ClaimUnknown:
		t.claim = claimUnsure
		p.askRecords()
		return
	case ClaimOK:
	}
	t.claim, t.paged, t.idle = claimIdle, true, t.idle && !ev.Runs
	switch {
	case t.state == Closing:
		t.again = t.again || ev.More
	case ev.More || t.again:
		p.claim(ev.Part, !ev.More)
	default:
		t.claimed = true
		if t.state == Claiming {
			p.to(ev.Part, Open)
		}
	}
}

func (p *Participant) releaseAnswered(ev ReleaseAnswered) {
	t := p.at(ev.Part, ev.Epoch)
	if t == nil || t.release != releaseInFlight {
		return
	}
	switch ev.Outcome {
	case ReleaseFlipped:
		// What raised the number is known: no need to read the records at the next news.
		if ev.Change == p.change+1 {
			p.change = ev.Change
		}
		p.drop(ev.Part, false)
	case ReleaseKept:
		switch {
		case t.reclose:
			t.release, t.reclose = releaseIdle, false
		case p.stopping:
			t.release = releaseKept
		default:
			p.reopen(ev.Part)
		}
	case ReleaseFenced:
		p.drop(ev.Part, true)
		p.askRecords()
	default:
		t.release = releaseUnsure
		p.askRecords()
	}
}
