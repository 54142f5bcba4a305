package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
	"ringmaster/resize"
	"ringmaster/resize/runner"
)

// World is a store with dispatchers and workers that run the product's own code. Nothing in it happens
// by itself: each call that they make waits for the scenario.
type World struct {
	fibers
	store       *store
	limits      lanes.Limits // of what a worker holds
	workers     map[string]*worker
	dispatchers map[string]*dispatcher
	now         int64
	lastTerm    uint64
	told        int      // messages that were read
	queue       []func() // happens right after the present step
	trace       []string
	err         error
}

// roomy are limits within which no job of a scenario is set aside.
var roomy = lanes.Limits{Window: 32, ReadBudget: 32, HeldBytes: 1 << 20, ParkBeyond: 32, Backoff: 8, IdleLanes: 1}

// NewWorld has two dispatchers, d1 and d2, which follow, and no worker. It is to be ended.
func NewWorld(partitions int, cfg resize.Config) (*World, error) {
	w := &World{store: newStore(partitions), limits: roomy, workers: map[string]*worker{}, dispatchers: map[string]*dispatcher{}}
	for _, name := range []string{"d1", "d2"} {
		if err := w.stand(name, cfg); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *World) time() time.Time { return time.UnixMilli(w.now) }

// soon has something happen right after the present step; goOn is the end of one.
func (w *World) soon(run func()) { w.queue = append(w.queue, run) }

func (w *World) goOn() {
	for len(w.queue) > 0 {
		run := w.queue[0]
		w.queue = w.queue[1:]
		run()
	}
	w.bury()
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

// Join starts a worker as a new incarnation. Its driver begins with a look at the records.
func (w *World) Join(inc string, weight int) bool {
	state, ok := w.store.join(inc, weight)
	if !ok {
		w.log("%s: join refused", inc)
		return false
	}
	w.log("%s: joins", inc)
	w.begin(inc, state)
	w.hint()
	return true
}

// hint tells the dispatchers that there is news.
func (w *World) hint() {
	for _, name := range []string{"d1", "d2"} {
		d := w.dispatchers[name]
		d.news = true
		d.wake()
	}
}

// rejoin has a worker start over as a new incarnation, with nothing of what it had.
func (w *World) rejoin(k *worker) {
	if k.dead {
		return
	}
	k.kill()
	for i := 'a'; i <= 'z'; i++ {
		if inc := fmt.Sprintf("%s%c", k.inc[:len(k.inc)-1], i); !w.store.used[inc] {
			w.Join(inc, 1)
			return
		}
	}
}

// stop has a worker leave.
func (w *World) stop(k *worker) {
	w.store.leave(k.inc)
	k.d.Post(resize.StopAsked{})
	w.hint()
}

// started checks a start: a worker that still is the owner never runs a key's job
// before all earlier ones are complete.
func (w *World) started(k *worker, h *handler) {
	part, n := h.part(), numberOf(h.it)
	entries := w.store.parts[part].entries
	if !w.store.owns(k.inc, part, h.it.Tenure.Epoch) {
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

// ack ends a run and checks the order of completions.
func (w *World) ack(inc string, b job.PartitionAcks, c job.Completion) string {
	n := int(c.ID.Ms)
	answer := w.store.ack(inc, b.Partition, b.Epoch, n, c.Outcome, notBefore(c))
	entries := w.store.parts[b.Partition].entries
	if c.Outcome == job.Done && (answer == "OWNER" || answer == "DRAINER") {
		for i, e := range entries[:n-1] {
			if e.key == entries[n-1].key && e.acked == 0 {
				w.fail("%d/%d of key %s completes before %d", b.Partition, n, e.key, i+1)
			}
		}
	}
	return answer
}

// hears tells of a message that a worker reads.
func (w *World) hears(k *worker, m resize.Message) {
	decoded, err := resize.Decode(m.Fields())
	if err != nil {
		w.fail("message %s does not survive the wire: %v", m, err)
		return
	}
	w.log("%s: hears %s", k.inc, decoded)
}

// receive hands a worker a message out of its turn, if its read waits.
func (w *World) receive(k *worker, m resize.Message) {
	box := w.store.inbox[k.inc]
	if k.reading != nil && w.store.members[k.inc] != nil {
		w.store.inbox[k.inc] = []resize.Message{m}
		k.answerRead(nil, 1)
		w.store.inbox[k.inc] = append(slices.Clone(box), w.store.inbox[k.inc]...)
	}
}

// beat sends a heartbeat; its answer is on the way.
func (w *World) beat(k *worker) {
	state, member := w.store.beat(k.inc)
	k.mail = append(k.mail, &openCall{kind: "beat", done: func(bool) {
		switch {
		case !member:
			w.log("%s: its heartbeat is fenced", k.inc)
			w.rejoin(k)
		default:
			k.d.Beaten(beatOf(state))
			if k.lapsed {
				w.renew(k)
			}
		}
	}})
}

// expire has a worker find its lease over, and renew good again.
func (w *World) expire(k *worker) {
	k.lapsed = true
	k.d.Post(resize.LeaseExpired{})
}

func (w *World) renew(k *worker) {
	k.lapsed = false
	k.d.Post(resize.LeaseRenewed{})
}

// crash ends a worker's process.
func (w *World) crash(k *worker) {
	k.kill()
	w.log("%s: dies", k.inc)
}

// names lists the workers that run, in a fixed order.
func (w *World) names() []string { return slices.Sorted(maps.Keys(w.workers)) }

// lead gives a dispatcher the lease under a new term. The other is not told.
func (w *World) lead(d *dispatcher) {
	w.lastTerm++
	d.lead(w.lastTerm)
}

// died is a verdict of a dispatcher's failure detector. It looks at once, if it waits.
func (w *World) died(d *dispatcher, inc string, evidence resize.Evidence) {
	d.dead = append(d.dead, runner.Death{Incarnation: inc, Evidence: evidence, Beat: w.store.lastBeat(inc)})
	d.ticked = true
	d.wake()
}

// tick lets time pass.
func (w *World) tick(ms int64) {
	w.now += ms
	for _, name := range []string{"d1", "d2"} {
		d := w.dispatchers[name]
		d.ticked = true
		d.wake()
	}
}

// settle performs everything that is under way, jobs' ends excepted, until nothing is: of all, or of
// those named.
func (w *World) settle(who ...string) {
	is := func(name string) bool { return len(who) == 0 || slices.Contains(who, name) }
	for range 10000 {
		busy := false
		for _, name := range []string{"d1", "d2"} {
			for d := w.dispatchers[name]; is(name) && (d.perform() || d.answer()); {
				busy = true
			}
		}
		for _, inc := range w.names() {
			if k := w.workers[inc]; k != nil && is(inc) && w.settleWorker(k) {
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
	for !k.dead && (k.perform() || k.answer() || k.readAll()) {
		busy = true
	}
	for !k.dead && k.start() {
		busy = true
	}
	return busy
}
