package streams

import (
	"errors"
	"strings"
	"testing"

	"ringmaster/internal/redistest"
	"ringmaster/job"
)

func TestThreeShards(t *testing.T) {
	eachCrew(t, Queue{Partitions: 7, Shards: 3}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		rec := must1(c.ring.Look(c.ctx))(c.t)
		for sh := range 3 {
			shard := c.s.shard(c.q, sh)
			c.expect("ring epoch of a shard", c.raw.HGet(c.ctx, shard+"ring", "epoch").Val(), rec.Epoch)
			c.expect("members of a shard", c.raw.HLen(c.ctx, shard+"members").Val(), 2)
			c.expect("moves of a shard", c.raw.Exists(c.ctx, shard+"moves").Val(), 0)
		}
		keys := map[int]string{}
		for i := 0; len(keys) < 7; i++ {
			k := strings.Repeat("k", i+1)
			keys[job.PartitionOf(k, 7)] = k
		}
		ids := map[int][]job.EntryID{}
		for p, k := range keys {
			ids[p] = c.add(2, k)
			c.expect("read", a.read(p), ids[p])
			c.expect("ack", a.ack(p, 1, kept(ids[p][0])), "O")
			c.expect("result", c.exists(p, "result:"+job.ID{Partition: p, Entry: ids[p][0]}.String()), 1)
		}
		// Half goes to b while a still runs, the rest when a is gone.
		must(c.t, c.plan("key", "b.1", "a.1", "b.1", "a.1", "b.1", "a.1", "b.1"))
		for sh := range 3 {
			if snap := must1(a.readers[sh].Snapshot(c.ctx))(c.t); snap.RingEpoch != rec.Epoch+1 {
				c.t.Errorf("shard %d is at ring epoch %d", sh, snap.RingEpoch)
			}
		}
		for p := 0; p < 7; p += 2 {
			c.expect("release", a.release(p, 1, ids[p][1]), job.Released)
			c.expect("nothing to claim", len(claimed(b.claimAll(p, 2, 10))), 0)
			c.expect("drainer", a.ack(p, 1, done(ids[p][1])), "D")
		}
		look := must1(c.ring.Look(c.ctx))(c.t)
		c.expect("phase", look.Phase, 0)
		c.expect("moves", len(look.Moves), 0)
		c.evict(a)
		must(c.t, c.plan("key", "b.1"))
		var steals []Steal
		for p := 1; p < 7; p += 2 {
			steals = append(steals, Steal{p, "a.1", 1, "b.1"})
		}
		steals = append(steals, Steal{0, "a.1", 1, "b.1"}) // moved before
		_, errs := c.ring.StealAll(c.ctx, c.term, steals)
		if !errors.Is(errs[3], ErrMoved) {
			c.t.Errorf("steal of what has moved: %v", errs[3])
		}
		for i, err := range errs[:3] {
			must(c.t, err)
			p := steals[i].Partition
			c.expect("claimed", claimed(b.claimAll(p, 2, 10)), ids[p][1:])
			c.expect("late ack", a.ack(p, 1, done(ids[p][1])), "F")
			c.expect("ack", b.ack(p, 2, done(ids[p][1])), "O")
		}
		for sh, beat := range must1(a.member.Heartbeat(c.ctx))(c.t) {
			c.expect("fenced in shard "+epochText(uint64(sh)), beat.Fenced, true)
		}
		for sh, beat := range must1(b.member.Heartbeat(c.ctx))(c.t) {
			if beat.Fenced || beat.RingEpoch != rec.Epoch+2 || beat.Change == 0 {
				c.t.Errorf("shard %d: %+v", sh, beat)
			}
		}
	})
}

// A shard that was left behind by a leader that died between two of them takes the next
// plan; one that is ahead refuses an old one.
func TestPlanOfShardsLeftBehind(t *testing.T) {
	eachCrew(t, Queue{Partitions: 2, Shards: 2}, func(c *crew) {
		a := c.join("a.1")
		must(c.t, c.raw.HSet(c.ctx, c.s.shard(c.q, 0)+"ring", "epoch", "5").Err())
		must(c.t, c.plan("key", a.inc))
		c.expect("epoch", c.raw.HGet(c.ctx, c.s.shard(c.q, 1)+"ring", "epoch").Val(), "6")
		rec := must1(c.ring.Look(c.ctx))(c.t)
		p := Plan{Term: c.term, BaseEpoch: rec.Epoch, Read: &rec, Mode: "key", Targets: []string{a.inc, a.inc}}
		for _, epoch := range []string{"5", "9"} {
			must(c.t, c.raw.HSet(c.ctx, c.s.shard(c.q, 1)+"ring", "epoch", epoch).Err())
			if err := c.ring.WritePlan(c.ctx, p); !errors.Is(err, ErrMoved) {
				c.t.Errorf("a plan of what a shard was before: %v", err)
			}
			p.BaseEpoch = must1(c.ring.Look(c.ctx))(c.t).Epoch // the first shard took it
		}
		p.Read = nil
		if err := c.ring.WritePlan(c.ctx, p); !errors.Is(err, ErrMoved) {
			c.t.Errorf("a plan behind a shard: %v", err)
		}
	})
}

