package streams

import (
	"errors"
	"testing"

	"ringmaster/job"
)

// TestWhatWasDeletedIsNotToldAsCompleted: jobs that somebody deletes while they wait for an owner, run at
// one that dies, are claimed, or are set aside. Those beside them are told as they are.
func TestWhatWasDeletedIsNotToldAsCompleted(t *testing.T) {
	c := realCrew(t, Queue{})
	a, b, d := c.join("a.1"), c.join("b.1"), c.join("d.1")
	ids := c.add(12, "")
	idOf := func(id job.EntryID) string { return job.ID{Partition: 0, Entry: id}.String() }
	remove := func(all ...job.EntryID) {
		for _, id := range all {
			must(t, c.raw.XDel(c.ctx, c.stream(0), id.String()).Err())
		}
	}
	state := func(id job.EntryID) job.State {
		t.Helper()
		st, err := c.s.Inspect().Job(c.ctx, c.q.Name, idOf(id))
		if st.State == job.Unknown && (!errors.Is(err, job.ErrUnknownJob) || !st.Deleted) {
			t.Errorf("job %s: %+v, %v", id, st, err)
		}
		return st.State
	}

	remove(ids[1], ids[2]) // while nobody owns it
	c.give(a)
	a.claimAll(0, 1, 16)
	a.claimAll(0, 1, 16) // once more says the same
	c.expect("read", a.read(0), []job.EntryID{ids[0], ids[3], ids[4], ids[5], ids[6], ids[7], ids[8], ids[9], ids[10], ids[11]})
	c.expect("told once", len(c.alarms()), 1)

	remove(ids[4], ids[5]) // one runs, one is only held
	a.handTo(b, 0, 1, ids[4])
	b.claimAll(0, 2, 16)

	c.expect("parked", b.ack(0, 2, park(ids[8], "k"), park(ids[9], "k"), park(ids[10], "k")), "OOO")
	remove(ids[9])
	if _, err := unpark(c.ctx, b.readers[0], job.Tenure{Partition: 0, Epoch: 2}, "k", 10); err != nil {
		t.Fatal(err)
	}

	b.handTo(d, 0, 2)
	remove(ids[11]) // marked for who comes next
	d.claimAll(0, 3, 16)

	rest := []job.EntryID{ids[0], ids[3], ids[6], ids[7], ids[8], ids[10]}
	for _, id := range rest {
		c.expect("ended", d.ack(0, 3, done(id)), "O")
	}
	for _, id := range rest {
		if s := state(id); s != job.Completed {
			t.Errorf("job %s has ended and is %q", id, s)
		}
	}
	for what, id := range map[string]job.EntryID{"waited": ids[1], "waited beside it": ids[2], "ran": ids[4], "was held": ids[5], "was set aside": ids[9], "was to be taken over": ids[11]} {
		if s := state(id); s != job.Unknown {
			t.Errorf("a job that was deleted while it %s is %q", what, s)
		}
	}
	for range 100 { // only so many are kept
		remove(c.add(2, "")[1])
		d.claimAll(0, 3, 16)
		d.read(0)
	}
	list, err := c.raw.HGet(c.ctx, c.key(0, "deleted"), "0").Result()
	if err != nil || len(list) > 64*24 {
		t.Errorf("%d bytes are kept of what was deleted, %v", len(list), err)
	}
}
