package sim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ringmaster/resize"
)

// Env runs scenario commands. Each returns what happened, a line for each step.
type Env struct{ w *World }

// Run performs one command line:
//
//	world PARTITIONS            start over, with dispatchers d1 and d2
//	lead D                      D wins the lease under a new term; nobody tells the other
//	lose D                      D learns that it lost the lease
//	join INC [WEIGHT]           a worker joins
//	stop INC | crash INC        it shuts down | its process dies
//	silence INC                 its signs of life stop, and it runs on
//	enqueue PART KEY...         jobs are added
//	finish INC PART N           a handler ends and its job is acked
//	lost INC ACTION before|after  the answer of its next claim, release or ack gets lost
//	perform NAME [N]            N actions of a worker or a dispatcher (default all)
//	answer NAME                 answers on their way arrive
//	deliver INC [N]             messages arrive (default all)
//	drop INC | repeat INC       its messages are lost | the next one arrives, and will again
//	late INC TYPE PART EPOCH N  a message drained or undrained of that tenure arrives
//	start INC PART              jobs that may start do
//	read INC PART               new jobs are read
//	beat INC                    a heartbeat is sent and answered
//	expire INC | renew INC      its own lease ends | is good again
//	timeout INC PART            its drain timed out
//	died D INC EVIDENCE         the failure detector tells D
//	request ID MODE             somebody asks for a resize
//	tick MS                     time passes
//	settle                      everything that is under way is performed
//	show | state NAME           the records | a machine
func (e *Env) Run(line string) (out string, err error) {
	f := strings.Fields(line)
	if len(f) == 0 {
		return "", fmt.Errorf("empty command")
	}
	if f[0] == "world" {
		if e.w, err = NewWorld(number(f, 1), resize.Default()); err != nil {
			return "", err
		}
		return "", nil
	}
	if e.w == nil {
		return "", fmt.Errorf("%s: start with a world", f[0])
	}
	e.w.trace = nil
	if err := e.command(f); err != nil {
		return "", fmt.Errorf("%q: %w", line, err)
	}
	if err := e.w.Check(); err != nil {
		e.w.log("BROKEN: %v", err)
	}
	return strings.Join(e.w.trace, "\n"), nil
}

func number(f []string, i int) int {
	if i >= len(f) {
		return 0
	}
	n, _ := strconv.Atoi(f[i])
	return n
}

func (e *Env) command(f []string) error {
	w := e.w
	switch f[0] {
	case "settle":
		w.settle()
		return nil
	case "show":
		w.show()
		return nil
	case "tick":
		w.tick(int64(number(f, 1)))
		return nil
	case "enqueue":
		for _, key := range f[2:] {
			part := w.store.parts[number(f, 1)]
			part.entries = append(part.entries, entry{key: key})
		}
		return nil
	case "request":
		mode, err := resize.ParseMode(f[2])
		w.store.request = resize.Request{ID: f[1], Mode: mode}
		for _, name := range []string{"d1", "d2"} {
			w.dispatchers[name].step(resize.RecordsChanged{Now: w.now})
		}
		return err
	case "join":
		w.Join(f[1], max(number(f, 2), 1))
		return nil
	}
	if len(f) < 2 {
		return fmt.Errorf("no such command")
	}
	if d := w.dispatchers[f[1]]; d != nil {
		return w.dispatcherCommand(d, f)
	}
	if k := w.workers[f[1]]; k != nil {
		return w.workerCommand(k, f)
	}
	return fmt.Errorf("%s is nobody", f[1])
}

func (w *World) dispatcherCommand(d *dispatcher, f []string) error {
	switch f[0] {
	case "lead":
		w.lead(d)
	case "lose":
		d.todo, d.mail = nil, nil
		d.step(resize.LeaseLost{})
	case "perform":
		times(f, 2, d.perform)
	case "answer":
		times(f, 2, d.answer)
	case "died":
		d.step(resize.WorkerDied{Now: w.now, Incarnation: f[2], Evidence: resize.Evidence(f[3]), Beat: w.store.lastBeat(f[2])})
	case "state":
		w.log("%s", d.c)
	default:
		return fmt.Errorf("no such command")
	}
	return nil
}

func (w *World) workerCommand(k *worker, f []string) error {
	part := number(f, 2)
	switch f[0] {
	case "stop":
		w.store.leave(k.inc)
		k.step(resize.StopAsked{})
		for _, name := range []string{"d1", "d2"} {
			w.dispatchers[name].step(resize.RecordsChanged{Now: w.now})
		}
	case "crash":
		w.crash(k)
	case "silence":
		w.store.silence(k.inc)
	case "finish":
		return w.finish(k, part, number(f, 3))
	case "lost":
		k.faults[f[2]] = f[3]
	case "perform":
		times(f, 2, k.perform)
	case "answer":
		times(f, 2, func() bool { return w.answer(k) })
	case "deliver":
		times(f, 2, func() bool { return w.deliver(k) })
	case "drop":
		w.log("%s: %d messages are lost", k.inc, len(w.store.inbox[k.inc]))
		w.store.inbox[k.inc] = nil
	case "repeat":
		w.receive(k, w.store.inbox[k.inc][0])
	case "late":
		w.receive(k, resize.Message{
			Type: resize.Type(f[2]), Name: resize.Master, Part: number(f, 3),
			PartEpoch: uint64(number(f, 4)), ID: id(number(f, 5)),
		})
	case "start":
		for k.start(part) {
			continue
		}
	case "read":
		k.read(part)
	case "beat":
		w.beat(k)
		times(f, 2, func() bool { return w.answer(k) })
	case "expire":
		k.step(resize.LeaseExpired{})
	case "renew":
		k.step(resize.LeaseRenewed{})
	case "timeout":
		if t := k.parts[part]; t != nil {
			k.step(resize.DrainTimedOut{Part: part, Epoch: t.epoch})
		}
	case "state":
		w.log("%s", k.p)
	default:
		return fmt.Errorf("no such command")
	}
	return nil
}

func (w *World) finish(k *worker, part, n int) error {
	for _, r := range k.sortedRuns() {
		if r.part == part && r.n == n {
			w.log("%s: ends %d/%d@%d -> %s", k.inc, part, n, r.epoch, k.finish(r))
			return nil
		}
	}
	w.log("%s: does not run %d/%d", k.inc, part, n)
	return nil
}

func (k *worker) sortedRuns() []run {
	return slices.SortedFunc(maps.Keys(k.runs), func(a, b run) int {
		if a.part != b.part {
			return a.part - b.part
		}
		return a.n - b.n
	})
}

// times repeats an act as often as the field says, or until it does nothing.
func times(f []string, i int, act func() bool) {
	for n := 0; len(f) <= i || n < number(f, i); n++ {
		if !act() {
			return
		}
	}
}

// show lists the records.
func (w *World) show() {
	s := w.store
	w.log("epoch=%d phase=%s mode=%s", s.epoch, s.phase, s.mode)
	for p, part := range s.parts {
		line := fmt.Sprintf("%d: %s@%d", p, part.owner.Incarnation, part.owner.Epoch)
		if part.plan != part.owner.Incarnation {
			line += " -> " + part.plan
		}
		done := 0
		for _, e := range part.entries {
			done += e.acked
		}
		line += fmt.Sprintf(" done %d/%d", done, len(part.entries))
		for _, n := range part.pending() {
			line += fmt.Sprintf(" %d:%s", n, part.at(n).held)
		}
		w.log("%s", line)
	}
}
