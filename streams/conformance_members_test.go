package streams

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"ringmaster/job"
)

func TestJoinHeartbeatLeave(t *testing.T) {
	eachCrew(t, Queue{Partitions: 2}, func(c *crew) {
		a := c.join("a.1")
		if _, err := a.member.Join(c.ctx); !errors.Is(err, job.ErrConflict) {
			c.t.Errorf("a second join of one incarnation: %v", err)
		}
		c.give(a)
		snap := must1(a.readers[0].Snapshot(c.ctx))(c.t)
		c.expect("snapshot", snap.Owned, []job.OwnedPartition{{Partition: 0, Epoch: 1, Planned: "a.1"}, {Partition: 1, Epoch: 1, Planned: "a.1"}})
		c.expect("its change number", snap.Change, a.change())
		// A lease that ran out comes back, as long as nobody evicted the worker.
		must(c.t, c.raw.Del(c.ctx, c.key(0, "alive:a.1")).Err())
		c.expect("lease gone", must1(c.ring.Look(c.ctx))(c.t).Members[0].LeaseLeft < 0, true)
		c.expect("heartbeat", must1(a.member.Heartbeat(c.ctx))(c.t)[0].Fenced, false)
		left := must1(c.ring.Look(c.ctx))(c.t).Members[0].LeaseLeft
		if left <= 0 || left > time.Minute {
			c.t.Errorf("lease of %v", left)
		}
		// Without its inbox it would never hear anything: fenced.
		must(c.t, c.raw.Del(c.ctx, c.key(0, "control:a.1")).Err())
		c.expect("heartbeat without an inbox", must1(a.member.Heartbeat(c.ctx))(c.t)[0].Fenced, true)

		b := c.join("b.1")
		must(c.t, b.member.Leaving(c.ctx))
		for _, m := range must1(c.ring.Look(c.ctx))(c.t).Members {
			if m.Incarnation == "b.1" && m.State != "leaving" {
				c.t.Errorf("state %s", m.State)
			}
		}
		must(c.t, b.member.Left(c.ctx))
		c.expect("heartbeat after leaving", must1(b.member.Heartbeat(c.ctx))(c.t)[0].Fenced, true)
		c.expect("snapshot after leaving", must1(b.readers[0].Snapshot(c.ctx))(c.t).Fenced, true)
		c.expect("its keys", c.exists(0, "alive:b.1", "control:b.1"), 0)
		c.evict(a)
		c.expect("heartbeat after eviction", must1(a.member.Heartbeat(c.ctx))(c.t)[0].Fenced, true)
		var types []string
		for _, m := range c.control() {
			if m.Name != "Master" {
				types = append(types, string(m.Type)+" "+m.Name)
			}
		}
		c.expect("announced", types, "[join a.1 join b.1 leave b.1 leave b.1 evict a.1]")
		if _, err := c.s.NewMember(Queue{Name: "none", Partitions: 1, Shards: 1}, job.MemberInfo{Incarnation: "x.1"}, time.Second).Join(c.ctx); !errors.Is(err, job.ErrNotFound) {
			c.t.Errorf("join of a queue without records: %v", err)
		}
	})
}

func TestEvictionLooksOnceMore(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		evict := func(evidence string, part int, epoch uint64, phase int) bool {
			c.t.Helper()
			return must1(c.ring.Evict(c.ctx, c.term, "a.1", evidence, part, 0, epoch, phase, lastBeat(c, "a.1")))(c.t)
		}
		stop := must1(a.member.Watch(c.ctx, func() {}))(c.t)
		c.expect("subscribed", subscribed(c, "a.1", "b.1"), []bool{true, false})
		c.expect("lease holds", evict("ttl", 0, 0, 0), false)
		c.expect("connection stands", evict("connection", 0, 0, 0), false)
		c.expect("it owns the partition at another epoch", evict("deaf", 0, 2, 0), false)
		must(c.t, c.plan("ring", "a.1"))
		e := must1(c.ring.Look(c.ctx))(c.t).Epoch
		must(c.t, a.member.Report(c.ctx, 0, e, 1, `{"epoch":"`+epochText(e)+`","ack":"ok"}`))
		c.expect("it has replied", evict("silent", 0, e, 1), false)
		c.expect("the ring went on", evict("silent", 0, e-1, 2), false)
		c.expect("still a member", must1(a.member.Heartbeat(c.ctx))(c.t)[0].Fenced, false)
		stop()

		again := func(what string, ok bool) {
			c.t.Helper()
			c.expect(what, ok, true)
			c.expect(what+": inbox", c.exists(0, "control:a.1", "alive:a.1"), 0)
			c.expect(what+": heartbeat", must1(a.member.Heartbeat(c.ctx))(c.t)[0].Fenced, true)
			must1(a.member.Join(c.ctx))(c.t) // only a test may use an incarnation twice
		}
		again("silent", evict("silent", 0, e, 2))
		again("deaf", evict("deaf", 0, 1, 0))
		for c.ctx.Err() == nil && subscribed(c, "a.1")[0] {
			continue // until the server has seen the connection end
		}
		again("connection", evict("connection", 0, 0, 0))
		must(c.t, c.raw.Del(c.ctx, c.key(0, "alive:a.1")).Err())
		again("ttl", evict("ttl", 0, 0, 0))
		again("decided", evict("decided", 0, 0, 0))
		c.evict(b)
		c.expect("one that is gone", must1(c.ring.Evict(c.ctx, c.term, "b.1", "ttl", 0, 0, 0, 0, ""))(c.t), true)
	})
}

