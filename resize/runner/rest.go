package runner

import (
	"context"
	"slices"
	"time"

	"ringmaster/resize"
)

// A ring at rest, that is most of them most of the time, costs what looking for its members costs: it
// is looked for lost connections every 30 ms, with all others of the process in one call. Only when
// somebody is missed, or there is news, does its own runner look.

const (
	looksEach   = 100 * time.Millisecond // of the rings of a process: ten a second
	repairsEach = time.Second            // one a second
	renewsEach  = 4 * time.Millisecond   // of the leases: 250 a second
)

// share is a time that grows with the number of rings.
func (r *Leader) share(least, each time.Duration) time.Duration {
	if r.cfg.Rings == nil {
		return least
	}
	return max(least, time.Duration(r.cfg.Rings())*each)
}

func (r *Leader) untilLook() time.Duration {
	every := r.cfg.Look
	if r.guarded {
		every = r.share(every, looksEach)
	}
	return every - r.host.Now().Sub(r.looked)
}

func (r *Leader) untilRepair() time.Duration {
	return r.share(r.cfg.Repair, repairsEach) - r.host.Now().Sub(r.repaired)
}

// pause is how long the runner may wait for news. At rest it has others look for its members.
func (r *Leader) pause(ctx context.Context) time.Duration {
	if r.term == 0 {
		return time.Minute // whatever comes, comes with the lease
	}
	if !r.guarded && !r.lapsed && !r.found.IsZero() && r.brain.AtRest() && ctx.Err() == nil {
		r.guarded = r.store.Guard(slices.Clone(r.members), r.found, r.alarm)
	}
	if !r.guarded {
		return r.cfg.Detect - r.host.Now().Sub(r.ticked)
	}
	return max(min(r.untilLook(), r.untilRepair()), r.cfg.Detect-r.host.Now().Sub(r.ticked))
}

// wake ends the rest. What was seen meanwhile counts as if this runner had looked.
func (r *Leader) wake() {
	if !r.guarded {
		return
	}
	r.noteSeen()
	r.guarded, r.found = false, time.Time{}
	r.store.Unguard()
	select {
	case <-r.alarm:
	default:
	}
}

// noteSeen tells the detector of the last look of the guard.
func (r *Leader) noteSeen() {
	if seen := r.store.Seen(); seen.After(r.found) {
		r.found = seen
		all := make([]Sighting, len(r.members))
		yes := true
		for i, inc := range r.members {
			all[i] = Sighting{Incarnation: inc, Subscribed: &yes}
		}
		r.detector.Observe(seen, r.serverID, time.Time{}, all)
	}
}

// listed takes over who is a member. For others than before nobody has looked yet.
func (r *Leader) listed(members []Sighting) {
	incs := make([]string, len(members))
	r.lapsed = false
	for i, m := range members {
		incs[i] = m.Incarnation
		r.lapsed = r.lapsed || m.LeaseKnown && m.LeaseLeft <= 0
	}
	slices.Sort(incs)
	if !slices.Equal(incs, r.members) {
		r.wake()
		r.members, r.found = incs, time.Time{}
	}
}

// tick looks for lost connections and lets time pass for the coordinator.
func (r *Leader) tick(ctx context.Context) {
	r.ticked = r.host.Now()
	if r.term == 0 {
		return
	}
	if r.guarded {
		r.noteSeen()
	} else {
		r.probe(ctx)
	}
	if r.untilLook() <= 0 {
		r.step(ctx, resize.RecordsChanged{Now: r.now()})
	}
	if r.untilRepair() <= 0 {
		r.repair(ctx)
	}
	if r.step(ctx, resize.Ticked{Now: r.now()}); r.guarded && (r.lapsed || !r.brain.AtRest()) {
		r.wake()
	}
}

func (r *Leader) probe(ctx context.Context) {
	r.found = time.Time{}
	now := r.host.Now()
	if len(r.members) == 0 {
		r.found = now
		return
	}
	call, cancel := r.host.Within(ctx, r.cfg.Timeout)
	defer cancel()
	seen, err := r.store.Signs(call, r.members)
	if err != nil {
		r.log.Debug("could not look for connections", "error", err)
		return
	}
	missed := func(s Sighting) bool { return s.Subscribed == nil || !*s.Subscribed }
	if !slices.ContainsFunc(seen, missed) {
		r.found = now
	}
	r.deaths(ctx, r.detector.Observe(now, r.serverID, time.Time{}, seen))
}
