package resize

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Coordinator is the brain of a leading dispatcher. All that it needs can be read from
// the store; in memory are only timers, which start at zero when a lease is won.
//
// It is deliberately not on the critical path: once a plan is written, the workers
// finish it without any coordinator.
type Coordinator struct {
	cfg     Config
	leading bool
	term    uint64
	now     int64

	have    bool   // records were read under this lease
	first   uint64 // ring epoch of those that were read first
	records Records
	index   index

	reading  bool // a ReadRecords is outstanding
	readAt   int64
	again    bool // something changed after it was asked for
	void     bool // this coordinator itself changed something after it was asked for
	lastRead int64

	emitted   map[string]int64      // action -> when, so that none is repeated in a hot loop
	unsettled bool                  // the records call for something, done or not
	dead      map[string]WorkerDied // verdicts not acted on yet
	waits     map[wait]int64        // what is waited for -> since when
	quiet     debounce
	flaps     flaps
}

// NewCoordinator returns a follower. It fails if cfg is not valid.
func NewCoordinator(cfg Config) (*Coordinator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("coordinator configuration: %w", err)
	}
	c := &Coordinator{cfg: cfg}
	c.reset()
	return c, nil
}

// Leading reports whether the coordinator believes that it holds the lease.
func (c *Coordinator) Leading() bool { return c.leading }

// Step applies one event and returns what is now to be done, in this order. An error
// means records that contradict themselves; nothing was decided on them, and the
// coordinator stays usable.
func (c *Coordinator) Step(ev CoordinatorEvent) ([]CoordinatorAction, error) {
	switch ev := ev.(type) {
	case LeaseWon:
		c.reset()
		c.leading, c.term = true, ev.Term
		c.tick(ev.Now)
		return c.askRecords(nil), nil
	case LeaseLost:
		c.reset()
		return nil, nil
	}
	if !c.leading {
		return nil, nil
	}
	switch ev := ev.(type) {
	case RecordsRead:
		c.tick(ev.Now)
		return c.recordsRead(ev.Records)
	case RecordsChanged:
		c.tick(ev.Now)
		return c.askRecords(nil), nil
	case WorkerDied:
		c.tick(ev.Now)
		c.dead[ev.Incarnation] = ev
		return c.decide(), nil
	case Refused:
		c.tick(ev.Now)
		if ev.Kind == Stale {
			return c.stepDown(), nil
		}
		return c.askRecords(nil), nil
	case Ticked:
		c.tick(ev.Now)
		return c.ticked(), nil
	default:
		return nil, fmt.Errorf("coordinator: unknown event %T", ev)
	}
}

// reset forgets everything: timers restart with every lease.
func (c *Coordinator) reset() {
	*c = Coordinator{
		cfg: c.cfg, emitted: map[string]int64{}, dead: map[string]WorkerDied{}, waits: map[wait]int64{},
		flaps: flaps{joins: map[string][]int64{}},
	}
}

// tick moves the clock, never back.
func (c *Coordinator) tick(now int64) { c.now = max(c.now, now) }

func (c *Coordinator) stepDown() []CoordinatorAction {
	c.reset()
	return []CoordinatorAction{StepDown{}}
}

// recordsRead takes over what was read, and decides on it.
func (c *Coordinator) recordsRead(r Records) ([]CoordinatorAction, error) {
	c.reading, c.lastRead = false, c.now
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("coordinator: %w", err)
	}
	if r.Term > c.term {
		return c.stepDown(), nil
	}
	if c.have && r.Generation != c.records.Generation {
		clear(c.waits)
		clear(c.emitted)
	}
	idx := newIndex(r.Members)
	c.quiet.observe(c.now, idx.signature())
	c.flaps.observe(c.now, c.cfg.FlapWindow, c.have, c.index, idx)
	if !c.have {
		c.first = r.Epoch
	}
	c.records, c.index, c.have = r, idx, true
	c.noteWaits()
	for key, at := range c.emitted {
		if c.now-at >= c.cfg.RetryAfter {
			delete(c.emitted, key)
		}
	}
	again, void := c.again, c.void
	c.again, c.void = false, false
	if void {
		return c.askRecords(nil), nil
	}
	actions := c.decide()
	if again && !c.reading {
		actions = c.askRecords(actions)
	}
	return actions, nil
}

// ticked decides again, for the sake of what only time changes, and reads the records
// when that is due.
func (c *Coordinator) ticked() []CoordinatorAction {
	if c.reading && c.now-c.readAt >= c.cfg.ReadTimeout {
		c.reading = false
		return c.askRecords(nil)
	}
	actions := c.decide()
	every := c.cfg.PollIdle
	if c.unsettled || len(c.waits) > 0 || c.records.unfinished() {
		every = c.cfg.PollMoving
	}
	if len(c.records.Shards) > 1 && slices.ContainsFunc(c.records.Shards, func(sh Shard) bool { return sh.barrier() == Stopping }) {
		every = c.cfg.PollBarrier
	}
	if !c.reading && c.now-c.lastRead >= every {
		actions = c.askRecords(actions)
	}
	return actions
}

// askRecords appends a ReadRecords. One that is outstanding may have been executed
// before what has changed since, so another follows it.
func (c *Coordinator) askRecords(actions []CoordinatorAction) []CoordinatorAction {
	if c.reading {
		c.again = true
		return actions
	}
	c.reading, c.readAt, c.again, c.void = true, c.now, false, false
	return append(actions, ReadRecords{})
}

