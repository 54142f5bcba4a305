package streams

import (
	"errors"
	"strings"
	"testing"
	"time"

	"ringmaster/job"
	"ringmaster/resize"
)

// The group is the fence: what a former owner does after a flip, Redis itself refuses.

func TestZombieReadTakesNothing(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		a.handTo(b, 0, 1)
		id := c.add(1, "k")[0]
		if _, err := a.readers[0].Read(c.ctx, []int{0}, 10, -1); !errors.Is(err, job.ErrGroupGone) {
			c.t.Fatalf("a former owner's read: %v", err)
		}
		if _, err := a.readers[0].History(c.ctx, 0); !errors.Is(err, job.ErrGroupGone) {
			c.t.Errorf("a former owner's history: %v", err)
		}
		c.expect("handed to the owner", b.read(0), []job.EntryID{id})
	})
}

func TestZombieBlockedReadIsWokenEmptyHanded(t *testing.T) {
	for _, how := range []string{"flip", "eviction"} {
		t.Run(how, func(t *testing.T) {
			eachCrew(t, Queue{}, func(c *crew) {
				a, b := c.give(c.join("a.1")), c.join("b.1")
				a.read(0) // so that nothing but the end of the group can wake the next read
				ended := make(chan error, 1)
				waits := c.blocked(a)
				go func() {
					batch, err := a.readers[0].Read(c.ctx, []int{0}, 10, time.Minute)
					if len(batch.Jobs) > 0 {
						err = errors.New("it took a job")
					}
					ended <- err
				}()
				waits()
				if how == "flip" {
					// By another connection than the blocked one: the leader, after an eviction whose
					// message the worker did not see.
					must(c.t, c.raw.HDel(c.ctx, c.key(0, "members"), a.inc).Err())
					must(c.t, c.plan("key", b.inc))
					must(c.t, c.steal(0, a.inc, 1, b.inc))
				} else {
					c.evict(a)
				}
				ids := c.add(1, "k")
				if err := <-ended; !errors.Is(err, job.ErrGroupGone) {
					c.t.Fatalf("blocked read: %v", err)
				}
				if how == "flip" {
					c.expect("handed to the owner", b.read(0), ids)
				}
			})
		})
	}
}

// blocked prepares to wait until the worker's read blocks at the server. The in-memory
// store does not tell; there the read blocks before or after, and must be refused alike.
func (c *crew) blocked(h *hand) func() {
	if c.kind != "real" {
		return func() {}
	}
	return func() {
		c.t.Helper()
		for c.ctx.Err() == nil {
			info, err := c.raw.Info(c.ctx, "clients").Result()
			must(c.t, err)
			if strings.Contains(info, "blocked_clients:1") {
				return
			}
		}
		c.t.Fatal("the read never blocked")
	}
}

func TestZombieAckWritesNothing(t *testing.T) {
	eachCrew(t, Queue{Journal: true}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		ids := c.add(4, "k")
		a.read(0)
		a.handTo(b, 0, 1) // without a word of what it runs
		buried := done(ids[1])
		buried.Outcome, buried.Data = job.Buried, `{"error":"e"}`
		failed := done(ids[2])
		failed.Outcome, failed.Data = job.Failed, job.RetryRecord{Attempts: 1, Error: "e"}.String()
		all := []job.Completion{kept(ids[0]), buried, failed, done(ids[3])}
		c.expect("acks while marked for reclaim", a.ack(0, 1, all...), "FFFF")
		b.claimAll(0, 2, 10)
		c.expect("acks while the owner holds them", a.ack(0, 1, all...), "FFFF")
		c.expect("acks under an epoch it never had", a.ack(0, 2, all...), "FFFF")
		c.expect("effects", c.exists(0, "result:0-"+ids[0].String(), "dead:0", "retry:0", "journal:0"), 0)
		c.expect("owner's acks", b.ack(0, 2, done(ids[0]), done(ids[1]), done(ids[2]), done(ids[3])), "OOOO")
		c.expect("acks of what is pending for nobody", a.ack(0, 1, all...), "GGGG")
		c.expect("journal of the owner alone", c.raw.XLen(c.ctx, c.key(0, "journal:0")).Val(), 4)
	})
}

