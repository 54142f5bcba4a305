package streams

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"ringmaster/job"
)

func TestLostAckRepeatedHasItsEffectsOnce(t *testing.T) {
	eachCrew(t, Queue{Journal: true}, func(c *crew) {
		s, proxy := c.proxied()
		a := c.give(c.joinVia(s, "a.1"))
		ids := c.add(3, "k")
		a.read(0)
		a.ack(0, 1) // so that the server knows the script
		buried := done(ids[1])
		buried.Outcome, buried.Data = job.Buried, `{"error":"e"}`
		batch := []job.PartitionAcks{{Partition: 0, Epoch: 1, Completions: []job.Completion{kept(ids[0]), buried, done(ids[2])}}}
		rule := proxy.LoseReply(c.sha(&c.s.scripts.ack), 1)
		if _, err := a.member.Ack(c.ctx, 0, batch); !errors.Is(err, job.ErrOutcomeUnknown) {
			c.t.Fatalf("ack: %v", err)
		}
		<-rule.Executed()
		effects := func() []any {
			return []any{c.raw.Get(c.ctx, c.key(0, "result:0-"+ids[0].String())).Val(), c.raw.HLen(c.ctx, c.key(0, "dead:0")).Val(), c.raw.XLen(c.ctx, c.key(0, "journal:0")).Val()}
		}
		want := []any{`{"result":1}`, 1, 3}
		c.expect("effects", effects(), want)
		// Somebody took the dead letter away meanwhile: the repeat must not bring it back.
		must(c.t, c.raw.HDel(c.ctx, c.key(0, "dead:0"), "0-"+ids[1].String()).Err())
		c.expect("repeated", a.ack(0, 1, batch[0].Completions...), "UUU")
		want[1] = 0
		c.expect("effects", effects(), want)
	})
}

func TestAckAnswersAreInTheCallersOrder(t *testing.T) {
	eachCrew(t, Queue{Partitions: 2}, func(c *crew) {
		a := c.give(c.join("a.1"))
		part := job.PartitionOf("k", 2)
		ids := c.add(6, "k")
		a.read(part)
		failed := done(ids[4])
		failed.Outcome, failed.Data = job.Failed, job.RetryRecord{Attempts: 1, Error: "e"}.String()
		nobody := kept(job.EntryID{Ms: 1, Seq: 1})
		answers, err := a.member.Ack(c.ctx, 0, []job.PartitionAcks{
			{Partition: 1 - part, Epoch: 1, Completions: []job.Completion{nobody}},
			{Partition: part, Epoch: 1, Completions: []job.Completion{done(ids[0]), nobody, kept(ids[1]), done(ids[2]), nobody, done(ids[3]), failed}},
			{Partition: part, Epoch: 7, Completions: []job.Completion{done(ids[5]), nobody, kept(ids[0])}},
		})
		must(c.t, err)
		got := ""
		for _, b := range answers {
			for _, x := range b {
				got += string(rune(x))
			}
			got += " "
		}
		c.expect("answers", got, "U OUOOUOO FGG ")
		c.expect("still pending", idsOf(must1(a.readers[0].History(c.ctx, part))(c.t)), ids[4:])
	})
}

func TestAckOfManyIDs(t *testing.T) {
	for _, pinned := range []bool{false, true} {
		eachCrew(t, Queue{}, func(c *crew) {
			a := c.give(c.join("a.1"))
			ids := c.add(3000, "k")
			c.expect("read", len(a.read(0)), 3000)
			var cs []job.Completion
			for _, id := range ids[1:] {
				cs = append(cs, done(id))
			}
			answers := must1(a.member.Ack(c.ctx, 0, []job.PartitionAcks{{Partition: 0, Epoch: 1, Pinned: pinned, Completions: cs}}))(c.t)
			c.expect("answers", strings.Count(string(rune(answers[0][0])), "O")*len(answers[0]), 2999)
			want := int64(3000) // the first one holds the mark down
			if pinned {
				want = 1
			}
			c.expect("left", c.xlen(0), want)
			c.expect("ack", a.ack(0, 1, done(ids[0])), "O")
			c.expect("left", c.xlen(0), 0)
		})
	}
}

