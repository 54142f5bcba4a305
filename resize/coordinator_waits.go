package resize

import (
	"maps"
	"slices"
)

// wait is something that must happen within a time counted from when this coordinator
// first saw it missing. Its own clock alone decides: no deadline comes from a record.
type wait struct {
	kind  waitKind
	part  int
	id    string
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
			note(wait{kind: waitRelease, part: p, inc: o.Incarnation, epoch: o.Epoch, mode: c.records.Mode})
		}
	}
	for _, p := range c.records.Permits {
		note(permitWait(p))
	}
	if phase := c.barrierPhase(); phase != Stable {
		for inc := range c.index.members {
			if c.records.Replies[inc] < phase {
				note(wait{kind: waitReply, inc: inc, epoch: c.records.Epoch, phase: phase})
			}
		}
	}
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
			evict = EvictWorker{Incarnation: w.inc, Evidence: EvidenceSilent, Partition: -1, Epoch: w.epoch, Phase: w.phase}
		default:
			continue
		}
		// Of several reasons one is enough: the lowest partition, so that it does not
		// depend on the order of a map; a partition before a missing reply.
		old, ok := slow[w.inc]
		if !ok || old.Partition < 0 || evict.Partition >= 0 && evict.Partition < old.Partition {
			slow[w.inc] = evict
		}
	}
	for _, inc := range slices.Sorted(maps.Keys(slow)) {
		add(slow[inc])
	}
	return len(slow) > 0
}