func TestDrainerFinishesOnce(t *testing.T) {
	eachCrew(t, Queue{Journal: true}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		ids := c.add(3, "k")
		a.read(0)
		a.handTo(b, 0, 1, ids[0], ids[2])
		c.expect("owner", c.owner(0), "b.1 2")
		c.expect("permit", c.holder(0, ids[0]), "a.1@1")
		pages := b.claimAll(0, 2, 10)
		c.expect("claimed", claimed(pages), ids[1:2])
		c.expect("permits", pages[0].Permits, []job.Permit{{ID: ids[0], Holder: "a.1@1", Key: "k"}, {ID: ids[2], Holder: "a.1@1", Key: "k"}})
		c.expect("last delivered", pages[0].LastDelivered, ids[2])
		before := b.change()
		parked := done(ids[0])
		parked.Outcome = job.Parked
		c.expect("a drainer cannot park", a.ack(0, 1, parked), "F")
		c.expect("first ack", a.ack(0, 1, kept(ids[0])), "D")
		c.expect("second ack", a.ack(0, 1, kept(ids[0])), "G")
		c.expect("result", c.exists(0, "result:0-"+ids[0].String()), 1)
		c.expect("journal", c.raw.XLen(c.ctx, c.key(0, "journal:0")).Val(), 1)
		if after := b.change(); after <= before {
			c.t.Errorf("change number %d after %d", after, before)
		}
		in := b.inbox()
		m := in[len(in)-1]
		if m.Type != resize.TypeDrained || m.Part != 0 || m.PartEpoch != 2 || m.ID != ids[0].String() || m.Change != before+1 {
			c.t.Errorf("the owner was told %v", m)
		}
		// The other permit: handed back, which makes it the owner's.
		back := done(ids[2])
		back.Outcome = job.HandBack
		c.expect("hand back", a.ack(0, 1, back), "D")
		c.expect("after handing back", a.ack(0, 1, done(ids[2])), "F")
		in = b.inbox()
		if m := in[len(in)-1]; m.Type != resize.TypeUndrained || m.ID != ids[2].String() {
			c.t.Errorf("the owner was told %v", m)
		}
		c.expect("claimed then", claimed(b.claimAll(0, 2, 10)), ids[2:3])
	})
}

func TestRevokedDrainer(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		ids := c.add(2, "k")
		a.read(0)
		a.handTo(b, 0, 1, ids...)
		permits, err := c.ring.Permits(c.ctx, []int{0})
		must(c.t, err)
		c.expect("permits", permits, []HeldPermit{{0, ids[0], "a.1", 1}, {0, ids[1], "a.1", 1}})
		before := b.change()
		must(c.t, c.ring.Revoke(c.ctx, c.term, permits[0]))
		c.expect("its ack", a.ack(0, 1, done(ids[0])), "F")
		c.expect("of a member no crash is counted", c.exists(0, "retry:0"), 0)
		in := b.inbox()
		m := in[len(in)-1]
		if m.Type != resize.TypeUndrained || m.ID != ids[0].String() || m.PartEpoch != 2 || b.change() <= before {
			c.t.Errorf("the owner was told %v", m)
		}
		c.expect("claimed", claimed(b.claimAll(0, 2, 10)), ids[:1])
		c.expect("holder", c.holder(0, ids[0]), "b.1")
		must(c.t, c.ring.Revoke(c.ctx, c.term, permits[0])) // it holds it no longer: nothing happens
		c.expect("holder", c.holder(0, ids[0]), "b.1")
		c.expect("the other permit", a.ack(0, 1, done(ids[1])), "D")
		if err := c.ring.Revoke(c.ctx, c.term-1, permits[1]); !errors.Is(err, ErrNotLeader) {
			c.t.Errorf("an old leader's revocation: %v", err)
		}
	})
}

