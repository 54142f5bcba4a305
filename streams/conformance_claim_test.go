package streams

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
	"ringmaster/recovery"
)

func TestClaimInOrderPageByPage(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		ids := c.add(70, "k")
		a.read(0)
		c.record(0, ids[5], "2|0|0|s|e")
		// Permits lie between: the claim must step over runs of them and go on.
		a.handTo(b, 0, 1, ids[10:40]...)
		stale := b.readers[0].Claim(c.ctx, []job.Tenure{{Partition: 0, Epoch: 1}}, []string{""}, 7, nil, 16)
		must(c.t, stale.Errs[0])
		c.expect("a claim at another epoch is fenced", stale.Pages[0].Fenced, true)
		pages := b.claimAll(0, 2, 7)
		c.expect("claimed", claimed(pages), slices.Concat(ids[:10], ids[40:]))
		if len(pages) < 6 {
			c.t.Errorf("%d pages", len(pages))
		}
		c.expect("retry record", pages[0].Entries[5].Retry, "2|0|0|s|e")
		c.expect("another's retry record", pages[0].Entries[4].Retry, "")
		c.expect("a second pass finds nothing", claimed(b.claimAll(0, 2, 7)), "[]")
		own, err := b.readers[0].History(c.ctx, 0)
		must(c.t, err)
		c.expect("own pending list", idsOf(own), slices.Concat(ids[:10], ids[40:]))
		c.expect("with retry records", own[5].Retry, "2|0|0|s|e")
	})
}

// What is enqueued between a read and its ack is never trimmed away.
func TestLowWaterMark(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a := c.give(c.join("a.1"))
		first := c.add(3, "k")
		c.expect("read", a.read(0), first)
		between := c.add(2, "k")
		c.expect("ack", a.ack(0, 1, done(first[0]), done(first[2])), "OO")
		c.expect("held down by the pending one", c.xlen(0), 4) // first[1] and what follows
		c.expect("ack", a.ack(0, 1, done(first[1])), "O")
		c.expect("up to the last one read", c.xlen(0), 2)
		c.expect("all of it is found", a.read(0), between)
		c.expect("ack", a.ack(0, 1, done(between[0]), kept(between[1])), "OO")
		c.expect("nothing is left", c.xlen(0), 0)
		more := c.add(1, "k")
		c.expect("ids go on", more[0].Compare(between[1]) > 0, true)
		c.expect("read", a.read(0), more)
	})
}

// A server that went back in time has handed out less than its readers remember. What it
// hands out again is not trimmed away by their acks. On a real server alone: the in-memory
// store cannot set a group back.
func TestLowWaterMarkOfAServerThatWentBack(t *testing.T) {
	c := realCrew(t, Queue{})
	a := c.give(c.join("a.1"))
	ids := c.add(3, "k")
	c.expect("read", a.read(0), ids)
	must(t, c.raw.XGroupSetID(c.ctx, "rm:{q}:jobs:0", "a.1", ids[0].String()).Err())
	must(t, c.raw.XAck(c.ctx, "rm:{q}:jobs:0", "a.1", ids[1].String(), ids[2].String()).Err())
	c.expect("ack", a.ack(0, 1, done(ids[0])), "O")
	c.expect("handed out again", a.read(0), ids[1:])
	c.expect("ack", a.ack(0, 1, done(ids[1]), done(ids[2])), "OO")
	c.expect("nothing is left", c.xlen(0), 0)
}

func TestDrainersAndMarkedEntriesHoldTheMark(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		ids := c.add(5, "k")
		a.read(0)
		a.handTo(b, 0, 1, ids[1])
		b.claimAll(0, 2, 10)
		c.expect("ack", b.ack(0, 2, done(ids[0]), done(ids[2]), done(ids[3]), done(ids[4])), "OOOO")
		c.expect("the drainer's entry stays", c.xlen(0), 4)
		c.expect("drainer", a.ack(0, 1, done(ids[1])), "D")
		next := c.add(1, "k")
		b.read(0)
		c.expect("ack", b.ack(0, 2, done(next[0])), "O")
		c.expect("nothing is left", c.xlen(0), 0)
	})
}

