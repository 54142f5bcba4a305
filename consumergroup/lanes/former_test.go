package lanes

import (
	"testing"

	"ringmaster/job"
)

// again gives the bench's partition to it once more, under a higher epoch, with what is
// pending there.
func (b *bench) again(epoch uint64, pending ...job.Entry) {
	b.ten, _ = b.s.Claim(0, epoch, true)
	b.s.Claimed(0, epoch, &job.ClaimPage{Cursor: "0-0", Entries: pending}, b.now)
	b.s.SetGate(0, epoch, true, b.now)
	b.s.StartOpened(b.now)
}

// TestNothingStartsBesideItself: a partition is lost while its jobs run, and comes back before
// the handlers have returned: what still runs here waits, alone or with its key, and nothing
// else does.
func TestNothingStartsBesideItself(t *testing.T) {
	for _, c := range []struct {
		name   string
		first  job.Entry
		second job.Entry
	}{
		{"the job", entry(1, ""), entry(1, "")},
		{"the job of a key", entry(1, "k"), entry(1, "k")},
		{"the next of the key", entry(1, "k"), entry(2, "k")},
		{"a suspect", entry(1, "k"), job.Entry{ID: eid(1), Type: "t", Key: "k", Retry: "apart"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.arrive(c.first)
			run := b.mustStart(1)
			b.s.Drop(0, 1, true, b.now)
			b.again(2, c.second, entry(3, "other"))
			b.complete(b.mustStart(3))
			b.mustNotStart()
			b.s.Claimed(0, 2, &job.ClaimPage{Cursor: "0-0", Entries: []job.Entry{entry(4, c.second.Key)}}, b.now)
			if c.second.Key != "" {
				b.mustNotStart() // offered again by what arrived behind it, which must not count twice
			} else {
				b.complete(b.mustStart(4))
			}
			b.finish(run)
			b.answer(job.Refused)
			b.mustStart(int(c.second.ID.Ms))
			b.mustNotStart()
			if f := &b.p.former; len(f.runs)+len(f.waits) > 0 {
				t.Errorf("%d runs, %d that wait for them", len(f.runs), len(f.waits))
			}
		})
	}
}

// TestTheNextIncarnationStartsNothingBesideTheOneBefore: the lanes of an incarnation are over,
// and a handler of it is not.
func TestTheNextIncarnationStartsNothingBesideTheOneBefore(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, "k"))
	run := b.mustStart(1)
	old := b.s
	old.AbandonAll()
	old.Stop()
	b.s = NewShard(b.p, b)
	b.again(7, entry(1, "k"))
	b.mustNotStart()
	b.finish(run)
	b.mustStart(1)
}

// TestWhoWaitsForAFormerRunMayGoMeanwhile: the partition is lost again before the handler
// returns. What waited for it is nobody's here.
func TestWhoWaitsForAFormerRunMayGoMeanwhile(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, "k"))
	run := b.mustStart(1)
	b.s.Drop(0, 1, true, b.now)
	b.again(2, entry(1, "k"))
	b.mustNotStart()
	b.s.Drop(0, 2, true, b.now)
	b.finish(run)
	b.mustNotStart()
	b.again(3, entry(1, "k"))
	b.mustStart(1)
}

// TestASuspectThatDidNotStartHoldsNobodyUp: a run that was prepared when its tenure ended, and
// did not begin.
func TestASuspectThatDidNotStartHoldsNobodyUp(t *testing.T) {
	b := newBench(t, nil)
	suspect := entry(1, "k")
	suspect.Retry = "apart"
	b.arrive(suspect)
	it := b.mustStart(1)
	b.s.Drop(0, 1, true, b.now)
	b.again(2, entry(1, "k"))
	b.mustNotStart()
	b.p.PutBack(it, b.now)
	b.mustStart(1)
}
