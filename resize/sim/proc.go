package sim

import (
	"strconv"
	"time"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
	"ringmaster/resize"
)

const (
	beatEvery   = 500
	leaseMargin = 375
	concurrency = 3
	deafLimit   = 6000 // a reader without an answer for longer ends the heartbeats
	drainLimit  = 4000 // after which a worker ends the contexts of runs that keep a moved partition
)

// proc is a worker's process: the machine of package resize with a reader, an acker and
// a heartbeat around it, as package consumergroup has them.
type proc struct {
	node
	e    *engine
	slot string
	inc  string // "" while it joins
	p    *resize.Participant

	reader *conn
	acks   *conn
	beats  *conn

	events   []resize.ParticipantEvent
	todo     []resize.ParticipantAction
	again    []resize.ParticipantAction // looks without an answer
	busy     bool                       // the reader waits for an answer
	unparked bool                       // jobs have come back since it read: it reads before more do
	reading  *call
	unsure   bool
	merging  bool // the own pending list is being read: no end may be sent
	waits    bool // and cannot be, since one is under way
	gone     int

	pool     *lanes.Pool
	lanes    *lanes.Shard
	known    map[*lanes.Tenure]*known
	listed   map[int][]job.EntryID // what ran when a gate closed: used by a bug alone
	atWork   int                   // handlers
	ended    []ended
	flight   []ended
	reports  []resize.Report
	waking   bool // the reader is about to be woken
	flushing bool // the acker is
	alarm    int  // counts the alarms that were set
	calls    int  // of the acker that leave jobs unfinished
	lease    int64
	expired  bool
	heard    int64 // when the reader last had an answer
	stopping int64 // since; 0: not
	broken   bool  // its reader is cut off for good
}

// start makes a process join as a new incarnation. Its former incarnation, if there was
// one, is forgotten with all that it did.
func (k *proc) start() {
	k.life++
	k.inc, k.p = "", resize.NewParticipant()
	for _, c := range []*conn{k.reader, k.acks, k.beats} {
		if c != nil {
			k.e.hangUp(c)
		}
	}
	k.reader, k.acks, k.beats = k.dial(), k.dial(), k.dial()
	if k.broken {
		k.reader.deaf = 1 << 40
	}
	k.events, k.todo, k.again, k.ended, k.flight, k.reports = nil, nil, nil, nil, nil, nil
	k.busy, k.unsure, k.merging, k.waits, k.expired, k.gone, k.stopping = false, false, false, false, false, 0, 0
	k.unparked = false
	k.hold()
	k.join()
}

// dial makes a connection. One that finds another server in the old one's place makes
// the worker join anew: what it learned from the old one may not have happened.
func (k *proc) dial() *conn {
	c := &conn{server: k.e.audit.failovers}
	if k.e.store.bug != BugFailoverUnnoticed {
		c.onNew = func() {
			if k.inc != "" {
				k.rejoin()
			} else {
				k.start()
			}
		}
	}
	return c
}

func (k *proc) join() {
	e := k.e
	e.incs++
	inc := k.slot + "." + strconv.Itoa(e.incs)
	sent := e.now
	var state resize.RingState
	joined := false
	e.send(&call{from: &k.node, conn: k.beats, what: "join", exec: func() {
		state, joined = e.store.join(inc, 1)
	}, done: func(answered bool) {
		if !answered || !joined {
			e.after(&k.node, e.between(20, 200), k.join)
			return
		}
		k.heard = e.now
		k.inc, k.lease = inc, sent+leaseTTL-leaseMargin
		e.alive[inc] = k
		k.post(resize.Joined{Incarnation: inc, RingState: state})
		e.after(&k.node, beatEvery, k.beat)
	}})
}

// rejoin leaves the old incarnation behind. Its liveness channel closes at once.
func (k *proc) rejoin() {
	k.e.log(k.name, "rejoins", 0, 0)
	k.leave(2)
	k.life++
	k.e.after(&k.node, k.e.between(5, 50), k.start)
}

// leave ends the incarnation's connections: the server sees that soon.
func (k *proc) leave(ms int64) {
	e, inc := k.e, k.inc
	for _, c := range []*conn{k.reader, k.acks, k.beats} {
		e.after(nil, ms, func() { e.hangUp(c) })
	}
	e.after(nil, ms, func() { delete(e.store.watched, inc) })
	delete(e.alive, inc)
	k.inc = ""
}

// beat renews the lease and compares numbers.
func (k *proc) beat() {
	e := k.e
	sent := e.now
	if e.now-k.heard > deafLimit && e.store.bug != BugDeafBeats {
		e.after(&k.node, beatEvery, k.beat) // its lease shall end
		k.tellExpired()
		return
	}
	var state resize.RingState
	member := false
	e.send(&call{from: &k.node, conn: k.beats, what: "beat", exec: func() {
		state, member = e.store.beat(k.inc)
	}, done: func(answered bool) {
		switch {
		case answered && !member:
			k.rejoin()
			return
		case answered:
			k.lease = sent + leaseTTL - leaseMargin
			k.events = append(k.events, resize.BeatAnswered{RingState: state})
			if k.expired {
				k.events = append(k.events, resize.LeaseRenewed{})
			}
			k.expired = false
		default:
			k.tellExpired()
		}
		if k.stopping > 0 {
			k.events = append(k.events, resize.StopAsked{})
		}
		k.wake()
		k.dispatch()
		e.after(&k.node, max(1, sent+beatEvery-e.now), k.beat)
	}})
}

