package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"ringmaster/internal/redisproc"
	"ringmaster/job"
	"ringmaster/streams"
)

// confirmed is a ring with a replica, whose processes wait for it.
func confirmed() RingSpec {
	return RingSpec{Name: "confirmed", Server: replicated(1), Role: func(role *Role) { role.Durability = "replicas:1" }}
}

// async is a ring with a replica that nobody waits for.
func async(mode string) RingSpec { return RingSpec{Name: "async", Server: replicated(1), Mode: mode} }

// failoverRows promote a replica, or keep it away.
func failoverRows() []Row {
	return []Row{
		{Number: 44, Name: "a replica is promoted; processes wait for it (D2)", Expect: "nothing acknowledged is lost, nothing ends twice; jobs run within two leases and 5 s", Ring: confirmed(), Run: promotes},
		{Number: 45, Name: "a replica is promoted that was cut off for 2 s; nobody waits for it (D0)", Expect: "lost is only what was acknowledged meanwhile, and it is counted; what was rolled back runs again; nothing is stuck", Ring: async("key"), Run: promotesTheForgetful, Loss: true},
		{Number: 46, Name: "a replica is promoted that does not know of the resize under way, in mode ring", Expect: "as 45; a resize is planned anew and ends", Ring: async("ring"), Run: promotesDuringResize, Loss: true},
		{Number: 47, Name: "two primaries for 5 s, the former with a dispatcher, a worker and a producer; min-replicas-to-write 1", Expect: "the former refuses within 3 s; its worker is evicted at the other; lost is only what the former acknowledged meanwhile",
			Ring: RingSpec{Name: "split", Server: replicated(2, "--min-replicas-to-write", "1", "--min-replicas-max-lag", "1")}, Run: splitBrain, Loss: true},
		{Number: 48, Name: "the replica is cut off; processes wait for it", Expect: "outcomes are unknown, none is ok; with the replica back jobs run", Ring: confirmed(), Run: replicaAway},
		{Number: 49, Name: "the replica is 500 ms behind; processes wait for it", Expect: "fewer jobs, and no errors", Ring: confirmed(), Run: replicaBehind},
	}
}

// noted is how far what happened at a server may lie from the moment that was noted here:
// what it took just before a cut was still on its way.
const noted = 200 * time.Millisecond

// promote makes the first replica the primary, and the former one its replica.
func promote(ctx context.Context, r *Rig, g *redisproc.Group) error {
	old := g.Primary()
	r.Forgets()
	if err := g.Promote(ctx, g.Replicas()[0]); err != nil {
		return err
	}
	return g.Follow(ctx, old)
}

func promotes(ctx context.Context, r *Rig) error {
	g, err := serverOf[*redisproc.Group](r)
	if err != nil {
		return err
	}
	before, replica := r.pids(), g.Replicas()[0]
	r.Pause(ctx, 500*time.Millisecond)
	// What comes now is written at the primary alone.
	replica.Link.Cut()
	r.Pause(ctx, 300*time.Millisecond)
	at := time.Now()
	// Of what is not acknowledged something may be rolled back, and is handed in again.
	if err := promote(ctx, r, g); err != nil {
		return err
	}
	if err := sameProcesses(ctx, r, before, at, "failover"); err != nil {
		return err
	}
	k, err := r.reckon(ctx)
	r.loud()
	if err != nil {
		return err
	}
	if len(k.forgotten) > 0 {
		return fmt.Errorf("%d acknowledged jobs are lost, such as %s", len(k.forgotten), k.forgotten[0].id)
	}
	return k.within(nil, at, at)
}

func promotesTheForgetful(ctx context.Context, r *Rig) error {
	g, err := serverOf[*redisproc.Group](r)
	if err != nil {
		return err
	}
	before, from := r.pids(), time.Now()
	g.Replicas()[0].Link.Cut()
	r.Wait(ctx, 2*time.Second)
	at := time.Now()
	if err := promote(ctx, r, g); err != nil {
		return err
	}
	if err := sameProcesses(ctx, r, before, at, "failover"); err != nil {
		return err
	}
	return forgotten(ctx, r, from, at)
}

// forgotten checks that something was lost, and only what was acknowledged between two
// moments.
func forgotten(ctx context.Context, r *Rig, from, to time.Time) error {
	k, err := r.reckon(ctx)
	if err != nil {
		return err
	}
	if len(k.forgotten) == 0 {
		return notHit("nothing was lost")
	}
	return k.within(k.forgotten, from.Add(-noted), to.Add(noted))
}

func promotesDuringResize(ctx context.Context, r *Rig) error {
	g, err := serverOf[*redisproc.Group](r)
	if err != nil {
		return err
	}
	known, from := r.View(ctx).Epoch, time.Now()
	g.Replicas()[0].Link.Cut()
	// The former primary alone hears of it.
	if err := joins(ctx, r); err != nil {
		return err
	}
	err = r.Until(ctx, "a resize is planned", 10*time.Second, func() bool { return r.View(ctx).Epoch > known })
	if err != nil {
		return notHit("%w", err)
	}
	planned, at := r.View(ctx).Epoch, time.Now()
	if err := promote(ctx, r, g); err != nil {
		return err
	}
	if err := r.Settled(ctx, time.Minute); err != nil {
		return fmt.Errorf("epoch %d was forgotten: %w", planned, err)
	}
	if err := recovered(ctx, r, "failover in a resize", at, 2*time.Minute); err != nil {
		return err
	}
	return forgotten(ctx, r, from, at)
}