func TestCreateAgain(t *testing.T) {
	eachCrew(t, Queue{Partitions: 3}, func(c *crew) {
		a := c.give(c.join("a.1"))
		before, err := c.raw.HGetAll(c.ctx, c.key(0, "owner")).Result()
		must(c.t, err)
		q := must1(c.s.CreateQueue(c.ctx, Queue{Name: "q"}))(c.t)
		c.expect("counts", []int{q.Partitions, q.Shards}, "[3 1]")
		c.expect("owners", c.raw.HGetAll(c.ctx, c.key(0, "owner")).Val(), before)
		for _, want := range []Queue{{Name: "q", Partitions: 4}, {Name: "q", Shards: 2}, {Name: "q", Journal: true}} {
			if _, err := c.s.CreateQueue(c.ctx, want); !errors.Is(err, job.ErrConflict) {
				c.t.Errorf("%+v: %v", want, err)
			}
		}
		// An owner record that was lost is made again from the group, above every epoch.
		ids := c.add(1, "")
		p := 0
		for n := range 3 {
			if c.xlen(n) > 0 {
				p = n
			}
		}
		c.expect("read", a.read(p), ids)
		field := epochText(uint64(p))
		must(c.t, c.raw.HDel(c.ctx, c.key(0, "owner"), field).Err())
		rec := must1(c.ring.Look(c.ctx))(c.t)
		c.expect("missing", rec.Missing, []int{p})
		must(c.t, c.ring.Recreate(c.ctx))
		inc, epoch, ok := ownerRecord(c.owner(p))
		if !ok || inc != "a.1" || epoch < uint64(time.Now().Add(-time.Hour).Unix()) {
			c.t.Errorf("record %s", c.owner(p))
		}
		c.expect("the pending list is whole", c.holder(p, ids[0]), "a.1")
		c.expect("its old epoch is over", a.ack(p, 1, done(ids[0])), "F")
		c.expect("the new one holds", a.ack(p, epoch, done(ids[0])), "O")
	})
}

func TestRepair(t *testing.T) {
	eachCrew(t, Queue{Partitions: 2}, func(c *crew) {
		a := c.give(c.join("a.1"))
		must(c.t, c.raw.XGroupCreate(c.ctx, c.stream(1), "stranger", "0").Err())
		p := job.PartitionOf("k", 2)
		ids := c.add(2, "k")
		a.read(p)
		must(c.t, c.raw.XGroupDestroy(c.ctx, c.stream(p), "a.1").Err())
		if _, err := a.readers[0].Read(c.ctx, []int{0, 1}, 10, -1); !errors.Is(err, job.ErrGroupGone) {
			c.t.Errorf("read: %v", err)
		}
		if err := a.readers[0].Claim(c.ctx, []job.Tenure{{Partition: p, Epoch: 1}}, []string{""}, 10, nil, 16).Errs[0]; !errors.Is(err, job.ErrGroupGone) {
			c.t.Errorf("claim: %v", err)
		}
		c.expect("ack", a.ack(p, 1, kept(ids[0])), "U")
		mended := must1(c.ring.Repair(c.ctx, c.term, []int{0, 1}))(c.t)
		all := strings.Join(mended, "\n")
		if len(mended) != 2 || !strings.Contains(all, "created group a.1 at 0") || !strings.Contains(all, "destroyed group stranger") {
			c.t.Errorf("mended: %s", all)
		}
		c.expect("alarms", len(c.alarms()), 1)
		c.expect("read again from 0", a.read(p), ids)
		c.expect("nothing more to mend", must1(c.ring.Repair(c.ctx, c.term, []int{0, 1}))(c.t), "[]")
		// A worker heals its own partitions alone.
		must(c.t, c.raw.XGroupDestroy(c.ctx, c.stream(p), "a.1").Err())
		b := c.join("b.1")
		c.expect("another's", must1(b.member.Heal(c.ctx, []int{p}))(c.t), "[]")
		c.expect("its own", len(must1(a.member.Heal(c.ctx, []int{p}))(c.t)), 1)
		// A flip finds the group gone as well. It makes no stream: whoever does has looked for it elsewhere.
		must(c.t, c.raw.Del(c.ctx, c.stream(p)).Err())
		must(c.t, c.plan("key", b.inc))
		c.expect("release without a stream", a.release(p, 1), job.ReleaseFailed)
		c.expect("its own stream", len(must1(a.member.Heal(c.ctx, []int{p}))(c.t)), 1)
		c.expect("release", a.release(p, 1), job.Released)
		ids = c.add(1, "k")
		c.expect("read by the new owner", b.read(p), ids)
		c.expect("alarms", len(c.alarms()), 3)
	})
}

func TestWatchEnds(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a := c.join("a.1")
		ctx, cancel := context.WithCancel(c.ctx)
		stop := must1(a.member.Watch(ctx, func() {}))(c.t)
		cancel() // the caller's context is for subscribing alone
		c.expect("subscribed", subscribed(c, "a.1"), []bool{true})
		stop()
	})
}
