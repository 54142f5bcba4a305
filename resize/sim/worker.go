package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ringmaster/job"
	"ringmaster/resize"
)

// pageSize is small, so that claims take several pages.
const pageSize = 2

// run is a handler at work.
type run struct {
	part  int
	epoch uint64
	n     int
}

// tenure is what the driver of a participant holds of a partition.
type tenure struct {
	epoch   uint64
	gate    bool
	reads   bool
	cursor  int
	queue   []int        // ours, not started, by id
	blocked map[int]bool // former owners hold these; their keys wait
	done    map[int]bool // acked here
}

// worker is a participant with its driver: it performs actions one by one against the
// store, and keeps lanes by key as a real worker does.
type worker struct {
	w      *World
	inc    string
	p      *resize.Participant
	dead   bool // the process is gone
	todo   []resize.ParticipantAction
	mail   []resize.ParticipantEvent // answers on their way
	parts  map[int]*tenure
	runs   map[run]bool
	faults map[string]string // action name -> "before" or "after": its answer gets lost
}

// step hands an event to the machine and checks its invariants.
func (k *worker) step(ev resize.ParticipantEvent) {
	idle := restful(k.p, ev)
	actions, err := k.p.Step(ev)
	if err == nil {
		err = k.p.CheckInvariants()
	}
	if err == nil && idle {
		err = stillRests(k.p, ev, actions)
	}
	if err != nil {
		k.w.fail("%s on %T%+v: %v", k.inc, ev, ev, err)
	}
	k.todo = append(k.todo, actions...)
}

// perform does the next action. It reports whether there was one.
func (k *worker) perform() bool {
	if len(k.todo) == 0 {
		return false
	}
	a := k.todo[0]
	k.todo = k.todo[1:]
	if result := k.act(a); result != "" {
		k.w.log("%s: %s -> %s", k.inc, a, result)
	} else {
		k.w.log("%s: %s", k.inc, a)
	}
	return true
}

func (k *worker) act(a resize.ParticipantAction) string {
	s := k.w.store
	switch a := a.(type) {
	case resize.ReadRecords:
		if s.members[k.inc] == nil {
			k.mail = append(k.mail, resize.Evicted{})
			return "FENCED"
		}
		k.mail = append(k.mail, s.snapshot(k.inc))
	case resize.ClaimPartition:
		return k.claim(a)
	case resize.OpenGate:
		k.gate(a.Part, a.Epoch, true)
	case resize.ReopenGate:
		k.gate(a.Part, a.Epoch, true)
	case resize.CloseGate:
		k.gate(a.Part, a.Epoch, false)
	case resize.StartReading:
		if t := k.at(a.Part, a.Epoch); t != nil {
			t.reads = true
		}
	case resize.ReleasePartition:
		return k.release(a)
	case resize.DropPartition:
		k.drop(a)
	case resize.Unblock:
		if t := k.at(a.Part, a.Epoch); t != nil {
			k.recheck(a.Part, t)
		}
	case resize.Report:
		return s.report(k.inc, a.Epoch, a.Phase)
	case resize.Rejoin:
		k.rejoin()
	}
	return ""
}

func (k *worker) at(part int, epoch uint64) *tenure {
	if t := k.parts[part]; t != nil && t.epoch == epoch {
		return t
	}
	return nil
}

// fault takes the planned loss of an answer, if there is one for this kind of action.
func (k *worker) fault(name string) string {
	f := k.faults[name]
	delete(k.faults, name)
	return f
}

func (k *worker) claim(a resize.ClaimPartition) string {
	t := k.parts[a.Part]
	if t == nil || t.epoch < a.Epoch {
		t = &tenure{epoch: a.Epoch, blocked: map[int]bool{}, done: map[int]bool{}}
		k.parts[a.Part] = t
	}
	if a.First {
		t.cursor = 0
	}
	lost := k.fault("claim")
	if lost == "before" {
		k.step(resize.ClaimAnswered{Part: a.Part, Epoch: a.Epoch, Outcome: resize.ClaimUnknown})
		return "unknown"
	}
	page, next, ok := k.w.store.claim(k.inc, a.Part, a.Epoch, t.cursor, pageSize)
	switch {
	case lost == "after":
		k.step(resize.ClaimAnswered{Part: a.Part, Epoch: a.Epoch, Outcome: resize.ClaimUnknown})
		return "unknown"
	case !ok:
		k.step(resize.ClaimAnswered{Part: a.Part, Epoch: a.Epoch, Outcome: resize.ClaimFenced})
		return "fenced"
	}
	t.cursor = next
	k.take(t, page)
	if a.First {
		own := k.ownPending(a.Part, t)
		k.take(t, own)
		page = append(page, own...)
	}
	for _, n := range k.w.store.drainers(a.Part) {
		t.blocked[n] = true
	}
	k.step(resize.ClaimAnswered{Part: a.Part, Epoch: a.Epoch, More: next != 0})
	if next != 0 {
		return fmt.Sprintf("%v more", page)
	}
	return fmt.Sprintf("%v", page)
}

// ownPending reads the worker's own pending list: what a lost reply had given it.
func (k *worker) ownPending(part int, t *tenure) []int {
	var out []int
	own, _ := k.w.store.own(k.inc, part)
	for _, n := range own {
		if !k.runs[run{part, t.epoch, n}] && !slices.Contains(t.queue, n) {
			out = append(out, n)
		}
	}
	return out
}