func TestPinnedDeletesWhatIsAcked(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a := c.give(c.join("a.1"))
		ids := c.add(6, "k")
		a.read(0)
		failed := done(ids[3])
		failed.Outcome, failed.Data = job.Failed, job.RetryRecord{Attempts: 1, Error: "e"}.String()
		answers, err := a.member.Ack(c.ctx, 0, []job.PartitionAcks{{Partition: 0, Epoch: 1, Pinned: true,
			Completions: []job.Completion{done(ids[1]), kept(ids[2]), failed}}})
		must(c.t, err)
		c.expect("answers", answers, [][]job.Answer{{job.ByOwner, job.ByOwner, job.ByOwner}})
		c.expect("left", c.xlen(0), 4)
		own, err := a.readers[0].History(c.ctx, 0)
		must(c.t, err)
		c.expect("still pending", idsOf(own), []job.EntryID{ids[0], ids[3], ids[4], ids[5]})
	})
}

// A crash is counted exactly as recovery states it, whatever the record was.
func TestCrashCounting(t *testing.T) {
	records := []string{"", "0|0|0||", "3|77|0||e", "0|0|1||", "0|0|1|s.1|", "2|5|1|s.1|a|b\nc", "0|0|2/s@5|s.1|", "0|0|3/s@5,a2@9|a1.1.99999999999999|x",
		"0|0|3|a1.1.5|", "0|0|2|a16.1.99999999999999|", "0|0|0|s.1|", "0|0|0|s.2|", "0|0|1/h@4|s.1|", "0|0|2|s.2|", "0|0|2/s@5|a1.2.99999999999999|", "1|0|2||", "junk",
		"0|0|65/" + strings.Repeat("s@5,", 63) + "s@6|s.1|"}
	for _, how := range []string{"steal", "revoke"} {
		t.Run(how, func(t *testing.T) {
			eachCrew(t, Queue{}, func(c *crew) {
				a, b := c.give(c.join("a.1")), c.join("b.1")
				ids := c.add(len(records)+1, "k")
				a.read(0)
				for i, rec := range records {
					if rec != "" {
						c.record(0, ids[i], rec)
					}
				}
				last := len(records) // handed to nobody in particular: a job that was not read counts nothing
				if how == "steal" {
					must(c.t, c.plan("key", b.inc))
					c.evict(a)
					must(c.t, c.steal(0, a.inc, 1, b.inc))
				} else {
					a.handTo(b, 0, 1, ids[:last]...)
					c.evict(a)
					permits, err := c.ring.Permits(c.ctx, []int{0})
					must(c.t, err)
					for _, h := range permits {
						must(c.t, c.ring.Revoke(c.ctx, c.term, h))
					}
				}
				died, err := a.member.Deaths(c.ctx, 0)
				must(c.t, err)
				c.expect("deaths", len(died), 1)
				entries := map[job.EntryID]string{}
				for _, p := range b.claimAll(0, 2, 4) {
					for _, e := range p.Entries {
						entries[e.ID] = e.Retry
					}
				}
				for i, rec := range records {
					before, _ := job.ParseRetry(rec) // what is not readable counts as no record
					c.expect(strconv.Quote(rec), strconv.Quote(entries[ids[i]]), strconv.Quote(recovery.Crashed(before, 1, died[0]).String()))
				}
			})
		})
	}
}

func TestGivenUpPartitionCountsNoCrash(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		c.add(2, "k")
		a.read(0)
		a.handTo(b, 0, 1)
		b.claimAll(0, 2, 10)
		c.expect("records", c.exists(0, "retry:0"), 0)
	})
}

// unpark brings back at most n parked jobs of a key.
func unpark(ctx context.Context, r *Reader, t job.Tenure, key string, n int) (job.UnparkPage, error) {
	pages, errs := r.Unpark(ctx, []job.Unpark{{Tenure: t, Key: key, Count: n}})
	return pages[0], errs[0]
}

// skim reads at most n new jobs, and so many of them for the caller.
func skim(ctx context.Context, r *Reader, t job.Tenure, n int) (job.SkimPage, error) {
	pages, errs := r.Skim(ctx, []job.Skim{{Tenure: t, Room: n, Most: n}})
	return pages[0], errs[0]
}

func park(id job.EntryID, key string) job.Completion {
	x := done(id)
	x.Outcome, x.Key = job.Parked, key
	return x
}