// More than one page of XPENDING, with permits at the pages' edges.
func TestFlipWithManyPending(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		ids := c.add(1500, "k")
		a.read(0)
		running := []job.EntryID{ids[0], ids[998], ids[999], ids[1000], ids[1001], ids[1499]}
		a.handTo(b, 0, 1, append(slices.Clone(running), job.EntryID{Ms: 1, Seq: 1})...)
		rest := slices.DeleteFunc(slices.Clone(ids), func(id job.EntryID) bool { return slices.Contains(running, id) })
		pages := b.claimAll(0, 2, 256)
		if got := claimed(pages); !slices.Equal(got, rest) {
			c.t.Errorf("claimed %d entries of %d, or in another order", len(got), len(rest))
		}
		var permits []job.EntryID
		for _, p := range pages[len(pages)-1].Permits {
			permits = append(permits, p.ID)
		}
		c.expect("permits", permits, running)
		var cs []job.Completion
		for _, id := range running {
			cs = append(cs, done(id))
		}
		c.expect("drainer", a.ack(0, 1, cs...), "DDDDDD")
		c.expect("nobody had the last one", a.ack(0, 1, done(job.EntryID{Ms: 1, Seq: 1})), "G")
		c.expect("own list", len(must1(b.readers[0].History(c.ctx, 0))(c.t)), len(rest))
	})
}

// On the real server alone: the in-memory store claims entries that do not exist.
func TestFlipWithDeletedEntries(t *testing.T) {
	c := realCrew(t, Queue{})
	a, b, d := c.give(c.join("a.1")), c.join("b.1"), c.join("d.1")
	ids := c.add(5, "k")
	a.read(0)
	must(t, c.raw.XDel(c.ctx, c.stream(0), ids[1].String(), ids[3].String()).Err())
	a.handTo(b, 0, 1, ids[0], ids[1])
	c.expect("claimed", claimed(b.claimAll(0, 2, 10)), []job.EntryID{ids[2], ids[4]})
	in := b.inbox()
	c.expect("draining", in[len(in)-1].Draining, ids[:1])
	if alarms := c.alarms(); len(alarms) != 1 || !strings.Contains(alarms[0], `"lost":2`) {
		t.Errorf("alarms %v", alarms)
	}
	c.expect("drainer", a.ack(0, 1, done(ids[0]), done(ids[1])), "DG")
	// Deleted after the flip: the claim counts it and goes on.
	more := c.add(2, "k")
	b.read(0)
	b.handTo(d, 0, 2)
	must(t, c.raw.XDel(c.ctx, c.stream(0), more[0].String()).Err())
	pages := d.claimAll(0, 3, 10)
	c.expect("claimed", claimed(pages), []job.EntryID{ids[2], ids[4], more[1]})
	c.expect("lost", pages[0].Lost, 1)
}

// A pending list with a full page of deleted messages: what lies behind is found. On the
// real server alone: the in-memory store leaves such entries out and has no pages.
func TestHistoryBehindDeletedEntries(t *testing.T) {
	c := realCrew(t, Queue{})
	a := c.give(c.join("a.1"))
	ids := c.add(historyPage+3, "k")
	a.read(0)
	for _, id := range ids[:historyPage] {
		must(t, c.raw.XDel(c.ctx, c.stream(0), id.String()).Err())
	}
	c.expect("history", idsOf(must1(a.readers[0].History(c.ctx, 0))(t)), ids[historyPage:])
}

// What brings work forward runs when memory is full. On the real server alone: the
// in-memory store has no bound.
func TestFullMemory(t *testing.T) {
	c := realCrew(t, Queue{Journal: true})
	a, b := c.give(c.join("a.1")), c.join("b.1")
	ids := c.add(4, "k")
	a.read(0)
	must(t, c.raw.ConfigSet(c.ctx, "maxmemory-policy", "noeviction").Err())
	must(t, c.raw.ConfigSet(c.ctx, "maxmemory", "1").Err())
	p := c.s.NewProducer(c.q)
	defer p.Close()
	for _, j := range []job.Job{{Type: "t", Key: "k"}, {Type: "t", Key: "k", IdempotencyKey: "i"}} {
		_, errs := p.Enqueue(c.ctx, j)
		if errs == nil || !errors.Is(errs[0], job.ErrFull) {
			t.Errorf("enqueue: %v", errs)
		}
	}
	c.expect("nothing was added", c.xlen(0), 4)
	failed := done(ids[1])
	failed.Outcome, failed.Data = job.Failed, "1|0|1|s|e"
	c.expect("ack", a.ack(0, 1, kept(ids[0]), failed), "OO")
	must(t, c.raw.Del(c.ctx, c.key(0, "alive:a.1")).Err())
	c.expect("heartbeat", must1(a.member.Heartbeat(c.ctx))(t)[0].Fenced, false)
	c.expect("the lease is back", c.exists(0, "alive:a.1"), 1)
	a.handTo(b, 0, 1, ids[1])
	c.expect("claim", claimed(b.claimAll(0, 2, 10)), ids[2:])
	c.expect("drainer", a.ack(0, 1, kept(ids[1])), "D")
	must(t, b.member.Report(c.ctx, 0, must1(c.ring.Look(c.ctx))(t).Epoch, 2, `{}`))
	c.evict(b)
	must(t, c.plan("key", a.inc))
	must(t, c.steal(0, b.inc, 2, a.inc))
	c.expect("claim", claimed(a.claimAll(0, 3, 10)), ids[2:])
	c.join("late.1")
	if _, err := c.s.CreateQueue(c.ctx, Queue{Name: c.q.Name}); err != nil {
		t.Errorf("a worker's first step with a queue that exists: %v", err)
	}
	if _, err := c.s.CreateQueue(c.ctx, Queue{Name: "other"}); !errors.Is(err, job.ErrFull) {
		t.Errorf("a new queue: %v", err)
	}
	must(t, c.raw.ConfigSet(c.ctx, "maxmemory", "0").Err())
	c.add(1, "k")
}

