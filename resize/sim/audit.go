package sim

import (
	"maps"
	"slices"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
	"ringmaster/resize"
)

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
	cuts      int    // shards that left phase 1 of mode ring
	broken    bool   // the permanent fault has happened
	tries     map[try]*attempt
}

// try is a job and who starts it.
type try struct {
	serial int
	inc    string
}

// limit checks a start: of the type that is limited no more run than may.
func (a *audit) limit(e *engine, k *proc) {
	n := 0
	for _, at := range k.atWork {
		if at.it.Entry.Type == limitedType {
			n++
		}
	}
	if e.limited > 0 && n > e.limited {
		e.fail("%s runs %d jobs of a type of which %d may run", k.inc, n, e.limited)
	}
}

// mayStart checks a start. A worker that owns the partition never runs a job before all
// earlier ones of its key have ended, nor one that has ended, nor one that another holds.
// One that was robbed and does not know can finish nothing. A tenure older than a
// failover is not believed: its epoch may have been given out twice.
func (a *audit) mayStart(e *engine, k *limb, it *lanes.Item) {
	t, n := it.Tenure, numberOf(it)
	if !a.believed(e, k, t) {
		return
	}
	part := e.part(t.Partition)
	me := part.at(n)
	if me.acked > 0 {
		e.fail("%s starts %d/%d, which has ended", k.inc, t.Partition, n)
	}
	if me.held != (holder{inc: k.inc}) {
		e.fail("%s starts %d/%d, which is pending for %q", k.inc, t.Partition, n, me.held)
	}
	for i := 1; i < n; i++ {
		if before := part.at(i); before.key == me.key && before.acked == 0 && !a.ended[before.serial] {
			e.fail("%s starts %d/%d of key %s before %d has ended", k.inc, t.Partition, n, me.key, i)
		}
	}
}

// believed: what is done under a tenure counts.
func (a *audit) believed(e *engine, k *limb, t *lanes.Tenure) bool {
	return k.of(t).era == a.failovers && k.store().owns(k.inc, t.Partition, t.Epoch)
}

func (a *audit) started(e *engine, k *limb, it *lanes.Item) {
	a.mayStart(e, k, it)
	a.alone(e, k, it)
	part, n := it.Tenure.Partition, numberOf(it)
	k.of(it.Tenure).robbed[n] = !k.store().owns(k.inc, part, it.Tenure.Epoch)
	if slices.Contains(k.of(it.Tenure).refused, it.Entry.Key) {
		e.fail("%s starts %d/%d of key %s behind a job whose end was refused", k.inc, part, n, it.Entry.Key)
	}
	if e.now >= k.lease {
		e.fail("%s starts %d/%d when its lease is over", k.inc, part, n)
	}
	if s := k.store(); a.believed(e, k, it.Tenure) && s.mode == resize.ModeRing && s.phase != resize.Stable && s.phase != resize.Resuming && s.replies[k.inc] >= resize.Stopping {
		e.fail("%s starts %d/%d between its reply to phase 1 of epoch %d and phase 3", k.inc, part, n, s.epoch)
	}
	if k.stopping > 0 && !it.Tenure.Gate() {
		e.fail("%s starts %d/%d behind a closed gate", k.inc, part, n)
	}
	for _, w := range k.atWork {
		other := w.it
		if other != it && other.Tenure.Partition == part && (other.Entry.ID == it.Entry.ID || other.Entry.Key == it.Entry.Key) {
			e.fail("%s starts %d/%d of key %s beside its own run of %d", k.inc, part, n, it.Entry.Key, numberOf(other))
		}
		if other != it && w.apart && e.now-w.began < other.Prior.Apart.Milliseconds() {
			e.fail("%s starts %d/%d beside %d, a suspect that is held apart", k.inc, part, n, numberOf(other))
		}
	}
}

// again checks that nobody starts a job whose work it has done already, where its server has
// lost nothing. Suspects are no part of that.
func (a *audit) again(e *engine, k *limb, w *attempt) {
	part, n := w.it.Tenure.Partition, numberOf(w.it)
	this := try{e.part(part).at(n).serial, k.inc}
	was := a.tries[this]
	a.tries[this] = w
	if was != nil && !w.it.Prior.Suspect && !was.told && was.over && (was.how == job.Done || was.how == job.Buried) && a.failovers == 0 && !a.revoked[holdOf{part, n, k.inc}] {
		e.fail("%s starts %d/%d once more, whose work it has done", k.inc, part, n)
	}
}

// gaveUnseen notes that an incarnation gave a partition away before its claim told what is
// pending. Whether work that it has done in an earlier generation counts nobody can say then:
// its job starts again at the next owner, which may be the same.
func (a *audit) gaveUnseen(k *limb, part int) {
	maps.DeleteFunc(a.tries, func(t try, w *attempt) bool {
		return t.inc == k.inc && w.it.Tenure.Partition == part
	})
}