// A call that parks was given up and repeated, and the job has come back: when the first
// call arrives at last it must not park the job again, which by now runs.
func TestLateCallParksNothing(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a := c.give(c.join("a.1"))
		ids := c.add(2, "k")
		a.read(0)
		a.member.calls.Store(1)
		c.expect("the repeated call", a.ack(0, 1, park(ids[1], "k")), "O")
		page, err := unpark(c.ctx, a.readers[0], job.Tenure{Partition: 0, Epoch: 1}, "k", 10)
		must(c.t, err)
		c.expect("back", idsOf(page.Entries), ids[1:])
		a.member.calls.Store(0)
		batch := []job.PartitionAcks{{Partition: 0, Epoch: 1, Completions: []job.Completion{park(ids[1], "k")}}}
		if _, err := a.member.Ack(c.ctx, 0, batch); err == nil || !strings.Contains(err.Error(), "LATE") {
			c.t.Fatalf("the first call: %v", err)
		}
		c.expect("parked", c.exists(0, "parked:0:k"), 0)
		c.expect("pending", c.holder(0, ids[1]), "a.1")
		c.expect("others go on", a.ack(0, 1, done(ids[0]), done(ids[1])), "OO")
	})
}

func TestParkedJobsComeBackInOrder(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		key := "k:{x}:0"
		ids := c.add(8, key)
		a.read(0)
		c.record(0, ids[3], "1|0|1||e")
		c.expect("park", a.ack(0, 1, park(ids[2], key), park(ids[3], key), park(ids[4], key), park(ids[5], key)), "OOOO")
		c.expect("ack", a.ack(0, 1, done(ids[0]), done(ids[1]), done(ids[6]), done(ids[7])), "OOOO")
		// The low-water mark goes by whole milliseconds below a parked job: what shares its
		// millisecond may stay.
		kept := c.xlen(0)
		if kept < 6 {
			c.t.Fatalf("%d entries left: parked jobs were trimmed away", kept)
		}
		a.handTo(b, 0, 1)
		pages := b.claimAll(0, 2, 10)
		c.expect("parked", pages[0].Parked, []job.ParkedKey{{Key: key, First: ids[2]}})
		t1 := job.Tenure{Partition: 0, Epoch: 2}
		page, err := unpark(c.ctx, b.readers[0], t1, key, 3)
		must(c.t, err)
		c.expect("first page", idsOf(page.Entries), ids[2:5])
		c.expect("its record", page.Entries[1].Retry, "1|0|1||e")
		c.expect("left", page.Left, 1)
		c.expect("first of the rest", page.First, ids[5])
		// Two of them go back, behind a later one that stayed: the order must not turn.
		c.expect("park again", b.ack(0, 2, park(ids[3], key), park(ids[4], key)), "OO")
		c.expect("ack", b.ack(0, 2, done(ids[2])), "O")
		if n := c.xlen(0); n < 5-2 {
			c.t.Fatalf("%d entries left: parked jobs were trimmed away", n)
		}
		page, err = unpark(c.ctx, b.readers[0], t1, key, 10)
		must(c.t, err)
		c.expect("second page", idsOf(page.Entries), ids[3:6])
		c.expect("left", page.Left, 0)
		c.expect("ack", b.ack(0, 2, done(ids[3]), done(ids[4]), done(ids[5])), "OOO")
		c.expect("nothing is left", c.xlen(0), 0)
		c.expect("nor of the lists", c.exists(0, "parked:0", "parked:0:"+key), 0)
		page, err = unpark(c.ctx, b.readers[0], job.Tenure{Partition: 0, Epoch: 1}, key, 10)
		must(c.t, err)
		c.expect("another epoch is fenced", page.Fenced, true)
	})
}