// decide is the policy: what the records call for now, most urgent first. While a
// reading is outstanding only evictions are decided, since all else rests on records
// that are about to be replaced; so an action is never repeated before its effect
// could be seen.
func (c *Coordinator) decide() []CoordinatorAction {
	if !c.have {
		return nil
	}
	var actions []CoordinatorAction
	add := func(a CoordinatorAction) {
		c.unsettled = true
		key := a.String()
		if _, done := c.emitted[key]; !done {
			c.emitted[key] = c.now
			actions = append(actions, a)
		}
	}
	c.evictDead(add)
	c.void = c.void || c.reading && len(actions) > 0
	if !c.reading {
		c.unsettled = len(actions) > 0
		c.decideRest(add)
	}
	if len(actions) > 0 {
		actions = c.askRecords(actions)
	}
	return actions
}

// decideRest leaves to the next reading what an action before it would change. A plan that is
// stuck although its slow workers were to be evicted is not left to their eviction.
func (c *Coordinator) decideRest(add func(CoordinatorAction)) {
	if c.unsettled || !c.stuck() && c.evictSlow(add) {
		return
	}
	c.revoke(add)
	if plan, ok := c.plan(); ok {
		add(plan)
		return
	}
	c.steal(add)
	c.advance(add)
}

// evictDead acts on the detector's verdicts. A verdict is used once: if the store finds
// the evidence gone, the detector has to come to it anew.
func (c *Coordinator) evictDead(add func(CoordinatorAction)) {
	for _, inc := range slices.Sorted(maps.Keys(c.dead)) {
		if _, member := c.index.members[inc]; member {
			add(EvictWorker{Incarnation: inc, Evidence: c.dead[inc].Evidence, Partition: -1, Beat: c.dead[inc].Beat})
		}
		delete(c.dead, inc)
	}
}

// steal flips what nobody can release: partitions whose owner is no member.
func (c *Coordinator) steal(add func(CoordinatorAction)) {
	for p, o := range c.records.Owners {
		to := c.records.Plan[p]
		if _, member := c.index.members[o.Incarnation]; member || to == o.Incarnation || !c.index.up(to) {
			continue
		}
		add(StealPartition{Partition: p, From: o.Incarnation, Epoch: o.Epoch, To: to})
	}
}

// revoke takes back the permits whose holder is gone or too slow.
func (c *Coordinator) revoke(add func(CoordinatorAction)) {
	for _, p := range c.records.Permits {
		_, member := c.index.members[p.Incarnation]
		if !member || c.expired(permitWait(p), c.drain(p.Incarnation)) {
			add(RevokePermit(p))
		}
	}
}

// advance moves the barrier of mode ring where the last reply did not: whoever was missing
// has been evicted, or the queue has several shards. Of these no gate opens before everything
// stands still in all, so phase 1 of each ends when that of all may. One that the plan has not come to
// runs on: it comes first, and waits while there is nobody to plan for.
func (c *Coordinator) advance(add func(CoordinatorAction)) {
	if c.behind() {
		return
	}
	ready := false
	for i := range c.records.Shards {
		switch sh := &c.records.Shards[i]; {
		case sh.barrier() == Stable:
		case sh.Phase == Stopping && c.records.moving(i) > 0:
			return
		case c.missing(sh) == 0:
			ready = true
		case sh.Phase == Stopping:
			return
		}
	}
	if ready {
		add(AdvanceBarrier{Epoch: c.records.Epoch})
	}
}

// missing counts the members that have not replied to the phase of a shard's barrier.
func (c *Coordinator) missing(sh *Shard) int {
	n := 0
	for inc := range c.index.members {
		if sh.Replies[inc] < sh.barrier() {
			n++
		}
	}
	return n
}

// check holds records against themselves.
func (r *Records) check() error {
	if len(r.Owners) != len(r.Plan) {
		return fmt.Errorf("records name %d owners and %d planned owners", len(r.Owners), len(r.Plan))
	}
	if len(r.Shards) == 0 {
		return fmt.Errorf("records are of no shard")
	}
	for i, sh := range r.Shards {
		if sh.Phase > Syncing || sh.Mode > ModeRing {
			return fmt.Errorf("records of shard %d are in phase %d, mode %d", i, sh.Phase, sh.Mode)
		}
	}
	for p, o := range r.Owners {
		if o.Incarnation == "" || r.Plan[p] == "" {
			return fmt.Errorf("records lack the owner or the plan of partition %d", p)
		}
	}
	return nil
}

// index answers questions about members.
type index struct{ members map[string]MemberRecord }

func newIndex(members []MemberRecord) index {
	x := index{members: make(map[string]MemberRecord, len(members))}
	for _, m := range members {
		x.members[m.Incarnation] = m
	}
	return x
}

// up reports whether a member may be given partitions.
func (x index) up(inc string) bool {
	m, ok := x.members[inc]
	return ok && !m.Leaving
}

// signature is equal for equal sets of candidates.
func (x index) signature() string {
	var all []string
	for inc, m := range x.members {
		if !m.Leaving {
			all = append(all, fmt.Sprintf("%s %s %d", inc, m.Slot, m.Weight))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}
