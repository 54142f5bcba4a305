package streams

import (
	"errors"
	"testing"
	"time"

	"ringmaster/job"
	"ringmaster/resize"
)

func TestReadBringsMessagesAndJobs(t *testing.T) {
	eachCrew(t, Queue{Partitions: 3}, func(c *crew) {
		a := c.join("a.1")
		c.give(a)
		k := job.PartitionOf("k", 3)
		ids := c.add(5, "k")
		other := c.add(1, "")
		b := must1(a.readers[0].Read(c.ctx, []int{0, 1, 2}, 3, -1))(c.t)
		c.expect("messages", len(b.Control), 3)
		var controls []string
		for _, e := range b.Control {
			m, err := resize.Decode(e.Fields)
			if err != nil || m.Phase != resize.Syncing {
				c.t.Errorf("%v %v", m, err)
			}
			controls = append(controls, e.ID)
		}
		n := 0
		for _, p := range b.Jobs {
			n += len(p.Entries)
			if p.Partition == k {
				c.expect("at most count of each", idsOf(p.Entries)[:3], ids[:3])
				c.expect("payload", string(p.Entries[2].Payload), "2")
			}
		}
		if n < 3 || n > 4 {
			c.t.Errorf("%d entries; %v", n, other)
		}
		must(c.t, a.readers[0].AckControl(c.ctx, controls))
		must1(a.readers[0].Read(c.ctx, nil, 3, -1))(c.t) // it goes with the next read
		pending := must1(c.raw.XPending(c.ctx, inboxKey(c.s.shard(c.q, 0), "a.1"), "a.1").Result())(c.t)
		c.expect("messages pending", pending.Count, 0)
	})
}

func TestReadEndsInTimeAndByPoke(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a := c.join("a.1")
		c.give(a)
		must1(a.readers[0].Read(c.ctx, []int{0}, 10, -1))(c.t) // its messages
		for _, block := range []time.Duration{-1, 0, time.Microsecond, 20 * time.Millisecond} {
			b := must1(a.readers[0].Read(c.ctx, []int{0}, 10, block))(c.t)
			c.expect("nothing", len(b.Control)+len(b.Jobs), 0)
		}
		ended := make(chan error, 1)
		waits := c.blocked(a)
		go func() {
			b, err := a.readers[0].Read(c.ctx, []int{0}, 10, time.Minute)
			if err == nil && (len(b.Control) != 1 || b.Control[0].Fields["type"] != "poke") {
				err = errors.New("it was not the poke that ended the read")
			}
			ended <- err
		}()
		waits()
		must(c.t, a.member.Poke(c.ctx, 0))
		must(c.t, <-ended)
		c.evict(a)
		must(c.t, a.member.Poke(c.ctx, 0)) // no inbox comes into being by it
		c.expect("inbox", c.exists(0, "control:a.1"), 0)
	})
}

func TestCloseEndsABlockedRead(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a := c.join("a.1")
		c.give(a)
		must1(a.readers[0].Read(c.ctx, []int{0}, 10, -1))(c.t)
		ended := make(chan error, 1)
		waits := c.blocked(a)
		go func() {
			_, err := a.readers[0].Read(c.ctx, []int{0}, 10, time.Minute)
			ended <- err
		}()
		waits()
		must(c.t, a.readers[0].Close())
		if err := <-ended; err == nil && c.kind == "real" {
			c.t.Error("a closed reader's read succeeded")
		}
		if _, err := a.readers[0].Read(c.ctx, []int{0}, 10, -1); err == nil {
			c.t.Error("a read after Close succeeded")
		}
		if err := a.readers[0].Reset(c.ctx); err == nil {
			if _, err := a.readers[0].Read(c.ctx, []int{0}, 10, -1); err == nil {
				c.t.Error("Reset opened a closed reader")
			}
		}
	})
}

