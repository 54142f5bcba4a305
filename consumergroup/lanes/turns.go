package lanes

import (
	"container/heap"
	"time"
)

// turn is a kind of ready job. The kinds take turns when executors are scarce, so that none
// waits for much of another.
type turn uint8

const (
	// ofNew: a key's first job since it had none here. It does not wait behind the keys with
	// much to do, nor they behind ever new ones.
	ofNew  turn = iota
	ofNone      // a job without a key
	ofMore      // of a key that has had its turn, or has much to do: these in a row, each with one job
	turns
)

// turnOf is the kind of a job that is ready.
func turnOf(it *Item, beyond int) turn {
	switch l := it.lane; {
	case l == nil:
		return ofNone
	case l.served, l.parked != nil, len(l.queue) > beyond:
		return ofMore
	}
	return ofNew
}

// whose is the turn that is next, false if nothing is ready.
func (p *Pool) whose() (turn, bool) {
	for n := range turns {
		if k := (p.turn + n) % turns; !p.ready[k].empty() {
			return k, true
		}
	}
	return 0, false
}

// Next starts the next job, if one may start now, and nil otherwise. New keys, jobs without
// a key and keys with more to do take turns, and among each of them the partitions: what has
// much to do does not keep others waiting. The alone rule: a suspect runs when nothing else
// does, and nothing starts beside it. While ends of many bytes wait for their answers none
// starts that would add more.
func (p *Pool) Next(now time.Time) *Item {
	for {
		k, some := p.whose()
		if !some {
			return nil
		}
		if p.choked = p.owed > 0 && p.owed >= p.limits.HeldBytes; p.choked {
			return nil
		}
		t := p.ready[k].peek()
		it := t.ready[k].peek()
		if it.state == ready && (p.alone != nil || (it.Prior.Alone && p.runs > 0)) {
			return nil
		}
		p.ready[k].pop()
		t.ready[k].pop()
		if !t.ready[k].empty() {
			p.ready[k].push(t)
		}
		if it.state != ready {
			continue
		}
		if !t.gate || t.over {
			it.state = waiting
			continue
		}
		if l := it.lane; l != nil {
			// A smaller id of the key may have arrived since.
			if l.busy != nil || l.queue[0] != it || t.blocked[l.Key] > 0 {
				it.state = waiting
				p.dispatch(l, now)
				continue
			}
			// And so may have many more: it is no new key's any more.
			if k == ofNew && turnOf(it, p.limits.ParkBeyond) != k {
				p.enqueue(it, ofMore)
				continue
			}
			p.take(l, now)
		}
		p.turn = (k + 1) % turns
		it.state, it.since = running, now
		p.began(it)
		if it.Prior.Alone {
			p.alone = it
		}
		return it
	}
}

// take makes a lane busy with its head.
func (p *Pool) take(l *Lane, now time.Time) {
	l.busy, l.served = l.queue[0], true
	if l.queue = l.queue[1:]; len(l.queue) == 0 {
		l.queue = l.few[:0]
	}
	if l.parked != nil {
		l.Tenure.Shard.wantUnpark(l, now)
	}
}

// offer puts an item into a ready list, or sets an alarm for it.
func (p *Pool) offer(it *Item, now time.Time) {
	t := it.Tenure
	if !t.gate || t.over {
		return
	}
	if it.Prior.NotBefore.After(now) {
		heap.Push(&p.alarms, alarm{it.Prior.NotBefore, it})
		if p.alarms[0].item == it {
			p.crew.Alarm()
		}
		return
	}
	it.state = ready
	p.enqueue(it, turnOf(it, p.limits.ParkBeyond))
	p.crew.Ready()
}

func (p *Pool) enqueue(it *Item, k turn) {
	t := it.Tenure
	if t.ready[k].empty() {
		p.ready[k].push(t)
	}
	t.ready[k].push(it)
}

// quiet has everybody look again who may start what waits.
func (p *Pool) quiet() {
	if _, some := p.whose(); some {
		p.crew.Quiet()
	}
}
