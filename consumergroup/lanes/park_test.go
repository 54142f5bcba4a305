package lanes

import (
	"fmt"
	"testing"
	"time"

	"ringmaster/job"
)

func smallPark(c *Limits) { c.ParkBeyond, c.Window, c.ReadBudget = 2, 8, 4 }

func TestJobsBehindAHeldKeyAreParked(t *testing.T) {
	b := newBench(t, smallPark)
	b.arrive(waitingEntry(1, "k"), entry(2, "k"), entry(3, "k"), entry(4, "k"), entry(5, "b"))
	if got := ids(b.answer(job.ByOwner)); got != "P3 P4" {
		t.Fatalf("parked %q", got)
	}
	if len(b.ten.items) != 3 {
		t.Fatalf("%d items held", len(b.ten.items))
	}
	b.complete(b.mustStart(5))
	b.mustNotStart()
}

// readerTurn does what the reader does before a read, with what the store has set aside.
func (b *bench) readerTurn(unpark func(n int) job.UnparkPage) {
	b.t.Helper()
	for _, l := range b.s.Unparks() {
		page := unpark(l.Asked())
		page.Taken = len(page.Entries)
		b.s.Unparked(l, page, b.now)
	}
}

func (b *bench) wakeAll() {
	for _, it := range b.ten.items {
		it.Prior = &Prior{}
	}
	b.p.dispatchAll(b.ten, b.now)
}

func TestParkedJobsComeBackInOrder(t *testing.T) {
	b := newBench(t, smallPark)
	store := []int{}
	b.arrive(waitingEntry(1, "k"), entry(2, "k"))
	for n := 3; n <= 10; n++ {
		b.arrive(entry(n, "k"))
		for _, e := range b.answer(job.ByOwner) {
			store = append(store, int(e.c.ID.Ms))
		}
	}
	unpark := func(n int) job.UnparkPage {
		var page job.UnparkPage
		for _, id := range store[:min(n, len(store))] {
			page.Entries = append(page.Entries, entry(id, "k"))
		}
		if store = store[len(page.Entries):]; len(store) > 0 {
			page.Left, page.First = len(store), eid(store[0])
		}
		return page
	}
	b.wakeAll()
	for n := 1; n <= 10; n++ {
		b.complete(b.mustStart(n))
		b.arrive(entry(10+n, "k")) // news keep coming meanwhile
		for _, e := range b.answer(job.ByOwner) {
			store = append(store, int(e.c.ID.Ms))
		}
		b.readerTurn(unpark)
	}
	for n := 11; n <= 20; n++ {
		b.complete(b.mustStart(n))
		b.readerTurn(unpark)
	}
	if len(b.ten.items) != 0 || b.used() != 0 {
		t.Fatalf("left behind: %d items, %d lanes", len(b.ten.items), b.used())
	}
}

// Of a key with jobs on the way to be parked only those come back that are known to be there
// and to be before them.
func TestOnlyWhatIsParkedForSureComesBack(t *testing.T) {
	b := newBench(t, smallPark)
	b.arrive(waitingEntry(1, "k"), entry(2, "k"), entry(3, "k"))
	b.answer(job.ByOwner) // 3 is parked
	b.arrive(entry(4, "k"))
	// 4 is on its way: the store may have parked it already, the answer is not here.
	onTheWay := b.send()
	b.wakeAll()
	b.complete(b.mustStart(1))
	b.complete(b.mustStart(2))
	b.readerTurn(func(n int) job.UnparkPage {
		if n != 1 {
			t.Errorf("asks for %d, and knows of one", n)
		}
		return job.UnparkPage{Entries: []job.Entry{entry(3, "k")}, Left: 1, First: eid(4)}
	})
	b.arrive(entry(5, "k")) // behind 4
	b.complete(b.mustStart(3))
	b.mustNotStart()
	b.reply(onTheWay, job.ByOwner)
	b.answer(job.ByOwner)
	b.readerTurn(func(int) job.UnparkPage {
		return job.UnparkPage{Entries: []job.Entry{entry(4, "k"), entry(5, "k")}}
	})
	b.complete(b.mustStart(4))
	b.complete(b.mustStart(5))
}

func TestNothingIsUnparkedWhileEarlierJobsAreBeingParked(t *testing.T) {
	b := newBench(t, smallPark)
	b.arrive(waitingEntry(1, "k"), entry(3, "k"), entry(4, "k"))
	b.answer(job.ByOwner) // 4 is parked
	b.ten.lanes["k"].parked.first = eid(2)
	b.arrive(entry(2, "k")) // as when the own pending list is read
	// 2 is on its way, to a place before 4.
	onTheWay := b.send()
	b.wakeAll()
	b.complete(b.mustStart(1))
	b.complete(b.mustStart(3))
	b.readerTurn(func(int) job.UnparkPage {
		t.Error("unparked while a job is on its way there that comes first")
		return job.UnparkPage{}
	})
	if parts := b.toRead(); len(parts) != 0 {
		t.Error("more is read while the key waits for its last jobs to be parked: it may wait for ever")
	}
	b.wakes = 0
	b.reply(onTheWay, job.ByOwner)
	if b.wakes == 0 {
		t.Error("the reader is not told that it may unpark now")
	}
	b.readerTurn(func(int) job.UnparkPage {
		return job.UnparkPage{Entries: []job.Entry{entry(2, "k"), entry(4, "k")}}
	})
	b.complete(b.mustStart(2))
	b.complete(b.mustStart(4))
	if parts := b.toRead(); len(parts) != 1 {
		t.Error("the partition is not read any more")
	}
}

