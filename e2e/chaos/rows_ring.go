package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ringmaster/job"
)

// ringRows are changes of membership that come together.
func ringRows() []Row {
	return []Row{
		{Number: 33, Name: "a worker joins, one leaves, one is killed within 200 ms", Expect: "the ring settles; at most three plans more than changes", Run: allAtOnce},
		{Number: 34, Name: "a worker joins and is killed, again and again under one name", Expect: "the others keep half the traffic at least; plans become few", Run: flaps},
		{Number: 35, Name: "none, then 32 workers at once; then one", Expect: "every partition has a live owner within a lease and 5 s", Ring: RingSpec{Name: "crowd", Workers: 4, Partitions: 64, Rate: 100}, Run: crowd},
		{Number: 67, Name: "scripts flushed every 100 ms", Expect: "no caller sees an error", Run: flushes},
		{Number: 72, Name: "messages and jobs of another version: unknown types, fields and members of data, during a resize", Expect: "ignored; the resize ends and the jobs run", Run: versions},
		{Number: 80, Name: "three shards: a resize in each mode, a worker or the leader killed under way", Expect: "each resize ends by itself; jobs run", Ring: RingSpec{Name: "shards", Shards: 3}, Run: shardsResized},
	}
}

func shardsResized(ctx context.Context, r *Rig) error {
	for _, mode := range []string{"ring", "partition", "ring", "key"} {
		if _, err := r.Store.RequestResize(ctx, queueName, mode); err != nil {
			return fmt.Errorf("ask for a resize in mode %s: %w", mode, err)
		}
		r.Pause(ctx, 200*time.Millisecond)
		kind := []string{worker, dispatcher}[r.Rand.IntN(2)]
		if live := r.Live(kind); len(live) > 1 {
			r.Kill(live[r.Rand.IntN(len(live))])
		}
		if err := r.Settled(ctx, leaseTTL+leaderLease+10*time.Second); err != nil {
			return fmt.Errorf("resize in mode %s: %w", mode, err)
		}
		if _, err := r.Flows(ctx, 5*time.Second); err != nil {
			return fmt.Errorf("after a resize in mode %s: %w", mode, err)
		}
		if err := r.Restore(ctx); err != nil {
			return err
		}
	}
	return nil
}

func allAtOnce(ctx context.Context, r *Rig) error {
	a, err := r.Worker(ctx)
	if err != nil {
		return err
	}
	b, err := r.Worker(ctx, a)
	if err != nil {
		return err
	}
	before, began := r.View(ctx).Epoch, time.Now()
	changes := []func() error{func() error { return joins(ctx, r) }, func() error { return r.Term(a) }, func() error { r.Kill(b); return nil }}
	r.Rand.Shuffle(len(changes), func(i, j int) { changes[i], changes[j] = changes[j], changes[i] })
	for _, change := range changes {
		if err := change(); err != nil {
			return err
		}
		r.Pause(ctx, 60*time.Millisecond)
	}
	if took := time.Since(began); took > 400*time.Millisecond {
		return notHit("the changes took %v", took)
	}
	if err := r.Ended(ctx, a, 20*time.Second); err != nil {
		return err
	}
	if err := recovered(ctx, r, "", began, leaseTTL+5*time.Second); err != nil {
		return err
	}
	if err := r.Settled(ctx, 10*time.Second); err != nil {
		return err
	}
	if n := r.View(ctx).Epoch - before; n > 6 {
		return fmt.Errorf("%d plans for three changes", n)
	}
	return nil
}

func flaps(ctx context.Context, r *Rig) error {
	before, jobs, began := r.View(ctx).Epoch, r.accepted(), time.Now()
	long := time.Duration(r.Scale(8, 60, 60)) * time.Second
	kills, epoch := 0, before
	for time.Since(began) < long && ctx.Err() == nil {
		p, err := r.Start(worker, func(role *Role) { role.As = "flapping" })
		if err != nil {
			return err
		}
		r.Wait(ctx, 250*time.Millisecond)
		_ = r.Until(ctx, "it joins", 2*time.Second, func() bool { return r.member(ctx, "flapping") }) // a slow machine; else there is no plan
		r.Kill(p)
		kills++
		if time.Since(began) < long/2 {
			epoch = r.View(ctx).Epoch
		}
	}
	took := time.Since(began)
	if rate := float64(r.accepted()-jobs) / took.Seconds(); rate < float64(r.Spec.Rate)/2 {
		return fmt.Errorf("%.0f jobs per second, of %d", rate, r.Spec.Rate)
	}
	after := r.View(ctx).Epoch
	if after == before {
		return notHit("%d kills and no plan", kills)
	}
	// The first three joins within a minute are taken at their word.
	if n := float64(after - before); n > took.Seconds()/2+6 {
		return fmt.Errorf("%.0f plans in %v: damping does not work (%d in its first half)", n, took, epoch-before)
	}
	r.Logf("%d kills in %v, %d plans", kills, took.Round(time.Second), after-before)
	_, err := r.Flows(ctx, 15*time.Second)
	return err
}

