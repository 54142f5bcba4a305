package streams

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

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

// What somebody has deleted is told to whoever moves the partition, in every shard: the message on the
// control stream is read in the first alone. On the real server alone: the in-memory store claims
// entries that do not exist.
func TestAFlipTellsWhatWasDeleted(t *testing.T) {
	c := realCrew(t, Queue{Shards: 2, Partitions: 4})
	a := c.give(c.join("a.1"))
	c.join("b.1")
	for p := range 4 {
		id := must1(c.raw.XAdd(c.ctx, &redis.XAddArgs{Stream: c.stream(p), Values: []any{"type", "t"}}).Result())(t)
		a.read(p)
		if p%2 == 1 {
			must(t, c.raw.XDel(c.ctx, c.stream(p), id).Err())
		}
	}
	must(t, c.plan("key", "b.1"))
	answers, errs := a.reader(1).Release(c.ctx, []job.Tenure{{Partition: 1, Epoch: 1}}, make([][]job.EntryID, 1), false)
	must(t, errors.Join(errs...))
	c.expect("lost in a release", answers[0].Lost, 1)
	c.evict(a)
	lost, errs := c.ring.StealAll(c.ctx, c.term, []Steal{{2, "a.1", 1, "b.1"}, {3, "a.1", 1, "b.1"}})
	must(t, errors.Join(errs...))
	c.expect("lost in steals", lost, []int{0, 1})
}