// A partition whose key holds something else stands still alone.
func TestJobStreamOfAnotherType(t *testing.T) {
	eachCrew(t, Queue{Partitions: 2}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		good := job.PartitionOf("k", 2)
		bad := 1 - good
		ids := c.add(2, "k")
		a.read(good)
		must(c.t, c.raw.Del(c.ctx, c.stream(bad)).Err())
		must(c.t, c.raw.Set(c.ctx, c.stream(bad), "x", 0).Err())
		p := c.s.NewProducer(c.q)
		defer p.Close()
		key := "a"
		for job.PartitionOf(key, 2) != bad {
			key += "a"
		}
		receipts, errs := p.Enqueue(c.ctx, job.Job{Type: "t", Key: key}, job.Job{Type: "t", Key: "k"})
		if len(errs) != 2 || errs[0] == nil || errs[1] != nil || receipts[1].ID == "" || IsUnreachable(errs[0]) || !strings.Contains(errs[0].Error(), "WRONGTYPE") {
			c.t.Errorf("enqueue: %v", errs)
		}
		answers, err := a.member.Ack(c.ctx, 0, []job.PartitionAcks{
			{Partition: bad, Epoch: 1, Completions: []job.Completion{done(ids[0]), kept(ids[0])}},
			{Partition: good, Epoch: 1, Completions: []job.Completion{done(ids[0]), kept(ids[1])}},
		})
		must(c.t, err)
		c.expect("answers", answers, [][]job.Answer{{job.NotPending, job.NotPending}, {job.ByOwner, job.ByOwner}})
		if _, err := c.ring.Permits(c.ctx, []int{bad, good}); err != nil {
			c.t.Errorf("permits: %v", err)
		}
		must(c.t, c.plan("ring", b.inc))
		_, relErrs := a.readers[0].Release(c.ctx, []job.Tenure{{Partition: bad, Epoch: 1}, {Partition: good, Epoch: 1}}, [][]job.EntryID{nil, nil}, false)
		if relErrs[0] == nil || relErrs[1] != nil {
			c.t.Errorf("release: %v", relErrs)
		}
		c.expect("owners", []string{c.owner(bad), c.owner(good)}, "[a.1 1 b.1 2]")
		// Its group is missing in the barrier's vector, which goes on.
		must(c.t, c.plan("ring", "a.1", "a.1"))
		must(c.t, c.raw.Del(c.ctx, c.key(0, "moves")).Err())
		e := must1(c.ring.Look(c.ctx))(c.t).Epoch
		for _, h := range []*hand{a, b} {
			must(c.t, h.member.Report(c.ctx, 0, e, 1, `{"epoch":"`+epochText(e)+`"}`))
		}
		c.expect("phase", must1(c.ring.Look(c.ctx))(c.t).Phase, 2)
	})
}

// Groups that somebody made by hand, one even under the target's name, do not stop a
// hand-over and do not outlive it.
func TestFlipDestroysForeignGroups(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		ids := c.add(2, "k")
		c.expect("read", a.read(0), ids)
		must(c.t, c.raw.XGroupCreate(c.ctx, c.stream(0), "stranger", "0").Err())
		must(c.t, c.raw.XGroupCreate(c.ctx, c.stream(0), b.inc, "0").Err())
		a.handTo(b, 0, 1, ids[0])
		groups := must1(c.raw.XInfoGroups(c.ctx, c.stream(0)).Result())(c.t)
		if len(groups) != 1 || groups[0].Name != b.inc {
			c.t.Errorf("groups %+v", groups)
		}
		c.expect("claimed", claimed(b.claimAll(0, 2, 10)), ids[1:])
		c.expect("nothing is read twice", len(b.read(0)), 0)
	})
}