// alone checks that no key runs at two members at once. A run whose permit was revoked,
// or that was cancelled, may go on beside its successor: nobody waits for it.
func (a *audit) alone(e *engine, k *limb, it *lanes.Item) {
	part := it.Tenure.Partition
	if !a.believed(e, k, it.Tenure) {
		return
	}
	for _, w := range e.workers {
		other := w.shards[k.number]
		if other == k || other.inc == "" || other.d == nil || k.store().members[other.inc] == nil {
			continue
		}
		for _, run := range other.lanes.Started() {
			if t := run.Tenure; t.Partition != part || run.Entry.Key != it.Entry.Key || other.of(t).era != a.failovers || t.Lost() ||
				a.revoked[holdOf{part, numberOf(run), other.inc}] {
				continue
			}
			switch {
			case run.Runs():
				e.fail("%s starts %d/%d of key %s while %s runs %d", k.inc, part, numberOf(it), it.Entry.Key, other.inc, numberOf(run))
			case run.Entry.ID == it.Entry.ID && other.completes(run):
				e.fail("%s starts %d/%d, which %s has run to its end", k.inc, part, numberOf(it), other.inc)
			}
		}
	}
}

// completes reports whether a run's end waits for its answer, and leaves nothing to be run.
func (k *limb) completes(run *lanes.Item) bool {
	for it, c := range k.d.Endings() {
		if it == run && (c.Outcome == job.Done || c.Outcome == job.Buried) {
			return true
		}
	}
	return false
}

// stopped checks a reply to phase 1 in mode ring: nothing runs any more, except what had its
// time and was told to end.
func (a *audit) stopped(e *engine, k *limb, r resize.Report) {
	for _, it := range k.lanes.Started() {
		if w, is := it.Run.(*attempt); is && !w.told && k.of(it.Tenure).era == a.failovers {
			e.fail("%s replies to phase %d of epoch %d while it runs %d/%d", k.inc, r.Phase, r.Epoch, it.Tenure.Partition, numberOf(it))
		}
	}
}

// holdOf is an entry in somebody's hands.
type holdOf struct {
	part, n int
	inc     string
}

// answers are those of the store's script.
var answers = map[string]job.Answer{"OWNER": job.ByOwner, "DRAINER": job.ByDrainer, "DUP": job.NotPending, "GONE": job.Gone, "FENCED": job.Refused}

// end performs an ack and checks who may end a job, and in which order.
func (a *audit) end(e *engine, k *limb, inc string, f ended, epoch uint64, untrimmed bool) job.Answer {
	s, p, n := k.store(), f.it.Tenure.Partition, numberOf(f.it)
	part := s.parts[p]
	if n > len(part.entries) {
		return job.Gone // a failover forgot it
	}
	before := *part.at(n)
	answer := s.ack(inc, p, epoch, n, f.c.Outcome, notBefore(f.c))
	after := part.at(n)
	if f.c.Outcome == job.Failed && (answer == "OWNER" || answer == "DRAINER") {
		after.attempts = recordOf(f.c).Attempts // repeated, it counts once
	}
	if after.acked > before.acked {
		if k.of(f.it.Tenure).era == a.failovers && before.held != (holder{inc: inc}) && before.held != (holder{inc, epoch}) {
			e.fail("%s ended %d/%d, which was pending for %q", inc, p, n, before.held)
		}
		for i := 1; i < n; i++ {
			if other := part.at(i); other.key == after.key && other.acked == 0 && !a.ended[other.serial] {
				e.fail("%d/%d of key %s ends before %d", p, n, after.key, i)
			}
		}
	}
	if known := k.of(f.it.Tenure); answer == "DRAINER" && known.era == a.failovers && known.robbed[n] {
		e.fail("%s ended %d/%d under a permit, and started it when the partition was another's", inc, p, n)
	}
	if (answer == "OWNER" || answer == "DRAINER") && (f.c.Outcome == job.Done || f.c.Outcome == job.Buried) {
		a.ended[after.serial] = true
	}
	if s.owns(inc, p, epoch) && !untrimmed {
		s.trim(p, min(int(f.it.Tenure.LastRead.Ms), len(part.entries)))
	}
	return answers[answer]
}

// notBefore is when a failed job may be tried again.
func notBefore(c job.Completion) int64 {
	if c.Outcome != job.Failed {
		return 0
	}
	return recordOf(c).NotBefore.UnixMilli()
}

// recordOf is the retry record that a failed attempt leaves.
func recordOf(c job.Completion) lanes.Prior { return before(c.Data) }

// owners checks that the epoch of a partition rises whenever its owner changes.
func (a *audit) owners(e *engine) {
	for p := range a.epochs {
		part := e.part(p)
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
	for p := range a.epochs {
		part := e.part(p)
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
	p := e.part(part)
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
func (a *audit) failover(old, now []*store) {
	a.failovers++
	a.servers++
	there := make([]bool, a.sent+1)
	for p := range a.epochs {
		sh := p % len(now)
		part := now[sh].parts[p]
		a.epochs[p] = part.owner.Epoch
		for len(part.entries) < len(old[sh].parts[p].entries) {
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
	a.term = now[0].term
}

// deserted counts how long each partition has had no owner that can work, while somebody
// could have it, and complains beyond a bound.
func (a *audit) deserted(e *engine, bound int64) {
	able := false
	for _, k := range e.workers {
		able = able || k.able()
	}
	for p := range a.epochs {
		part := e.part(p)
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
	return k.inc != "" && k.frozen <= k.e.now && k.cut <= k.e.now && !slices.ContainsFunc(k.shards, func(l *limb) bool { return l.reader.deaf > k.e.now })
}
