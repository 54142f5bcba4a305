package sim

import (
	"errors"
	"strconv"
	"time"

	"ringmaster/consumergroup/driver"
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
	starting bool       // handlers are about to be started
	lease    int64
	expired  bool
	beatDue  int   // counts the heartbeats that were put off
	sent     int64 // when the last heartbeat was
	stopping int64 // since; 0: not
	broken   bool  // the reader of its last shard is cut off for good
}

// limb is a worker's part in one shard: the product's driver, with connections to the server of
// the simulator.
type limb struct {
	*proc
	number int
	d      *driver.Driver // nil while it joins
	lanes  *lanes.Shard   // the driver's
	fibers []*fiber       // of the driver
	reader *conn
	acks   *conn
	read   *call // that waits

	known  map[*lanes.Tenure]*known
	listed map[job.Tenure][]job.EntryID // what ran when the reader was last answered: used by a bug alone
	calls  int                          // acks that leave jobs unfinished
	blind  bool                         // a look's answer was lost: used by a bug alone
}

func (k *limb) store() *store { return k.e.stores[k.number] }

// start makes a process join as a new incarnation. Its former incarnation, if there was
// one, is forgotten with all that it did.
func (k *proc) start() {
	k.life++
	k.inc = ""
	k.hangUp(k.e.hangUp)
	for _, l := range k.shards {
		l.end()
		*l = limb{proc: k, number: l.number, reader: l.dial(), acks: &conn{}, calls: l.calls}
	}
	if k.broken {
		k.shards[len(k.shards)-1].reader.deaf = 1 << 40
	}
	k.beats = &conn{}
	k.expired, k.stopping, k.starting = false, 0, false
	k.hold()
	k.join()
}

// end ends what the driver does.
func (k *limb) end() {
	for _, f := range k.fibers {
		f.kill()
	}
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
		k.inc, k.lease, k.sent = inc, sent+leaseTTL-leaseMargin, sent
		e.alive[inc] = k
		for _, l := range k.shards {
			if l.begin(states[l.number]); k.inc == "" {
				return
			}
		}
		k.beatAt(e.now + beatEvery)
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
	for _, l := range k.shards {
		l.end()
	}
}

// begin has the driver run, for an incarnation that has joined.
func (k *limb) begin(state resize.RingState) {
	k.d = driver.New(
		driver.Config{Shard: k.number, Block: blockTimeout * time.Millisecond, Lease: leaseTTL * time.Millisecond, Drain: drainLimit * time.Millisecond, Step: k.step},
		driver.Deps{Reader: k, Member: k, Clock: k, Due: &signal{}, Merge: &gate{broken: k.e.bug == BugMergeInFlight}, Host: k, Log: silent{}, Lock: unlocked{}, Pool: k.pool},
		resize.Joined{Incarnation: k.inc, RingState: state})
	k.lanes = k.d.Lanes()
	k.known, k.listed = map[*lanes.Tenure]*known{}, map[job.Tenure][]job.EntryID{}
	k.fibers = []*fiber{k.e.spawn(&k.node, func(f *fiber) { k.d.RunAcks(f) }), k.e.spawn(&k.node, k.run)}
}

// run is the reader, until the incarnation is over.
func (k *limb) run(f *fiber) {
	err := k.d.Run(f)
	switch {
	case f.dead:
	case errors.Is(err, driver.ErrEvicted):
		k.rejoin()
	default:
		k.e.fail("%s: its reader has ended: %v", k.inc, err)
	}
}

// step has the machine take an event, and checks it.
func (k *limb) step(p *resize.Participant, ev resize.ParticipantEvent) ([]resize.ParticipantAction, error) {
	if k.e.bug.misses(k, ev) {
		return nil, nil
	}
	idle := restful(p, ev)
	actions, err := p.Step(ev)
	if err == nil {
		err = p.CheckInvariants()
	}
	if err == nil && idle {
		err = stillRests(p, ev, actions)
	}
	if err != nil {
		k.e.fail("%s on %T%+v: %v", k.inc, ev, ev, err)
	}
	for _, a := range actions {
		if k.e.trace != nil {
			k.e.tell(k.inc, a, "")
		}
		switch a := a.(type) {
		case resize.DropPartition:
			if !a.Cancel && k.lanes.Paged(a.Part, a.Epoch) == nil {
				k.e.audit.gaveUnseen(k, a.Part)
			}
		case resize.Report:
			if a.Phase == resize.Stopping {
				k.e.audit.stopped(k.e, k, a)
			}
		}
	}
	return actions, nil
}