func TestAFullWindowShedsWhatWaitsBehindAHeldKey(t *testing.T) {
	b := newBench(t, smallPark)
	for n := 1; n <= 4; n++ {
		key := fmt.Sprint("k", n)
		b.arrive(entry(2*n-1, key), entry(2*n, key)) // no reason yet to park anything
	}
	its := []*Item{b.mustStart(1), b.mustStart(3)}
	if parts := b.toRead(); len(parts) != 0 || len(b.ends) != 0 {
		t.Fatalf("a full window: reads %v, parks %s", parts, ids(b.ends))
	}
	b.wakes = 0
	b.fail(its[0])
	b.fail(its[1])
	b.answer(job.ByOwner)
	if b.wakes == 0 {
		t.Error("the reader blocks on, although keys are held up and their window full")
	}
	b.toRead()
	if got := ids(b.answer(job.ByOwner)); got != "P2 P4" {
		t.Fatalf("parked %q", got)
	}
	b.arrive(entry(9, "b"), entry(10, "k1"))
	if got := ids(b.answer(job.ByOwner)); got != "P10" {
		t.Fatalf("parked %q", got)
	}
}

func TestAFullWindowOfManyHeldKeysKeepsTheirHeads(t *testing.T) {
	b := newBench(t, smallPark)
	for n := 1; n <= 4; n++ {
		key := fmt.Sprint("k", n)
		b.arrive(waitingEntry(2*n-1, key), entry(2*n, key))
	}
	b.toRead()
	if got := len(b.answer(job.ByOwner)); got != 4 {
		t.Fatalf("%d jobs parked, want the 4 that are no heads", got)
	}
	if parts := b.toRead(); len(parts) != 1 {
		t.Fatal("the partition is still left out")
	}
}

func TestAPartitionWithRoomAgainWakesTheReader(t *testing.T) {
	b := newBench(t, smallPark)
	for n := 1; n <= 8; n++ {
		b.arrive(entry(n, ""))
	}
	if parts := b.toRead(); len(parts) != 0 {
		t.Fatal("a full window is read into")
	}
	b.wakes = 0
	for n := 1; n <= 4; n++ {
		if b.wakes != 0 {
			t.Fatalf("woken with room for %d", n-1)
		}
		b.complete(b.mustStart(n))
	}
	if b.wakes != 1 {
		t.Fatal("the reader is not woken: it would wait for the block time")
	}
	b.s.ReadEnded()
	if parts := b.toRead(); len(parts) != 1 {
		t.Fatal("the partition is not read again")
	}
}

// However much is there to be read, no more is held than the prefetch.
func TestNoMoreIsHeldThanThePrefetch(t *testing.T) {
	for _, open := range []int{1, 4, 16, 64, 256} {
		b := newBench(t, nil)
		for part := range open {
			b.s.Claim(part, 1, true)
			b.s.SetGate(part, 1, true, b.now)
			b.s.StartReading(part, 1)
		}
		n := 0
		for range 1000 {
			parts, count, _ := b.s.ToRead(b.now)
			if len(parts) == 0 {
				break
			}
			for _, part := range parts {
				for range count {
					n++
					b.s.Arrive(part, []job.Entry{entry(n, "")}, b.now)
				}
			}
			b.s.ReadEnded()
		}
		held := 0
		for _, ten := range b.s.Tenures() {
			held += len(ten.items)
		}
		if most := b.p.limits.Prefetch(open); held > most || held < most/2 {
			t.Errorf("%d partitions: holds %d, with a prefetch of %d", open, held, most)
		}
	}
}

// Jobs that wait for their backoff take no room, up to a bound; whatever of them ends or leaves
// is counted no more.
func TestWhatWaitsForItsBackoffTakesNoRoom(t *testing.T) {
	b := newBench(t, func(c *Limits) { smallPark(c); c.Backoff = 20 })
	fill := b.filler(waitingEntry)
	fill(20)
	if parts := b.toRead(); len(parts) != 1 {
		t.Fatal("20 jobs that wait for their backoff keep the partition from being read")
	}
	fill(8)
	if parts := b.toRead(); len(parts) != 0 {
		t.Fatal("the window is full beside them, and is read into")
	}
	b.now = b.now.Add(2 * time.Hour)
	b.p.Ring(b.now)
	if b.ten.backoff != 0 {
		t.Fatalf("%d are still counted after their backoff", b.ten.backoff)
	}
	for range 28 {
		b.complete(b.p.Next(b.now))
	}
	if b.ten.backoff != 0 || len(b.ten.items) != 0 {
		t.Fatalf("%d counted, %d held at the end", b.ten.backoff, len(b.ten.items))
	}
}

// With many partitions each has less room for what waits.
func TestRoomForBackoffIsShared(t *testing.T) {
	l := Limits{Backoff: 16 << 10}
	for open, want := range map[int]int{1: 1024, 16: 1024, 64: 256, 4096: 4} {
		if got := l.spare(open); got != want {
			t.Errorf("%d partitions: %d of each, want %d", open, got, want)
		}
	}
}

// What is not read for long, since what is held waits, is told; nothing is while jobs run.
func TestPartitionsThatStandAreCounted(t *testing.T) {
	b := newBench(t, smallPark)
	for n := 1; n <= 8; n++ {
		b.arrive(waitingEntry(n, ""))
	}
	b.toRead()
	if parts, _ := b.s.Standing(b.now.Add(standsAfter - 1)); parts != 0 {
		t.Error("told too soon")
	}
	b.now = b.now.Add(standsAfter)
	if parts, jobs := b.s.Standing(b.now); parts != 1 || jobs != 8 {
		t.Errorf("%d partitions, %d jobs", parts, jobs)
	}
	b.now = b.now.Add(2 * time.Hour)
	b.p.Ring(b.now)
	if parts, jobs := b.s.Standing(b.now); parts != 0 {
		t.Errorf("%d partitions, %d jobs, when all are due", parts, jobs)
	}
}
