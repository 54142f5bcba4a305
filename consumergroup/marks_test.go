package consumergroup

import (
	"testing"
	"testing/synctest"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
)

func TestAMarkThatCannotBeWrittenStartsNothing(t *testing.T) {
	b := newBench(t, nil)
	suspect := entry(1, "c")
	suspect.Retry = "alone"
	b.arrive(suspect, entry(2, "c"))
	b.fake.markErr = job.ErrUnavailable
	b.run(b.mustStart(1))
	if n := b.w.pool.Runs(); n != 0 {
		t.Fatalf("%d runs", n)
	}
	b.mustNotStart() // tried again later, not in a hot loop; and its successor waits
}

// An executor that waits is woken when the last job beside a suspect has ended.
func TestASuspectWakesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.arrive(entry(1, "a"))
		one := b.mustStart(1)
		suspect := entry(2, "c")
		suspect.Retry = "alone"
		b.arrive(suspect, entry(3, "d"))
		got := make(chan *lanes.Item, 1)
		executor := func() { got <- b.w.next(nil, job.Completion{}) }
		go executor()
		synctest.Wait()
		if len(got) != 0 {
			t.Fatal("the suspect started beside another")
		}
		b.complete(one)
		synctest.Wait()
		s := <-got
		if s.Entry.ID != eid(2) {
			t.Fatalf("started %v", describe(s))
		}
		go executor()
		synctest.Wait()
		if len(got) != 0 {
			t.Fatal("something started beside the suspect")
		}
		b.complete(s)
		synctest.Wait()
		b.complete(<-got)
	})
}