// Entries that anybody may have written: what cannot be read comes out whole, as broken.
func TestEntriesOfOthers(t *testing.T) {
	eachCrew(t, Queue{Partitions: 2}, func(c *crew) {
		a := c.join("a.1")
		c.give(a)
		p := job.PartitionOf("k", 2)
		for _, fields := range [][]any{
			{"payload", "x y", "key", "k", "type", "t", "color", "red"},
			{"type", "t", "type", "u"},
			{"key", "k"},
		} {
			must(c.t, c.raw.Do(c.ctx, append([]any{"XADD", c.stream(p), "*"}, fields...)...).Err())
		}
		must(c.t, c.raw.Do(c.ctx, "XADD", c.stream(1-p), "*", "type", "t", "key", "k").Err())
		b := must1(a.readers[0].Read(c.ctx, []int{p}, 10, -1))(c.t)
		es := b.Jobs[0].Entries
		if es[0].Broken != nil || es[0].Type != "t" || es[0].Key != "k" || string(es[0].Payload) != `"x y"` {
			c.t.Errorf("%+v", es[0])
		}
		for _, e := range es[1:] {
			if e.Broken == nil || len(e.Broken.Fields) == 0 {
				c.t.Errorf("%+v", e)
			}
		}
		b = must1(a.readers[0].Read(c.ctx, []int{1 - p}, 10, -1))(c.t)
		if e := b.Jobs[0].Entries[0]; e.Broken == nil {
			c.t.Errorf("a key in another partition: %+v", e)
		}
	})
}

// What was told while a claim was under way comes along with its answer, and new jobs of open
// partitions; each once and in order.
func TestAClaimBringsAlongWhatCameMeanwhile(t *testing.T) {
	eachCrew(t, Queue{Partitions: 2}, func(c *crew) {
		a := c.join("a.1")
		c.give(a)
		r := a.readers[0]
		must1(r.Read(c.ctx, nil, 10, -1))(c.t) // what it was given
		poke := func() { must(c.t, a.member.Poke(c.ctx, 0)) }
		poke()
		poke()
		key := "k"
		p := job.PartitionOf(key, 2)
		ids := c.add(3, key)
		got := r.Claim(c.ctx, []job.Tenure{{Partition: 1 - p, Epoch: 1}}, []string{""}, 10, []int{p}, 2)
		must(c.t, got.Errs[0])
		must(c.t, got.AlongErr)
		poke()
		along := got.Along
		c.expect("messages along", len(along.Control), 2)
		c.expect("jobs along", idsOf(along.Jobs[0].Entries), ids[:2])
		b := must1(r.Read(c.ctx, []int{p}, 10, -1))(c.t)
		c.expect("messages after", len(b.Control), 1)
		c.expect("jobs after", idsOf(b.Jobs[0].Entries), ids[2:])
		for _, e := range append(along.Control, b.Control...) {
			must(c.t, r.AckControl(c.ctx, []string{e.ID}))
		}
		must1(r.Read(c.ctx, nil, 10, -1))(c.t)
		pending := must1(c.raw.XPending(c.ctx, inboxKey(c.s.shard(c.q, 0), "a.1"), "a.1").Result())(c.t)
		c.expect("not acknowledged", pending.Count, 2) // what it was given
	})
}

// A claim whose answer was lost may have brought jobs along that nobody knows of.
func TestWhatCameAlongMayBeUnknown(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a := c.join("a.1")
		c.give(a)
		must(c.t, a.readers[0].Close())
		got := a.readers[0].Claim(c.ctx, []job.Tenure{{Partition: 0, Epoch: 1}}, []string{""}, 10, []int{0}, 2)
		if err := got.AlongErr; got.Errs[0] == nil || !errors.Is(err, job.ErrOutcomeUnknown) && !errors.Is(err, job.ErrUnavailable) {
			c.t.Errorf("claim: %v, along: %v", got.Errs[0], err)
		}
	})
}
