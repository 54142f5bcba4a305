package streams

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/resize"
)

func TestReleaseIsKept(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		c.expect("the plan is the caller", a.release(0, 1), job.ReleaseKept)
		must(c.t, c.plan("key", b.inc))
		c.evict(b)
		c.expect("the target is gone", a.release(0, 1), job.ReleaseKept)
		b = c.join("b.2")
		must(c.t, c.plan("key", b.inc))
		must(c.t, b.member.Leaving(c.ctx))
		c.expect("the target is leaving", a.release(0, 1), job.ReleaseKept)
		c.expect("owner", c.owner(0), "a.1 1")
		c.expect("at another epoch", a.release(0, 2), job.ReleaseFenced)
		c.expect("by another", b.release(0, 1), job.ReleaseFenced)
		must(c.t, c.plan("key", a.inc))
		must(c.t, c.raw.SAdd(c.ctx, c.key(0, "moves"), "0").Err()) // a move that nothing else would settle
		must(c.t, c.raw.HSet(c.ctx, c.key(0, "ring"), "phase", "1").Err())
		c.expect("the plan is the caller again", a.release(0, 1), job.ReleaseKept)
		c.expect("move settled by keeping", c.exists(0, "moves"), 0)
		c.expect("and the resize ended", must1(c.ring.Look(c.ctx))(c.t).Phase, 0)
		out, errs := a.readers[0].Release(c.ctx, []job.Tenure{{Partition: 0, Epoch: 1}}, [][]job.EntryID{nil}, true)
		must(c.t, errs[0])
		c.expect("leaving", out[0].Outcome, job.Released)
		c.expect("nobody's", c.owner(0), "- 2")
		told := c.control()
		c.expect("told as a leave, which is no phase of the resize that has ended", told[len(told)-1].Type, resize.TypeLeave)
		ids := c.add(1, "k")
		d := c.join("d.1")
		must(c.t, c.plan("key", d.inc))
		must(c.t, c.steal(0, "-", 2, d.inc))
		c.expect("found by the next owner", d.read(0), ids)
	})
}

func TestStealConflicts(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		refused := func(what string, err error, want error, text string) {
			c.t.Helper()
			if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
				c.t.Errorf("%s: %v", what, err)
			}
			c.expect(what, c.owner(0), "a.1 1")
		}
		must(c.t, c.plan("key", b.inc))
		refused("a member", c.steal(0, a.inc, 1, b.inc), ErrMoved, "owner is a member")
		refused("another epoch", c.steal(0, a.inc, 2, b.inc), ErrMoved, "owner changed")
		refused("another owner", c.steal(0, "-", 1, b.inc), ErrMoved, "owner changed")
		c.evict(a)
		refused("not planned", c.steal(0, a.inc, 1, "x.1"), ErrMoved, "plan changed")
		must(c.t, b.member.Leaving(c.ctx))
		refused("target leaves", c.steal(0, a.inc, 1, b.inc), ErrMoved, "target is not up")
		c.evict(b)
		refused("target is gone", c.steal(0, a.inc, 1, b.inc), ErrMoved, "target is not up")
		d := c.join("d.1")
		must(c.t, c.plan("key", d.inc))
		c.term--
		refused("old leader", c.steal(0, a.inc, 1, d.inc), ErrNotLeader, "")
		if err := c.plan("key", d.inc); !errors.Is(err, ErrNotLeader) {
			c.t.Errorf("old leader's plan: %v", err)
		}
		if _, err := c.ring.Evict(c.ctx, c.term, d.inc, "decided", 0, 0, 0, 0, ""); !errors.Is(err, ErrNotLeader) {
			c.t.Errorf("old leader's eviction: %v", err)
		}
		if err := c.ring.Advance(c.ctx, c.term, must1(c.ring.Look(c.ctx))(c.t)); !errors.Is(err, ErrNotLeader) {
			c.t.Errorf("old leader's advance: %v", err)
		}
		if _, err := c.ring.Repair(c.ctx, c.term, []int{0}); !errors.Is(err, ErrNotLeader) {
			c.t.Errorf("old leader's repair: %v", err)
		}
		c.term++
		must(c.t, c.steal(0, a.inc, 1, d.inc))
		c.expect("owner", c.owner(0), "d.1 2")
	})
}

