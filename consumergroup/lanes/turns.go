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

// idle reports whether nothing is ready that may start beside others.
func (p *Pool) idle() bool {
	_, some := p.whose()
	return !some
}

// Next starts the next job, if one may start now, and nil otherwise. New keys, jobs without
// a key and keys with more to do take turns, and among each of them the partitions: what has
// much to do does not keep others waiting. A suspect that is to be held apart has the worker
// for itself for a while; see apart. While ends of many bytes wait for their answers none
// starts that would add more. None starts beside itself or another of its key; see former.
func (p *Pool) Next(now time.Time) *Item {
	p.offerBehind(now)
	if len(p.freed) > 0 {
		p.callUp(now)
	}
	waits := !p.idle() || !p.apart.ready.empty()
	if p.choked = waits && p.owed > 0 && p.owed >= p.limits.HeldBytes; p.choked {
		return nil
	}
	if p.holds(now) {
		return nil
	}
	if it, only := p.suspect(now); it != nil || only {
		return it
	}
	for {
		if len(p.freed) > 0 {
			p.callUp(now) // what does not start after all gives its seat free
		}
		k, some := p.whose()
		if !some {
			return nil
		}
		t := p.ready[k].pop()
		it := t.ready[k].pop()
		if !t.ready[k].empty() {
			p.ready[k].push(t)
		}
		if k == ofNew && it.state == ready && turnOf(it, p.limits.ParkBeyond) != k {
			p.enqueue(it, ofMore) // many more of its key have come since
			continue
		}
		if p.take(it, now) {
			p.turn = (k + 1) % turns
			return it
		}
	}
}

// take starts a job that was offered, if it still may.
func (p *Pool) take(it *Item, now time.Time) bool {
	t := it.Tenure
	if it.state != ready {
		return false
	}
	if !t.starts() || p.behind(it) {
		it.state = waiting
		p.rises(it)
		return false
	}
	if l := it.lane; l != nil {
		// A smaller id of the key may have arrived since.
		if l.busy != nil || l.queue[0] != it || t.blocked[l.Key] > 0 {
			it.state = waiting
			p.rises(it)
			p.dispatch(l, now)
			return false
		}
		l.begin(now)
	}
	it.state, it.since = running, now
	p.began(it)
	return true
}

// begin makes a lane busy with its head.
func (l *Lane) begin(now time.Time) {
	l.busy, l.served = l.queue[0], true
	if l.busy.back {
		l.busy.notBack() // it waits no more: others may come back
		l.Tenure.Shard.grant(l.Tenure, now)
	}
	l.queue[0] = nil
	if l.queue = l.queue[1:]; len(l.queue) == 0 {
		l.queue = l.few[:0]
	}
	if l.parked != nil {
		l.Tenure.Shard.wantUnpark(l, now)
	}
}

// offer puts an item into a ready list, or sets an alarm for it, or has it wait for a seat.
func (p *Pool) offer(it *Item, now time.Time) {
	t := it.Tenure
	if !t.starts() {
		return
	}
	if it.Prior.NotBefore.After(now) {
		if it.rests {
			return // its alarm is set
		}
		it.rests = true
		t.backoff++
		heap.Push(&p.alarms, alarm{it.Prior.NotBefore, it})
		if p.alarms[0].item == it {
			p.crew.Alarm()
		}
		return
	}
	if p.seats != nil && !p.sits(it, now) {
		return
	}
	it.state = ready
	if it.Prior.Apart > 0 {
		it.since = now
		p.apart.ready.push(it)
	} else {
		p.enqueue(it, turnOf(it, p.limits.ParkBeyond))
	}
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
	if !p.idle() || !p.apart.ready.empty() {
		p.crew.Quiet()
	}
}
