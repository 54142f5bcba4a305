package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ringmaster/job"
	"ringmaster/resize"
)

// dispatcher is a coordinator with its driver.
type dispatcher struct {
	w    *World
	name string
	c    *resize.Coordinator
	term uint64
	todo []resize.CoordinatorAction
	mail []resize.Records // readings on their way
}

// World is a store with dispatchers and workers. Nothing in it happens by itself.
type World struct {
	store       *store
	workers     map[string]*worker
	dispatchers map[string]*dispatcher
	now         int64
	lastTerm    uint64
	trace       []string
	err         error
}

// NewWorld has two dispatchers, d1 and d2, which follow, and no worker.
func NewWorld(partitions int, cfg resize.Config) (*World, error) {
	w := &World{store: newStore(partitions), workers: map[string]*worker{}, dispatchers: map[string]*dispatcher{}}
	for _, name := range []string{"d1", "d2"} {
		c, err := resize.NewCoordinator(cfg)
		if err != nil {
			return nil, err
		}
		w.dispatchers[name] = &dispatcher{w: w, name: name, c: c}
	}
	return w, nil
}

func (w *World) log(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

func (w *World) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

// Check holds the world against the invariants, and tells what broke first.
func (w *World) Check() error {
	if w.err == nil {
		w.err = w.store.check()
	}
	return w.err
}

// Join starts a worker as a new incarnation.
func (w *World) Join(inc string, weight int) bool {
	state, ok := w.store.join(inc, weight)
	if !ok {
		w.log("%s: join refused", inc)
		return false
	}
	k := &worker{
		w: w, inc: inc, p: resize.NewParticipant(), parts: map[int]*tenure{}, runs: map[run]bool{}, faults: map[string]string{},
	}
	w.workers[inc] = k
	w.log("%s: joins", inc)
	k.step(resize.Joined{Incarnation: inc, RingState: state})
	for _, name := range []string{"d1", "d2"} {
		w.dispatchers[name].step(resize.RecordsChanged{Now: w.now})
	}
	return true
}

// started checks a start: a worker that still is the owner never runs a key's job
// before all earlier ones are complete.
func (w *World) started(k *worker, part int, epoch uint64, n int) {
	entries := w.store.parts[part].entries
	if !w.store.owns(k.inc, part, epoch) {
		return // robbed and unaware: it can finish nothing
	}
	for i, e := range entries[:n-1] {
		if e.key == entries[n-1].key && e.acked == 0 {
			w.fail("%s starts %d/%d of key %s before %d is complete", k.inc, part, n, e.key, i+1)
		}
	}
	if entries[n-1].acked > 0 {
		w.fail("%s starts %d/%d, which is complete", k.inc, part, n)
	}
}

// ack completes a job and checks the order of completions.
func (w *World) ack(k *worker, r run) string {
	answer := w.store.ack(k.inc, r.part, r.epoch, r.n, job.Done, 0)
	entries := w.store.parts[r.part].entries
	if answer == "OWNER" || answer == "DRAINER" {
		for i, e := range entries[:r.n-1] {
			if e.key == entries[r.n-1].key && e.acked == 0 {
				w.fail("%d/%d of key %s completes before %d", r.part, r.n, e.key, i+1)
			}
		}
	}
	return answer
}

// deliver hands a worker the next message of its inbox.
func (w *World) deliver(k *worker) bool {
	box := w.store.inbox[k.inc]
	if len(box) == 0 {
		return false
	}
	w.store.inbox[k.inc] = box[1:]
	w.receive(k, box[0])
	return true
}

func (w *World) receive(k *worker, m resize.Message) {
	decoded, err := resize.Decode(m.Fields())
	if err != nil {
		w.fail("message %s does not survive the wire: %v", m, err)
		return
	}
	w.log("%s: hears %s", k.inc, decoded)
	k.step(resize.MessageReceived{Message: decoded})
}

// answer hands a worker the next answer on its way.
func (w *World) answer(k *worker) bool {
	if len(k.mail) == 0 {
		return false
	}
	ev := k.mail[0]
	k.mail = k.mail[1:]
	k.step(ev)
	return true
}

// beat sends a heartbeat; its answer is on the way. The driver also re-checks what
// blocks its keys, since a message about it may have been lost.
func (w *World) beat(k *worker) {
	if w.store.members[k.inc] == nil {
		k.mail = append(k.mail, resize.Evicted{})
		return
	}
	k.mail = append(k.mail, resize.BeatAnswered{RingState: w.store.ringState(k.inc)})
	for part, t := range k.parts {
		k.recheck(part, t)
	}
}

// crash ends a worker's process.
func (w *World) crash(k *worker) {
	delete(w.workers, k.inc)
	k.dead = true
	w.store.silence(k.inc)
	w.log("%s: dies", k.inc)
}

// names lists the workers that run, in a fixed order.
func (w *World) names() []string { return slices.Sorted(maps.Keys(w.workers)) }

// lead gives a dispatcher the lease under a new term. The other is not told.
func (w *World) lead(d *dispatcher) {
	w.lastTerm++
	d.term, d.todo, d.mail = w.lastTerm, nil, nil
	d.step(resize.LeaseWon{Now: w.now, Term: d.term})
}

func (d *dispatcher) step(ev resize.CoordinatorEvent) {
	actions, err := d.c.Step(ev)
	if err == nil {
		err = d.c.CheckInvariants()
	}
	if err != nil {
		d.w.fail("%s on %T: %v", d.name, ev, err)
	}
	seen := map[string]bool{}
	for _, a := range actions {
		if seen[a.String()] {
			d.w.fail("%s wants twice: %s", d.name, a)
		}
		seen[a.String()] = true
	}
	d.todo = append(d.todo, actions...)
}

// perform does a dispatcher's next action; a refusal ends the batch.
func (d *dispatcher) perform() bool {
	if len(d.todo) == 0 {
		return false
	}
	a := d.todo[0]
	d.todo = d.todo[1:]
	s, result := d.w.store, "ok"
	switch a := a.(type) {
	case resize.ReadRecords:
		d.mail = append(d.mail, s.records())
	case resize.StepDown:
		d.todo, d.mail = nil, nil
	case resize.EvictWorker:
		result = s.evict(d.term, a)
	case resize.WritePlan:
		result = s.writePlan(d.term, a)
	case resize.StealPartition:
		result = s.steal(d.term, a)
	case resize.RevokePermit:
		result = s.revoke(d.term, a)
	case resize.AdvanceBarrier:
		if a.Epoch != s.epoch || !s.advance(true) {
			result = "CONFLICT"
		}
	}
	d.w.log("%s: %s%s", d.name, a, strings.TrimSuffix(" -> "+result, " -> ok"))
	switch result {
	case "CONFLICT":
		d.refused(resize.Conflict)
	case "STALE":
		d.refused(resize.Stale)
	}
	return true
}

// refused drops the batch; a reading in it is still owed.
func (d *dispatcher) refused(kind resize.Refusal) {
	owed := slices.ContainsFunc(d.todo, func(a resize.CoordinatorAction) bool { return a == resize.CoordinatorAction(resize.ReadRecords{}) })
	d.todo = nil
	if owed && kind == resize.Conflict {
		d.todo = append(d.todo, resize.ReadRecords{})
	}
	d.step(resize.Refused{Now: d.w.now, Kind: kind})
}

// answer hands a dispatcher the next reading.
func (d *dispatcher) answer() bool {
	if len(d.mail) == 0 {
		return false
	}
	r := d.mail[0]
	d.mail = d.mail[1:]
	d.step(resize.RecordsRead{Now: d.w.now, Records: r})
	return true
}

// tick lets time pass.
func (w *World) tick(ms int64) {
	w.now += ms
	for _, name := range []string{"d1", "d2"} {
		w.dispatchers[name].step(resize.Ticked{Now: w.now})
	}
}

// settle performs everything that is under way, jobs' ends excepted, until nothing is.
func (w *World) settle() {
	for range 10000 {
		busy := false
		for _, name := range []string{"d1", "d2"} {
			d := w.dispatchers[name]
			for d.perform() || d.answer() {
				busy = true
			}
		}
		for _, inc := range w.names() {
			if k := w.workers[inc]; k != nil && w.settleWorker(k) {
				busy = true
			}
		}
		if w.Check() != nil || !busy {
			return
		}
	}
	w.fail("does not settle")
}

func (w *World) settleWorker(k *worker) bool {
	busy := false
	for !k.dead && (k.perform() || w.answer(k) || w.deliver(k)) {
		busy = true
	}
	for p := range w.store.parts {
		for !k.dead && k.start(p) {
			busy = true
		}
		if !k.dead && k.read(p) {
			busy = true
		}
	}
	return busy
}
