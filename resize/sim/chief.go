package sim

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"ringmaster/job"
	"ringmaster/recovery"
	"ringmaster/resize"
	"ringmaster/resize/runner"
)

const (
	leaderLease = 2000
	tickEvery   = 100
	lookEvery   = 500
)

// chief is a dispatcher's process: the product's leader and failure detector, with a connection to
// the server of the simulator.
type chief struct {
	node
	e      *engine
	cfg    resize.Config
	leader *runner.Leader
	fibers []*fiber // of the leader
	conn   *conn
	leads  bool           // by what it was told last
	read   resize.Records // last

	waiting *fiber // for news
	waits   int    // counts the waits
	news    bool
	hinted  bool
	led     *uint64 // a term that was won, or 0, which is not taken yet
	telling *fiber  // who waits for that
}

// start makes a process stand by. What it was before is forgotten.
func (d *chief) start() {
	d.life++
	for _, f := range d.fibers {
		f.kill()
	}
	if d.conn != nil {
		d.e.hangUp(d.conn)
	}
	d.conn = &conn{}
	d.leads, d.waiting, d.telling, d.led, d.news, d.hinted = false, nil, nil, nil, false, false
	cfg := runner.Config{
		Lease: leaderLease * time.Millisecond, Detect: tickEvery * time.Millisecond, Look: lookEvery * time.Millisecond,
		Repair: time.Hour, Timeout: time.Hour, Protocol: d.cfg, Began: d.e.time(), Step: d.step,
	}
	l, err := runner.NewLeader(cfg, d, detector{recovery.NewDetector(recovery.Default())}, d, slog.New(slog.DiscardHandler))
	if err != nil {
		d.e.fail("%v", err)
		return
	}
	d.leader = l
	d.fibers = []*fiber{
		d.e.spawn(&d.node, func(f *fiber) { l.Lead(f) }),
		d.e.spawn(&d.node, func(f *fiber) { l.KeepLease(f) }),
	}
}

// step has the machine take an event, and checks it.
func (d *chief) step(c *resize.Coordinator, ev resize.CoordinatorEvent) ([]resize.CoordinatorAction, error) {
	actions, err := c.Step(ev)
	if err == nil {
		err = c.CheckInvariants()
	}
	if err != nil {
		d.e.fail("%s on %T: %v", d.name, ev, err)
	}
	return actions, err
}

// hint is news on the control stream. It may be lost.
func (d *chief) hint() {
	if !d.leads || d.hinted || d.e.faults.hits(lostHint) {
		return
	}
	d.hinted = true
	d.e.after(&d.node, 2, func() {
		d.hinted, d.news = false, true
		d.ring()
	})
}

// ring lets who waits for news go on.
func (d *chief) ring() {
	if f := d.waiting; f != nil {
		d.waiting = nil
		d.waits++
		f.goOn()
	}
}

// Now implements runner.Host.
func (d *chief) Now() time.Time { return d.e.time() }

// Sleep implements runner.Host.
func (d *chief) Sleep(ctx context.Context, t time.Duration) bool {
	return d.e.sleep(ctx.(*fiber), &d.node, t)
}

// Within implements runner.Host. Calls have an end of their own here.
func (d *chief) Within(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
	return ctx, func() {}
}

// Wait implements runner.Host.
func (d *chief) Wait(ctx context.Context, t time.Duration) (runner.Woken, uint64) {
	f := ctx.(*fiber)
	if d.led == nil && !d.news {
		d.waiting = f
		n := d.waits
		d.e.after(&d.node, max(1, t.Milliseconds()), func() {
			if n == d.waits {
				d.ring()
			}
		})
		if !f.wait() {
			return runner.ByTime, 0
		}
	}
	switch {
	case d.led != nil:
		term := *d.led
		d.led, d.leads = nil, term != 0
		if tells := d.telling; tells != nil {
			d.telling = nil
			d.e.after(&d.node, 0, tells.goOn)
		}
		return runner.ByLease, term
	case d.news:
		d.news = false
		return runner.ByNews, 0
	}
	return runner.ByTime, 0
}

