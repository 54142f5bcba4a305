package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ringmaster/internal/failpoint"
)

// barrier is a ring whose resizes have all three phases.
func barrier() RingSpec { return RingSpec{Name: "barrier", Mode: "ring"} }

// leaderRows are the deaths and pauses of leaders.
func leaderRows() []Row {
	return []Row{
		{Number: 20, Name: "leader killed: leads, has not read the records", Expect: "another leads within a lease and 1 s", Run: diesElected},
		{Number: 21, Name: "leader killed: a plan is written, no message needs to be read", Expect: "workers and the next leader finish the same plan", Run: leaderDies(failpoint.D2, joins)},
		{Number: 22, Name: "leader killed: some partitions have moved", Expect: "as 21; replies given before count", Ring: barrier(), Run: leaderDies(failpoint.D3, joins)},
		{Number: 23, Name: "leader killed: all have moved, not all have replied to phase 1", Expect: "phase 2 comes with the last reply", Ring: barrier(), Run: leaderDies(failpoint.D4, leavesOthersBusy)},
		{Number: 24, Name: "leader killed: phase 2, some have replied", Expect: "phase 3 comes with the last reply, never before", Ring: barrier(), Run: leaderDies(failpoint.D5, joinsSlowly)},
		{Number: 25, Name: "leader killed: about to write what ends a plan", Expect: "the next leader writes it; no partition is without a live owner beyond a lease and 3 s", Run: leaderDies(failpoint.D6, dies)},
		{Number: 26, Name: "leader killed: what ends a plan is sent, the answer not read", Expect: "as 25; a second flip finds nothing to do", Run: leaderDies(failpoint.D7, dies)},
		{Number: 27, Name: "leader frozen for two leases: all have moved, phase 2 not complete", Expect: "another leads; awake it stands by and writes nothing", Ring: barrier(), Run: leaderFreezes(failpoint.D4, leavesOthersBusy)},
		{Number: 28, Name: "leader frozen: about to end a plan, while a new one runs", Expect: "as 27", Run: leaderFreezes(failpoint.D6, dies)},
		{Number: 29, Name: "leader and a worker killed at once: in a hand-over", Expect: "every partition has a live owner within 6 s", Ring: barrier(), Run: bothDie},
		{Number: 30, Name: "leader and all workers killed: in phase 2; new ones start", Expect: "the new ones get everything and finish every job", Ring: barrier(), Run: allDie},
		{Number: 31, Name: "all dispatchers killed for a while", Expect: "workers go on with the ring as it is; no plan; then it heals", Run: noDispatchers},
		{Number: 32, Name: "two dispatchers start at the same instant", Expect: "one leads; no term is given twice", Run: twoStart},
	}
}

// Triggers of a resize.
type trigger func(context.Context, *Rig) error

func joins(_ context.Context, r *Rig) error {
	_, err := r.Start(worker, nil)
	return err
}

func dies(ctx context.Context, r *Rig) error {
	p, err := r.Worker(ctx)
	if err != nil {
		return err
	}
	r.Kill(p)
	return nil
}

// joinsSlowly has a worker reply to phase 2 late: a leader sees that only some have replied.
func joinsSlowly(_ context.Context, r *Rig) error {
	_, err := r.StartArmed(worker, failpoint.W9, "sleep 1s")
	return err
}

// leavesOthersBusy ends a worker gracefully while all others run a job that takes long:
// all its partitions have moved before the others can reply.
func leavesOthersBusy(ctx context.Context, r *Rig) error {
	p, err := r.Worker(ctx)
	if err != nil {
		return err
	}
	for _, o := range r.Live(worker) {
		if o == p {
			continue
		}
		key, err := r.KeyOf(ctx, o)
		if err != nil {
			return err
		}
		r.tasks++
		mark := fmt.Sprintf("busy-%d", r.tasks)
		if _, err := r.Submit(ctx, Work{Ms: 900, Mark: mark}, key); err != nil {
			return err
		}
		if err := r.Until(ctx, "a long job runs", 5*time.Second, func() bool { return r.Starts(mark) > 0 }); err != nil {
			return notHit("%w", err)
		}
	}
	return r.Term(p)
}

