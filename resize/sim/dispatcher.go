package sim

import (
	"context"
	"log/slog"
	"time"

	"ringmaster/resize"
	"ringmaster/resize/runner"
)

// dispatcher is a dispatcher's process in a World: the product's leader. Its lease is what the
// scenario says, and so is the verdict of its failure detector.
type dispatcher struct {
	party
	l       *runner.Leader
	waiting *fiber  // for news
	led     *uint64 // a term that was won, or 0, which is not taken yet
	news    bool
	ticked  bool
	dead    []runner.Death // whom the detector has found
}

// stand makes a dispatcher stand by.
func (w *World) stand(name string, cfg resize.Config) error {
	const never = 1e6 * time.Hour // the scenario says when
	d := &dispatcher{party: party{w: w, name: name}}
	l, err := runner.NewLeader(runner.Config{
		Lease: never, Detect: time.Millisecond, Look: never, Repair: never, Timeout: never, Protocol: cfg, Step: d.step,
	}, d, d, d, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	d.l = l
	w.dispatchers[name] = d
	d.fibers = append(d.fibers, w.spawn(w.soon, func(f *fiber) { l.Lead(f) }))
	return nil
}

// step has the machine take an event, and checks it.
func (d *dispatcher) step(c *resize.Coordinator, ev resize.CoordinatorEvent) ([]resize.CoordinatorAction, error) {
	actions, err := c.Step(ev)
	if err == nil {
		err = c.CheckInvariants()
	}
	if err != nil {
		d.w.fail("%s on %T: %v", d.name, ev, err)
	}
	seen := map[string]bool{}
	for _, a := range actions {
		if seen[a.String()] {
			d.w.fail("%s wants twice: %s", d.name, a)
		}
		seen[a.String()] = true
		if a == resize.CoordinatorAction(resize.StepDown{}) {
			d.w.log("%s: %s", d.name, a)
		}
	}
	return actions, err
}

// wake lets the leader look what there is, once it waits for news.
func (d *dispatcher) wake() {
	if f := d.waiting; f != nil {
		d.waiting = nil
		f.goOn()
		d.w.goOn()
	}
}

// lead tells the leader of a new term, or that it has none (0). What it has asked for by then is not
// answered.
func (d *dispatcher) lead(term uint64) {
	d.led = &term
	for d.giveUp() {
		continue
	}
	d.wake()
}

// Now implements runner.Host.
func (d *dispatcher) Now() time.Time { return d.w.time() }

// Sleep implements runner.Host.
func (d *dispatcher) Sleep(ctx context.Context, _ time.Duration) bool { return ctx.Err() == nil }

// Within implements runner.Host. The scenario says which calls are not answered.
func (d *dispatcher) Within(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
	return ctx, func() {}
}

// Wait implements runner.Host.
func (d *dispatcher) Wait(ctx context.Context, _ time.Duration) (runner.Woken, uint64) {
	f := ctx.(*fiber)
	for f.Err() == nil {
		switch {
		case d.led != nil:
			term := *d.led
			d.led = nil
			return runner.ByLease, term
		case d.news:
			d.news = false
			return runner.ByNews, 0
		case d.ticked:
			d.ticked = false
			return runner.ByTime, 0
		}
		d.waiting = f
		f.wait()
	}
	return runner.ByTime, 0
}

// Led implements runner.Host. Nobody keeps a lease here.
func (d *dispatcher) Led(context.Context, uint64) bool { return false }

// Observe implements runner.Detector.
func (d *dispatcher) Observe(time.Time, string, time.Time, []runner.Sighting) []runner.Death {
	dead := d.dead
	d.dead = nil
	return dead
}

// LeaderChanged implements runner.Detector.
func (d *dispatcher) LeaderChanged(time.Time) { d.dead = nil }

// Lead implements runner.Store. Nobody keeps a lease here.
func (d *dispatcher) Lead(context.Context, time.Duration, uint64) (uint64, error) { return 0, nil }

// Resign implements runner.Store.
func (d *dispatcher) Resign(context.Context) error { return nil }

// Look implements runner.Store.
func (d *dispatcher) Look(ctx context.Context) (runner.Look, error) {
	var out runner.Look
	err := d.ask(ctx, &openCall{kind: "read-records", says: []string{resize.ReadRecords{}.String()}, held: true, exec: func() []string {
		out = runner.Look{Records: d.w.store.records()}
		for _, m := range out.Records.Members {
			out.Members = append(out.Members, runner.Sighting{Incarnation: m.Incarnation})
		}
		return nil
	}})
	return out, err
}

// Signs implements runner.Store: whom the detector has found is for the scenario to say.
func (d *dispatcher) Signs(_ context.Context, incs []string) ([]runner.Sighting, error) {
	return make([]runner.Sighting, len(incs)), nil
}

// act has the store perform actions, in one round trip.
func (d *dispatcher) act(ctx context.Context, kind string, term uint64, as ...resize.CoordinatorAction) []error {
	errs := make([]error, len(as))
	r := openCall{kind: kind}
	for _, a := range as {
		r.says = append(r.says, a.String())
	}
	r.exec = func() []string {
		results := make([]string, len(as))
		for i, a := range as {
			switch result := d.w.store.obey(term, a); result {
			case "STALE":
				errs[i], results[i] = runner.ErrStale, result
			case "CONFLICT":
				errs[i], results[i] = runner.ErrConflict, result
			}
		}
		return results
	}
	if err := d.ask(ctx, &r); err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}

// Evict implements runner.Store.
func (d *dispatcher) Evict(ctx context.Context, term uint64, a resize.EvictWorker) error {
	return d.act(ctx, "evict", term, a)[0]
}

// WritePlan implements runner.Store.
func (d *dispatcher) WritePlan(ctx context.Context, term uint64, a resize.WritePlan) error {
	return d.act(ctx, "plan", term, a)[0]
}

// Steal implements runner.Store.
func (d *dispatcher) Steal(ctx context.Context, term uint64, as []resize.StealPartition) []error {
	var list []resize.CoordinatorAction
	for _, a := range as {
		list = append(list, a)
	}
	return d.act(ctx, "steal", term, list...)
}

// Revoke implements runner.Store.
func (d *dispatcher) Revoke(ctx context.Context, term uint64, a resize.RevokePermit) error {
	return d.act(ctx, "revoke", term, a)[0]
}

// Advance implements runner.Store.
func (d *dispatcher) Advance(ctx context.Context, term uint64, a resize.AdvanceBarrier) error {
	return d.act(ctx, advancing, term, a)[0]
}

// Repair implements runner.Store. Nobody deletes anything here.
func (d *dispatcher) Repair(context.Context, uint64) ([]string, error) { return nil, nil }

// Guard implements runner.Store: nobody looks for members.
func (d *dispatcher) Guard([]string, time.Time, chan<- struct{}) bool { return false }

// Unguard implements runner.Store.
func (d *dispatcher) Unguard() {}

// Seen implements runner.Store.
func (d *dispatcher) Seen() time.Time { return time.Time{} }

// Hints implements runner.Store: news are told by the World.
func (d *dispatcher) Hints(context.Context, chan<- struct{}) {}
