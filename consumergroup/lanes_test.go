package consumergroup

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"ringmaster/job"
)

func TestALaneIsInIDOrderHoweverItsJobsCome(t *testing.T) {
	for seed := range uint64(20) {
		b := newBench(t, func(c *Config) { c.ParkBeyond = 100 })
		b.ten.gate = false
		order := rand.New(rand.NewPCG(seed, 1)).Perm(12)
		for _, n := range order {
			b.arrive(entry(n+1, "k"), entry(n+1, "k")) // what is known is left alone
		}
		b.ten.gate = true
		b.w.dispatchAll(b.ten, time.Now())
		for n := range 12 {
			b.complete(b.mustStart(n + 1))
		}
		b.mustNotStart()
		if len(b.ten.items) != 0 || len(b.ten.lanes) != 0 || b.w.heldBytes != 0 || b.w.runs != 0 {
			t.Fatalf("left behind: %d items, %d lanes, %d bytes, %d runs", len(b.ten.items), len(b.ten.lanes), b.w.heldBytes, b.w.runs)
		}
	}
}

func TestASmallerIDOvertakesAReadyOne(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(5, "k"))
	b.arrive(entry(3, "k"))
	one := b.mustStart(3)
	b.mustNotStart()
	b.complete(one)
	b.complete(b.mustStart(5))
}

func TestOneJobOfAKeyAtATimeUntilItsEndIsAnswered(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, "k"), entry(2, "k"), entry(3, ""), entry(4, ""))
	one := b.mustStart(1)
	three := b.mustStart(3)
	b.complete(b.mustStart(4)) // unkeyed ones do not wait for each other
	b.complete(three)
	b.mustNotStart()
	b.finish(one)
	b.mustNotStart() // the store has not answered
	b.answer(job.NotPending)
	b.complete(b.mustStart(2))
}

func TestARefusedEndFreesNothing(t *testing.T) {
	for _, a := range []job.Answer{job.Refused, job.Gone, job.ByDrainer} {
		b := newBench(t, nil)
		b.arrive(entry(1, "k"), entry(2, "k"))
		b.finish(b.mustStart(1))
		b.answer(a)
		b.mustNotStart()
		if len(b.s.events) != 1 {
			t.Errorf("answer %c: %d events, want one that the partition is lost", a, len(b.s.events))
		}
	}
}

func TestPermitsHoldTheirKeysOnly(t *testing.T) {
	b := newBench(t, nil)
	page := &job.ClaimPage{Cursor: "0-0", Entries: []job.Entry{entry(2, "a"), entry(3, "b"), entry(5, "")},
		Permits: []job.Permit{{ID: eid(1), Holder: "x@1", Key: "a"}, {ID: eid(4), Holder: "x@1", Key: ""}}}
	b.w.mu.Lock()
	b.s.takePage(b.ten, "", page, time.Now())
	b.w.mu.Unlock()
	b.complete(b.mustStart(3))
	b.complete(b.mustStart(5))
	b.mustNotStart()
	// The run under the permit failed: its job comes back before its successor.
	b.w.mu.Lock()
	b.s.takePage(b.ten, "", &job.ClaimPage{Cursor: "0-0", Entries: []job.Entry{entry(1, "a")}}, time.Now())
	b.w.mu.Unlock()
	b.complete(b.mustStart(1))
	b.complete(b.mustStart(2))
}

func TestAPermitThatComesBeforeAReadyJobHoldsIt(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(2, "a"))
	b.ten.block(eid(1), "a")
	b.arrive(entry(3, "b"))
	if it := b.w.next(nil, job.Completion{}); it.entry.ID != eid(3) {
		t.Fatalf("started %v beside a former owner's run", describe(it))
	}
}

func TestBackoffHoldsAKeyAndOthersGoOn(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(waitingEntry(1, "a"), entry(2, "a"), entry(3, "b"), waitingEntry(4, ""))
	b.complete(b.mustStart(3))
	b.mustNotStart()
	b.w.mu.Lock()
	if len(b.w.alarms) == 0 {
		t.Error("nothing will wake the key")
	}
	b.w.mu.Unlock()
}

func TestASuspectRunsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.arrive(entry(1, "a"), entry(2, "b"))
		one := b.mustStart(1)
		suspect := entry(3, "c")
		suspect.Retry = "alone"
		b.arrive(suspect)
		two := b.mustStart(2)
		got := make(chan *item, 1)
		executor := func() { got <- b.w.next(nil, job.Completion{}) }
		go executor()
		synctest.Wait()
		if len(got) != 0 {
			t.Fatal("the suspect started beside two others")
		}
		b.complete(one)
		synctest.Wait()
		if len(got) != 0 {
			t.Fatal("the suspect started beside another")
		}
		b.complete(two)
		synctest.Wait()
		s := <-got
		if s.entry.ID != eid(3) {
			t.Fatalf("started %v", describe(s))
		}
		b.arrive(entry(4, "d"))
		go executor()
		synctest.Wait()
		if len(got) != 0 {
			t.Fatal("something started beside the suspect")
		}
		b.complete(s)
		b.complete(<-got)
	})
}

func TestAMarkThatCannotBeWrittenStartsNothing(t *testing.T) {
	b := newBench(t, nil)
	suspect := entry(1, "c")
	suspect.Retry = "alone"
	b.arrive(suspect, entry(2, "c"))
	b.fake.markErr = job.ErrUnavailable
	b.run(b.mustStart(1))
	if b.w.runs != 0 || b.w.alone != nil || b.ten.running != 0 {
		t.Fatalf("%d runs, alone %v", b.w.runs, describe(b.w.alone))
	}
	b.mustNotStart() // tried again later, not in a hot loop; and its successor waits

	// Meanwhile the partition goes: nothing of it may be left, or a leave would wait for it.
	b = newBench(t, nil)
	b.arrive(suspect)
	it := b.mustStart(1)
	b.s.closing[b.ten] = true
	b.w.mu.Lock()
	b.w.abandon(b.ten, false)
	b.w.mu.Unlock()
	b.fake.markErr = errors.Join(job.ErrFenced)
	b.run(it)
	if len(b.ten.items) != 0 || b.w.heldBytes != 0 || len(b.s.closing) != 0 {
		t.Fatalf("left behind: %d items, %d bytes, %d closing", len(b.ten.items), b.w.heldBytes, len(b.s.closing))
	}
}

func TestAClosedGateIsIdleAlsoAfterAFailedAttempt(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, "k"))
	it := b.mustStart(1)
	b.s.setGate(0, 1, false)
	if len(b.s.events) != 0 {
		t.Fatal("idle while a job runs")
	}
	b.w.finish(it, job.Completion{Outcome: job.Failed, Data: "wait"})
	b.answer(job.ByOwner)
	if len(b.s.events) == 0 || len(b.s.closing) != 0 {
		t.Fatal("nobody was told that nothing runs any more")
	}
}
