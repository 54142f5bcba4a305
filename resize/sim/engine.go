package sim

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
)

// event happens at a time; events of one time happen in the order of a random tie.
type event struct {
	at   int64
	tie  uint64
	to   *node // nil: the server, or the world
	life int
	run  func()
}

// node is a process: events of an earlier life never reach it, a frozen one gets them
// when it goes on.
type node struct {
	name   string
	life   int
	frozen int64 // until
	cut    int64 // nothing passes between it and the server until then
}

// conn is a connection as the server knows it.
type conn struct {
	killed bool
	deaf   int64 // its requests get lost until then
	made   int   // to which server, counted from 1; 0: not made yet
	own    bool  // of a reader: nobody makes it anew but the reader
	renews []int // shards whose generation is looked at once it is made
}

// call is a request on its way to the server, or its answer on the way back.
type call struct {
	e     *engine
	from  *node
	life  int
	conn  *conn
	era   int
	sent  int64
	what  string
	exec  func()
	done  func(answered bool)
	block func() bool // a read that waits: reports whether it was answered
	wait  int64       // so long at most
	until int64
	lost  bool     // its answer
	rest  []func() // further requests of the same round trip
	came  int      // so many answers of a round trip that was not answered whole
}

const (
	callTimeout  = 400  // after which a caller gives its call up, ms
	blockTimeout = 1000 // of a blocking read
)

// engine is the seeded scheduler with its network and its server. All that happens is
// an event of its heap; chance comes from its seed alone.
type engine struct {
	rng     *rand.Rand
	now     int64
	heap    []event
	steps   int
	stores  []*store // by shard; all at one server
	bug     Bug
	limited int   // jobs of the type that is limited which a worker runs at a time; 0: it is not
	era     int   // raised when the server's connections end
	down    int64 // the server answers nothing until then
	blocked []*call
	replica []*store // an older state of the stores
	faults  faults
	audit   audit

	workers     []*proc
	dispatchers []*chief
	producers   []*producer
	incs        int
	alive       map[string]*proc // by incarnation
	handlers    int              // runs started
	news        int
	told        int // messages that were read
	fibers

	hash  uint64
	trace *strings.Builder // nil: not wanted
	err   error
}

func (e *engine) chance(oneIn int) bool { return e.rng.IntN(oneIn) == 0 }

func (e *engine) between(lo, hi int64) int64 { return lo + e.rng.Int64N(hi-lo+1) }

// after lets something happen at a node, unless its process ends before.
func (e *engine) after(to *node, ms int64, run func()) {
	ev := event{at: e.now + ms, tie: e.rng.Uint64(), to: to, run: run}
	if to != nil {
		ev.life = to.life
	}
	e.push(ev)
}