// Led implements runner.Host.
func (d *chief) Led(ctx context.Context, term uint64) bool {
	f := ctx.(*fiber)
	d.led, d.telling = &term, f
	d.e.after(&d.node, 0, d.ring)
	return f.wait()
}

// detector is recovery's, as the leader asks it.
type detector struct{ *recovery.Detector }

// Observe implements runner.Detector.
func (x detector) Observe(now time.Time, serverID string, serverTime time.Time, members []runner.Sighting) []runner.Death {
	o := recovery.Observation{Now: now, ServerID: serverID, ServerTime: serverTime}
	for _, m := range members {
		o.Members = append(o.Members, recovery.Seen{Incarnation: m.Incarnation, Subscribed: m.Subscribed, Beat: m.Beat, LeaseLeft: m.LeaseLeft, LeaseKnown: m.LeaseKnown})
	}
	var out []runner.Death
	for _, v := range x.Detector.Observe(o) {
		evidence := resize.EvidenceTTL
		if v.Evidence == recovery.Connection {
			evidence = resize.EvidenceConnection
		}
		out = append(out, runner.Death{Incarnation: v.Incarnation, Evidence: evidence, Beat: v.Beat})
	}
	return out
}

// The calls of the leader, answered by the model of the store: runner.Store.

func (d *chief) ask(ctx context.Context, what string, exec func()) error {
	if !d.e.ask(ctx.(*fiber), &d.node, &call{conn: d.conn, what: what, exec: exec}) {
		return fmt.Errorf("%s: %w", what, job.ErrOutcomeUnknown)
	}
	return nil
}

// Lead implements runner.Store.
func (d *chief) Lead(ctx context.Context, lease time.Duration, _ uint64) (got uint64, err error) {
	err = d.ask(ctx, "lead", func() {
		got = d.e.stores[0].lead(d.name, lease.Milliseconds())
		d.e.audit.led(d.e, got)
	})
	return got, err
}

// Resign implements runner.Store.
func (d *chief) Resign(ctx context.Context) error {
	return d.ask(ctx, "resign", func() {
		if s := d.e.stores[0]; s.leader == d.name {
			s.leading = min(s.leading, s.now)
		}
	})
}

// Look implements runner.Store: two pages, the second has the other half of the partitions, and what
// drainers hold. If there is another plan by then, all is read anew.
func (d *chief) Look(ctx context.Context) (runner.Look, error) {
	e := d.e
	var r, later resize.Records
	var out runner.Look
	err := d.ask(ctx, "look", func() {
		r = e.records()
		for _, s := range e.stores {
			s.renew(e.audit.servers) // after it has read
		}
		out = runner.Look{ServerID: fmt.Sprint(e.audit.servers), ServerTime: time.UnixMilli(e.stores[0].now)}
		for _, m := range r.Members {
			left := time.Duration(e.lease(m.Incarnation)-e.stores[0].now) * time.Millisecond
			out.Members = append(out.Members, runner.Sighting{Incarnation: m.Incarnation, LeaseLeft: left, LeaseKnown: true})
		}
	})
	if err == nil {
		err = d.ask(ctx, "look on", func() { later = e.records() })
	}
	if err != nil {
		return out, err
	}
	if !slices.EqualFunc(later.Shards, r.Shards, func(a, b resize.Shard) bool { return a.Epoch == b.Epoch }) {
		return d.Look(ctx)
	}
	half := len(r.Owners) / 2
	r.Owners = slices.Concat(r.Owners[:half], later.Owners[half:])
	r.Plan = slices.Concat(r.Plan[:half], later.Plan[half:])
	r.Permits = later.Permits
	r.Shards = append(r.Shards[:1:1], later.Shards[1:]...) // shards are read at moments of their own
	d.read, out.Records = r, r
	return out, nil
}