// An eviction, a leave or a join that broke off between two shards leaves a member that
// the first shard does not know. Its partitions could never be stolen: it is shown as
// gone once its lease is over, and evicting it ends what is left.
func TestMemberOfSomeShardsOnly(t *testing.T) {
	eachCrew(t, Queue{Partitions: 2, Shards: 2}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		first, second := c.s.shard(c.q, 0), c.s.shard(c.q, 1)
		must1(run(c.ctx, c.s, c.s.cmd, &c.s.scripts.evict, first, epochText(c.term), a.inc, "decided", 0, "0", 0))(c.t)
		look := must1(c.ring.Look(c.ctx))(c.t)
		c.expect("while its lease runs, members", len(look.Members), 1)
		must(c.t, c.plan("key", b.inc))
		must(c.t, c.steal(0, a.inc, 1, b.inc))
		if err := c.steal(1, a.inc, 1, b.inc); !errors.Is(err, ErrMoved) {
			c.t.Errorf("steal from who is a member there: %v", err)
		}
		c.expect("evict with a lease", must1(c.ring.Evict(c.ctx, c.term, a.inc, "ttl", 0, 0, 0, 0, ""))(c.t), false)
		must(c.t, c.raw.Del(c.ctx, second+"alive:a.1").Err())
		look = must1(c.ring.Look(c.ctx))(c.t)
		if len(look.Members) != 2 || look.Members[1].Incarnation != "a.1" || look.Members[1].State != "gone" || look.Members[1].LeaseLeft > 0 {
			c.t.Fatalf("members %+v", look.Members)
		}
		c.expect("evict", must1(c.ring.Evict(c.ctx, c.term, a.inc, "ttl", 0, 0, 0, 0, ""))(c.t), true)
		must(c.t, c.steal(1, a.inc, 1, b.inc))
		c.expect("members", len(must1(c.ring.Look(c.ctx))(c.t).Members), 1)
	})
}

func TestCountsOfQueues(t *testing.T) {
	redistest.Each(t, func(t *testing.T, url, _ string) {
		s := openStore(t, url)
		for _, q := range []Queue{{Name: "b", Partitions: 1}, {Name: "a", Partitions: 5, Shards: 5}} {
			must1(s.CreateQueue(t.Context(), q))(t)
		}
		for _, q := range []Queue{{Name: "x", Partitions: 3, Shards: 4}, {Name: "x", Partitions: -1}, {Name: "x", Partitions: 5000}, {Name: "x y", Partitions: 1}} {
			if _, err := s.CreateQueue(t.Context(), q); !errors.Is(err, job.ErrInvalid) {
				t.Errorf("%+v: %v", q, err)
			}
		}
		must(t, s.cmd.HSet(t.Context(), "rm:queues", "junk", "{").Err())
		all, bad, err := s.Queues(t.Context())
		if err != nil || len(all) != 2 || all[0].Name != "a" || all[0].Shards != 5 || len(bad) != 1 {
			t.Errorf("%v %v %v", all, bad, err)
		}
	})
}

// Evidence is looked at once: who was evicted from one shard goes from all of them.
func TestEvictionGoesThroughAllShards(t *testing.T) {
	eachCrew(t, Queue{Partitions: 3, Shards: 3}, func(c *crew) {
		a := c.give(c.join("a.1"))
		must(c.t, c.raw.Del(c.ctx, c.s.shard(c.q, 0)+"alive:a.1").Err())
		c.expect("evicted", must1(c.ring.Evict(c.ctx, c.term, a.inc, "ttl", 0, 0, 0, 0, ""))(c.t), true)
		for sh := range 3 {
			c.expect("members", c.raw.HLen(c.ctx, c.s.shard(c.q, sh)+"members").Val(), 0)
		}
		b := c.join("b.1")
		must(c.t, c.plan("key", b.inc))
		for p := range 3 {
			must(c.t, c.steal(p, a.inc, 1, b.inc))
		}
		c.expect("deaf in another shard than the first", must1(c.ring.Evict(c.ctx, c.term, b.inc, "deaf", 1, 0, 2, 0, ""))(c.t), true)
	})
}

// Mode ring stops the whole queue: a shard leaves phase 1 by the leader's word, when
// everything stands still in all of them; what follows each does by itself.
func TestRingBarrierOfTwoShards(t *testing.T) {
	eachCrew(t, Queue{Partitions: 2, Shards: 2}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		must(c.t, c.plan("ring", a.inc))
		e := must1(c.ring.Look(c.ctx))(c.t).Epoch
		report := func(h *hand, shard, phase int) {
			c.t.Helper()
			must(c.t, h.member.Report(c.ctx, shard, e, phase, `{"epoch":"`+epochText(e)+`","ack":"ok"}`))
		}
		phases := func(want ...int) {
			c.t.Helper()
			for sh, record := range must1(c.ring.Look(c.ctx))(c.t).Shards {
				c.expect("mode", record.Mode, "ring")
				if record.Phase != want[sh] {
					c.t.Errorf("shard %d is in phase %d, want %d", sh, record.Phase, want[sh])
				}
			}
		}
		report(a, 0, 1)
		report(b, 0, 1)
		report(a, 1, 1)
		phases(1, 1)
		c.expect("evict for a reply that is there", must1(c.ring.Evict(c.ctx, c.term, b.inc, "silent", -1, 0, e, 1, ""))(c.t), false)
		c.expect("evict for one that is missing", must1(c.ring.Evict(c.ctx, c.term, b.inc, "silent", -1, 1, e, 1, ""))(c.t), true)
		for sh := range 2 {
			c.expect("members", c.raw.HLen(c.ctx, c.s.shard(c.q, sh)+"members").Val(), 1)
		}
		phases(1, 1)
		old := must1(c.ring.Look(c.ctx))(c.t)
		old.Shards[1].Epoch--
		must(c.t, c.ring.Advance(c.ctx, c.term, old)) // a call of the plan before, that comes late in one shard
		phases(2, 1)
		must(c.t, c.ring.Advance(c.ctx, c.term, must1(c.ring.Look(c.ctx))(c.t)))
		phases(2, 2)
		report(a, 1, 2)
		phases(2, 0)
		report(a, 0, 2)
		phases(0, 0)
	})
}
