package main

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"strings"
	"time"

	"ringmaster/internal/faultproxy"
)

// pathRows are about networks that are slow and reset what goes over them.
func pathRows() []Row {
	return []Row{
		{Number: 74, Name: "worker 40 ms away at 100 Mbit/s, its connections reset every second", Expect: "no plan, the same incarnation; jobs run on", Run: loses(40*time.Millisecond, 100, time.Second, [3]int{5, 8, 12}, cut)},
		{Number: 75, Name: "a worker's connections reset every second, on a local network", Expect: "as 74", Run: loses(0, 0, time.Second, [3]int{5, 8, 12}, cut)},
		{Number: 83, Name: "a worker's connections forgotten by the network every 6 s: nothing arrives any more, and nobody is told", Expect: "as 74; what was under way is repeated on new ones", Run: loses(0, 0, 6*time.Second, [3]int{3, 5, 8}, forgets)},
		{Number: 84, Name: "worker 40 ms away at 100 Mbit/s, a backlog of jobs of 1 KB to 1 MB", Expect: "all complete at the speed of the link; no plan, the same incarnation", Run: largeJobs},
	}
}

// slow gives the link a round trip of its own, and a rate. Where the kernel cannot shape it the proxy
// keeps every request back for that long and carries so much, and the row says so.
func (n *network) slow(ctx context.Context, r *Rig, trip time.Duration, mbit int) {
	err := fmt.Errorf("no network namespaces")
	if n.real {
		shape := []string{"root", "netem", "delay", fmt.Sprint(trip.Milliseconds()/2, "ms"), "rate", fmt.Sprint(mbit, "mbit")}
		for _, args := range [][]string{
			append([]string{"tc", "qdisc", "replace", "dev", n.device}, shape...),
			append([]string{"ip", "netns", "exec", n.name, "tc", "qdisc", "replace", "dev", n.device + "i"}, shape...),
		} {
			var out []byte
			if out, err = exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
				err = fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
				break
			}
		}
	}
	if err != nil {
		r.Logf("the link cannot be shaped here, a proxy delays and limits instead: %v", err)
		n.proxy.Disturb(faultproxy.Noise{Min: trip, Max: trip}, r.Seed)
		n.proxy.Limit(mbit * 1_000_000 / 8)
	}
}

// cut closes all connections.
func cut(p *faultproxy.Proxy) error {
	p.CutAll()
	return nil
}

// forgets has the connections stay, and nothing arrive on them.
func forgets(p *faultproxy.Proxy) error {
	if n := p.Forget(); n == 0 {
		return notHit("there was no connection to forget")
	}
	return nil
}

// loses has a worker lose its connections again and again, in some way.
func loses(trip time.Duration, mbit int, every time.Duration, times [3]int, how func(*faultproxy.Proxy) error) func(context.Context, *Rig) error {
	return func(ctx context.Context, r *Rig) error {
		n, p, inc, err := cutOffWorker(ctx, r)
		if err != nil {
			return err
		}
		defer r.drop(p, n)
		if trip > 0 {
			n.slow(ctx, r, trip, mbit)
		}
		r.Wait(ctx, 3*time.Second) // by now its heartbeats have told how far away it is
		before := r.View(ctx).Epoch
		for range r.Scale(times[0], times[1], times[2]) {
			r.Wait(ctx, every)
			if err := how(n.proxy); err != nil {
				return err
			}
		}
		if _, err := r.Flows(ctx, 15*time.Second); err != nil {
			return err
		}
		return r.unmoved(ctx, p, inc, before)
	}
}

// unmoved holds that nobody was evicted and nothing was planned.
func (r *Rig) unmoved(ctx context.Context, p *Proc, inc string, epoch uint64) error {
	r.Wait(ctx, time.Second) // a verdict would be carried out by now
	if v := r.View(ctx); v.Epoch != epoch || r.Incarnation(ctx, p) != inc {
		return fmt.Errorf("ring epoch %d became %d, incarnation %s became %s", epoch, v.Epoch, inc, r.Incarnation(ctx, p))
	}
	return nil
}

// largeJobs hands a worker behind a slow link more than it carries in some seconds.
func largeJobs(ctx context.Context, r *Rig) error {
	n, p, inc, err := cutOffWorker(ctx, r)
	if err != nil {
		return err
	}
	defer r.drop(p, n)
	n.slow(ctx, r, 40*time.Millisecond, 100)
	r.Wait(ctx, 3*time.Second) // by now its heartbeats have told how far away it is
	before, carried := r.View(ctx).Epoch, n.proxy.Carried()
	var ids []string
	var bytes int64
	began := time.Now()
	for range r.Scale(200, 600, 1000) {
		key, err := r.KeyOf(ctx, p)
		if err != nil {
			return err
		}
		size := int(1000 * math.Pow(1000, r.Rand.Float64())) // as many of 1 to 10 KB as of 100 KB to 1 MB
		id, err := r.Submit(ctx, Work{Fill: strings.Repeat("x", size)}, key)
		if err != nil {
			return err
		}
		ids, bytes = append(ids, id), bytes+int64(size)
	}
	for _, id := range ids {
		if err := r.Completed(ctx, id, time.Minute); err != nil {
			return err
		}
	}
	r.Logf("%d jobs of %d MB ended after %v", len(ids), bytes/1e6, time.Since(began).Round(100*time.Millisecond))
	if got := n.proxy.Carried() - carried; got < bytes {
		return notHit("%d of %d bytes went over the slow link", got, bytes)
	}
	return r.unmoved(ctx, p, inc, before)
}
