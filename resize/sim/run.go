package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"ringmaster/resize"
)

const (
	faultTime   = 3000   // faults happen until then, ms
	healTime    = 60_000 // afterwards all must be done within this
	desertBound = 12_000 // no partition is without a working owner for longer, once faults have ended
)

// Options is what one schedule is run with.
type Options struct {
	Seed  uint64
	Trace bool
	Bug   Bug // put in on purpose

	Limited int // so many jobs of one of two types run at a time in a worker; 0: as many as of all
}

// Result tells of one schedule.
type Result struct {
	Err    error
	Steps  int
	Hash   uint64 // of the event log
	Trace  string
	Faults [faultKinds]int
	Jobs   int
	Live   bool // a liveness run: one permanent fault
}

// Run runs one schedule. It is a function of its options. Odd seeds are safety runs:
// random faults for a while, then none, and everything must come to its end. Of the
// even ones every second is a liveness run: one permanent fault on a minority, and the
// rest must come to its end all the same.
func Run(o Options) Result {
	e := &engine{rng: rand.New(rand.NewPCG(o.Seed, 0x5eed)), hash: newHash(), alive: map[string]*proc{}}
	if o.Trace {
		e.trace = &strings.Builder{}
	}
	e.setUp(o)
	live := o.Seed%4 == 0
	if live {
		e.minority()
	} else {
		e.faults.choose()
		e.after(nil, e.between(50, 800), e.faults.next)
		e.run(faultTime, nil)
		e.faults.end()
		e.log("world", "heals", 0, 0)
	}
	e.finish()
	e.end()
	r := Result{Err: e.err, Steps: e.steps, Hash: e.hash, Faults: e.audit.faults, Jobs: e.audit.sent, Live: live}
	if e.trace != nil {
		r.Trace = e.trace.String()
	}
	return r
}

// shardsOf is how many shards the queue of a schedule has: of eight seeds four have one, two
// have two and two have three.
func shardsOf(seed uint64) int {
	return [...]int{1, 1, 2, 3, 2, 3, 1, 1}[seed%8]
}

func (e *engine) setUp(o Options) {
	parts, shards := 1+e.rng.IntN(3), shardsOf(o.Seed)
	parts += shards - 1
	e.bug, e.limited = o.Bug, o.Limited
	for sh := range shards {
		s := newStore(parts)
		s.number, s.shards, s.bug, s.now = sh, shards, o.Bug, 1_000_000
		e.stores = append(e.stores, s)
	}
	e.faults.e = e
	e.audit = audit{acked: map[int]bool{}, forgotten: map[int]bool{}, revoked: map[holdOf]bool{}, tries: map[try]*attempt{}, entered: map[int]bool{}, ended: map[int]bool{}, epochs: make([]uint64, parts), orphan: make([]int64, parts)}
	cfg := resize.Default()
	cfg.Mode = resize.Mode(max(0, e.rng.IntN(6)-3))
	cfg.DrainTimeout = drainLimit + 500
	for i := range 2 {
		d := &chief{node: node{name: fmt.Sprint("d", i+1)}, e: e, cfg: cfg}
		e.dispatchers = append(e.dispatchers, d)
		e.after(&d.node, int64(i)*20, d.start)
	}
	for range 2 + e.rng.IntN(2) {
		e.addWorker()
	}
	for i := range 2 {
		p := &producer{node: node{name: fmt.Sprint("p", i+1)}, e: e, number: i, seqs: map[int]int{}, left: 4 + e.rng.IntN(8)}
		for j := range 3 {
			p.keys = append(p.keys, string(rune('A'+3*i+j)))
		}
		e.producers = append(e.producers, p)
		e.after(&p.node, e.between(1, 300), p.next)
	}
}

func (e *engine) addWorker() {
	k := &proc{node: node{name: fmt.Sprint("w", len(e.workers)+1)}, e: e}
	k.slot = k.name
	for sh := range e.stores {
		k.shards = append(k.shards, &limb{proc: k, number: sh, reader: &conn{}})
	}
	k.hold()
	e.workers = append(e.workers, k)
	e.after(&k.node, e.between(1, 200), k.start)
}

// minority breaks one party for good, some time after the start.
func (e *engine) minority() {
	const forever = 1 << 40
	e.after(nil, e.between(200, 2000), func() {
		w, d := e.workers[0], e.dispatchers[0]
		kind := e.rng.IntN(7)
		e.log("fault", "for good", int64(kind), 0)
		switch kind {
		case 0:
			w.leave(5)
			w.life++
		case 1:
			w.frozen = forever
		case 2:
			w.cut = forever
		case 3:
			w.broken = true
			w.shards[len(w.shards)-1].reader.deaf = forever
		case 4:
			d.life++
		case 5:
			d.frozen = forever
		case 6:
			d.cut = forever
		}
		e.audit.broken = true
	})
}

// finish lets all jobs come to their end, and checks what was promised.
func (e *engine) finish() {
	for p := range e.audit.orphan {
		e.audit.orphan[p] = e.now
	}
	until := e.now + healTime
	steps := 0
	e.run(until, func() bool {
		if steps++; steps%32 == 0 {
			e.audit.deserted(e, desertBound)
			e.audit.owners(e)
		}
		return e.done()
	})
	if e.err == nil && !e.done() {
		e.fail("it never comes to rest: %s", e.state())
	}
	e.audit.kept(e)
}

// done: all producers are answered, every job has ended, every partition is where it belongs.
func (e *engine) done() bool {
	for _, s := range e.stores {
		if s.phase != resize.Stable {
			return false
		}
	}
	for _, p := range e.producers {
		if p.left > 0 {
			return false
		}
	}
	for n := range e.audit.epochs {
		p := e.part(n)
		if p.owner.Incarnation != p.plan {
			return false
		}
		for i := range p.entries {
			if p.entries[i].acked == 0 {
				return false
			}
		}
	}
	return true
}

// state is the records in one line, for a failure.
func (e *engine) state() string {
	out := ""
	for sh, s := range e.stores {
		out += fmt.Sprintf("shard %d epoch=%d phase=%s mode=%s moves=%v replies=%v ", sh, s.epoch, s.phase, s.mode, s.moves, s.replies)
	}
	for p := range e.audit.epochs {
		part := e.part(p)
		out += fmt.Sprintf(" %d:%s@%d->%s", p, part.owner.Incarnation, part.owner.Epoch, part.plan)
		for i := range part.entries {
			if en := &part.entries[i]; en.acked == 0 {
				out += fmt.Sprintf(" %d(%s)=%s", i+1, en.key, en.held)
			}
		}
	}
	for _, k := range e.workers {
		for _, l := range k.shards {
			out += fmt.Sprintf("; %v", l)
		}
	}
	for _, d := range e.dispatchers {
		out += fmt.Sprintf("; %s %v", d.name, d.leader)
	}
	return out
}
