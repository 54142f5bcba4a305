package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/failpoint"
)

// disturbance is a fault that needs no watching: it is thrown in, and the audit of the
// round must be clean all the same.
type disturbance struct {
	name string
	do   func(ctx context.Context, r *Rig) error
}

// shapes are the rings of the soak, in turn.
func shapes() []RingSpec {
	return []RingSpec{{Name: "soak", Workers: 6, Dispatchers: 3, Partitions: 64},
		{Name: "soak-shards", Workers: 5, Dispatchers: 3, Partitions: 48, Shards: 3, Resizes: true},
		{Name: "soak-barrier", Mode: "ring"}, {Name: "soak-proxied", Server: behindProxy, Workers: 6, Dispatchers: 3, Partitions: 64}}
}

// soaked lets random faults go on for as long as the run wants: every round has a random
// subset of them, which may be empty, and ends with a full audit. Every fifth round
// freezes a minority for good and asks the rest for progress instead.
func (u *Run) soaked(ctx context.Context) {
	until := time.Now().Add(u.soak)
	specs := shapes()
	if u.shape != "" {
		specs = slices.DeleteFunc(specs, func(s RingSpec) bool { return s.Name != u.shape })
	}
	for n := 0; time.Now().Before(until) && ctx.Err() == nil; n++ {
		end := time.Now().Add(min(u.soak/time.Duration(len(specs))+time.Second, 10*time.Minute))
		u.soakRing(ctx, specs[n%len(specs)], u.seed*1000+900+uint64(n), end)
	}
}

// shapeFlag is how the soak's shape was asked for.
func (u *Run) shapeFlag() string {
	if u.shape == "" {
		return ""
	}
	return " -shape " + u.shape
}

func (u *Run) soakRing(ctx context.Context, spec RingSpec, seed uint64, until time.Time) {
	u.now = spec.Name
	r, err := newRig(ctx, u, spec, seed)
	if err != nil {
		u.failed(ctx, "start", err)
		return
	}
	defer u.end(ctx, r)
	err = r.Quiet(ctx)
	for round := 1; err == nil && time.Now().Before(until) && ctx.Err() == nil; round++ {
		u.now = fmt.Sprintf("%s, round %d", spec.Name, round)
		if err = r.Flow(ctx); err != nil {
			u.void("%v", err)
			return
		}
		if round%5 == 0 {
			err = r.minorityFrozen(ctx)
		} else {
			err = r.round(ctx)
		}
		if err == nil {
			err = r.Restore(ctx)
		}
		if err == nil {
			err = r.Quiet(ctx)
		}
		u.rounds++
	}
	if err != nil && ctx.Err() == nil {
		u.anomaly("soak", fmt.Sprintf("%v; rerun: go run -tags failpoints ./e2e/chaos -tier %s -rows none -soak %v -seed %d%s", err, u.tier, u.soak, u.seed, u.shapeFlag()))
	}
}

// round throws random faults of a random subset in, for 10 to 20 seconds.
func (r *Rig) round(ctx context.Context) error {
	all := r.disturbances()
	r.Rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	some := all[:r.Rand.IntN(6)]
	if r.Spec.Resizes {
		some = append(some, disturbance{"resize", resizes}, disturbance{"resize", resizes})
	}
	names := make([]string, len(some))
	for i, d := range some {
		names[i] = d.name
	}
	r.Logf("faults: [%s]", strings.Join(names, ", "))
	end := time.Now().Add(10*time.Second + time.Duration(r.Rand.IntN(10_000))*time.Millisecond)
	for time.Now().Before(end) && ctx.Err() == nil {
		r.Pause(ctx, 2*time.Second)
		if err := r.atLeast(worker, max(r.Spec.Workers/2, 1)); err != nil {
			return err
		}
		if err := r.atLeast(dispatcher, 1); err != nil {
			return err
		}
		if err := r.audit.verify(ctx, false); err != nil {
			r.Logf("%v", err) // the server may be away
		}
		if len(some) == 0 {
			continue
		}
		if err := some[r.Rand.IntN(len(some))].do(ctx, r); err != nil {
			return err
		}
	}
	for _, p := range r.procs {
		if p.Alive() {
			for _, point := range failpoint.Points() {
				p.Disarm(point)
			}
		}
	}
	return nil
}