// take puts entries into the queue by id, through one door.
func (k *worker) take(t *tenure, page []int) {
	for _, n := range page {
		delete(t.blocked, n)
		if !slices.Contains(t.queue, n) {
			t.queue = append(t.queue, n)
		}
	}
	slices.Sort(t.queue)
}

// gate opens or closes, and tells the machine what runs.
func (k *worker) gate(part int, epoch uint64, open bool) {
	t := k.at(part, epoch)
	if t == nil {
		return
	}
	t.gate = open
	if !open {
		k.tellIdle(part, epoch)
	}
}

// tellIdle reports what the machine waits for while gates are closed.
func (k *worker) tellIdle(part int, epoch uint64) {
	if t := k.at(part, epoch); t != nil && !t.gate && !k.anyRun(func(r run) bool { return r.part == part && r.epoch == epoch }) {
		k.step(resize.PartitionIdle{Part: part, Epoch: epoch})
	}
	closed := true
	for _, t := range k.parts {
		closed = closed && !t.gate
	}
	if closed && len(k.runs) == 0 {
		k.step(resize.RunsEnded{})
	}
}

func (k *worker) anyRun(match func(run) bool) bool {
	for r := range k.runs {
		if match(r) {
			return true
		}
	}
	return false
}

func (k *worker) release(a resize.ReleasePartition) string {
	answer := resize.ReleaseAnswered{Part: a.Part, Epoch: a.Epoch, Outcome: resize.ReleaseUnknown}
	lost := k.fault("release")
	if lost != "before" {
		var running []int
		for r := range k.runs {
			if r.part == a.Part && r.epoch == a.Epoch {
				running = append(running, r.n)
			}
		}
		if k.w.store.members[k.inc] == nil {
			answer.Outcome = resize.ReleaseFenced
		} else if out := k.w.store.release(k.inc, a.Part, a.Epoch, running, k.w.store.members[k.inc].Leaving && !k.w.store.anyUp()); lost == "" {
			answer = out
		}
	}
	k.step(answer)
	return [...]string{"flipped", "kept", "fenced", "unknown"}[answer.Outcome]
}

func (k *worker) drop(a resize.DropPartition) {
	if k.at(a.Part, a.Epoch) != nil {
		delete(k.parts, a.Part)
	}
	if a.Cancel {
		maps.DeleteFunc(k.runs, func(r run, _ bool) bool { return r.part == a.Part && r.epoch == a.Epoch })
	}
	k.tellIdle(-1, 0)
}

// rejoin starts over as a new incarnation.
func (k *worker) rejoin() {
	slot, _, _ := strings.Cut(k.inc, ".")
	delete(k.w.workers, k.inc)
	k.w.store.silence(k.inc)
	k.dead = true
	for i := 'a'; i <= 'z'; i++ {
		if inc := fmt.Sprintf("%s.%c", slot, i); !k.w.store.used[inc] {
			k.w.Join(inc, 1)
			return
		}
	}
}

// recheck frees the keys of entries that are no longer pending.
func (k *worker) recheck(part int, t *tenure) {
	for n := range t.blocked {
		if k.w.store.parts[part].at(n).held == (holder{}) {
			delete(t.blocked, n)
		}
	}
}

// read fetches new jobs of a partition.
func (k *worker) read(part int) bool {
	t := k.parts[part]
	if t == nil || !t.gate || !t.reads || len(t.queue) >= 4 {
		return false
	}
	page, ok := k.w.store.read(k.inc, part, pageSize)
	if !ok {
		k.step(resize.PartitionFenced{Part: part, Epoch: t.epoch})
		return true
	}
	k.take(t, page)
	return len(page) > 0
}

// startable is the first queued job of a partition whose key is free.
func (k *worker) startable(part int) (int, bool) {
	t := k.parts[part]
	if t == nil || !t.gate {
		return 0, false
	}
	busy := map[string]bool{}
	key := func(n int) string { return k.w.store.parts[part].entries[n-1].key }
	for n := range t.blocked {
		busy[key(n)] = true
	}
	for r := range k.runs {
		if r.part == part && r.epoch == t.epoch {
			busy[key(r.n)] = true
		}
	}
	for _, n := range t.queue {
		if !busy[key(n)] {
			return n, true
		}
		busy[key(n)] = true
	}
	return 0, false
}

// start runs the next job of a partition.
func (k *worker) start(part int) bool {
	n, ok := k.startable(part)
	if !ok {
		return false
	}
	t := k.parts[part]
	t.queue = slices.DeleteFunc(t.queue, func(x int) bool { return x == n })
	k.runs[run{part, t.epoch, n}] = true
	k.w.log("%s: starts %d/%d", k.inc, part, n)
	k.w.started(k, part, t.epoch, n)
	return true
}

// finish ends a handler and acks with the epoch its run began under. A refused ack does
// not free the key.
func (k *worker) finish(r run) string {
	if k.fault("ack") != "" {
		k.w.store.ack(k.inc, r.part, r.epoch, r.n, job.Done, 0)
		return "unknown" // the key stays busy; the ack is repeated
	}
	answer := k.w.ack(k, r)
	refused := answer == "FENCED" || answer == "GONE"
	if refused {
		if k.at(r.part, r.epoch) != nil {
			k.step(resize.PartitionFenced{Part: r.part, Epoch: r.epoch})
		}
	}
	if !refused || k.at(r.part, r.epoch) == nil {
		delete(k.runs, r)
		k.tellIdle(r.part, r.epoch)
	}
	return answer
}