func TestPlanConflicts(t *testing.T) {
	eachCrew(t, Queue{Partitions: 3}, func(c *crew) {
		a := c.give(c.join("a.1"))
		rec, err := c.ring.Look(c.ctx)
		must(c.t, err)
		p := Plan{Term: c.term, BaseEpoch: rec.Epoch, Mode: "key", Targets: []string{"a.1", "a.1", "x.1"}}
		if err := c.ring.WritePlan(c.ctx, p); !errors.Is(err, ErrMoved) || !strings.Contains(err.Error(), "x.1 is not up") {
			c.t.Errorf("a plan with a stranger: %v", err)
		}
		p.Targets[2], p.BaseEpoch = "a.1", rec.Epoch-1
		if err := c.ring.WritePlan(c.ctx, p); !errors.Is(err, ErrMoved) {
			c.t.Errorf("a plan computed from an old epoch: %v", err)
		}
		after, err := c.ring.Look(c.ctx)
		must(c.t, err)
		c.expect("epoch", after.Epoch, rec.Epoch)
		c.expect("plan", after.Plan, rec.Plan)
		c.expect("phase", after.Phase, 0)
		_ = a
	})
}

// What the scripts write is what resize reads, and the last flip ends the resize.
func TestWireShape(t *testing.T) {
	eachCrew(t, Queue{Partitions: 2}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		start := len(c.control())
		must(c.t, c.plan("key", b.inc))
		rec, err := c.ring.Look(c.ctx)
		must(c.t, err)
		c.expect("moves", len(rec.Moves), 2)
		c.expect("phase", rec.Phase, 1)
		in := a.inbox()
		m := in[len(in)-1]
		if m.Type != resize.TypeSync || m.Phase != resize.Stopping || m.Epoch != rec.Epoch || m.Term != c.term || len(m.Parts) != 2 || m.Dispatcher != "d1" || m.Change == 0 {
			c.t.Errorf("phase 1 to the loser: %v", m)
		}
		c.expect("release", a.release(1, 1), job.Released)
		c.expect("phase after the first flip", must1(c.ring.Look(c.ctx))(c.t).Phase, 1)
		c.expect("release", a.release(0, 1), job.Released)
		c.expect("phase after the last flip", must1(c.ring.Look(c.ctx))(c.t).Phase, 0)
		in = b.inbox()
		m = in[len(in)-1]
		if m.Phase != resize.Syncing || m.Part != 0 || m.PartEpoch != 2 || m.From != "a.1" || m.SyncTo[0] != "0-0" || len(m.Members) != 2 || m.Change != 2 {
			c.t.Errorf("phase 2 to the gainer: %v %+v", m, m)
		}
		var phases []resize.Phase
		for _, m := range c.control()[start:] {
			c.expect("name", m.Name, resize.Master)
			phases = append(phases, m.Phase)
		}
		c.expect("phases on the control stream", phases, "[1 2 2 3]")

		must(c.t, b.member.Report(c.ctx, 0, rec.Epoch, 2, `{"epoch":"`+epochText(rec.Epoch)+`","ack":"ok"}`))
		acks, err := c.raw.HGetAll(c.ctx, c.key(0, "acks:"+epochText(rec.Epoch))).Result()
		must(c.t, err)
		type reply struct {
			Type, Name string
			Phase      int
			Data       struct {
				Epoch      string
				CurrentJob map[string]string `json:"current_job"`
				Running    []string
				Ack        string
			}
		}
		var of1, of2 []reply
		must(c.t, json.Unmarshal([]byte(acks["a.1"]), &of1))
		must(c.t, json.Unmarshal([]byte(acks["b.1"]), &of2))
		if len(of1) != 2 || of1[0].Type != "sync" || of1[0].Name != "a.1" || of1[0].Phase != 1 || of1[1].Data.CurrentJob["0"] != "0-0" || of1[0].Data.Epoch != epochText(rec.Epoch) {
			c.t.Errorf("replies of the loser: %s", acks["a.1"])
		}
		if len(of2) != 1 || of2[0].Phase != 2 || of2[0].Data.Ack != "ok" {
			c.t.Errorf("replies of the gainer: %s", acks["b.1"])
		}
		c.expect("replied", must1(c.ring.Look(c.ctx))(c.t).Shards[0].Replied, map[string]int{"a.1": 1, "b.1": 2})
		if ttl := c.raw.PTTL(c.ctx, c.key(0, "acks:"+epochText(rec.Epoch))).Val(); ttl <= 0 {
			c.t.Errorf("replies are kept for ever: %v", ttl)
		}
	})
}

