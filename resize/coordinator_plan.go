package resize

import (
	"slices"

	"ringmaster/ring"
)

// plan computes the plan that the records call for, if any. In order of urgency:
//
//   - a request is planned at once, whole, in its mode;
//   - repair: partitions planned for nobody who is up get a new target at once, and
//     healthy ones are left where they are; a plan that has not reached all shards, or does
//     not come to its end, is written anew;
//   - balance: after a quiet time healthy partitions move too, a bounded number at once.
//
// Targets are computed from the plan, not from the owners, so a superseding plan does
// not undo what the one before it had begun. With nobody up there is no plan: owners
// stay as they are, and partitions of the dead wait.
func (c *Coordinator) plan() (WritePlan, bool) {
	request := c.records.Request
	members := c.candidates(request.ID != "")
	if len(members) == 0 || len(c.records.Plan) == 0 {
		return WritePlan{}, false
	}
	full := ring.Assign(len(c.records.Plan), members, c.base())
	plan := WritePlan{BaseEpoch: c.records.Epoch, Mode: c.mode()}
	if request.ID != "" {
		plan.Targets, plan.Mode, plan.Request = full, request.Mode, request.ID
		return plan, true
	}
	if targets, ok := c.repair(full); ok || c.behind() || c.stuck() {
		plan.Targets = targets
		return plan, true
	}
	targets, ok := c.balance(full)
	plan.Targets = targets
	return plan, ok
}

// candidates are the members that may be given partitions. A slot that keeps coming and
// going is left out until it has stayed a while, unless nobody else is there or somebody
// asks for a resize.
func (c *Coordinator) candidates(all bool) []ring.Member {
	planned := make(map[string]bool)
	for _, inc := range c.records.Plan {
		planned[inc] = true
	}
	var steady, up []ring.Member
	for _, m := range c.records.Members {
		if m.Leaving {
			continue
		}
		member := ring.Member{ID: m.Incarnation, Slot: m.Slot, Weight: m.Weight}
		up = append(up, member)
		if planned[m.Incarnation] || !c.flaps.held(c.now, c.cfg.FlapMax, slotOf(m)) {
			steady = append(steady, member)
		}
	}
	if all || len(steady) == 0 {
		return up
	}
	return steady
}

// base is the assignment that targets are computed from: the plan, or the owner where
// the planned one cannot take it any more, so that a move to a dead target ends where
// it began.
func (c *Coordinator) base() []string {
	base := slices.Clone(c.records.Plan)
	for p, to := range base {
		if owner := c.records.Owners[p].Incarnation; !c.index.up(to) && (c.index.up(owner) || to == ring.None) {
			base[p] = owner
		}
	}
	return base
}

// mode is the mode of a plan nobody asked for. While a stricter resize is unfinished its
// successor keeps its mode: whoever asked for a whole cut gets one.
func (c *Coordinator) mode() Mode {
	mode := c.cfg.Mode
	for _, sh := range c.records.Shards {
		if sh.Phase != Stable {
			mode = max(mode, sh.Mode)
		}
	}
	return mode
}

// behind reports whether shards differ in their plan while one is carried out: a leader died
// between two, or was refused by one. (A failover of one shard's server looks the same, and
// one plan too many does no harm.)
func (c *Coordinator) behind() bool {
	lowest, highest := c.records.Shards[0].Epoch, uint64(0)
	for _, sh := range c.records.Shards {
		lowest, highest = min(lowest, sh.Epoch), max(highest, sh.Epoch)
	}
	return lowest != highest && c.records.unfinished()
}

// repair gives a target to each partition whose planned owner is not up.
func (c *Coordinator) repair(full []string) ([]string, bool) {
	targets := slices.Clone(c.records.Plan)
	found := false
	for p, to := range targets {
		if !c.index.up(to) {
			targets[p] = full[p]
			found = true
		}
	}
	return targets, found
}

// balance moves healthy partitions, if the membership has been quiet. While moves are
// under way only a change of membership is a reason for more; a barrier is let finish.
func (c *Coordinator) balance(full []string) ([]string, bool) {
	if slices.Equal(full, c.records.Plan) {
		c.quiet.settle()
		return nil, false
	}
	settled := !c.records.unfinished()
	for i := range c.records.Shards {
		settled = settled && c.records.moving(i) == 0
	}
	if !c.quiet.due(c.now, c.cfg) || !settled && (!c.quiet.armed || c.records.Shards[0].Mode == ModeRing) {
		c.unsettled = true
		return nil, false
	}
	c.quiet.settle()
	targets := slices.Clone(c.records.Plan)
	left := c.cfg.MaxMoves
	for p := range targets {
		if left > 0 && targets[p] != full[p] {
			targets[p] = full[p]
			left--
		}
	}
	return targets, true
}

// debounce waits for the membership to be still.
type debounce struct {
	seen        bool
	armed       bool // a change was not planned for yet
	signature   string
	first, last int64 // first change since armed, and latest
}

func (d *debounce) observe(now int64, signature string) {
	if d.seen && d.signature == signature {
		return
	}
	if !d.armed {
		d.first = now
	}
	d.seen, d.armed, d.signature, d.last = true, true, signature, now
}

func (d *debounce) due(now int64, cfg Config) bool {
	return now-d.last >= cfg.Quiet || d.armed && now-d.first >= cfg.QuietMax
}

func (d *debounce) settle() { d.armed = false }

// flaps remembers when the incarnations of each slot joined.
type flaps struct{ joins map[string][]int64 }

// observe notes the members that the reading before did not have, and forgets joins
// older than window. The first reading under a lease counts nothing as a join.
func (f flaps) observe(now, window int64, have bool, before, after index) {
	for inc, m := range after.members {
		if _, old := before.members[inc]; have && !old {
			f.joins[slotOf(m)] = append(f.joins[slotOf(m)], now)
		}
	}
	for slot, at := range f.joins {
		at = slices.DeleteFunc(at, func(t int64) bool { return now-t > window })
		if len(at) == 0 {
			delete(f.joins, slot)
		} else {
			f.joins[slot] = at
		}
	}
}

// held reports whether a slot has joined three times or more lately, and not stayed
// for two seconds since, doubling with each further join up to longest.
func (f flaps) held(now, longest int64, slot string) bool {
	at := f.joins[slot]
	if len(at) < 3 {
		return false
	}
	hold := min(int64(1000)<<min(len(at)-2, 20), longest)
	return now-at[len(at)-1] < hold
}

func slotOf(m MemberRecord) string {
	if m.Slot != "" {
		return m.Slot
	}
	return ring.SlotOf(m.Incarnation)
}
