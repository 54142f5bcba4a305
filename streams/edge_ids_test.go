package streams

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// byHand adds a job under an id that somebody chose.
func (c *crew) byHand(p int, id job.EntryID, key string) job.EntryID {
	c.t.Helper()
	must(c.t, c.raw.XAdd(c.ctx, &redis.XAddArgs{Stream: c.stream(p), ID: id.String(), Values: []any{"type", "t", "key", key, "payload", "1"}}).Err())
	return id
}

// Ids have 64 bits, and the numbers of scripts and sorted sets keep 53 of them: what is parked near
// the end of the range is neither trimmed nor put out of order, and trimming fails no end.
func TestJobsAtTheEndOfTheIDs(t *testing.T) {
	for name, ms := range map[string]uint64{"beyond what a float keeps": 1<<53 + 1, "nearest float is above": math.MaxUint64 - 800, "last of all": math.MaxUint64 - 9} {
		t.Run(name, func(t *testing.T) {
			c := realCrew(t, Queue{}) // the in-memory store trims by numbers of 63 bits
			a := c.give(c.join("a.1"))
			var ids []job.EntryID
			for i := range uint64(8) {
				// Later ones have the smaller second half.
				ids = append(ids, c.byHand(0, job.EntryID{Ms: ms + i, Seq: 9 - i}, "k"))
			}
			c.expect("read", a.read(0), ids)
			c.expect("park", a.ack(0, 1, park(ids[3], "k"), park(ids[4], "k"), park(ids[5], "k")), "OOO")
			for _, id := range []job.EntryID{ids[0], ids[1], ids[2], ids[6], ids[7]} {
				c.expect("end", a.ack(0, 1, kept(id)), "O")
			}
			one := job.Tenure{Partition: 0, Epoch: 1}
			page := must1(unpark(c.ctx, a.readers[0], one, "k", 2))(c.t)
			c.expect("first page", idsOf(page.Entries), ids[3:5])
			// Back behind one that stayed.
			c.expect("park again", a.ack(0, 1, park(ids[4], "k"), park(ids[3], "k")), "OO")
			page = must1(unpark(c.ctx, a.readers[0], one, "k", 9))(c.t)
			c.expect("all", idsOf(page.Entries), ids[3:6])
			c.expect("end", a.ack(0, 1, done(ids[3]), done(ids[4]), done(ids[5])), "OOO")
			c.expect("nothing is left", c.xlen(0), 0)
			c.expect("alarms", c.alarms(), "[]")
		})
	}
}

// Trimming is not needed for the end of a job.
func TestATrimThatFailsFailsNoEnd(t *testing.T) {
	eachCrew(t, Queue{Partitions: 2}, func(c *crew) {
		a := c.give(c.join("a.1"))
		p := job.PartitionOf("k", 2)
		ids := c.add(3, "k")
		a.read(p)
		must(c.t, c.raw.Set(c.ctx, c.key(p, "parked:"+strconv.Itoa(p)), "written by hand", 0).Err())
		for i, id := range ids {
			c.expect("end", a.ack(p, 1, kept(id)), "O")
			c.expect("its effect", c.exists(p, "result:"+strconv.Itoa(p)+"-"+id.String()), 1)
			c.expect("once", a.ack(p, 1, kept(id)), "U")
			if alarms := c.alarms(); len(alarms) != 1 || !strings.Contains(alarms[0], "stream is not trimmed: WRONGTYPE") {
				c.t.Errorf("alarms after %d ends: %v", i+1, alarms)
			}
		}
		must(c.t, c.raw.Del(c.ctx, c.key(p, "parked:"+strconv.Itoa(p))).Err())
		more := c.add(1, "k")
		a.read(p)
		c.expect("end", a.ack(p, 1, done(more[0])), "O")
		c.expect("left", c.xlen(p), 0)
	})
}

