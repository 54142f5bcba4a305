package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"ringmaster/internal/failpoint"
)

// workerRows are the deaths and pauses of workers.
func workerRows() []Row {
	rows := []Row{
		{Number: 1, Name: "worker killed: jobs read, none noted as started", Run: workerDies(failpoint.W1)},
		{Number: 2, Name: "worker killed: before the handler", Run: workerDies(failpoint.W2)},
		{Number: 3, Name: "worker killed: in the handler", Run: workerDies(failpoint.W3)},
		{Number: 4, Name: "worker killed: after the handler, the end not sent", Run: workerDies(failpoint.W4)},
		{Number: 5, Name: "worker killed: the end sent, the answer not read", Run: workerDies(failpoint.W5)},
		{Number: 6, Name: "worker killed: the end answered", Run: workerDies(failpoint.W6)},
	}
	for i := range rows {
		rows[i].Expect = "its partitions have a live owner within a lease and 2 s; every job completes once"
	}
	return append(rows,
		Row{Number: 7, Name: "worker killed: about to hand a partition over", Expect: "found dead; the resize ends without it", Run: giverDies(failpoint.W7)},
		Row{Number: 8, Name: "worker killed: the hand-over answered", Expect: "as 7; what it still ran is run again by the new owner", Run: giverDies(failpoint.W8)},
		Row{Number: 9, Name: "worker killed: all claimed, phase 2 not replied to", Expect: "its partitions get a third owner, which claims them", Run: gainerDies(failpoint.W9)},
		Row{Number: 10, Name: "worker killed: phase 2 replied to", Expect: "as 9", Run: gainerDies(failpoint.W10)},
		Row{Number: 11, Name: "worker killed: a claim sent, the answer not read", Expect: "as 9; what the dead one claimed is claimed again", Run: gainerDies(failpoint.W11)},
		Row{Number: 12, Name: "worker killed: at the end that buries a job", Expect: "the job is a dead letter once", Run: diesBurying},
		Row{Number: 13, Name: "worker killed: while it drains", Expect: "as 1", Run: diesDraining},
		Row{Number: 14, Name: "worker frozen for two leases: in the handler", Expect: "evicted, its jobs run elsewhere; it comes back as a new incarnation, and its late end is refused", Run: workerFreezes(failpoint.W3)},
		Row{Number: 15, Name: "worker frozen for two leases: after the handler", Expect: "as 14", Run: workerFreezes(failpoint.W4)},
		Row{Number: 16, Name: "worker frozen for two leases: the end in the socket", Expect: "as 14; the end counts if it came before the eviction", Run: workerFreezes(failpoint.W5)},
		Row{Number: 17, Name: "worker frozen for two leases: the hand-over answered", Expect: "as 14", Run: giverFreezes},
		Row{Number: 18, Name: "worker frozen for half a lease, anywhere", Expect: "nothing: no plan, the same incarnation", Run: shortFreeze},
		Row{Number: 19, Name: "worker's lease lapses and comes back while no leader looks", Expect: "it starts nothing without a lease; afterwards every partition runs jobs", Run: lapses})
}

// some is an action with a random number of hits to let pass before it.
func some(r *Rig, most int, action string) string {
	return fmt.Sprintf("after %d %s", r.Rand.IntN(most+1), action)
}

// recovered waits until live workers own everything and jobs are completed everywhere.
func recovered(ctx context.Context, r *Rig, metric string, since time.Time, limit time.Duration) error {
	if err := r.Owned(ctx, limit-time.Since(since)); err != nil {
		return err
	}
	if metric != "" {
		r.Metric(metric, time.Since(since))
	}
	_, err := r.Flows(ctx, 20*time.Second)
	return err
}

func workerDies(point failpoint.Point) func(context.Context, *Rig) error {
	return func(ctx context.Context, r *Rig) error {
		r.Pause(ctx, 200*time.Millisecond)
		p, err := r.Worker(ctx)
		if err != nil {
			return err
		}
		at, err := r.KilledAt(ctx, p, point, some(r, 20, "kill"), 10*time.Second)
		if err != nil {
			return err
		}
		return recovered(ctx, r, "worker killed", at, leaseTTL+2*time.Second)
	}
}

