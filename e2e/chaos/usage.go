package main

import (
	"context"
	"fmt"
	"time"

	"ringmaster/internal/redisproc"
)

const (
	// usageSlack is how many more goroutines or descriptors than at its base a process may have.
	usageSlack = 2
	// usageAge is how long a process must have lived before its base is taken.
	usageAge = 2 * time.Second
	// mostSockets is what the pools of one process may open (16 and 4) to each server, its
	// reader, its subscriptions and its listener. Pools grow with the load, so that their
	// connections have no base to come back to.
	mostSockets = 28
)

func (r *Rig) mostSockets() int {
	if c, ok := r.Server.(*redisproc.Cluster); ok {
		return mostSockets*len(c.Nodes) + r.Spec.Shards // each has a reader
	}
	return mostSockets
}

// usage notes the memory of all processes, and waits until those that live on have come
// back to their base: the goroutines and descriptors at their first quiet moment. That of
// a dispatcher depends on whether it leads.
func (r *Rig) usage(ctx context.Context) {
	v := r.View(ctx)
	changed := v.Leader != r.leader
	r.leader = v.Leader
	for _, p := range r.procs {
		if !p.Alive() {
			continue
		}
		s := p.Stats()
		r.run.memory(p, p.Kind, s)
		leads := p.leads(v)
		if _, ok := p.base[leads]; !ok && time.Since(p.Started) > usageAge && (p.Kind != dispatcher || !changed) {
			p.base[leads] = s
		}
	}
	over := map[string]string{}
	_ = r.Until(ctx, "", 5*time.Second, func() bool {
		over = map[string]string{}
		for _, p := range r.procs {
			if base, ok := p.base[p.leads(v)]; ok && p.Alive() {
				r.compare(p.Name, p.Stats(), base, over)
			}
		}
		return len(over) == 0
	}) // what is over then, is told
	for text, kind := range over {
		r.audit.found(kind, "%s", text)
	}
	for _, p := range r.procs {
		if base, ok := p.base[p.leads(v)]; ok && p.Alive() {
			s := p.Stats()
			r.run.spread(s.Goroutines-base.Goroutines, s.FDs-base.FDs)
		}
	}
}

func (r *Rig) compare(name string, now, base Stats, over map[string]string) {
	if now.Goroutines-base.Goroutines > usageSlack {
		over[fmt.Sprintf("%s has %d, at its first quiet moment %d", name, now.Goroutines, base.Goroutines)] = "goroutines"
	}
	if now.FDs-base.FDs > usageSlack {
		over[fmt.Sprintf("%s has %d besides sockets, at its first quiet moment %d", name, now.FDs, base.FDs)] = "descriptors"
	}
	if now.Sockets > r.mostSockets() {
		over[fmt.Sprintf("%s has %d sockets: more than its pools may open", name, now.Sockets)] = "descriptors"
	}
}
