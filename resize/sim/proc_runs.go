package sim

import (
	"slices"

	"ringmaster/resize"
)

// gate opens or closes. Closing is one step with knowing what runs.
func (k *proc) gate(part int, epoch uint64, open bool) {
	l := k.at(part, epoch)
	if l == nil {
		return
	}
	if l.gate = open; open {
		l.closed = 0
		k.dispatch()
		return
	}
	if k.e.store.bug == BugStalePermits {
		l.listed, l.gate = l.runs(NoBug), true
	}
	l.closed, k.barrier = k.e.now, true
	k.runEnded(l)
}

// runEnded tells the machine what it waits for while gates are closed.
func (k *proc) runEnded(l *lanes) {
	if l.closed > 0 && l.running == 0 && !l.over {
		l.closed = 0
		k.events = append(k.events, resize.PartitionIdle{Part: l.part, Epoch: l.epoch})
	}
	if k.barrier && k.nothingRuns() {
		k.barrier = false
		k.events = append(k.events, resize.RunsEnded{})
	}
	if len(k.events) > 0 {
		k.wakeSoon()
	}
}

// wakeSoon wakes the reader from within a step of it.
func (k *proc) wakeSoon() { k.e.after(&k.node, 0, k.wake) }

func (k *proc) nothingRuns() bool {
	for _, l := range k.parts {
		if l != nil && l.gate {
			return false
		}
	}
	return k.runs == 0
}

// drainTimers gives up waiting for runs that keep a moving partition too long.
func (k *proc) drainTimers() {
	for part, l := range k.parts {
		if l != nil && l.closed > 0 && k.e.now-l.closed > drainLimit {
			l.closed = 0
			k.events = append(k.events, resize.DrainTimedOut{Part: part, Epoch: l.epoch})
		}
	}
}

func (k *proc) drop(a resize.DropPartition) {
	l := k.at(a.Part, a.Epoch)
	if l == nil {
		return
	}
	k.parts[a.Part] = nil
	k.barrier = k.barrier || l.gate
	for _, it := range l.abandon(a.Cancel) {
		k.began(it)
		k.giveBack(it)
	}
	if k.barrier {
		k.runEnded(l)
	}
}

// giveBack ends a run of a partition that has moved: nobody else can run it under this
// worker's permit.
func (k *proc) giveBack(it *item) {
	if !it.permit {
		k.forget(it)
		return
	}
	it.permit, it.phase, it.how = false, ending, endBack
	k.ended = append(k.ended, it)
	k.flush()
}

// dispatch starts what may start. Partitions take turns.
func (k *proc) dispatch() {
	if k.inc == "" {
		return
	}
	for found := true; found; {
		found = false
		for _, l := range k.parts {
			if k.runs >= concurrency || k.e.now >= k.lease && k.e.store.bug != BugLeaseIgnored {
				return
			}
			if l == nil {
				continue
			}
			if it := l.next(k.e.now, k.e.store.bug); it != nil {
				k.run(it)
				found = true
			}
		}
	}
}

// run starts a handler and lets it end.
func (k *proc) run(it *item) {
	e := k.e
	it.phase = running
	k.began(it)
	e.handlers++
	e.log(k.inc, "starts", int64(it.l.part), int64(it.n))
	e.audit.started(e, k, it)
	takes := e.between(1, 60)
	if e.chance(12) {
		takes = e.between(100, 2500)
	}
	e.after(&k.node, takes, func() { k.end(it) })
}

// end is the handler's return: done, a failed attempt, or the last one.
func (k *proc) end(it *item) {
	e := k.e
	it.phase, it.how = ending, endDone
	if e.chance(8) {
		it.how, it.wait = endFailed, e.between(20, 300)
		if it.attempts >= 2 {
			it.how = endDead
		}
	}
	k.ended = append(k.ended, it)
	k.flush()
}

// flush sends what has ended, when nothing is under way. It is repeated until it is
// answered, and all keys in it stay busy until then.
func (k *proc) flush() {
	if k.inc == "" || len(k.flight) > 0 || k.merging && k.e.store.bug != BugMergeInFlight || len(k.ended)+len(k.reports) == 0 {
		return
	}
	k.flight, k.ended = k.ended, nil
	if len(k.flight) == 0 {
		k.flight = []*item{nil} // replies alone
	}
	k.sendAcks(k.reports)
	k.reports = nil
}

func (k *proc) sendAcks(reports []resize.Report) {
	e := k.e
	flight := k.flight
	answers := make([]string, len(flight))
	epochs, hows := make([]uint64, len(flight)), make([]end, len(flight))
	for i, it := range flight {
		if it == nil {
			continue
		}
		epochs[i], hows[i] = it.l.epoch, it.how
		if l := k.parts[it.l.part]; l != nil && e.store.bug == BugEpochIgnored {
			epochs[i] = l.epoch
		}
	}
	inc := k.inc
	until := e.now
	e.send(&call{from: &k.node, conn: k.acks, what: "ack", exec: func() {
		for _, r := range reports {
			e.store.report(inc, r.Epoch, r.Phase)
		}
		for i, it := range flight {
			if it != nil {
				answers[i] = e.audit.end(e, inc, it, epochs[i], hows[i], until+it.wait)
			}
		}
	}, done: func(answered bool) {
		if !answered && e.store.bug != BugUnansweredFrees {
			e.after(&k.node, 30, func() { k.sendAcks(reports) })
			return
		}
		k.flight = nil
		for i, it := range flight {
			if it != nil {
				k.answered(it, answers[i], answered)
			}
		}
		if k.waits {
			k.waits, k.busy = false, false
			k.merge()
		} else {
			k.flush()
		}
		k.dispatch()
	}})
}

// answered applies the store's answer to one end.
func (k *proc) answered(it *item, answer string, known bool) {
	l := it.l
	bug := k.e.store.bug
	switch {
	case !known:
		l.remove(it)
		k.ceased(it)
	case answer == "FENCED", answer == "GONE", answer == "DRAINER":
		// The key's next job is another owner's.
		k.ceased(it)
		l.refused = append(l.refused, it.key)
		if it.phase = stuck; bug == BugRefusedFrees {
			l.remove(it)
		}
		if !l.over {
			k.post(resize.PartitionFenced{Part: l.part, Epoch: l.epoch})
		}
	case l.over && answer == "OWNER" && (it.how == endFailed || it.how == endBack):
		k.giveBack(it) // the end came before the hand-over, its answer after
	case l.over:
		k.forget(it)
	case answer == "OWNER" && (it.how == endFailed || it.how == endBack):
		k.ceased(it)
		it.phase = waiting
		if it.how == endFailed {
			it.attempts, it.notBefore = it.attempts+1, k.e.now+it.wait
			k.e.after(&k.node, it.wait+1, k.dispatch)
		}
	default:
		k.forget(it)
		if k.p != nil && !k.busy {
			k.turn()
		} else if len(l.items) < 3 {
			k.wake()
		}
	}
}

func (k *proc) began(it *item) {
	it.l.running++
	k.runs++
	k.active = append(k.active, it)
}

// ceased ends the count of a run; forget ends the item as well.
func (k *proc) ceased(it *item) {
	it.l.running--
	k.runs--
	k.active = slices.DeleteFunc(k.active, func(x *item) bool { return x == it })
	k.runEnded(it.l)
}

func (k *proc) forget(it *item) {
	it.l.remove(it)
	k.ceased(it)
}