// A part of a key's parked jobs comes back: the index tells of the first that stays, so that the next
// owner finds it and what lies before it is trimmed, and of nothing once all are back.
func TestTheIndexOfParkedJobsFollowsThem(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		var ids []job.EntryID
		const base = 1 << 42 // beyond the clock: ids of a new stream go on from its creation
		for ms := uint64(base + 1000); ms <= base+4000; ms += 1000 {
			ids = append(ids, job.EntryID{Ms: ms})
			must(c.t, c.raw.XAdd(c.ctx, &redis.XAddArgs{Stream: c.stream(0), ID: ids[len(ids)-1].String(), Values: []any{"type", "t", "key", "k"}}).Err())
		}
		index := func() any { return c.raw.ZRangeWithScores(c.ctx, c.key(0, "parked:0"), 0, -1).Val() }
		a.read(0)
		c.expect("park", a.ack(0, 1, park(ids[1], "k"), park(ids[2], "k")), "OO")
		c.expect("ack", a.ack(0, 1, done(ids[0]), done(ids[3])), "OO")
		c.expect("index", index(), []redis.Z{{Score: base + 2000, Member: "k"}})
		page := must1(unpark(c.ctx, a.readers[0], job.Tenure{Partition: 0, Epoch: 1}, "k", 1))(c.t)
		c.expect("unparked", idsOf(page.Entries), ids[1:2])
		c.expect("index, with one left", index(), []redis.Z{{Score: base + 3000, Member: "k"}})
		a.handTo(b, 0, 1)
		pages := b.claimAll(0, 2, 10)
		c.expect("parked, as the next owner finds it", pages[0].Parked, []job.ParkedKey{{Key: "k", First: ids[2]}})
		c.expect("ack", b.ack(0, 2, done(ids[1])), "O")
		c.expect("entries from the first parked one on", c.xlen(0), 2)
		page = must1(unpark(c.ctx, b.readers[0], job.Tenure{Partition: 0, Epoch: 2}, "k", 1))(c.t)
		c.expect("unparked", idsOf(page.Entries), ids[2:3])
		c.expect("index, with none left", index(), []redis.Z{})
		c.expect("ack", b.ack(0, 2, done(ids[2])), "O")
		c.expect("entries", c.xlen(0), 0)
	})
}

// Parked jobs lie below everything that is pending, however far the reads went on.
func TestParkedJobsAreNotTrimmed(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a := c.give(c.join("a.1"))
		old := c.add(2, "k")
		a.read(0)
		c.expect("park", a.ack(0, 1, park(old[1], "k")), "O")
		for range 3 {
			more := c.add(5, "l")
			a.read(0)
			var cs []job.Completion
			for _, id := range more {
				cs = append(cs, done(id))
			}
			c.expect("ack", a.ack(0, 1, cs...), "OOOOO")
		}
		c.expect("ack", a.ack(0, 1, done(old[0])), "O")
		page, err := unpark(c.ctx, a.readers[0], job.Tenure{Partition: 0, Epoch: 1}, "k", 10)
		must(c.t, err)
		c.expect("unparked", idsOf(page.Entries), old[1:])
	})
}

// The call that parks a partition's first job trims it too, when nothing is pending any more.
func TestTheCallThatParksDoesNotTrimWhatItParked(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a := c.give(c.join("a.1"))
		ids := c.add(2, "k")
		a.read(0)
		c.expect("end and park", a.ack(0, 1, done(ids[0]), park(ids[1], "k")), "OO")
		page, err := unpark(c.ctx, a.readers[0], job.Tenure{Partition: 0, Epoch: 1}, "k", 10)
		must(c.t, err)
		c.expect("unparked", idsOf(page.Entries), ids[1:])
	})
}

func TestMark(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		id := c.add(1, "k")[0]
		a.read(0)
		one := job.Tenure{Partition: 0, Epoch: 1}
		record := func() job.RetryRecord {
			r, err := job.ParseRetry(c.raw.HGet(c.ctx, c.key(0, "retry:0"), id.String()).Val())
			must(c.t, err)
			return r
		}
		c.record(0, id, "2|7|1/s@9|s.7|e|f")
		for _, wrong := range []func() error{
			func() error { return a.member.Mark(c.ctx, job.Tenure{Partition: 0, Epoch: 2}, id, 0, 0) },
			func() error { return b.member.Mark(c.ctx, one, id, 0, 0) },
		} {
			if err := wrong(); !errors.Is(err, job.ErrFenced) {
				c.t.Errorf("mark by another: %v", err)
			}
		}
		c.expect("record", record().String(), "2|7|1/s@9|s.7|e|f")
		must(c.t, a.member.Mark(c.ctx, one, id, 0, 0))
		c.expect("among others", record().String(), "2|7|1/s@9|s.1|e|f")
		must(c.t, a.member.Mark(c.ctx, one, id, 3, time.Hour))
		m := record().Mark
		if left := time.Until(m.Until); m.Runs != 3 || m.Epoch != 1 || left < 50*time.Minute || left > 70*time.Minute {
			c.t.Errorf("apart: %+v", m)
		}
		ended := done(id)
		ended.HasRetry = true
		c.expect("ack", a.ack(0, 1, ended), "O")
		c.expect("the record ends with the job", c.exists(0, "retry:0"), 0)
		must(c.t, a.member.Mark(c.ctx, one, id, 0, 0)) // of a job without a record
		c.expect("made", record().String(), "0|0|0|s.1|")
	})
}
