package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"ringmaster/internal/faultproxy"
)

// pathRows are about networks that are slow and reset what goes over them.
func pathRows() []Row {
	return []Row{
		{Number: 74, Name: "worker 40 ms away at 100 Mbit/s, its connections reset every second", Expect: "no plan, the same incarnation; jobs run on", Run: resets(40*time.Millisecond, 100)},
		{Number: 75, Name: "a worker's connections reset every second, on a local network", Expect: "as 74", Run: resets(0, 0)},
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

func resets(trip time.Duration, mbit int) func(context.Context, *Rig) error {
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
		for range r.Scale(5, 8, 12) {
			r.Wait(ctx, time.Second)
			n.proxy.CutAll()
		}
		if _, err := r.Flows(ctx, 15*time.Second); err != nil {
			return err
		}
		r.Wait(ctx, time.Second) // a verdict would be carried out by now
		if v := r.View(ctx); v.Epoch != before || r.Incarnation(ctx, p) != inc {
			return fmt.Errorf("ring epoch %d became %d, incarnation %s became %s", before, v.Epoch, inc, r.Incarnation(ctx, p))
		}
		return nil
	}
}