// led waits until another dispatcher leads, and records how long that took.
func led(ctx context.Context, r *Rig, since time.Time, without *Proc) error {
	err := r.Until(ctx, "another dispatcher leads", leaderLease+time.Second-time.Since(since), func() bool {
		v := r.View(ctx)
		for _, p := range r.Live(dispatcher) {
			if p != without && p.leads(v) {
				return true
			}
		}
		return false
	})
	if err == nil && without == nil {
		r.Metric("leader killed", time.Since(since))
	}
	return err
}

func leaderDies(point failpoint.Point, start trigger) func(context.Context, *Rig) error {
	return func(ctx context.Context, r *Rig) error {
		p, err := r.Leader(ctx)
		if err != nil {
			return err
		}
		since := time.Now()
		if err := p.Arm(point, "kill"); err != nil {
			return err
		}
		if err := start(ctx, r); err != nil {
			return err
		}
		at, err := r.diedAt(ctx, p, point, since, 8*time.Second)
		if err != nil {
			return err
		}
		planned := r.View(ctx)
		if err := led(ctx, r, at, nil); err != nil {
			return err
		}
		if err := recovered(ctx, r, "", at, leaseTTL+3*time.Second); err != nil {
			return err
		}
		if err := r.Settled(ctx, 10*time.Second); err != nil {
			return err
		}
		// The same plan is finished; one more may follow a death that was found meanwhile.
		if v := r.View(ctx); v.Epoch > planned.Epoch+1 {
			return fmt.Errorf("ring epoch %d at the leader's death, %d afterwards", planned.Epoch, v.Epoch)
		}
		return nil
	}
}

func diesElected(ctx context.Context, r *Rig) error {
	p, err := r.Leader(ctx)
	if err != nil {
		return err
	}
	if _, err := r.Start(dispatcher, nil); err != nil {
		return err
	}
	since := time.Now()
	standby := slices.DeleteFunc(r.Live(dispatcher), func(d *Proc) bool { return d == p })
	for _, d := range standby {
		if err := d.Arm(failpoint.D1, "kill"); err != nil {
			return err
		}
	}
	r.Kill(p)
	var at time.Time
	err = r.Until(ctx, "a new leader dies", 8*time.Second, func() bool {
		for _, d := range standby {
			if at = d.HitAt(failpoint.D1, since); !at.IsZero() {
				return true
			}
		}
		return false
	})
	for _, d := range standby {
		d.Disarm(failpoint.D1)
	}
	if err != nil {
		return notHit("%w", err)
	}
	r.run.hit(failpoint.D1)
	r.run.count(&r.run.kills)
	if err := led(ctx, r, at, nil); err != nil {
		return err
	}
	_, err = r.Flows(ctx, 10*time.Second)
	return err
}

func leaderFreezes(point failpoint.Point, start trigger) func(context.Context, *Rig) error {
	return func(ctx context.Context, r *Rig) error {
		p, err := r.Leader(ctx)
		if err != nil {
			return err
		}
		since := time.Now()
		if err := p.Arm(point, "stop"); err != nil {
			return err
		}
		if err := start(ctx, r); err != nil {
			return err
		}
		at, err := r.Hit(ctx, p, point, since, 8*time.Second)
		if err != nil {
			return err
		}
		if err := led(ctx, r, at, p); err != nil {
			return err
		}
		next, err := r.Leader(ctx)
		if err != nil {
			return err
		}
		r.Wait(ctx, 2*leaderLease-time.Since(at))
		if err := joins(ctx, r); err != nil { // a plan is on its way when it wakes up
			return err
		}
		if !p.Frozen() {
			return notHit("%s did not stay frozen", p.Name)
		}
		if err := r.Thaw(p); err != nil {
			return err
		}
		if err := r.Settled(ctx, 15*time.Second); err != nil {
			return err
		}
		if v := r.View(ctx); !next.leads(v) {
			return fmt.Errorf("%s led after the freeze, now %s does", next.Name, v.Leader)
		}
		_, err = r.Flows(ctx, 10*time.Second)
		return err
	}
}