func (k *proc) tellExpired() {
	if !k.expired && k.e.now >= k.lease {
		k.expired = true
		k.events = append(k.events, resize.LeaseExpired{})
		k.wake()
	}
}

// stop begins a graceful leave. The process comes back later.
func (k *proc) stop() {
	if k.inc == "" || k.stopping > 0 {
		return
	}
	e := k.e
	k.stopping = e.now
	k.post(resize.StopAsked{})
	inc := k.inc
	e.send(&call{from: &k.node, conn: k.beats, what: "leaving", exec: func() { e.store.leave(inc) }, done: func(bool) {}})
	e.after(&k.node, 100, k.watchStop)
}

func (k *proc) watchStop() {
	e := k.e
	if !k.lanes.Empty() || k.pool.Runs() > 0 || len(k.ended)+len(k.flight) > 0 {
		if e.now-k.stopping < drainLimit {
			e.after(&k.node, 100, k.watchStop)
			return
		}
	}
	inc := k.inc
	e.send(&call{from: &k.node, conn: k.beats, what: "left", exec: func() { e.store.left(inc) }, done: func(bool) { k.down() }})
}

// down is the end of a process; another is started in its place.
func (k *proc) down() {
	k.e.log(k.name, "is down", 0, 0)
	k.leave(k.e.between(0, 20))
	k.life++
	k.e.after(&k.node, k.e.between(100, 800), k.start)
}

// post hands the machine an event and wakes the reader.
func (k *proc) post(ev resize.ParticipantEvent) {
	k.events = append(k.events, ev)
	k.wake()
}

// wake ends a blocked read: a poke to the own inbox.
func (k *proc) wake() {
	if !k.busy {
		k.turn()
		return
	}
	if c := k.reading; c != nil {
		k.e.after(nil, 1, func() { k.e.unblock(c) })
	}
}

// turn does the reader's next step, if it waits for nothing.
func (k *proc) turn() {
	if k.busy || k.inc == "" {
		return
	}
	k.lanes.Overdue(k.e.time(), drainLimit*time.Millisecond)
	for len(k.events) > 0 {
		ev := k.events[0]
		k.events = k.events[1:]
		if _, is := ev.(resize.RunsEnded); is && !k.lanes.StillIdle() {
			continue
		}
		if k.step(ev); k.inc == "" {
			return
		}
	}
	switch {
	case len(k.todo) > 0 && (k.e.store.bug != BugReadEarly || k.unsure || k.e.chance(2)):
		a := k.todo[0]
		if _, read := a.(resize.ReadRecords); read && k.unsure {
			k.reset()
			return
		}
		k.todo = k.todo[1:]
		k.request(a)
	case k.unsure:
		k.reset()
	case len(k.again) > 0:
		k.todo, k.again = k.again, nil
		k.turn()
	case !k.unparked && k.lanes.UnparkWanted() && k.unpark():
	default:
		k.unparked = false
		k.read()
	}
}

// step hands the machine an event; what needs no answer is done at once.
func (k *proc) step(ev resize.ParticipantEvent) {
	actions, err := k.p.Step(ev)
	if err == nil {
		err = k.p.CheckInvariants()
	}
	if err != nil {
		k.e.fail("%s on %T%+v: %v", k.inc, ev, ev, err)
	}
	for _, a := range actions {
		if k.e.trace != nil {
			k.e.tell(k.inc, a, "")
		}
		if k.local(a); k.inc == "" {
			return
		}
	}
	k.lanes.StartOpened(k.e.time())
	k.dispatch()
}

func (k *proc) local(a resize.ParticipantAction) {
	switch a := a.(type) {
	case resize.OpenGate:
		k.gate(a.Part, a.Epoch, true)
	case resize.ReopenGate:
		k.gate(a.Part, a.Epoch, true)
	case resize.CloseGate:
		k.gate(a.Part, a.Epoch, false)
	case resize.StartReading:
		k.lanes.StartReading(a.Part, a.Epoch)
	case resize.DropPartition:
		k.lanes.Drop(a.Part, a.Epoch, a.Cancel, k.e.time())
	case resize.Report:
		if a.Phase == resize.Stopping {
			k.e.audit.stopped(k.e, k, a)
		}
		k.reports = append(k.reports, a)
		k.flush()
	case resize.Rejoin:
		k.rejoin()
	default:
		k.todo = append(k.todo, a)
	}
}

// ask sends a request of the reader, which waits for the answer.
func (k *proc) ask(what string, exec func(), done func(answered bool)) {
	k.busy = true
	heard := k.heard
	k.e.send(&call{from: &k.node, conn: k.reader, what: what, exec: exec, done: func(answered bool) {
		k.busy = false
		if k.heard = k.e.now; !answered {
			k.heard, k.unsure = heard, true
		}
		done(answered)
		k.turn()
	}})
}