func crowd(ctx context.Context, r *Rig) error {
	for _, w := range r.Live(worker) {
		r.Kill(w)
	}
	for range 32 {
		if _, err := r.Start(worker, nil); err != nil {
			return err
		}
	}
	err := r.Until(ctx, "all 32 are members", 60*time.Second, func() bool { return len(r.Live(worker)) == 32 && r.joined(ctx) == 32 })
	if err != nil {
		return err
	}
	at := time.Now()
	if err := r.Owned(ctx, leaseTTL+5*time.Second); err != nil {
		return err
	}
	r.Logf("32 members own all %v after the last joined", time.Since(at).Round(time.Millisecond))
	if err := r.Settled(ctx, 20*time.Second); err != nil {
		return err
	}
	at = time.Now()
	for _, w := range r.Live(worker)[1:] {
		r.Kill(w)
	}
	if err := recovered(ctx, r, "31 of 32 workers killed", at, 2*leaseTTL+5*time.Second); err != nil {
		return err
	}
	return nil
}

func (r *Rig) member(ctx context.Context, name string) bool {
	return slices.ContainsFunc(r.View(ctx).Members, func(m job.RingMember) bool { return m.Name == name })
}

// joined counts the live workers that are members.
func (r *Rig) joined(ctx context.Context) int {
	live := map[string]bool{}
	for _, w := range r.Live(worker) {
		live[w.Name] = true
	}
	n := 0
	for _, m := range r.View(ctx).Members {
		if live[m.Name] {
			n++
		}
	}
	return n
}

func flushes(ctx context.Context, r *Rig) error {
	raw := r.Raw()
	defer raw.Close()
	failed, began, n := r.failed(), time.Now(), 0
	for time.Since(began) < time.Duration(r.Scale(5, 60, 300))*time.Second && ctx.Err() == nil {
		if err := raw.ScriptFlush(ctx).Err(); err != nil {
			return notHit("flush: %w", err)
		}
		n++
		r.Wait(ctx, 100*time.Millisecond)
		if n == 10 {
			if err := joins(ctx, r); err != nil {
				return err
			}
		}
	}
	if _, err := r.Flows(ctx, 10*time.Second); err != nil {
		return err
	}
	if now := r.failed(); now != failed {
		return fmt.Errorf("%d submissions failed", now-failed)
	}
	r.Logf("%d flushes", n)
	return nil
}

// versions writes what a later version might, and what the earliest did: jobs without
// anything but their type.
func versions(ctx context.Context, r *Rig) error {
	raw := r.Raw()
	defer raw.Close()
	prefix := "rm:{" + queueName + "}:"
	later := []map[string]any{
		{"type": "sync", "name": "Master", "phase": "nine", "epoch": "1", "term": "1", "data": `{"epoch":"1","new":[1]}`},
		{"type": "census", "name": "Master", "phase": "0", "epoch": "99999999999", "term": "99", "data": `{"v":2}`, "version": "2"},
		{"type": "poke", "name": "x", "phase": "0", "epoch": "0", "data": `{}`, "version": "2", "signature": "abc"},
	}
	if err := joins(ctx, r); err != nil {
		return err
	}
	written, began := 0, time.Now()
	for time.Since(began) < 3*time.Second && ctx.Err() == nil {
		for _, m := range r.View(ctx).Members {
			for _, fields := range later {
				for _, key := range []string{"control", "control:" + m.Incarnation} {
					if raw.Exists(ctx, prefix+key).Val() == 0 {
						continue // a stream made by hand would stay behind
					}
					if err := xadd(ctx, raw, prefix+key, fields); err != nil {
						return notHit("%w", err)
					}
					written++
				}
			}
		}
		r.Wait(ctx, 50*time.Millisecond)
	}
	if written == 0 {
		return notHit("no stream to write to")
	}
	r.tasks++
	mark := fmt.Sprintf("by-hand-%d", r.tasks)
	if err := r.byHand(ctx, raw, mark); err != nil {
		return err
	}
	if err := r.Until(ctx, "the job written by hand runs", 10*time.Second, func() bool { return r.Starts(mark) == 1 }); err != nil {
		return err
	}
	if err := r.Settled(ctx, 15*time.Second); err != nil {
		return err
	}
	_, err := r.Flows(ctx, 10*time.Second)
	return err
}