func splitBrain(ctx context.Context, r *Rig) error {
	g, err := serverOf[*redisproc.Group](r)
	if err != nil {
		return err
	}
	old := g.Primary()
	var side []*Proc
	for _, kind := range []string{dispatcher, worker, producer} {
		p, err := r.Start(kind, func(role *Role) { role.URL, role.Rate = old.URL(), 50 })
		if err != nil {
			return err
		}
		side = append(side, p)
	}
	if err := r.Settled(ctx, 15*time.Second); err != nil {
		return err
	}
	if err := r.Until(ctx, "jobs come on that side", 10*time.Second, func() bool { return side[2].Stats().Accepted > 0 }); err != nil {
		return notHit("%w", err)
	}
	inc := r.Incarnation(ctx, side[1])
	from := time.Now()
	// No connection ends: the former primary takes writes until the silence is a second long.
	for _, n := range g.Replicas() {
		n.Link.Silence()
	}
	other := g.Replicas()[1]
	r.Forgets()
	if err := g.Promote(ctx, g.Replicas()[0]); err != nil {
		return err
	}
	if err := g.Follow(ctx, other); err != nil {
		return err
	}
	refused, err := refuses(ctx, r, old, from)
	if err != nil {
		return err
	}
	if err := r.Without(ctx, inc, back); err != nil {
		return fmt.Errorf("the worker of the former primary: %w", err)
	}
	r.Wait(ctx, 5*time.Second-time.Since(from))
	if err := g.Follow(ctx, old); err != nil {
		return err
	}
	for _, p := range side { // its address is a replica now
		r.Kill(p)
	}
	if err := recovered(ctx, r, "", time.Now(), back); err != nil {
		return err
	}
	return forgotten(ctx, r, from, refused)
}

// refuses waits until a primary without replicas takes no writes.
func refuses(ctx context.Context, r *Rig, n *redisproc.Node, since time.Time) (time.Time, error) {
	c := n.Client()
	defer func() { _ = c.Close() }()
	err := r.Until(ctx, "the former primary refuses", 3*time.Second-time.Since(since), func() bool {
		err := c.Set(ctx, "probe", 1, 0).Err()
		return err != nil && strings.HasPrefix(err.Error(), "NOREPLICAS")
	})
	return time.Now(), err
}

func replicaAway(ctx context.Context, r *Rig) error {
	g, err := serverOf[*redisproc.Group](r)
	if err != nil {
		return err
	}
	before, replica := r.pids(), g.Replicas()[0]
	replica.Link.Cut()
	err = unconfirmed(ctx, r)
	if follows := g.Follow(ctx, replica); err != nil || follows != nil {
		return errors.Join(err, follows)
	}
	return sameProcesses(ctx, r, before, time.Now(), "")
}

// unconfirmed: a submission has an unknown outcome, and no producer is told ok.
func unconfirmed(ctx context.Context, r *Rig) error {
	s, err := streams.Open(streams.Options{URL: r.url, ClientName: "chaos", Durability: job.Durability{Replicas: 1, Wait: 500 * time.Millisecond}})
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	defer s.Close()
	p := s.NewProducer(r.Queue)
	defer p.Close()
	r.Wait(ctx, 500*time.Millisecond) // what was received before the cut is answered
	accepted := r.accepted()
	r.tasks++
	token, key := fmt.Sprintf("runner-%d", r.tasks), fmt.Sprintf("away-%d", r.tasks)
	r.book.invoked(token, key)
	call, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	receipts, errs := p.Enqueue(call, jobOf(Work{Token: token}, key))
	if errs == nil {
		r.book.accepted(token, key, receipts[0])
		return errors.New("a submission that no replica has is reported as done")
	}
	r.book.unknown(token, key)
	if !errors.Is(errs[0], job.ErrOutcomeUnknown) {
		return fmt.Errorf("a submission that no replica has: %w", errs[0])
	}
	r.Wait(ctx, 500*time.Millisecond) // counters are written four times a second
	if n := r.accepted(); n > accepted {
		return fmt.Errorf("producers were told ok %d times while the replica was away", n-accepted)
	}
	return nil
}

func replicaBehind(ctx context.Context, r *Rig) error {
	g, err := serverOf[*redisproc.Group](r)
	if err != nil {
		return err
	}
	before, replica := r.pids(), g.Replicas()[0]
	replica.Link.Delay(250 * time.Millisecond) // each way
	if err := g.CaughtUp(ctx, replica); err != nil {
		return err
	}
	failed, accepted, began := r.failed(), r.accepted(), time.Now()
	r.Wait(ctx, 5*time.Second)
	rate := float64(r.accepted()-accepted) / time.Since(began).Seconds()
	more := r.failed() - failed
	replica.Link.Delay(0)
	if err := g.CaughtUp(ctx, replica); err != nil {
		return err
	}
	r.Logf("%.0f jobs per second of %d with the replica behind", rate, r.Spec.Rate)
	if rate == 0 {
		return errors.New("no job was taken while the replica was behind")
	}
	if more > 0 {
		return fmt.Errorf("%d submissions failed while the replica was behind", more)
	}
	return sameProcesses(ctx, r, before, time.Now(), "")
}