// giverDies kills a worker that hands partitions over, because another one joins.
func giverDies(point failpoint.Point) func(context.Context, *Rig) error {
	return func(ctx context.Context, r *Rig) error {
		p, err := r.Worker(ctx)
		if err != nil {
			return err
		}
		since := time.Now()
		if err := p.Arm(point, "kill"); err != nil {
			return err
		}
		if _, err := r.Start(worker, nil); err != nil {
			return err
		}
		at, err := r.diedAt(ctx, p, point, since, 15*time.Second)
		if err != nil {
			return err
		}
		if err := recovered(ctx, r, "worker killed", at, leaseTTL+3*time.Second); err != nil {
			return err
		}
		return r.Settled(ctx, 20*time.Second)
	}
}

// gainerDies kills a worker that has just joined and gets its first partitions.
func gainerDies(point failpoint.Point) func(context.Context, *Rig) error {
	return func(ctx context.Context, r *Rig) error {
		since := time.Now()
		p, err := r.StartArmed(worker, point, "kill")
		if err != nil {
			return err
		}
		at, err := r.diedAt(ctx, p, point, since, 15*time.Second)
		if err != nil {
			return err
		}
		return recovered(ctx, r, "worker killed", at, leaseTTL+3*time.Second)
	}
}

func diesBurying(ctx context.Context, r *Rig) error {
	p, err := r.Worker(ctx)
	if err != nil {
		return err
	}
	since := time.Now()
	if err := p.Arm(failpoint.W13, "kill"); err != nil {
		return err
	}
	var ids []string
	for range 4 {
		key, err := r.KeyOf(ctx, p)
		if err != nil {
			return err
		}
		id, err := r.Submit(ctx, Work{Do: doFail}, key)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	at, err := r.diedAt(ctx, p, failpoint.W13, since, 10*time.Second)
	if err != nil {
		return err
	}
	if err := recovered(ctx, r, "worker killed", at, leaseTTL+2*time.Second); err != nil {
		return err
	}
	for _, id := range ids {
		if err := r.Buried(ctx, id, 15*time.Second); err != nil {
			return err
		}
	}
	return nil
}

func diesDraining(ctx context.Context, r *Rig) error {
	p, err := r.Worker(ctx)
	if err != nil {
		return err
	}
	since := time.Now()
	if err := p.Arm(failpoint.W14, "kill"); err != nil {
		return err
	}
	if err := r.Term(p); err != nil {
		return err
	}
	at, err := r.diedAt(ctx, p, failpoint.W14, since, 5*time.Second)
	if err != nil {
		return err
	}
	return recovered(ctx, r, "", at, leaseTTL+2*time.Second)
}

func workerFreezes(point failpoint.Point) func(context.Context, *Rig) error {
	return func(ctx context.Context, r *Rig) error {
		p, err := r.Worker(ctx)
		if err != nil {
			return err
		}
		since, before := time.Now(), r.Incarnation(ctx, p)
		if err := p.Arm(point, some(r, 20, "stop")); err != nil {
			return err
		}
		at, err := r.Hit(ctx, p, point, since, 10*time.Second)
		if err != nil {
			return err
		}
		return frozenOut(ctx, r, p, before, at)
	}
}

// frozenOut waits until a frozen worker is evicted, lets it go on after two leases, and
// waits until it is back as a new incarnation.
func frozenOut(ctx context.Context, r *Rig, p *Proc, before string, at time.Time) error {
	if err := r.Without(ctx, before, leaseTTL+3*time.Second); err != nil {
		return err
	}
	r.Metric("host lost", time.Since(at))
	r.Wait(ctx, 2*leaseTTL-time.Since(at)+time.Duration(r.Rand.IntN(300))*time.Millisecond)
	if !p.Frozen() {
		return notHit("%s did not stay frozen", p.Name)
	}
	if err := r.Thaw(p); err != nil {
		return err
	}
	err := r.Until(ctx, p.Name+" is back as a new incarnation", 15*time.Second, func() bool {
		now := r.Incarnation(ctx, p)
		return now != "" && now != before
	})
	if err != nil {
		return err
	}
	_, err = r.Flows(ctx, 20*time.Second)
	return err
}

func giverFreezes(ctx context.Context, r *Rig) error {
	p, err := r.Worker(ctx)
	if err != nil {
		return err
	}
	since, before := time.Now(), r.Incarnation(ctx, p)
	if err := p.Arm(failpoint.W8, "stop"); err != nil {
		return err
	}
	if _, err := r.Start(worker, nil); err != nil {
		return err
	}
	at, err := r.Hit(ctx, p, failpoint.W8, since, 15*time.Second)
	if err != nil {
		return err
	}
	return frozenOut(ctx, r, p, before, at)
}

func shortFreeze(ctx context.Context, r *Rig) error {
	p, err := r.Worker(ctx)
	if err != nil {
		return err
	}
	r.Pause(ctx, 500*time.Millisecond)
	before := r.View(ctx)
	if err := r.Freeze(p); err != nil {
		return err
	}
	r.Wait(ctx, leaseTTL/2)
	frozen := p.Frozen()
	if err := r.Thaw(p); err != nil {
		return err
	}
	if !frozen {
		return notHit("%s did not freeze", p.Name)
	}
	r.Wait(ctx, time.Second)
	after := r.View(ctx)
	if after.Epoch != before.Epoch {
		return fmt.Errorf("a plan was made: ring epoch %d, then %d", before.Epoch, after.Epoch)
	}
	_, err = r.Flows(ctx, 15*time.Second)
	return err
}

// lapses: with all dispatchers frozen, a worker is frozen until its lease is gone, and
// lives again before they do.
func lapses(ctx context.Context, r *Rig) error {
	p, err := r.Worker(ctx)
	if err != nil {
		return err
	}
	inc := r.Incarnation(ctx, p)
	raw := r.Raw()
	defer raw.Close()
	for _, d := range r.Live(dispatcher) {
		if err := r.Freeze(d); err != nil {
			return err
		}
	}
	if err := r.Freeze(p); err != nil {
		return err
	}
	key := "rm:{" + queueName + "}:alive:" + inc
	gone := r.Until(ctx, "the lease is gone", leaseTTL+2*time.Second, func() bool {
		n, err := raw.Exists(ctx, key).Result()
		return err == nil && n == 0
	})
	r.Pause(ctx, 500*time.Millisecond)
	if err := r.Thaw(p); err != nil {
		return err
	}
	back := r.Until(ctx, "the lease is back", 3*time.Second, func() bool {
		n, err := raw.Exists(ctx, key).Result()
		return err == nil && n == 1
	})
	for _, d := range r.Live(dispatcher) {
		if err := r.Thaw(d); err != nil {
			return err
		}
	}
	if gone != nil || back != nil {
		return notHit("the lease did not lapse and come back: %v, %v", gone, back)
	}
	_, err = r.Flows(ctx, 20*time.Second)
	return err
}

// Incarnation is the one under which a worker is a member now; "" if it is none.
func (r *Rig) Incarnation(ctx context.Context, p *Proc) string {
	for _, m := range r.View(ctx).Members {
		if name, _, _ := strings.Cut(m.Incarnation, "."); name == p.Name {
			return m.Incarnation
		}
	}
	return ""
}

// Without waits until an incarnation is no member and owns nothing, and others own all.
func (r *Rig) Without(ctx context.Context, inc string, limit time.Duration) error {
	return r.Until(ctx, inc+" is out, and others own all", limit, func() bool {
		v := r.View(ctx)
		members := map[string]bool{}
		for _, m := range v.Members {
			members[m.Incarnation] = true
		}
		for _, p := range v.Partitions {
			if p.Owner == inc || !members[p.Owner] {
				return false
			}
		}
		return len(v.Partitions) > 0 && !members[inc]
	})
}