func bothDie(ctx context.Context, r *Rig) error {
	p, err := r.Leader(ctx)
	if err != nil {
		return err
	}
	w, err := r.Worker(ctx)
	if err != nil {
		return err
	}
	since := time.Now()
	if err := p.Arm(failpoint.D3, "kill"); err != nil {
		return err
	}
	if err := w.Arm(failpoint.W8, "kill"); err != nil {
		return err
	}
	if err := joins(ctx, r); err != nil {
		return err
	}
	if _, err := r.diedAt(ctx, w, failpoint.W8, since, 8*time.Second); err != nil {
		p.Disarm(failpoint.D3)
		return err
	}
	at, err := r.diedAt(ctx, p, failpoint.D3, since, 2*time.Second)
	if err != nil {
		return err
	}
	return recovered(ctx, r, "leader and worker killed", at, leaseTTL+3*time.Second)
}

func allDie(ctx context.Context, r *Rig) error {
	p, err := r.Leader(ctx)
	if err != nil {
		return err
	}
	since := time.Now()
	if err := p.Arm(failpoint.D5, "kill"); err != nil {
		return err
	}
	if err := joinsSlowly(ctx, r); err != nil {
		return err
	}
	at, err := r.diedAt(ctx, p, failpoint.D5, since, 8*time.Second)
	if err != nil {
		return err
	}
	for _, w := range r.Live(worker) {
		r.Kill(w)
	}
	for range r.Spec.Workers {
		if _, err := r.Start(worker, nil); err != nil {
			return err
		}
	}
	return recovered(ctx, r, "leader and all workers killed", at, 2*leaseTTL+4*time.Second)
}

func noDispatchers(ctx context.Context, r *Rig) error {
	before := r.View(ctx)
	for _, d := range r.Live(dispatcher) {
		r.Kill(d)
	}
	if err := joins(ctx, r); err != nil {
		return err
	}
	began, jobs := time.Now(), r.accepted()
	most := time.Duration(0)
	for time.Since(began) < time.Duration(r.Scale(6, 60, 60))*time.Second && ctx.Err() == nil {
		took, err := r.Flows(ctx, 10*time.Second)
		if err != nil {
			return fmt.Errorf("without a dispatcher: %w", err)
		}
		most = max(most, took)
		r.Wait(ctx, time.Second)
	}
	v, rate := r.View(ctx), float64(r.accepted()-jobs)/time.Since(began).Seconds()
	if v.Epoch != before.Epoch {
		return fmt.Errorf("ring epoch %d became %d without a dispatcher", before.Epoch, v.Epoch)
	}
	if rate < float64(r.Spec.Rate)/2 {
		return fmt.Errorf("%.0f jobs per second without a dispatcher, of %d", rate, r.Spec.Rate)
	}
	r.Logf("one job in every partition took at most %v, %.0f jobs per second", most.Round(time.Millisecond), rate)
	return nil
}

// twoStart starts two dispatchers where none is, again and again.
func twoStart(ctx context.Context, r *Rig) error {
	for range r.Scale(4, 34, 100) {
		for _, d := range r.Live(dispatcher) {
			if err := r.Term(d); err != nil {
				return err
			}
		}
		for _, d := range r.Live(dispatcher) {
			if err := r.Ended(ctx, d, 10*time.Second); err != nil {
				return err
			}
		}
		for range 2 {
			if _, err := r.Start(dispatcher, nil); err != nil {
				return err
			}
		}
		if _, err := r.Leader(ctx); err != nil {
			return err
		}
	}
	_, err := r.Flows(ctx, 10*time.Second)
	if err != nil {
		return err
	}
	return r.termsOnce()
}
