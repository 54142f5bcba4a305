package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"ringmaster/recovery"
	"ringmaster/resize"
)

const (
	leaderLease = 2000
	tickEvery   = 100
	lookEvery   = 500
)

// chief is a dispatcher's process: coordinator, failure detector and lease, as package
// resize/runner has them.
type chief struct {
	node
	e        *engine
	c        *resize.Coordinator
	detector *recovery.Detector
	cfg      resize.Config
	conn     *conn
	term     uint64
	read     resize.Records // last
	until    int64          // of the lease, by its own clock
	todo     []resize.CoordinatorAction
	events   []resize.CoordinatorEvent
	busy     bool
	probing  bool
	members  []string
	looked   int64
	hinted   bool
}

func (d *chief) start() {
	d.life++
	if d.conn != nil {
		d.e.hangUp(d.conn)
	}
	c, err := resize.NewCoordinator(d.cfg)
	if err != nil {
		d.e.fail("%v", err)
		return
	}
	d.c, d.detector, d.conn = c, recovery.NewDetector(recovery.Default()), &conn{}
	d.term, d.todo, d.events, d.busy, d.probing, d.members, d.hinted = 0, nil, nil, false, false, nil, false
	d.renew()
	d.tick()
}

// renew keeps the lease on its own, and counts it from before it asked.
func (d *chief) renew() {
	e := d.e
	sent := e.now
	got := uint64(0)
	e.send(&call{from: &d.node, conn: d.conn, what: "lead", exec: func() {
		got = e.stores[0].lead(d.name, leaderLease)
		e.audit.led(e, got)
	}, done: func(answered bool) {
		switch {
		case answered:
			d.until = sent + leaderLease
		case e.now < d.until:
			got = d.term
		default:
			got = 0
		}
		if got != d.term {
			d.term = got
			d.todo = nil
			if got == 0 {
				d.events = append(d.events, resize.LeaseLost{})
			} else {
				d.detector.LeaderChanged(d.clock())
				d.events = append(d.events, resize.LeaseWon{Now: e.now, Term: got})
			}
			d.turn()
		}
		e.after(&d.node, max(1, sent+leaderLease/4-e.now), d.renew)
	}})
}

// resign gives the lease up, so that the next one has a higher term: another shard has seen one
// that the first has not.
func (d *chief) resign() {
	s := d.e.stores[0]
	d.e.send(&call{from: &d.node, conn: d.conn, what: "resign", exec: func() {
		if s.leader == d.name {
			s.leading = min(s.leading, s.now)
		}
	}, done: func(bool) {}})
}

func (d *chief) clock() time.Time { return time.UnixMilli(d.e.now) }

// hint is news on the control stream. It may be lost.
func (d *chief) hint() {
	if d.term == 0 || d.hinted || d.e.faults.hits(lostHint) {
		return
	}
	d.hinted = true
	d.e.after(&d.node, 2, func() {
		d.hinted = false
		d.event(resize.RecordsChanged{Now: d.e.now})
	})
}

func (d *chief) event(ev resize.CoordinatorEvent) {
	d.events = append(d.events, ev)
	d.turn()
}

// tick looks for lost connections and lets time pass.
func (d *chief) tick() {
	e := d.e
	e.after(&d.node, tickEvery, d.tick)
	if d.term == 0 {
		return
	}
	d.probe()
	if e.now-d.looked >= lookEvery {
		d.events = append(d.events, resize.RecordsChanged{Now: e.now})
	}
	d.event(resize.Ticked{Now: e.now})
}

// probe asks who holds its liveness channel.
func (d *chief) probe() {
	if len(d.members) == 0 || d.probing {
		return
	}
	e := d.e
	now := d.clock()
	members := d.members
	there := make([]bool, len(members))
	beats := make([]string, len(members))
	d.probing = true
	e.send(&call{from: &d.node, conn: d.conn, what: "probe", exec: func() {
		for i, inc := range members {
			there[i], beats[i] = e.stores[0].watched[inc], e.stores[0].lastBeat(inc)
		}
	}, done: func(answered bool) {
		d.probing = false
		if !answered || d.term == 0 {
			return
		}
		seen := make([]recovery.Seen, len(members))
		for i, inc := range members {
			seen[i] = recovery.Seen{Incarnation: inc, Subscribed: &there[i], Beat: beats[i]}
		}
		d.observe(recovery.Observation{Now: now, Members: seen})
	}})
}

func (d *chief) observe(o recovery.Observation) {
	for _, v := range d.detector.Observe(o) {
		evidence := resize.EvidenceTTL
		if v.Evidence == recovery.Connection {
			evidence = resize.EvidenceConnection
		}
		d.event(resize.WorkerDied{Now: d.e.now, Incarnation: v.Incarnation, Evidence: evidence, Beat: v.Beat})
	}
}

// turn takes events while nothing is under way, then sends the next action.
func (d *chief) turn() {
	for !d.busy && len(d.todo) == 0 && len(d.events) > 0 {
		ev := d.events[0]
		d.events = d.events[1:]
		actions, err := d.c.Step(ev)
		if err == nil {
			err = d.c.CheckInvariants()
		}
		if err != nil {
			d.e.fail("%s on %T: %v", d.name, ev, err)
		}
		d.todo = actions
	}
	if !d.busy && len(d.todo) > 0 {
		a := d.todo[0]
		d.todo = d.todo[1:]
		d.perform(a)
	}
}

