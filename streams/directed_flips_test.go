package streams

import "testing"

// What a flip must not do to a pending list, and to whom it must not do it.

// Members are incarnations: the next one of a name inherits nothing of the one before.
func TestTheNextOfANameIsAnother(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a := c.give(c.join("a.1"))
		ids := c.add(2, "k")
		a.read(0)
		next := c.join("a.2")
		c.evict(a)
		c.expect("heartbeat of the evicted one", must1(a.member.Heartbeat(c.ctx))(c.t)[0].Fenced, true)
		c.expect("its snapshot", must1(a.readers[0].Snapshot(c.ctx))(c.t).Fenced, true)
		must(c.t, c.plan("key", next.inc))
		must(c.t, c.steal(0, a.inc, 1, next.inc))
		c.expect("its ack", a.ack(0, 1, kept(ids[0])), "F")
		c.expect("claimed", claimed(next.claimAll(0, 2, 10)), ids)
		// A permit of the evicted one goes with its holder, whoever has its name now.
		b := c.join("b.1")
		next.handTo(b, 0, 2, ids[0])
		c.join("a.3")
		c.evict(next)
		d := c.join("d.1")
		b.handTo(d, 0, 3)
		c.expect("permit", c.holder(0, ids[0]), "!")
	})
}

// The loser's list is older than its acks: a job that has ended gets no permit, though
// its message is still there.
func TestAnEndedJobGetsNoPermit(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		ids := c.add(3, "k")
		a.read(0)
		c.expect("ack", a.ack(0, 1, done(ids[1])), "O")
		c.expect("the first holds the mark", c.xlen(0), 3)
		a.handTo(b, 0, 1, ids[0], ids[1])
		c.expect("holders", []string{c.holder(0, ids[0]), c.holder(0, ids[1]), c.holder(0, ids[2])}, "[a.1@1  !]")
		c.expect("a second end", a.ack(0, 1, kept(ids[1])), "G")
		c.expect("claimed", claimed(b.claimAll(0, 2, 10)), ids[2:])
		c.expect("permits", must1(c.ring.Permits(c.ctx, []int{0}))(c.t), []HeldPermit{{0, ids[0], "a.1", 1}})
	})
}

// An owner that died before it claimed has begun nothing: no crash is counted, and what it
// never saw is in no pending list of its own.
func TestWhatWasNotClaimedCountsNoCrash(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b, d := c.give(c.join("a.1")), c.join("b.1"), c.join("d.1")
		ids := c.add(2, "k")
		a.read(0)
		a.handTo(b, 0, 1)
		c.expect("own pending list before the claim", len(must1(b.readers[0].History(c.ctx, 0))(c.t)), 0)
		c.expect("an end before the claim", b.ack(0, 2, kept(ids[0])), "F")
		must(c.t, c.plan("key", d.inc))
		c.evict(b)
		must(c.t, c.steal(0, b.inc, 2, d.inc))
		pages := d.claimAll(0, 3, 10)
		c.expect("claimed", claimed(pages), ids)
		c.expect("records", c.exists(0, "retry:0"), 0)
	})
}
