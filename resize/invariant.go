package resize

import "fmt"

// CheckInvariants reports what must never be so after a Step. It is for tests and
// simulations; it changes nothing.
func (p *Participant) CheckInvariants() error {
	for part, t := range p.tenures {
		var broken string
		switch {
		case t.state == None:
			broken = "is kept without a state"
		case t.epoch == 0 || t.epoch > p.seen[part]:
			broken = "has an epoch above all that was heard"
		case t.gate && t.state == Closing:
			broken = "is closing with an open gate"
		case t.gate && (p.expired || p.barrier.epoch != 0 || p.stopping):
			broken = "has an open gate while everything must stand still"
		case t.gate && !t.paged:
			broken = "has an open gate before anything was claimed"
		case t.reads && !t.claimed:
			broken = "reads before everything was claimed"
		case t.state == Open && !t.claimed:
			broken = "is open before everything was claimed"
		case t.release != releaseIdle && t.state != Closing:
			broken = "is being released and not closing"
		case t.claim == claimUnsure && !p.reading.active, t.release == releaseUnsure && !p.reading.active:
			broken = "waits for records that nobody reads"
		case t.release == releaseKept && !p.stopping:
			broken = "was kept and not reopened"
		case t.state == Claiming && t.claim == claimIdle:
			broken = "is claiming and asks for no page"
		default:
			continue
		}
		return fmt.Errorf("partition %d %s: %s", part, broken, p)
	}
	return nil
}

// CheckInvariants reports what must never be so after a Step.
func (c *Coordinator) CheckInvariants() error {
	switch {
	case !c.leading && (c.have || c.reading || len(c.waits) > 0 || len(c.dead) > 0):
		return fmt.Errorf("a follower remembers: %s", c)
	case c.leading && !c.have && !c.reading:
		return fmt.Errorf("a leader without records does not read them: %s", c)
	case (c.again || c.void) && !c.reading:
		return fmt.Errorf("a reading is to be repeated that is not under way: %s", c)
	}
	return nil
}

// String is the participant in one line, partition by partition.
func (p *Participant) String() string {
	if !p.joined {
		return "not joined"
	}
	s := fmt.Sprintf("%s plan=%d change=%d", p.inc, p.plan, p.change)
	if p.barrier.epoch != 0 {
		s += fmt.Sprintf(" barrier=%d/%s", p.barrier.epoch, p.barrier.phase)
	}
	if p.expired {
		s += " expired"
	}
	if p.stopping {
		s += " stopping"
	}
	for _, part := range p.parts() {
		t := p.tenures[part]
		s += fmt.Sprintf(" %d@%d:%s", part, t.epoch, t.state)
		if !t.gate && t.state != Closing {
			s += "(gate closed)"
		}
	}
	return s
}

// String is the coordinator in one line.
func (c *Coordinator) String() string {
	if !c.leading {
		return "follower"
	}
	s := fmt.Sprintf("leader term=%d", c.term)
	if c.have {
		s += fmt.Sprintf(" epoch=%d", c.records.Epoch)
		for i, sh := range c.records.Shards {
			s += fmt.Sprintf(" phase=%s moving=%d", sh.Phase, c.records.moving(i))
		}
		s += fmt.Sprintf(" members=%d", len(c.index.members))
	}
	return s
}