// atLeast starts processes of a kind until there are n that are not frozen.
func (r *Rig) atLeast(kind string, n int) error {
	awake := slices.DeleteFunc(r.Live(kind), (*Proc).Frozen)
	for have := len(awake); have < n; have++ {
		if _, err := r.Start(kind, nil); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rig) disturbances() []disturbance {
	one := func(kind string) *Proc {
		live := r.Live(kind)
		if len(live) == 0 {
			return nil
		}
		return live[r.Rand.IntN(len(live))]
	}
	at := func(kind, action string, points ...failpoint.Point) func(context.Context, *Rig) error {
		return func(context.Context, *Rig) error {
			p := one(kind)
			if p == nil {
				return nil
			}
			return p.Arm(points[r.Rand.IntN(len(points))], some(r, 10, action))
		}
	}
	of := func(first byte) []failpoint.Point {
		return slices.DeleteFunc(failpoint.Points(), func(p failpoint.Point) bool { return p[0] != first })
	}
	out := []disturbance{
		{"worker killed", func(context.Context, *Rig) error { return r.each(one(worker), r.Kill) }},
		{"worker killed at a point", at(worker, "kill", append(of('W'), failpoint.D9)...)},
		{"worker stopped at a point", at(worker, "stop", of('W')...)},
		{"worker slow at a point", at(worker, "sleep 700ms", of('W')...)},
		{"worker frozen", func(ctx context.Context, _ *Rig) error { return r.nap(ctx, one(worker), 2*leaseTTL) }},
		{"worker joins", joins},
		{"worker leaves", func(context.Context, *Rig) error {
			if p := one(worker); p != nil {
				return r.Term(p)
			}
			return nil
		}},
		{"dispatcher killed", func(context.Context, *Rig) error { return r.each(one(dispatcher), r.Kill) }},
		{"dispatcher killed at a point", at(dispatcher, "kill", of('D')...)},
		{"dispatcher slow at a point", at(dispatcher, "sleep 1s", of('D')...)},
		{"dispatcher frozen", func(ctx context.Context, _ *Rig) error { return r.nap(ctx, one(dispatcher), 2*leaderLease) }},
		{"producer's connection cut", at(producer, "cut", failpoint.E1, failpoint.E2)},
		{"connections killed at the server", r.killConnections},
		{"scripts flushed", func(ctx context.Context, _ *Rig) error {
			raw := r.Raw()
			defer raw.Close()
			_ = raw.ScriptFlush(ctx).Err() // the server may be away
			return nil
		}},
	}
	if b, ok := r.Server.(*behind); ok {
		out = append(out,
			disturbance{"replies lost", func(context.Context, *Rig) error { b.proxy.LoseReply("evalsha", 3); return nil }},
			disturbance{"replies halved", func(context.Context, *Rig) error { b.proxy.HalveReply("rm:{", 3); return nil }},
			disturbance{"requests cut", func(context.Context, *Rig) error { b.proxy.Cut("rm:{", 3); return nil }},
			disturbance{"all connections cut", func(context.Context, *Rig) error { b.proxy.CutAll(); return nil }},
			disturbance{"silence", func(ctx context.Context, _ *Rig) error {
				b.proxy.Silence(true, r.Rand.IntN(2) == 0)
				r.Pause(ctx, leaseTTL)
				b.proxy.Silence(false, false)
				return nil
			}})
	}
	return out
}

// resizes asks for a resize in some mode, and does not wait for its end. That nobody leads, or
// that another is asked for, is no fault.
func resizes(ctx context.Context, r *Rig) error {
	mode := []string{"key", "partition", "ring"}[r.Rand.IntN(3)]
	call, cancel := context.WithTimeout(ctx, leaderLease)
	defer cancel()
	epoch, err := r.Store.RequestResize(call, queueName, mode)
	r.Logf("resize in mode %s: ring epoch %d, %v", mode, epoch, err)
	return nil
}

func (r *Rig) each(p *Proc, f func(*Proc)) error {
	if p != nil {
		f(p)
	}
	return nil
}

// nap freezes a process for a random time.
func (r *Rig) nap(ctx context.Context, p *Proc, most time.Duration) error {
	if p == nil || p.Frozen() {
		return nil
	}
	if err := r.Freeze(p); err != nil {
		return err
	}
	r.Pause(ctx, most)
	return r.Thaw(p)
}

// killConnections ends half of the connections at the server.
func (r *Rig) killConnections(ctx context.Context, _ *Rig) error {
	raw := r.Raw()
	defer raw.Close()
	list, err := raw.ClientList(ctx).Result()
	if err != nil {
		return nil // the server may be away
	}
	for line := range strings.Lines(list) {
		id, _, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
		if r.Rand.IntN(2) == 0 {
			_ = killClient(ctx, raw, id) // it may be gone
		}
	}
	return nil
}

func killClient(ctx context.Context, raw *redis.Client, id string) error {
	return raw.ClientKillByFilter(ctx, "ID", id, "SKIPME", "yes").Err()
}

// minorityFrozen freezes a third of the workers and, of several dispatchers, one, for the
// whole round: the rest must own everything and go on.
func (r *Rig) minorityFrozen(ctx context.Context) error {
	ws, ds := r.Live(worker), r.Live(dispatcher)
	frozen := ws[:len(ws)/3]
	if len(ds) > 1 {
		frozen = append(slices.Clone(frozen), ds[r.Rand.IntN(len(ds))])
	}
	r.Logf("faults: %d of %d frozen for good", len(frozen), len(ws)+len(ds))
	at := time.Now()
	var gone []string
	for _, p := range frozen {
		if p.Kind == worker {
			gone = append(gone, r.Incarnation(ctx, p))
		}
		if err := r.Freeze(p); err != nil {
			return err
		}
	}
	for _, inc := range gone {
		if err := r.Without(ctx, inc, leaseTTL+leaderLease+4*time.Second); err != nil {
			return fmt.Errorf("with a minority frozen: %w", err)
		}
	}
	r.Metric("host lost", time.Since(at))
	if _, err := r.Flows(ctx, 10*time.Second); err != nil {
		return fmt.Errorf("with a minority frozen: %w", err)
	}
	jobs, began := r.accepted(), time.Now()
	r.Wait(ctx, 6*time.Second)
	if rate := float64(r.accepted()-jobs) / time.Since(began).Seconds(); rate < float64(r.Spec.Rate)/2 {
		return fmt.Errorf("%.0f jobs per second with a minority frozen, of %d", rate, r.Spec.Rate)
	}
	_, err := r.Flows(ctx, 10*time.Second)
	return err
}