func (d *chief) perform(a resize.CoordinatorAction) {
	e := d.e
	switch a.(type) {
	case resize.ReadRecords:
		d.look()
		return
	case resize.StepDown:
		d.term, d.todo = 0, nil
		d.resign()
		d.turn()
		return
	}
	result := "unknown"
	term := d.term
	d.busy = true
	plan, is := a.(resize.WritePlan)
	if is && plan.BaseEpoch != d.read.Epoch {
		e.fail("%s plans after %d and read %d", d.name, plan.BaseEpoch, d.read.Epoch)
	}
	read, epoch := d.read.Shards, uint64(0)
	for _, sh := range read {
		epoch = max(epoch, sh.Epoch+1)
	}
	what := "act"
	if _, is := a.(resize.AdvanceBarrier); is {
		what = advancing
	}
	e.each(&d.node, d.conn, what, e.concerned(a), func(sh int) bool {
		s := e.stores[sh]
		if is {
			result = s.planShard(term, plan, read[sh].Epoch, epoch)
		} else {
			if _, is := a.(resize.AdvanceBarrier); is {
				a = resize.AdvanceBarrier{Epoch: read[sh].Epoch}
			}
			result = e.obey(sh, term, &a)
		}
		if r, is := a.(resize.RevokePermit); is && result == "ok" {
			e.audit.revoked[holdOf{r.Partition, entryOf(r.ID), r.Incarnation}] = true
		}
		if e.trace != nil {
			e.tell(d.name, a, result)
		}
		return result == "ok"
	}, func(answered bool) {
		d.busy = false
		if !answered {
			result = "CONFLICT"
		}
		d.refused(result)
		d.turn()
	})
}

// refused ends a batch; a reading in it is still owed.
func (d *chief) refused(result string) {
	kind := resize.Conflict
	switch result {
	case "STALE":
		kind = resize.Stale
	case "CONFLICT":
	default:
		return
	}
	owed := slices.ContainsFunc(d.todo, func(a resize.CoordinatorAction) bool { _, is := a.(resize.ReadRecords); return is })
	d.todo = nil
	if owed {
		d.todo = append(d.todo, resize.ReadRecords{})
	}
	d.events = append(d.events, resize.Refused{Now: d.e.now, Kind: kind})
}

// look reads the records, and the leases with them.
func (d *chief) look() {
	e := d.e
	now := d.clock()
	d.busy, d.looked = true, e.now
	var r resize.Records
	var o recovery.Observation
	e.send(&call{from: &d.node, conn: d.conn, what: "look", exec: func() {
		r = e.records()
		for _, s := range e.stores {
			s.renew(e.audit.servers) // after it has read
		}
		o = recovery.Observation{Now: now, ServerID: fmt.Sprint(e.audit.servers), ServerTime: time.UnixMilli(e.stores[0].now)}
		for _, m := range r.Members {
			left := time.Duration(e.lease(m.Incarnation)-e.stores[0].now) * time.Millisecond
			o.Members = append(o.Members, recovery.Seen{Incarnation: m.Incarnation, LeaseLeft: left, LeaseKnown: true})
		}
	}, done: func(answered bool) {
		if answered && d.term > 0 {
			d.lookOn(r, o)
			return
		}
		d.busy = false
		d.turn()
	}})
}

// lookOn reads the second page: the other half of the partitions, and what drainers hold.
// If there is another plan by then, all is read anew.
func (d *chief) lookOn(r resize.Records, o recovery.Observation) {
	e := d.e
	var later resize.Records
	e.send(&call{from: &d.node, conn: d.conn, what: "look on", exec: func() { later = e.records() }, done: func(answered bool) {
		d.busy = false
		switch {
		case !answered || d.term == 0:
		case !slices.EqualFunc(later.Shards, r.Shards, func(a, b resize.Shard) bool { return a.Epoch == b.Epoch }):
			d.look()
			return
		default:
			half := len(r.Owners) / 2
			r.Owners = slices.Concat(r.Owners[:half], later.Owners[half:])
			r.Plan = slices.Concat(r.Plan[:half], later.Plan[half:])
			r.Permits = later.Permits
			r.Shards = append(r.Shards[:1:1], later.Shards[1:]...) // shards are read at moments of their own
			d.read = r
			d.members = nil
			for _, m := range r.Members {
				d.members = append(d.members, m.Incarnation)
			}
			d.events = append([]resize.CoordinatorEvent{resize.RecordsRead{Now: e.now, Records: r}}, d.events...)
			d.observe(o)
		}
		d.turn()
	}})
}

// rob is a bug: what a suspect owns is given to another, and it stays a member.
func (s *store) rob(inc string) string {
	for _, to := range slices.Sorted(maps.Keys(s.members)) {
		if to == inc || !s.up(to) {
			continue
		}
		for p, part := range s.parts {
			if part.owner.Incarnation == inc {
				s.flip(p, to, nil)
			}
		}
		return "ok"
	}
	return "CONFLICT"
}