func TestDrainerWhoseHolderIsEvicted(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b, d := c.give(c.join("a.1")), c.join("b.1"), c.join("d.1")
		ids := c.add(3, "k")
		a.read(0)
		a.handTo(b, 0, 1, ids...)
		c.evict(a)
		c.expect("until it is revoked the permit holds", a.ack(0, 1, done(ids[0])), "D")
		permits, err := c.ring.Permits(c.ctx, []int{0})
		must(c.t, err)
		must(c.t, c.ring.Revoke(c.ctx, c.term, permits[0]))
		// Nobody revoked the second: the next flip finds it.
		b.handTo(d, 0, 2)
		c.expect("acks", a.ack(0, 1, done(ids[1]), done(ids[2])), "FF")
		c.expect("claimed", claimed(d.claimAll(0, 3, 10)), ids[1:])
		for _, id := range ids[1:] {
			r := must1(job.ParseRetry(c.raw.HGet(c.ctx, c.key(0, "retry:0"), id.String()).Val()))(c.t)
			c.expect("crashes of the drainer", []any{r.Crashes, len(r.Deaths), r.Deaths[0].Runs}, []any{1, 1, job.UnknownRuns})
		}
	})
}

func TestSecondFlipKeepsBothPermits(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b, d := c.give(c.join("a.1")), c.join("b.1"), c.join("d.1")
		first := c.add(2, "k")
		a.read(0)
		a.handTo(b, 0, 1, first[0])
		b.claimAll(0, 2, 10)
		second := c.add(1, "l")
		b.read(0)
		b.handTo(d, 0, 2, second[0])
		c.expect("holders", []string{c.holder(0, first[0]), c.holder(0, first[1]), c.holder(0, second[0])}, "[a.1@1 ! b.1@2]")
		in := d.inbox()
		m := in[len(in)-1]
		c.expect("draining", m.Draining, []string{first[0].String(), second[0].String()})
		c.expect("claimed", claimed(d.claimAll(0, 3, 10)), first[1:])
		c.expect("first drainer", a.ack(0, 1, kept(first[0])), "D")
		c.expect("second drainer", b.ack(0, 2, done(second[0])), "D")
		c.expect("owner", d.ack(0, 3, done(first[1])), "O")
		c.expect("left", c.xlen(0), 0)
	})
}

// The last worker leaves and still runs something: the partition is nobody's meanwhile.
func TestDrainerOfNobodysPartition(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a := c.give(c.join("a.1"))
		ids := c.add(3, "k")
		a.read(0)
		out, errs := a.readers[0].Release(c.ctx, []job.Tenure{{Partition: 0, Epoch: 1}}, [][]job.EntryID{ids[:2]}, true)
		must(c.t, errs[0])
		c.expect("outcome", out[0].Outcome, job.Released)
		c.expect("ack", a.ack(0, 1, kept(ids[0])), "D")
		c.expect("not its own", a.ack(0, 1, done(ids[2])), "F")
		b := c.join("b.1")
		must(c.t, c.plan("key", b.inc))
		must(c.t, c.steal(0, "-", 2, b.inc))
		c.expect("claimed", claimed(b.claimAll(0, 3, 10)), ids[2:])
		c.expect("its permit went along", a.ack(0, 1, done(ids[1])), "D")
		c.expect("no crash is counted", c.exists(0, "retry:0"), 0)
	})
}

func TestPartitionComesBackToItsDrainer(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		old := c.add(1, "k")
		a.read(0)
		a.handTo(b, 0, 1, old[0])
		b.claimAll(0, 2, 10)
		b.handTo(a, 0, 2)
		pages := a.claimAll(0, 3, 10)
		c.expect("its own permit blocks like any other", pages[0].Permits, []job.Permit{{ID: old[0], Holder: "a.1@1", Key: "k"}})
		later := c.add(1, "k")
		c.expect("read in the new tenure", a.read(0), later)
		c.expect("the new tenure does not hold the old run", a.ack(0, 3, kept(old[0])), "F")
		c.expect("nor the old run the new job", a.ack(0, 1, done(later[0])), "F")
		c.expect("the old run", a.ack(0, 1, done(old[0])), "D")
		c.expect("the new one", a.ack(0, 3, done(later[0])), "O")
	})
}
