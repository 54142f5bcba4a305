package sim

import (
	"fmt"
	"strconv"
	"strings"

	"ringmaster/job"
	"ringmaster/resize"
)

// Env runs scenario commands. Each returns what happened, a line for each step.
type Env struct{ w *World }

// Run performs one command line:
//
//	world PARTITIONS            start over, with dispatchers d1 and d2
//	lead D                      D wins the lease under a new term; nobody tells the other
//	lose D                      D learns that it lost the lease
//	join INC [WEIGHT]           a worker joins, and looks at the records
//	stop INC | crash INC        it shuts down | its process dies
//	silence INC                 its signs of life stop, and it runs on
//	enqueue PART KEY...         jobs are added
//	finish INC PART N           a handler ends, and its end is sent
//	lost INC REQUEST before|after  the next claim, release, ack, read, ... is lost, or its answer is
//	perform NAME [N]            N requests are executed (default all); a read that need not wait is
//	                            one. Each is answered at once, but for those for the records
//	answer NAME [N]             answers on their way arrive: of requests for the records
//	deliver INC [N]             its read is answered with messages (default all)
//	drop INC | repeat INC       its messages are lost | the next one arrives, and will again
//	late INC TYPE PART EPOCH N  a message drained or undrained of that tenure arrives
//	start INC [N]               jobs that may start do (default all)
//	read INC PART               its read is answered with new jobs
//	beat INC                    a heartbeat is sent and answered
//	expire INC | renew INC      its own lease ends | is good again
//	timeout INC                 by its clock, drains that are under way have timed out
//	died D INC EVIDENCE         D's failure detector finds that
//	request ID MODE             somebody asks for a resize
//	tick MS                     time passes
//	settle [NAME...]            everything that is under way is performed, or what is of these
//	show | state NAME           the records | a machine
func (e *Env) Run(line string) (out string, err error) {
	f := strings.Fields(line)
	if len(f) == 0 {
		return "", fmt.Errorf("empty command")
	}
	if f[0] == "world" {
		e.End()
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

// End ends what runs.
func (e *Env) End() {
	if e.w != nil {
		e.w.end()
	}
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
		w.settle(f[1:]...)
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
		w.hint()
		return err
	case "join":
		if w.Join(f[1], max(number(f, 2), 1)) {
			k := w.workers[f[1]]
			for k.perform() || k.answer() {
				continue
			}
		}
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
		d.lead(0)
	case "perform":
		times(f, 2, d.perform)
	case "answer":
		times(f, 2, d.answer)
	case "died":
		w.died(d, f[2], resize.Evidence(f[3]))
	case "state":
		w.log("%s", d.l)
	default:
		return fmt.Errorf("no such command")
	}
	return nil
}

func (w *World) workerCommand(k *worker, f []string) error {
	part := number(f, 2)
	switch f[0] {
	case "stop":
		w.stop(k)
	case "crash":
		w.crash(k)
	case "silence":
		w.store.silence(k.inc)
	case "finish":
		w.finish(k, part, number(f, 3))
	case "lost":
		k.faults[f[2]] = f[3]
	case "perform":
		times(f, 2, k.perform)
	case "answer":
		times(f, 2, k.answer)
	case "deliver":
		most := all
		if len(f) > 2 {
			most = part
		}
		k.answerRead(nil, most)
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
		times(f, 2, k.start)
	case "read":
		k.answerRead([]int{part}, 0)
	case "beat":
		w.beat(k)
		times(f, 2, k.answer)
	case "expire":
		w.expire(k)
	case "renew":
		w.renew(k)
	case "timeout":
		k.ahead += drainTime
	case "state":
		w.log("%s", k.p)
	default:
		return fmt.Errorf("no such command")
	}
	return nil
}

func (w *World) finish(k *worker, part, n int) {
	for _, h := range k.handlers() {
		if h.part() == part && numberOf(h.it) == n {
			k.finish(h, job.Done)
			return
		}
	}
	w.log("%s: does not run %d/%d", k.inc, part, n)
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
