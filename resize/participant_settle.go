package resize

// settle ends every step: it brings gates, releases and replies in line with what is
// known now. Gates close before anything is released, replies are written before
// anything starts again.
func (p *Participant) settle() {
	parts := p.parts()
	for _, part := range parts {
		if t := p.tenures[part]; t.gate && !p.mayRun(t) {
			t.gate = false
			p.do(CloseGate{Part: part, Epoch: t.epoch})
		}
	}
	p.noteIdle()
	for _, part := range parts {
		p.releaseIfReady(part)
	}
	p.reportIfDue()
	for _, part := range parts {
		p.openIfDue(part)
	}
}

// mayRun reports whether jobs of a tenure may start: pages rise by id, so they may from
// the first claimed page on.
func (p *Participant) mayRun(t *tenure) bool {
	return (t.state == Open || t.state == Claiming) && t.paged && !p.expired && p.barrier.epoch == 0
}

func (p *Participant) openIfDue(part int) {
	t := p.tenures[part]
	if !p.mayRun(t) {
		return
	}
	if !t.gate {
		t.gate, t.idle, p.idle, p.overdue = true, false, false, false
		if t.opened {
			p.do(ReopenGate{Part: part, Epoch: t.epoch})
		} else {
			t.opened = true
			p.do(OpenGate{Part: part, Epoch: t.epoch})
		}
	}
	if t.claimed && !t.reads {
		t.reads = true
		p.do(StartReading{Part: part, Epoch: t.epoch})
	}
}

// releaseIfReady hands over what is on its way out, when its mode has nothing left to
// wait for. A claim in flight is let end first: both go over the read connection.
func (p *Participant) releaseIfReady(part int) {
	t := p.tenures[part]
	if t.state != Closing || t.release != releaseIdle || t.claim != claimIdle {
		return
	}
	if t.mode == ModePartition && !t.idle || t.mode == ModeRing && !p.idle {
		return
	}
	t.release = releaseInFlight
	p.do(ReleasePartition{Part: part, Epoch: t.epoch})
}

// reportIfDue writes the replies: in mode ring to phase 1 when nothing runs and nothing
// is left to give, in every mode to phase 2 when everything is claimed.
func (p *Participant) reportIfDue() {
	leaving, claiming := 0, 0
	for _, t := range p.tenures {
		if t.state == Closing && t.release != releaseKept {
			leaving++
		}
		if t.state == Claiming {
			claiming++
		}
	}
	b := &p.barrier
	switch {
	case b.epoch == 0:
		// While something is missing it may be phase 1 of mode ring, to which this would be
		// taken for the reply.
		if p.syncing != 0 && claiming == 0 && !p.reading.active {
			p.do(Report{Epoch: p.syncing, Phase: Syncing})
			p.syncing = 0
		}
	case b.phase == Stopping && b.reported < Stopping && p.idle && leaving == 0:
		b.reported = Stopping
		p.do(Report{Epoch: b.epoch, Phase: Stopping})
	case b.phase == Syncing && b.reported < Syncing && p.idle && claiming == 0:
		b.reported, p.syncing = Syncing, 0
		p.do(Report{Epoch: b.epoch, Phase: Syncing})
	}
}
