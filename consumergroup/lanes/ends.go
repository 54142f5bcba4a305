package lanes

import (
	"slices"
	"time"

	"ringmaster/job"
)

// tell ends the attempt under way, if there is one.
func (it *Item) tell(cause error) {
	if it.Run != nil {
		it.Run.End(cause)
	}
}

// Finished ends an attempt: c goes to the store by Host.End. Its key stays busy until the
// answer is here. Its seat is free: who calls this, or PutBack, asks for the next job then.
func (p *Pool) Finished(it *Item, c job.Completion) {
	p.rises(it)
	if it.Tenure.over {
		if it = p.heir(it); it.kept {
			p.endsKept(it, c)
			return
		}
	}
	it.state = ending
	it.Run = nil
	p.returned(it)
	p.together(it)
	it.Tenure.Shard.end(it, c)
}

// end hands an end to the host.
func (s *Shard) end(it *Item, c job.Completion) {
	t := it.Tenure
	c.Partition, c.Epoch, c.ID = t.Partition, t.Epoch, it.Entry.ID
	c.Attempt, c.Key, c.Type = it.Attempt, it.Entry.Key, it.Entry.Type
	if s.over {
		s.pool.drop(it)
		return
	}
	s.pool.owes(it, len(c.Data))
	s.host.End(it, c)
}

// Sent tells that ends are on their way to the store. Each is answered by Answered.
func (s *Shard) Sent(its []*Item) {
	for _, it := range its {
		it.flight = true
	}
}

// Answered applies the store's answer to one end. It reports true if the answer shows
// that a tenure believed to be ours is not.
func (s *Shard) Answered(it *Item, c *job.Completion, a job.Answer, now time.Time) (fenced bool) {
	t, p := it.Tenure, s.pool
	it.flight = false
	if t.over {
		if heir := p.heir(it); heir != it {
			p.Finished(heir, *c) // for it the end is new
			return false
		}
	}
	switch a {
	case job.Refused, job.Gone, job.ByDrainer:
		if a == job.Refused && it.state == ending && (it.kept || !t.over) {
			p.holdEnd(it, *c)
			t.doubt = true
			return !t.over
		}
		if it.kept {
			p.lose(it)
		}
		// A refused end frees nothing here: the key's next job is another owner's.
		// Applied under a permit: the partition moved; its items are nobody's here any more.
		p.drop(it)
		t.doubt = true
		return !t.over
	case job.ByOwner, job.NotPending:
	}
	back := a == job.ByOwner && (c.Outcome == job.Failed || c.Outcome == job.HandBack)
	if t.over {
		if it.kept {
			p.lose(it)
		}
		if back {
			p.giveBack(it) // the end came before the hand-over, its answer after
		} else {
			p.drop(it)
		}
		return false
	}
	// A server that went back in time, as by a failover, hands out again what was read. An
	// end that came there before that found nothing pending, and the entry would stay.
	if it.again && !back {
		it.again = false
		s.end(it, *c)
		return false
	}
	it.again = false
	switch {
	case c.Outcome == job.Parked:
		p.parkedNow(it, now)
	case back:
		if c.Outcome == job.Failed {
			it.Entry.Retry = c.Data
		}
		p.PutBack(it, now)
	default:
		p.free(it, now)
	}
	return false
}

// Settled follows the answers to n ends of a tenure.
func (s *Shard) Settled(t *Tenure, n int, now time.Time) {
	s.pool.pace.ended += n
	t.noteMark(n)
	s.grant(t, now)
	s.roomMade(t)
	if s.short && s.pool.bytes < s.pool.limits.HeldBytes {
		s.short = false
		s.host.Wake()
	}
}

// free ends an item for good and lets its key go on.
func (p *Pool) free(it *Item, now time.Time) {
	l := it.lane
	p.drop(it)
	if l == nil {
		return
	}
	l.busy = nil
	p.dispatch(l, now)
	l.Tenure.Shard.wantUnpark(l, now)
	l.Tenure.tidy(l)
}

// PutBack returns an item that did not start, or whose attempt ended, to the head of its
// lane.
func (p *Pool) PutBack(it *Item, now time.Time) {
	t := it.Tenure
	p.rises(it)
	p.returned(it)
	if t.over {
		p.giveBack(it)
		return
	}
	p.ceased(it)
	it.notBack() // it may wait for long now
	it.state, it.Run = waiting, nil
	if t.leftOut {
		t.Shard.host.Wake() // the key may be held up from now on: see shed
	}
	if l := it.lane; l != nil {
		l.busy = nil
		l.insert(it)
	}
	p.awake(it, now)
	t.Shard.grant(t, now)
	t.Shard.runEnded(t)
}

// giveBack ends a run of a partition that has moved. If the hand-over took it for running,
// its entry is under this incarnation's permit, and nobody can run it until that is given
// up.
func (p *Pool) giveBack(it *Item) {
	if !it.permit {
		p.drop(it)
		return
	}
	it.permit = false
	it.state, it.Run = ending, nil
	it.Tenure.Shard.end(it, job.Completion{Outcome: job.HandBack})
}

// abandon ends a tenure's claim on everything that does not run. What runs is told so if cancel
// is true, but for what is kept.
func (p *Pool) abandon(t *Tenure, cancel, keep bool) {
	t.over, t.lost, t.gate, t.reading = true, cancel, false, false
	var back []*Item
	for _, it := range slices.Clone(t.items) {
		switch {
		case it.state == running, it.state == ending:
			if keep && p.keep(it) {
				continue
			}
			if _, ended := p.former.ends[it]; ended {
				delete(p.former.ends, it)
				p.drop(it)
				continue
			}
			if it.state == running {
				p.outlives(it)
			}
			if cancel {
				it.tell(job.ErrLost)
			}
		case it.permit && it.state != parking:
			back = append(back, it) // its attempt ended while the hand-over was under way
		default:
			p.forget(it)
		}
	}
	t.lanes, t.idle = map[string]*Lane{}, fifo[*Lane]{}
	slices.SortFunc(back, byID)
	for _, it := range back {
		p.withdraw(it)
		p.began(it)
		p.giveBack(it)
	}
}