// Signs implements runner.Store.
func (d *chief) Signs(ctx context.Context, incs []string) ([]runner.Sighting, error) {
	out := make([]runner.Sighting, len(incs))
	err := d.ask(ctx, "probe", func() {
		for i, inc := range incs {
			there := d.e.stores[0].watched[inc]
			out[i] = runner.Sighting{Incarnation: inc, Subscribed: &there, Beat: d.e.stores[0].lastBeat(inc)}
		}
	})
	return out, err
}

// act performs an action in the shards that it concerns, one after the other.
func (d *chief) act(ctx context.Context, what string, a resize.CoordinatorAction, exec func(shard int, a *resize.CoordinatorAction) string) error {
	for _, sh := range d.e.concerned(a) {
		result := ""
		err := d.ask(ctx, what, func() {
			result = exec(sh, &a)
			if d.e.trace != nil {
				d.e.tell(d.name, a, result)
			}
		})
		switch {
		case err != nil:
			return err
		case result == "STALE":
			return runner.ErrStale
		case result != "ok":
			return runner.ErrConflict
		}
	}
	return nil
}

// WritePlan implements runner.Store.
func (d *chief) WritePlan(ctx context.Context, term uint64, plan resize.WritePlan) error {
	if plan.BaseEpoch != d.read.Epoch {
		d.e.fail("%s plans after %d and read %d", d.name, plan.BaseEpoch, d.read.Epoch)
	}
	read, epoch := d.read.Shards, uint64(0)
	for _, sh := range read {
		epoch = max(epoch, sh.Epoch+1)
	}
	return d.act(ctx, "plan", plan, func(sh int, _ *resize.CoordinatorAction) string {
		return d.e.stores[sh].planShard(term, plan, read[sh].Epoch, epoch)
	})
}

// Evict implements runner.Store.
func (d *chief) Evict(ctx context.Context, term uint64, a resize.EvictWorker) error {
	return d.act(ctx, "evict", a, func(sh int, a *resize.CoordinatorAction) string { return d.e.obey(sh, term, a) })
}

// Steal implements runner.Store.
func (d *chief) Steal(ctx context.Context, term uint64, as []resize.StealPartition) []error {
	errs := make([]error, len(as))
	for i, a := range as {
		errs[i] = d.act(ctx, "steal", a, func(sh int, a *resize.CoordinatorAction) string { return d.e.obey(sh, term, a) })
	}
	return errs
}

// Revoke implements runner.Store.
func (d *chief) Revoke(ctx context.Context, term uint64, r resize.RevokePermit) error {
	return d.act(ctx, "revoke", r, func(sh int, a *resize.CoordinatorAction) string {
		result := d.e.obey(sh, term, a)
		if result == "ok" {
			d.e.audit.revoked[holdOf{r.Partition, entryOf(r.ID), r.Incarnation}] = true
		}
		return result
	})
}

// Advance implements runner.Store.
func (d *chief) Advance(ctx context.Context, term uint64, a resize.AdvanceBarrier) error {
	read := d.read.Shards
	return d.act(ctx, advancing, a, func(sh int, a *resize.CoordinatorAction) string {
		*a = resize.AdvanceBarrier{Epoch: read[sh].Epoch}
		return d.e.obey(sh, term, a)
	})
}

// Repair implements runner.Store. Nobody deletes anything here.
func (d *chief) Repair(context.Context, uint64) ([]string, error) { return nil, nil }

// Guard implements runner.Store: nobody looks for members but the leader.
func (d *chief) Guard([]string, time.Time, chan<- struct{}) bool { return false }

// Unguard implements runner.Store.
func (d *chief) Unguard() {}

// Seen implements runner.Store.
func (d *chief) Seen() time.Time { return time.Time{} }

// Hints implements runner.Store: see hint.
func (d *chief) Hints(context.Context, chan<- struct{}) {}

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