// must1 takes a result and its error, then the test.
func must1[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return v
	}
}

func TestRingBarrier(t *testing.T) {
	eachCrew(t, Queue{Partitions: 2}, func(c *crew) {
		a, b, d := c.give(c.join("a.1")), c.join("b.1"), c.join("d.1")
		ids := c.add(1, "k")
		part := job.PartitionOf("k", 2)
		a.read(part)
		targets := []string{"a.1", "a.1"}
		targets[part] = "b.1"
		must(c.t, c.plan("ring", targets...))
		rec := must1(c.ring.Look(c.ctx))(c.t)
		phase := func(want int) {
			c.t.Helper()
			c.expect("phase", must1(c.ring.Look(c.ctx))(c.t).Phase, want)
		}
		report := func(h *hand, n int) {
			c.t.Helper()
			must(c.t, h.member.Report(c.ctx, 0, rec.Epoch, n, `{"epoch":"`+epochText(rec.Epoch)+`","ack":"ok"}`))
		}
		for _, h := range []*hand{a, b, d} {
			in := h.inbox()
			if m := in[len(in)-1]; m.Phase != resize.Stopping || m.Mode != resize.ModeRing || m.Epoch != rec.Epoch {
				c.t.Errorf("%s was told %v", h.inc, m)
			}
		}
		report(b, 1)
		c.expect("hand over", a.release(part, 1), job.Released)
		report(a, 1)
		phase(1)
		must(c.t, b.member.Report(c.ctx, 0, rec.Epoch-1, 1, `{}`)) // of another ring epoch: no reply to this one
		phase(1)
		c.evict(d) // the one that is missing
		phase(1)
		must(c.t, c.ring.Advance(c.ctx, c.term, must1(c.ring.Look(c.ctx))(c.t)))
		phase(2)
		for _, h := range []*hand{a, b} {
			in := h.inbox()
			m := in[len(in)-1]
			if m.Phase != resize.Syncing || len(m.SyncTo) != 2 || m.SyncTo[part] != ids[0].String() || m.SyncTo[1-part] != "0-0" {
				c.t.Errorf("%s was told %v %v", h.inc, m, m.SyncTo)
			}
		}
		report(a, 2)
		phase(2)
		report(b, 2)
		phase(0)
		in := a.inbox()
		if m := in[len(in)-1]; m.Phase != resize.Resuming || m.Epoch != rec.Epoch {
			c.t.Errorf("a was told %v", m)
		}
		c.control()
		beats := must1(a.member.Heartbeat(c.ctx))(c.t)
		c.expect("heartbeat", []any{beats[0].RingEpoch, beats[0].Phase, beats[0].Mode}, []any{rec.Epoch, 0, "ring"})
	})
}

// The phase of a reply is a field: what stands in the reply's data is for people.
func TestNoReplyIsReadForItsPhase(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		must(c.t, c.plan("ring", a.inc))
		e := must1(c.ring.Look(c.ctx))(c.t).Epoch
		must(c.t, a.member.Report(c.ctx, 0, e, 1, `{"ack":"ok"}`))
		replies := must1(c.raw.HGetAll(c.ctx, c.key(0, "acks:"+epochText(e))).Result())(c.t)
		c.expect("reply as people see it", replies[a.inc], `[{"type":"sync","name":"a.1","phase":1,"data":{"ack":"ok"}}]`)

		must(c.t, b.member.Report(c.ctx, 0, e, 2, `{"before":{"phase":1,"ack":"ok"},"after":{"phase":3,"ack":"ok"}}`))
		rec := must1(c.ring.Look(c.ctx))(c.t)
		c.expect("replied", rec.Shards[0].Replied, map[string]int{"a.1": 1, "b.1": 2})
		c.expect("phase", rec.Phase, 1)
		gone := must1(c.ring.Evict(c.ctx, c.term, b.inc, "silent", 0, 0, e, 2, ""))(c.t)
		c.expect("evicted as silent in the phase it replied to", gone, false)
		gone = must1(c.ring.Evict(c.ctx, c.term, b.inc, "silent", 0, 0, e, 1, ""))(c.t)
		c.expect("evicted as silent in the phase it did not reply to", gone, true)
	})
}

