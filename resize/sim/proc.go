package sim

import (
	"slices"
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

// proc is a worker's process: a limb for each shard of the queue, with a heartbeat and the
// handlers that they share, as package consumergroup has them.
type proc struct {
	node
	e      *engine
	slot   string
	inc    string // "" while it joins
	shards []*limb
	beats  *conn

	pool     *lanes.Pool
	atWork   []*attempt // handlers
	alarm    int        // counts the alarms that were set
	lease    int64
	expired  bool
	stopping int64 // since; 0: not
	broken   bool  // the reader of its last shard is cut off for good
}

// limb is a worker's part in one shard: the machine of package resize with a reader and an
// acker around it.
type limb struct {
	*proc
	number int
	p      *resize.Participant

	reader *conn
	acks   *conn

	events   []resize.ParticipantEvent
	todo     []resize.ParticipantAction
	again    []resize.ParticipantAction // looks without an answer
	busy     bool                       // the reader waits for an answer
	unparked bool                       // jobs have come back since it read: it reads before more do
	skimmed  bool                       // jobs were set aside unread since it read, likewise
	reading  *call
	unsure   bool
	stock    map[int]uint64 // tenures by the records, when the own pending list is to be merged
	merging  bool           // the own pending list is being read: no end may be sent
	waits    bool           // and cannot be, since one is under way
	gone     int

	lanes    *lanes.Shard
	known    map[*lanes.Tenure]*known
	listed   map[int][]job.EntryID // what ran when a gate closed: used by a bug alone
	ended    []ended
	flight   []ended
	reports  []resize.Report
	waking   bool  // the reader is about to be woken
	flushing bool  // the acker is
	calls    int   // of the acker that leave jobs unfinished
	heard    int64 // when the reader last had an answer
}

func (k *limb) store() *store { return k.e.stores[k.number] }

// start makes a process join as a new incarnation. Its former incarnation, if there was
// one, is forgotten with all that it did.
func (k *proc) start() {
	k.life++
	k.inc = ""
	k.hangUp(k.e.hangUp)
	for _, l := range k.shards {
		*l = limb{proc: k, number: l.number, p: resize.NewParticipant(), reader: l.dial(), acks: &conn{}, calls: l.calls, heard: l.heard}
	}
	if k.broken {
		k.shards[len(k.shards)-1].reader.deaf = 1 << 40
	}
	k.beats = &conn{}
	k.expired, k.stopping = false, 0
	k.hold()
	k.join()
}

// hangUp gives up all its connections.
func (k *proc) hangUp(end func(*conn)) {
	for _, l := range k.shards {
		for _, c := range []*conn{l.reader, l.acks} {
			if c != nil {
				end(c)
			}
		}
	}
	if k.beats != nil {
		end(k.beats)
	}
}

// dial makes a connection for the reader.
func (k *limb) dial() *conn { return &conn{own: true, renews: []int{k.number}} }

// join makes it a member of every shard, the first one last.
func (k *proc) join() {
	e := k.e
	e.incs++
	inc := k.slot + "." + strconv.Itoa(e.incs)
	sent := e.now
	states := make([]resize.RingState, len(e.stores))
	joined := true
	e.each(&k.node, k.beats, "join", e.backwards(), func(sh int) bool {
		var ok bool
		states[sh], ok = e.stores[sh].join(inc, 1)
		joined = joined && ok
		return ok
	}, func(answered bool) {
		if !answered || !joined {
			e.after(&k.node, e.between(20, 200), k.join)
			return
		}
		k.inc, k.lease = inc, sent+leaseTTL-leaseMargin
		e.alive[inc] = k
		for _, l := range k.shards {
			l.heard = e.now
		}
		for _, l := range k.shards {
			if l.post(resize.Joined{Incarnation: inc, RingState: states[l.number]}); k.inc == "" {
				return
			}
		}
		e.after(&k.node, beatEvery, k.beat)
	})
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
	k.hangUp(func(c *conn) { e.after(nil, ms, func() { e.hangUp(c) }) })
	e.after(nil, ms, func() {
		for _, s := range e.stores {
			delete(s.watched, inc)
		}
	})
	delete(e.alive, inc)
	k.inc = ""
}

// beat renews the lease in every shard and compares numbers.
func (k *proc) beat() {
	e := k.e
	sent := e.now
	if k.deaf() && e.bug != BugDeafBeats {
		e.after(&k.node, beatEvery, k.beat) // its lease shall end
		k.tellExpired()
		return
	}
	states := make([]resize.RingState, len(e.stores))
	member := true
	e.send(&call{from: &k.node, conn: k.beats, what: "beat", exec: func() {
		for sh, s := range e.stores {
			var there bool
			states[sh], there = s.beat(k.inc)
			member = member && there
		}
	}, done: func(answered bool) {
		switch {
		case answered && !member:
			k.rejoin()
			return
		case answered:
			k.lease = sent + leaseTTL - leaseMargin
			for _, l := range k.shards {
				l.events = append(l.events, resize.BeatAnswered{RingState: states[l.number]})
				if k.expired {
					l.events = append(l.events, resize.LeaseRenewed{})
				}
			}
			k.expired = false
		default:
			k.tellExpired()
		}
		for _, l := range k.shards {
			if k.stopping > 0 {
				l.events = append(l.events, resize.StopAsked{})
			}
			if l.wake(); k.inc == "" {
				return
			}
		}
		k.dispatch()
		k.beatNext(sent)
	}})
}

// deaf: a reader has had no answer for long.
func (k *proc) deaf() bool {
	return slices.ContainsFunc(k.shards, func(l *limb) bool { return k.e.now-l.heard > deafLimit })
}

func (k *proc) tellExpired() {
	if k.expired || k.e.now < k.lease {
		return
	}
	k.expired = true
	for _, l := range k.shards {
		l.events = append(l.events, resize.LeaseExpired{})
		if l.wake(); k.inc == "" {
			return
		}
	}
}

// stop begins a graceful leave. The process comes back later.
func (k *proc) stop() {
	if k.inc == "" || k.stopping > 0 {
		return
	}
	e := k.e
	k.stopping = e.now
	for _, l := range k.shards {
		if l.post(resize.StopAsked{}); k.inc == "" {
			return
		}
	}
	inc := k.inc
	e.each(&k.node, k.beats, "leaving", e.forwards(), func(sh int) bool { e.stores[sh].leave(inc); return true }, func(bool) {})
	e.after(&k.node, 100, k.watchStop)
}

func (k *proc) watchStop() {
	e := k.e
	busy := slices.ContainsFunc(k.shards, func(l *limb) bool { return !l.lanes.Empty() || len(l.ended)+len(l.flight) > 0 })
	if busy || k.pool.Runs() > 0 {
		if e.now-k.stopping < drainLimit {
			e.after(&k.node, 100, k.watchStop)
			return
		}
	}
	inc := k.inc
	e.each(&k.node, k.beats, "left", e.forwards(), func(sh int) bool { e.stores[sh].left(inc); return true }, func(bool) { k.down() })
}

// down is the end of a process; another is started in its place.
func (k *proc) down() {
	k.e.log(k.name, "is down", 0, 0)
	k.leave(k.e.between(0, 20))
	k.life++
	k.e.after(&k.node, k.e.between(100, 800), k.start)
}

// post hands the machine an event and wakes the reader.
func (k *limb) post(ev resize.ParticipantEvent) {
	k.events = append(k.events, ev)
	k.wake()
}

// wake ends a blocked read: a poke to the own inbox.
func (k *limb) wake() {
	if !k.busy {
		k.turn()
		return
	}
	if c := k.reading; c != nil {
		k.e.after(nil, 1, func() { k.e.unblock(c) })
	}
}

// turn does the reader's next step, if it waits for nothing.
func (k *limb) turn() {
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
	case len(k.todo) > 0 && (k.e.bug != BugReadEarly || k.unsure || k.e.chance(2)):
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
func (k *limb) step(ev resize.ParticipantEvent) {
	idle := restful(k.p, ev)
	actions, err := k.p.Step(ev)
	if err == nil {
		err = k.p.CheckInvariants()
	}
	if err == nil && idle {
		err = stillRests(k.p, ev, actions)
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

func (k *limb) local(a resize.ParticipantAction) {
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
		if !a.Cancel && k.lanes.Paged(a.Part, a.Epoch) == nil {
			k.e.audit.gaveUnseen(k, a.Part)
		}
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
func (k *limb) ask(what string, exec func(), done func(answered bool)) {
	k.busy = true
	heard := k.heard
	k.e.send(&call{from: &k.node, conn: k.reader, what: what, exec: exec, done: func(answered bool) {
		k.busy = false
		if k.heard = k.e.now; !answered {
			k.heard = heard
			k.doubt()
		}
		done(answered)
		k.turn()
	}})
}
