package main

import (
	"context"
	"fmt"
	"time"
)

// networkRows take a process's network away.
func networkRows() []Row {
	rows := []Row{
		{Number: 50, Name: "worker cut off for two leases", Expect: "it starts nothing after its lease; evicted; back as a new incarnation", Run: cutOff((*network).Down, 2*leaseTTL)},
		{Number: 51, Name: "worker cut off for half a lease", Expect: "no plan; its ends are sent again", Run: brieflyCutOff},
		{Number: 52, Name: "worker hears nothing, for two leases", Expect: "as 50; it does not send heartbeats without end", Run: cutOff((*network).Deaf, 2*leaseTTL)},
		{Number: 53, Name: "leader cut off", Expect: "another leads within a lease and 1 s; back, it stands by", Run: leaderCutOff},
	}
	return append(append(rows, proxyRows()...), pathRows()...)
}

// cutOffWorker is a worker with a network of its own, which owns partitions.
func cutOffWorker(ctx context.Context, r *Rig) (*network, *Proc, string, error) {
	n, err := newNetwork(ctx, r)
	if err != nil {
		return nil, nil, "", err
	}
	p, err := n.Start(r, worker)
	if err == nil {
		err = r.Settled(ctx, 20*time.Second)
	}
	inc := r.Incarnation(ctx, p)
	if err == nil && inc == "" {
		err = notHit("%s did not join", p.Name)
	}
	if err != nil {
		r.drop(p, n)
		return nil, nil, "", err
	}
	return n, p, inc, nil
}

// drop ends a process and its network.
func (r *Rig) drop(p *Proc, n *network) {
	if p != nil {
		r.Kill(p)
	}
	n.Close()
}

func cutOff(how func(*network, context.Context) error, long time.Duration) func(context.Context, *Rig) error {
	return func(ctx context.Context, r *Rig) error {
		n, p, inc, err := cutOffWorker(ctx, r)
		if err != nil {
			return err
		}
		defer r.drop(p, n)
		r.Pause(ctx, 300*time.Millisecond)
		at := time.Now()
		if err := how(n, ctx); err != nil {
			return notHit("%w", err)
		}
		if err := r.Without(ctx, inc, leaseTTL+3*time.Second); err != nil {
			return err
		}
		r.Metric("host lost", time.Since(at))
		r.Wait(ctx, long-time.Since(at))
		last := r.lastStart(p)
		if err := n.Up(ctx); err != nil {
			return err
		}
		if late := last.Sub(at); late > leaseTTL {
			return fmt.Errorf("it started a job %v after it was cut off", late)
		}
		err = r.Until(ctx, p.Name+" is back as a new incarnation", 15*time.Second, func() bool {
			now := r.Incarnation(ctx, p)
			return now != "" && now != inc
		})
		if err != nil {
			return err
		}
		_, err = r.Flows(ctx, 15*time.Second)
		return err
	}
}

func brieflyCutOff(ctx context.Context, r *Rig) error {
	n, p, inc, err := cutOffWorker(ctx, r)
	if err != nil {
		return err
	}
	defer r.drop(p, n)
	before := r.View(ctx).Epoch
	if err := n.Down(ctx); err != nil {
		return notHit("%w", err)
	}
	r.Wait(ctx, leaseTTL/2)
	if err := n.Up(ctx); err != nil {
		return err
	}
	if _, err := r.Flows(ctx, 15*time.Second); err != nil {
		return err
	}
	if v := r.View(ctx); v.Epoch != before || r.Incarnation(ctx, p) != inc {
		return fmt.Errorf("ring epoch %d became %d, incarnation %s became %s", before, v.Epoch, inc, r.Incarnation(ctx, p))
	}
	return nil
}

func leaderCutOff(ctx context.Context, r *Rig) error {
	n, err := newNetwork(ctx, r)
	if err != nil {
		return err
	}
	p, err := n.Start(r, dispatcher)
	if err != nil {
		n.Close()
		return err
	}
	defer r.drop(p, n)
	for _, d := range r.Live(dispatcher) {
		if d != p {
			r.Kill(d)
		}
	}
	if err := r.Until(ctx, "the one with a network of its own leads", 10*time.Second, func() bool { return p.leads(r.View(ctx)) }); err != nil {
		return notHit("%w", err)
	}
	next, err := r.Start(dispatcher, nil)
	if err != nil {
		return err
	}
	r.Wait(ctx, time.Second) // it stands by
	at := time.Now()
	if err := n.Down(ctx); err != nil {
		return notHit("%w", err)
	}
	if err := r.Until(ctx, "the other one leads", leaderLease+time.Second, func() bool { return next.leads(r.View(ctx)) }); err != nil {
		return err
	}
	r.Metric("leader cut off", time.Since(at))
	r.Wait(ctx, 2*leaderLease-time.Since(at))
	if err := joins(ctx, r); err != nil {
		return err
	}
	if err := n.Up(ctx); err != nil {
		return err
	}
	if err := r.Settled(ctx, 15*time.Second); err != nil {
		return err
	}
	if v := r.View(ctx); !next.leads(v) {
		return fmt.Errorf("%s led while the other was cut off, now %s does", next.Name, v.Leader)
	}
	_, err = r.Flows(ctx, 10*time.Second)
	return err
}
