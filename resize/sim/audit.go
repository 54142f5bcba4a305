package sim

import "slices"

// audit knows what was promised, outside of the store: which jobs were acknowledged to
// their producers, and which promises a failover took back.
type audit struct {
	sent      int          // jobs given a serial
	acked     map[int]bool // serial -> its producer was told that it is in
	entered   map[int]bool // it is in, whether its producer knows or not
	forgotten map[int]bool // acknowledged after the state that a failover went back to
	ended     map[int]bool // serial -> somebody was told that it has ended
	epochs    []uint64     // of each partition, in this era of the store
	term      uint64
	failovers int
	servers   int // raised with each start of a server
	revoked   map[holdOf]bool
	orphan    []int64 // when each partition last had an owner that could work
	faults    [faultKinds]int
	deafen    string // an incarnation that loses its next messages
	broken    bool   // the permanent fault has happened
}

// started checks a start. A worker that owns the partition never runs a job before all
// earlier ones of its key have ended, nor one that has ended, nor one that another holds.
// One that was robbed and does not know can finish nothing. A tenure older than a
// failover is not believed: its epoch may have been given out twice.
func (a *audit) mayStart(e *engine, k *proc, it *item) {
	l := it.l
	if l.era != a.failovers || !e.store.owns(k.inc, l.part, l.epoch) {
		return
	}
	part := e.store.parts[l.part]
	me := part.at(it.n)
	if me.acked > 0 {
		e.fail("%s starts %d/%d, which has ended", k.inc, l.part, it.n)
	}
	if me.held != (holder{inc: k.inc}) {
		e.fail("%s starts %d/%d, which is pending for %q", k.inc, l.part, it.n, me.held)
	}
	for n := 1; n < it.n; n++ {
		if before := part.at(n); before.key == me.key && before.acked == 0 && !a.ended[before.serial] {
			e.fail("%s starts %d/%d of key %s before %d has ended", k.inc, l.part, it.n, me.key, n)
		}
	}
}

func (a *audit) started(e *engine, k *proc, it *item) {
	a.mayStart(e, k, it)
	a.alone(e, k, it)
	if slices.Contains(it.l.refused, it.key) {
		e.fail("%s starts %d/%d of key %s behind a job whose end was refused", k.inc, it.l.part, it.n, it.key)
	}
	if e.now >= k.lease {
		e.fail("%s starts %d/%d when its lease is over", k.inc, it.l.part, it.n)
	}
	if k.stopping > 0 && !it.l.gate {
		e.fail("%s starts %d/%d behind a closed gate", k.inc, it.l.part, it.n)
	}
}

// alone checks that no key runs at two members at once. A run whose permit was revoked,
// or that was cancelled, may go on beside its successor: nobody waits for it.
func (a *audit) alone(e *engine, k *proc, it *item) {
	if it.l.era != a.failovers || !e.store.owns(k.inc, it.l.part, it.l.epoch) {
		return
	}
	for _, other := range e.workers {
		if other == k || other.inc == "" || e.store.members[other.inc] == nil {
			continue
		}
		for _, run := range other.active {
			l := run.l
			if l.part == it.l.part && run.key == it.key && run.phase == running && l.era == a.failovers && !l.lost &&
				!a.revoked[holdOf{l.part, run.n, other.inc}] {
				e.fail("%s starts %d/%d of key %s while %s runs %d", k.inc, l.part, it.n, it.key, other.inc, run.n)
			}
		}
	}
}

// holdOf is an entry in somebody's hands.
type holdOf struct {
	part, n int
	inc     string
}