// Messages tell of what was done: they never undo it. Streams whose ids are used up take none.
func TestMessagesThatCannotBeWrittenUndoNothing(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		ids := c.add(3, "k")
		a.read(0)
		last := &redis.XAddArgs{ID: "18446744073709551615-18446744073709551615", Values: []any{"type", "poke"}}
		for _, key := range []string{"control", "control:b.1"} {
			last.Stream = c.key(0, key)
			must(c.t, c.raw.XAdd(c.ctx, last).Err())
		}
		must(c.t, c.raw.HSet(c.ctx, c.key(0, "change"), "b.1", "rubbish").Err())
		a.handTo(b, 0, 1, ids[0])
		c.expect("owner", c.owner(0), "b.1 2")
		c.expect("the permit is used", a.ack(0, 1, kept(ids[0])), "D")
		c.expect("its effect", c.exists(0, "result:0-"+ids[0].String()), 1)
		c.expect("once", a.ack(0, 1, kept(ids[0])), "G")
		c.expect("claimed", claimed(b.claimAll(0, 2, 10)), ids[1:])
		if n := b.change(); n < 1_000_000_000 {
			c.t.Errorf("change number %d: one that was lost must not begin below those that were seen", n)
		}
	})
}

// An effect that cannot be written leaves the job pending: it is not ended without its dead letter.
func TestAnEndWithoutItsRecordIsNoEnd(t *testing.T) {
	for _, hinders := range []string{"dead:0", "journal:0", "parked:0:k"} {
		eachCrew(t, Queue{Journal: true}, func(c *crew) {
			a := c.give(c.join("a.1"))
			id := c.add(1, "k")[0]
			a.read(0)
			end := done(id)
			end.Outcome, end.Data = job.Buried, `{"error":"e"}`
			if hinders == "parked:0:k" {
				end = park(id, "k")
			}
			must(c.t, c.raw.Set(c.ctx, c.key(0, hinders), "written by hand", 0).Err())
			if _, err := a.member.Ack(c.ctx, 0, []job.PartitionAcks{{Partition: 0, Epoch: 1, Completions: []job.Completion{end}}}); err == nil {
				c.t.Errorf("%s: ended", hinders)
			}
			c.expect("still pending for", c.holder(0, id), "a.1")
			must(c.t, c.raw.Del(c.ctx, c.key(0, hinders)).Err())
			c.expect("then it ends", a.ack(0, 1, end), "O")
			c.expect("with its record", c.exists(0, hinders), 1)
		})
	}
}

// A batch has ids of one millisecond, one after the other. Where they would not fit it begins with the
// next; half of it is never added.
func TestABatchAtTheEndOfAMillisecond(t *testing.T) {
	c := realCrew(t, Queue{}) // the in-memory store does not know ids of the form <ms>-*
	last := c.byHand(0, job.EntryID{Ms: 1 << 50, Seq: math.MaxUint64 - 2}, "")
	ids := c.add(5, "")
	for i, id := range ids {
		c.expect("id", id, job.EntryID{Ms: last.Ms + 1, Seq: uint64(i)})
	}
	c.expect("entries", c.xlen(0), 6)
	c.expect("entries ever added", c.everAdded(0), 6) // by which an audit finds what was lost
	c.byHand(0, job.EntryID{Ms: math.MaxUint64, Seq: math.MaxUint64 - 2}, "")
	p := c.s.NewProducer(c.q)
	defer p.Close()
	_, errs := p.Enqueue(c.ctx, make5(job.Job{Type: "t"})...)
	if len(errs) != 5 || errs[0] == nil {
		t.Errorf("added beyond the last id: %v", errs)
	}
	c.expect("entries", c.xlen(0), 7)
	c.expect("entries ever added", c.everAdded(0), 7)
}

func (c *crew) everAdded(p int) int64 {
	c.t.Helper()
	info, err := c.raw.XInfoStream(c.ctx, c.stream(p)).Result()
	must(c.t, err)
	return info.EntriesAdded
}

func make5(j job.Job) []job.Job { return []job.Job{j, j, j, j, j} }