// A member that leaves for good lets the barrier go on by itself.
func TestRingBarrierGoesOnWithoutWhoLeft(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		must(c.t, c.plan("ring", a.inc))
		e := must1(c.ring.Look(c.ctx))(c.t).Epoch
		must(c.t, a.member.Report(c.ctx, 0, e, 1, `{"epoch":"`+epochText(e)+`","ack":"ok"}`))
		c.expect("phase", must1(c.ring.Look(c.ctx))(c.t).Phase, 1)
		must(c.t, b.member.Leaving(c.ctx))
		must(c.t, b.member.Left(c.ctx))
		c.expect("phase", must1(c.ring.Look(c.ctx))(c.t).Phase, 2)
		must(c.t, b.member.Left(c.ctx)) // repeated
	})
}

// The lease of a leader runs down by the server's clock, which the in-memory store's
// tests would have to turn by hand.
func TestLeadership(t *testing.T) {
	c := newCrew(t, redistest.Real(t).URL(), "real", Queue{})
	other := c.s.NewRing(c.q, "d2")
	term, leader, err := other.Lead(c.ctx, time.Minute)
	must(t, err)
	c.expect("second comer", []any{term, leader}, []any{0, "d1"})
	again, _, err := c.ring.Lead(c.ctx, time.Minute)
	must(t, err)
	c.expect("renewed", again, c.term)
	must(t, other.Resign(c.ctx))
	again, _, err = c.ring.Lead(c.ctx, time.Millisecond)
	must(t, err)
	c.expect("another's resignation changes nothing", again, c.term)
	for term == 0 && c.ctx.Err() == nil { // until the lease has run out
		term, _, err = other.Lead(c.ctx, time.Minute)
		must(t, err)
	}
	c.expect("term", term, c.term+1)
	must(t, other.Resign(c.ctx))
	term, _, err = c.ring.Lead(c.ctx, time.Minute)
	must(t, err)
	c.expect("the same dispatcher gets a new term", term, c.term+2)
	must(t, c.raw.HDel(c.ctx, c.key(0, "ring"), "term").Err())
	again, _, err = c.ring.Lead(c.ctx, time.Minute)
	must(t, err)
	c.expect("a lease outlives the ring's record", again, term)
	// Somebody else's term is on record: the lease's own is obeyed by no script any more.
	must(t, c.raw.HSet(c.ctx, c.key(0, "ring"), "term", "100").Err())
	term, _, err = c.ring.Lead(c.ctx, time.Minute)
	must(t, err)
	c.expect("term", term, 101)
	must(t, c.raw.HDel(c.ctx, c.key(0, "leader"), "lease").Err())
	must(t, c.raw.Persist(c.ctx, c.key(0, "leader")).Err())
	_, _, err = other.Lead(c.ctx, time.Millisecond)
	must(t, err)
	for term = 0; term == 0 && c.ctx.Err() == nil; {
		term, _, err = other.Lead(c.ctx, time.Minute)
		must(t, err)
	}
	c.expect("a lease without an end is given one", term, 102)
	// As after a step of the server's clock, back by an hour.
	must(t, c.raw.PExpire(c.ctx, c.key(0, "leader"), time.Hour).Err())
	_, _, err = c.ring.Lead(c.ctx, time.Second)
	must(t, err)
	if left := c.raw.PTTL(c.ctx, c.key(0, "leader")).Val(); left > time.Minute {
		t.Errorf("a lease of a minute shows %v, whatever the clock did", left)
	}
}
