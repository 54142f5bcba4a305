package resize

import (
	"maps"
	"slices"
)

// wait is something that must happen within a time counted from when this coordinator
// first saw it missing. Its own clock alone decides: no deadline comes from a record.
type wait struct {
	kind  waitKind
	part  int    // waitReply: the shard
	left  int    // waitPlan: what is still missing
	id    string // waitPermit
	inc   string
	epoch uint64
	mode  Mode
	phase Phase
}

type waitKind uint8

const (
	waitRelease waitKind = iota // an owner has to release a partition
	waitPermit                  // a former owner has to finish a job
	waitReply                   // a member has to reply to a phase of the barrier
	waitPlan                    // something has to go on in a plan that is not done
)

func permitWait(p Permit) wait {
	return wait{kind: waitPermit, part: p.Partition, id: p.ID, inc: p.Incarnation, epoch: p.Epoch}
}

// noteWaits keeps the time of what is still waited for, starts it for what is new, and
// forgets the rest. A release is waited for across superseding plans, for a deaf owner
// must not gain time by them; a change of mode starts it anew, because it changes how
// long the owner may take.
func (c *Coordinator) noteWaits() {
	old := c.waits
	c.waits = make(map[wait]int64)
	note := func(w wait) {
		since, ok := old[w]
		if !ok {
			since = c.now
		}
		c.waits[w] = since
	}
	for p, o := range c.records.Owners {
		to := c.records.Plan[p]
		if _, member := c.index.members[o.Incarnation]; member && to != o.Incarnation && c.index.up(to) {
			note(wait{kind: waitRelease, part: p, inc: o.Incarnation, epoch: o.Epoch, mode: c.records.of(p).Mode})
		}
	}
	for _, p := range c.records.Permits {
		note(permitWait(p))
	}
	for i := range c.records.Shards {
		sh := &c.records.Shards[i]
		for inc := range c.index.members {
			if sh.Replies[inc] < sh.barrier() {
				note(wait{kind: waitReply, part: i, inc: inc, epoch: sh.Epoch, phase: sh.Phase})
			}
		}
	}
	if c.records.unfinished() {
		note(c.planWait())
	}
}

// planWait is what a plan that is not done is waited for under. It is another whenever
// something goes on in any shard.
func (c *Coordinator) planWait() wait {
	w := wait{kind: waitPlan, epoch: c.records.Epoch}
	for i := range c.records.Shards {
		sh := &c.records.Shards[i]
		w.left += c.records.moving(i) + c.missing(sh)
		w.phase += sh.Phase
	}
	return w
}

// stuck reports whether a plan has not gone on for so long that everybody it could wait for
// would have been evicted: records and what is waited for do not agree. A plan that is
// written anew makes them agree.
func (c *Coordinator) stuck() bool {
	if c.cfg.Anew && c.records.Epoch == c.first && c.records.unfinished() {
		return true
	}
	longest := c.cfg.DrainTimeout
	for _, m := range c.index.members {
		longest = max(longest, m.Drain)
	}
	return c.expired(c.planWait(), longest+3*c.cfg.ReleaseTimeout)
}

// drain is how long a worker's running jobs may take to end.
func (c *Coordinator) drain(inc string) int64 {
	return max(c.cfg.DrainTimeout, c.index.members[inc].Drain)
}

// releaseTimeout is how long an owner may take under a mode.
func (c *Coordinator) releaseTimeout(inc string, m Mode) int64 {
	if m == ModeKey {
		return c.cfg.ReleaseTimeout
	}
	return c.drain(inc) + c.cfg.ReleaseTimeout
}

// expired reports whether something has been waited for longer than timeout.
func (c *Coordinator) expired(w wait, timeout int64) bool {
	since, ok := c.waits[w]
	return ok && c.now-since >= timeout
}

// before reports whether a reason to evict somebody comes before another.
func (a EvictWorker) before(b EvictWorker) bool {
	switch {
	case a.Partition < 0 && b.Partition < 0:
		return a.Shard < b.Shard
	case a.Partition < 0 || b.Partition < 0:
		return a.Partition >= 0
	}
	return a.Partition < b.Partition
}

// evictSlow evicts, as a whole, whoever did not release or reply in time. It reads no
// control message, so it reads no job either. It reports whether there was any.
func (c *Coordinator) evictSlow(add func(CoordinatorAction)) bool {
	slow := make(map[string]EvictWorker)
	for w := range c.waits {
		var evict EvictWorker
		switch {
		case w.kind == waitRelease && c.expired(w, c.releaseTimeout(w.inc, w.mode)):
			evict = EvictWorker{Incarnation: w.inc, Evidence: EvidenceDeaf, Partition: w.part, Epoch: w.epoch}
		case w.kind == waitReply && c.expired(w, c.releaseTimeout(w.inc, ModeRing)):
			evict = EvictWorker{Incarnation: w.inc, Evidence: EvidenceSilent, Partition: -1, Shard: w.part, Epoch: w.epoch, Phase: w.phase}
		default:
			continue
		}
		// Of several reasons one is enough: the lowest partition, so that it does not
		// depend on the order of a map; a partition before a missing reply.
		if old, ok := slow[w.inc]; !ok || evict.before(old) {
			slow[w.inc] = evict
		}
	}
	for _, inc := range slices.Sorted(maps.Keys(slow)) {
		add(slow[inc])
	}
	return len(slow) > 0
}
