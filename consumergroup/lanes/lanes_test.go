package lanes

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"ringmaster/job"
)

func TestALaneIsInIDOrderHoweverItsJobsCome(t *testing.T) {
	for seed := range uint64(20) {
		b := newBench(t, func(c *Limits) { c.ParkBeyond = 100 })
		b.ten.gate = false
		order := rand.New(rand.NewPCG(seed, 1)).Perm(12)
		for _, n := range order {
			b.arrive(entry(n+1, "k"), entry(n+1, "k")) // what is known is left alone
		}
		b.ten.gate = true
		b.p.dispatchAll(b.ten, b.now)
		for n := range 12 {
			b.complete(b.mustStart(n + 1))
		}
		b.mustNotStart()
		if len(b.ten.items) != 0 || b.used() != 0 || b.p.bytes != 0 || b.p.runs != 0 {
			t.Fatalf("left behind: %d items, %d lanes, %d bytes, %d runs", len(b.ten.items), b.used(), b.p.bytes, b.p.runs)
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
		b.s.Confirm(map[int]uint64{0: 1}, b.now) // the doubt that it raises would hide it
		b.mustNotStart()
		if len(b.events) != 1 {
			t.Errorf("answer %c: %d events, want one that the partition is lost", a, len(b.events))
		}
	}
}

func TestPermitsHoldTheirKeysOnly(t *testing.T) {
	b := newBench(t, nil)
	page := &job.ClaimPage{Cursor: "0-0", Entries: []job.Entry{entry(2, "a"), entry(3, "b"), entry(5, "")},
		Permits: []job.Permit{{ID: eid(1), Holder: "x@1", Key: "a"}, {ID: eid(4), Holder: "x@1", Key: ""}}}
	b.s.Looked(0, 1, page, b.now)
	b.complete(b.mustStart(3))
	b.complete(b.mustStart(5))
	b.mustNotStart()
	// The run under the permit failed: its job comes back before its successor.
	b.s.Looked(0, 1, &job.ClaimPage{Cursor: "0-0", Entries: []job.Entry{entry(1, "a")}}, b.now)
	b.complete(b.mustStart(1))
	b.complete(b.mustStart(2))
}

func TestAPermitThatComesBeforeAReadyJobHoldsIt(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(2, "a"))
	b.ten.block(eid(1), "a")
	b.arrive(entry(3, "b"))
	if it := b.p.Next(b.now); it.Entry.ID != eid(3) {
		t.Fatalf("started %v beside a former owner's run", describe(it))
	}
}

func TestBackoffHoldsAKeyAndOthersGoOn(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(waitingEntry(1, "a"), entry(2, "a"), entry(3, "b"), waitingEntry(4, ""))
	b.complete(b.mustStart(3))
	b.mustNotStart()
	if len(b.p.alarms) == 0 {
		t.Error("nothing will wake the key")
	}
}

func TestNobodyIsWokenWhereNothingWaits(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, "a"))
	b.complete(b.mustStart(1))
	if b.quiets != 0 {
		t.Errorf("everybody was woken %d times for nothing", b.quiets)
	}
}

func TestAClosedGateIsIdleAlsoAfterAFailedAttempt(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, "k"))
	it := b.mustStart(1)
	b.s.SetGate(0, 1, false, b.now)
	if len(b.events) != 0 {
		t.Fatal("idle while a job runs")
	}
	b.p.Finished(it, job.Completion{Outcome: job.Failed, Data: "wait"})
	b.answer(job.ByOwner)
	if len(b.events) == 0 || len(b.s.closing) != 0 {
		t.Fatal("nobody was told that nothing runs any more")
	}
}

// Keys come and go without end; what is kept for their next jobs does not grow with them.
func TestLanesThatHoldNothingAreReclaimed(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, "kept"))
	b.complete(b.mustStart(1))
	b.arrive(entry(2, "kept"), entry(3, "kept"))
	two := b.mustStart(2) // the lane that was idle first is in use when others are reclaimed
	n := 3
	for i := range 2 * idleLanes {
		n++
		b.arrive(entry(n, fmt.Sprint("k", i)))
		b.complete(b.p.Next(b.now))
	}
	if most := idleLanes + 1; len(b.ten.lanes) > most || b.ten.idle.len() > most || len(b.ten.idle.items) > 3*most {
		t.Errorf("%d lanes, %d idle, room for %d: more than %d", len(b.ten.lanes), b.ten.idle.len(), len(b.ten.idle.items), most)
	}
	b.mustNotStart()
	b.complete(two)
	b.complete(b.mustStart(3))
	for key, l := range b.ten.lanes {
		if l.Key != key || !l.empty() || l.few != [2]*Item{} {
			t.Fatalf("lane of %q: key %q, empty %v, refers to %v", key, l.Key, l.empty(), l.few)
		}
	}
}

func TestItemsKnowTheirPlace(t *testing.T) {
	b := newBench(t, func(c *Limits) { c.Window = 1000 })
	for n := range 100 {
		b.arrive(entry(n+1, ""))
	}
	order := rand.New(rand.NewPCG(1, 1))
	for left := 100; left > 0; left-- {
		for i, it := range b.ten.items {
			if int(it.place) != i || !it.held {
				t.Fatalf("job %d is at %d, and believes %d", it.Entry.ID.Ms, i, it.place)
			}
		}
		if len(b.ten.items) != left {
			t.Fatalf("%d items, want %d", len(b.ten.items), left)
		}
		b.p.forget(b.ten.items[order.IntN(left)])
	}
}

// A worker that gains partitions keeps fewer lanes of each, in the end.
func TestFewerIdleLanesAreKeptOfMorePartitions(t *testing.T) {
	b := newBench(t, nil)
	const parts = 64
	n := 0
	jobs := func(part, count int) {
		for range count {
			n++
			b.s.Arrive(part, []job.Entry{entry(n, fmt.Sprint("k", n))}, b.now)
			b.complete(b.p.Next(b.now))
		}
	}
	jobs(0, idleLanes)
	for part := 1; part < parts; part++ {
		ten, _ := b.s.Claim(part, 1, true)
		ten.gate = true
	}
	for part := range parts {
		jobs(part, idleLanes)
	}
	for _, ten := range b.s.Tenures() {
		if len(ten.lanes) > idleLanes/parts {
			t.Errorf("partition %d keeps %d lanes", ten.Partition, len(ten.lanes))
		}
	}
}