// end performs an ack and checks who may end a job, and in which order.
func (a *audit) end(e *engine, inc string, it *item, epoch uint64, how end, notBefore int64) string {
	s := e.store
	part := s.parts[it.l.part]
	if it.n > len(part.entries) {
		return "GONE" // a failover forgot it
	}
	before := *part.at(it.n)
	answer := s.ack(inc, it.l.part, epoch, it.n, how, notBefore)
	after := part.at(it.n)
	if after.acked > before.acked {
		if it.l.era == a.failovers && before.held != (holder{inc: inc}) && before.held != (holder{inc, epoch}) {
			e.fail("%s ended %d/%d, which was pending for %q", inc, it.l.part, it.n, before.held)
		}
		for n := 1; n < it.n; n++ {
			if other := part.at(n); other.key == after.key && other.acked == 0 && !a.ended[other.serial] {
				e.fail("%d/%d of key %s ends before %d", it.l.part, it.n, after.key, n)
			}
		}
	}
	if (answer == "OWNER" || answer == "DRAINER") && (how == endDone || how == endDead) {
		a.ended[after.serial] = true
	}
	if s.owns(inc, it.l.part, epoch) {
		s.trim(it.l.part, min(it.l.lastRead, len(part.entries)))
	}
	return answer
}

// owners checks that the epoch of a partition rises whenever its owner changes.
func (a *audit) owners(e *engine) {
	for p, part := range e.store.parts {
		if part.owner.Epoch < a.epochs[p] {
			e.fail("partition %d: epoch %d after %d", p, part.owner.Epoch, a.epochs[p])
		}
		a.epochs[p] = part.owner.Epoch
	}
}

// led checks that no term is given out twice.
func (a *audit) led(e *engine, term uint64) {
	if term > 0 && term < a.term {
		e.fail("term %d after %d", term, a.term)
	}
	a.term = max(a.term, term)
}

// kept checks that what was acknowledged is in the store, once, in its producer's order.
func (a *audit) kept(e *engine) {
	found := make([]int, a.sent+1)
	for p, part := range e.store.parts {
		last := map[string]int{}
		for i := range part.entries {
			en := &part.entries[i]
			if en.void {
				continue
			}
			found[en.serial]++
			if found[en.serial] > 1 {
				e.fail("partition %d: job %d was added twice", p, en.serial)
			}
			if en.serial < last[en.key] {
				e.fail("partition %d: job %d of key %s was added behind %d", p, en.serial, en.key, last[en.key])
			}
			last[en.key] = en.serial
		}
	}
	for serial := 1; serial <= a.sent; serial++ {
		if a.acked[serial] && !a.forgotten[serial] && found[serial] == 0 {
			e.fail("job %d was acknowledged and is not there", serial)
		}
	}
}

// added makes an entry known to the checks of a store.
func (a *audit) added(e *engine, part int) {
	p := e.store.parts[part]
	en := &p.entries[len(p.entries)-1]
	a.entered[en.serial] = true
	e.log("job", en.key, int64(part), int64(len(p.entries)))
}

// failover notes what the older state does not have: these promises are void, all
// others stand.
//
// A job whose end is forgotten runs again, perhaps after later ones of its key: so the
// checks of order take it as ended. What had not been handed out in the older state may
// still be run by who had read it.
func (a *audit) failover(old, s *store) {
	a.failovers++
	a.servers++
	there := make([]bool, a.sent+1)
	for p, part := range s.parts {
		a.epochs[p] = part.owner.Epoch
		for len(part.entries) < len(old.parts[p].entries) {
			part.entries = append(part.entries, entry{void: true, acked: 1})
		}
		for i := range part.entries {
			there[part.entries[i].serial] = !part.entries[i].void
		}
	}
	for serial := range a.entered {
		if !there[serial] {
			a.forgotten[serial] = true
		}
	}
	a.term = s.term
}

// deserted counts how long each partition has had no owner that can work, while somebody
// could have it, and complains beyond a bound.
func (a *audit) deserted(e *engine, bound int64) {
	able := false
	for _, k := range e.workers {
		able = able || k.able()
	}
	for p, part := range e.store.parts {
		k := e.alive[part.owner.Incarnation]
		if !able || k != nil && k.able() {
			a.orphan[p] = e.now
		}
		if e.now-a.orphan[p] > bound {
			e.fail("partition %d of %s has had nobody to work on it for %d ms", p, part.owner.Incarnation, e.now-a.orphan[p])
		}
	}
}

func (k *proc) able() bool {
	return k.inc != "" && k.frozen <= k.e.now && k.cut <= k.e.now && k.reader.deaf <= k.e.now
}