// push and pop keep the heap. It is written out, for it is what the simulator does most.
func (e *engine) push(ev event) {
	h := append(e.heap, ev)
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(&h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
	e.heap = h
}

func (e *engine) pop() event {
	h := e.heap
	top := h[0]
	n := len(h) - 1
	h[0], h[n] = h[n], event{}
	h = h[:n]
	for i := 0; ; {
		least := 2*i + 1
		if least >= n {
			break
		}
		if least+1 < n && h[least+1].before(&h[least]) {
			least++
		}
		if !h[least].before(&h[i]) {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	e.heap = h
	return top
}

func (a *event) before(b *event) bool { return a.at < b.at || a.at == b.at && a.tie < b.tie }

// step lets the next event happen and checks the invariants. It reports false at the end.
func (e *engine) step() bool {
	if len(e.heap) == 0 || e.err != nil {
		return false
	}
	ev := e.pop()
	for _, s := range e.stores {
		s.now += ev.at - e.now
	}
	e.now = ev.at
	if ev.to != nil {
		if ev.to.life != ev.life {
			return true
		}
		if ev.to.frozen > e.now {
			ev.at = ev.to.frozen
			e.push(ev)
			return true
		}
	}
	e.steps++
	ev.run()
	e.bury()
	for _, s := range e.stores {
		if e.err == nil {
			e.err = s.check()
		}
	}
	return e.err == nil
}

// run lets events happen until a time, or until done.
func (e *engine) run(until int64, done func() bool) {
	for len(e.heap) > 0 && e.heap[0].at <= until && e.step() {
		if done != nil && done() {
			return
		}
	}
}

func (e *engine) fail(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf(format, args...)
	}
}

// log is a line of the event log: hashed always, written only where a trace is wanted.
func (e *engine) log(who, what string, a, b int64) {
	h := e.hash
	for _, s := range [...]string{who, what} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	for _, n := range [...]int64{e.now, a, b} {
		h = (h ^ uint64(n)) * 1099511628211
	}
	e.hash = h
	if e.trace != nil {
		fmt.Fprintf(e.trace, "%6d %s: %s %d %d\n", e.now, who, what, a, b)
	}
}

// tell adds to the trace what is too dear to log always.
func (e *engine) tell(who string, what fmt.Stringer, result string) {
	e.log(who, result, 0, 0)
	if e.trace != nil {
		fmt.Fprintf(e.trace, "%6d %s: %s -> %s\n", e.now, who, what, result)
	}
}

// advancing is a leader's word that a barrier is passed. Late it can do much, and it is rare: it is late more
// often than others.
const advancing = "advance"

// send puts a request on its way. exec is executed by the server in one step, at most
// once, perhaps long after the caller has given up; done is told once whether an
// answer came.
func (e *engine) send(c *call) {
	c.e, c.life, c.era, c.sent = e, c.from.life, e.era, e.now
	late := int64(0)
	switch f := &e.faults; {
	case f.hits(lostRequest), c.conn.deaf > e.now:
		e.log(c.from.name, "request lost", 0, 0)
		c.expire()
		return
	case f.hits(lateRequest), c.what == advancing && f.on[lateRequest] && e.chance(4):
		late = e.between(callTimeout, 3000)
	case f.hits(lostReply):
		c.lost = true
	}
	e.after(nil, e.between(1, 3)+late, c.arrive)
	if late > 0 {
		c.expire()
	}
}

// expire lets the caller give up, when it has waited long enough.
func (c *call) expire() {
	wait := c.sent + callTimeout - c.e.now
	if c.until > 0 {
		wait = c.until + callTimeout - c.e.now
	}
	c.deliver(max(wait, 1), false)
}

func (c *call) deliver(ms int64, answered bool) {
	e := c.e
	done := c.done
	if done == nil || c.from.life != c.life {
		return
	}
	c.done = nil // told once
	e.after(c.from, ms, func() { done(answered) })
}

// arrive is the request at the server.
func (c *call) arrive() {
	e := c.e
	switch {
	case c.conn.killed, c.from.cut > e.now:
		c.expire()
	case e.down > e.now, c.era != e.era:
		c.deliver(2, false)
	case !e.meets(c.conn):
		c.deliver(2, false)
	case c.block != nil:
		c.until = e.now + c.wait
		if !c.block() {
			e.blocked = append(e.blocked, c)
			e.after(nil, c.wait, func() { e.unblock(c) })
			return
		}
		e.executed(c)
	default:
		c.exec()
		c.goOn()
	}
}

// goOn executes what else came in the same round trip. Others may come in between, and the server, or
// the connection, may end there.
func (c *call) goOn() {
	e := c.e
	for len(c.rest) > 0 {
		if e.chance(4) {
			c.came++
			e.stir()
			exec := c.rest[0]
			c.rest = c.rest[1:]
			e.after(nil, 1, func() {
				if c.conn.killed || c.era != e.era || e.down > e.now {
					c.came = e.rng.IntN(c.came + 1)
					c.deliver(2, false)
					return
				}
				exec()
				c.goOn()
			})
			return
		}
		c.came++
		c.rest[0]()
		c.rest = c.rest[1:]
	}
	if c.came++; c.lost || c.from.cut > e.now {
		c.came = e.rng.IntN(c.came)
	}
	e.executed(c)
}

// executed sends the answer and wakes reads that wait for what was done.
func (e *engine) executed(c *call) {
	e.log(c.from.name, c.what, 0, 0)
	if c.lost || c.from.cut > e.now {
		c.expire()
	} else {
		c.deliver(e.between(1, 3), true)
	}
	e.stir()
}

// stir wakes reads that wait for what was done.
func (e *engine) stir() {
	for _, s := range e.stores {
		if deaf := e.audit.deafen; deaf != "" && len(s.inbox[deaf]) > 0 {
			s.inbox[deaf], e.audit.deafen = nil, ""
		}
	}
	for i := 0; i < len(e.blocked); i++ {
		if b := e.blocked[i]; b.block() {
			e.blocked = append(e.blocked[:i], e.blocked[i+1:]...)
			i--
			e.answerRead(b)
		}
	}
	if first := e.stores[0]; e.news != first.news { // leaders listen to no other
		e.news = first.news
		for _, d := range e.dispatchers {
			d.hint()
		}
	}
}

func (e *engine) answerRead(b *call) {
	e.log(b.from.name, "wakes", 0, 0)
	if b.lost || b.from.cut > e.now {
		b.expire()
	} else {
		b.deliver(e.between(1, 3), true)
	}
}

// unblock ends a blocking read that found nothing.
func (e *engine) unblock(c *call) {
	for i, b := range e.blocked {
		if b == c {
			e.blocked = append(e.blocked[:i], e.blocked[i+1:]...)
			e.answerRead(c)
			return
		}
	}
}

// hangUp ends a connection at the server: what it waits for, and what is still to come.
func (e *engine) hangUp(c *conn) {
	c.killed = true
	for i := 0; i < len(e.blocked); i++ {
		if b := e.blocked[i]; b.conn == c {
			e.blocked = append(e.blocked[:i], e.blocked[i+1:]...)
			i--
			b.deliver(1, false)
		}
	}
}

// drop ends all connections: the server restarts, or another takes its place.
func (e *engine) drop() {
	e.era++
	for _, b := range e.blocked {
		b.deliver(1, false)
	}
	e.blocked = nil
}

func newHash() uint64 { return fnv.New64a().Sum64() }
