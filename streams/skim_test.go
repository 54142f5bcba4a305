package streams

import (
	"strings"
	"testing"

	"ringmaster/job"
)

// Of a key with parked jobs new ones are parked behind these as they are read; others come.
func TestWhatIsReadPastIsParked(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, one := c.give(c.join("a.1")), job.Tenure{Partition: 0, Epoch: 1}
		old := c.add(2, "k")
		a.read(0)
		c.expect("park", a.ack(0, 1, park(old[1], "k")), "O")
		k1, l1, k2, none, k3 := c.add(1, "k")[0], c.add(1, "l")[0], c.add(1, "k")[0], c.add(1, "")[0], c.add(1, "k")[0]
		page, err := skim(c.ctx, a.readers[0], one, 4)
		must(c.t, err)
		c.expect("read", page.Read, 4)
		c.expect("others", idsOf(page.Entries), []job.EntryID{l1, none})
		size := len(page.Entries[0].Payload)
		c.expect("parked", page.Parked, []job.ParkedJobs{{Key: "k", Count: 2, First: k1, Last: k2, Bytes: 2 * size, Largest: size}})
		page, err = skim(c.ctx, a.readers[0], one, 4)
		must(c.t, err)
		c.expect("parked", page.Parked, []job.ParkedJobs{{Key: "k", Count: 1, First: k3, Last: k3, Bytes: size, Largest: size}})
		c.expect("pending are the others", []string{c.holder(0, k1), c.holder(0, l1), c.holder(0, none)}, []string{"", "a.1", "a.1"})
		c.expect("ends", a.ack(0, 1, done(old[0]), done(l1), done(none)), "OOO")
		back, err := unpark(c.ctx, a.readers[0], one, "k", 10)
		must(c.t, err)
		c.expect("back", idsOf(back.Entries), []job.EntryID{old[1], k1, k2, k3})
		k4 := c.add(1, "k")[0]
		page, err = skim(c.ctx, a.readers[0], one, 4)
		must(c.t, err)
		c.expect("nothing is parked any more", idsOf(page.Entries), []job.EntryID{k4})
		page, err = skim(c.ctx, a.readers[0], one, 4)
		must(c.t, err)
		c.expect("the end", page, job.SkimPage{Entries: []job.Entry{}})
		page, err = skim(c.ctx, a.readers[0], job.Tenure{Partition: 0, Epoch: 2}, 4)
		must(c.t, err)
		c.expect("another epoch is fenced", page.Fenced, true)
	})
}

// Where somebody has damaged the list of a key, its jobs come to the caller: none is lost.
func TestWhatCannotBeParkedIsRead(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, one := c.give(c.join("a.1")), job.Tenure{Partition: 0, Epoch: 1}
		old := c.add(2, "k")
		a.read(0)
		c.expect("park", a.ack(0, 1, park(old[1], "k")), "O")
		must(c.t, c.raw.Set(c.ctx, c.key(0, "parked:0:k"), "rubbish", 0).Err())
		k1, l1, k2 := c.add(1, "k")[0], c.add(1, "l")[0], c.add(1, "k")[0]
		page, err := skim(c.ctx, a.readers[0], one, 4)
		must(c.t, err)
		c.expect("read", idsOf(page.Entries), []job.EntryID{k1, l1, k2})
		c.expect("ends", a.ack(0, 1, done(k1), done(l1), done(k2)), "OOO")
	})
}

// A call may leave the stream untrimmed: the next one that does not makes up for it.
func TestACallMayLeaveTheStreamUntrimmed(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a := c.give(c.join("a.1"))
		ids := c.add(3, "k")
		a.read(0)
		batch := []job.PartitionAcks{{Partition: 0, Epoch: 1, Untrimmed: true, Completions: []job.Completion{done(ids[0]), done(ids[1])}}}
		answers, err := a.member.Ack(c.ctx, 0, batch)
		must(c.t, err)
		c.expect("answers", answers, [][]job.Answer{{job.ByOwner, job.ByOwner}})
		c.expect("entries", c.xlen(0), 3)
		c.expect("ack", a.ack(0, 1, done(ids[2])), "O")
		c.expect("entries", c.xlen(0), 0)
	})
}

// Where somebody has damaged the list of one key, the others get their jobs back, and no page twice.
func TestADamagedListStopsNoOtherKey(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, one := c.give(c.join("a.1")), job.Tenure{Partition: 0, Epoch: 1}
		k, l := c.add(2, "k"), c.add(2, "l")
		a.read(0)
		c.expect("park", a.ack(0, 1, park(k[1], "k"), park(l[1], "l")), "OO")
		must(c.t, c.raw.Set(c.ctx, c.key(0, "parked:0:l"), "rubbish", 0).Err())
		pages, errs := a.readers[0].Unpark(c.ctx, []job.Unpark{{Tenure: one, Key: "k", Count: 5}, {Tenure: one, Key: "l", Count: 5}})
		must(c.t, errs[0])
		c.expect("back", idsOf(pages[0].Entries), k[1:])
		if errs[1] == nil || !strings.Contains(errs[1].Error(), "WRONGTYPE") {
			c.t.Errorf("the damaged one: %+v, %v", pages[1], errs[1])
		}
	})
}

// Jobs may come to a list behind which later ones are: they go to their places.
func TestParkedJobsAreInOrderHoweverTheyCome(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a := c.give(c.join("a.1"))
		ids := c.add(400, "k")
		for n := 0; n < len(ids); {
			n += len(a.read(0))
		}
		for _, from := range []int{200, 150, 350, 300, 250, 100} {
			var cs []job.Completion
			for _, id := range ids[from : from+50] {
				cs = append(cs, park(id, "k"))
			}
			a.ack(0, 1, cs...)
		}
		page := must1(unpark(c.ctx, a.readers[0], job.Tenure{Partition: 0, Epoch: 1}, "k", 300))(c.t)
		c.expect("back", idsOf(page.Entries), ids[100:400])
		c.expect("left", page.Left, 0)
	})
}

// Of an evicted worker nobody knows which call was the newest: it parks nothing, however late a call of it comes.
func TestWhoIsNoMemberParksNothing(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a := c.give(c.join("a.1"))
		ids := c.add(2, "k")
		a.read(0)
		must(c.t, c.raw.HDel(c.ctx, c.key(0, "members"), "a.1").Err())
		c.expect("park", a.ack(0, 1, park(ids[1], "k")), "F")
		c.expect("pending", c.holder(0, ids[1]), "a.1")
		c.expect("parked", c.exists(0, "parked:0:k"), 0)
	})
}
