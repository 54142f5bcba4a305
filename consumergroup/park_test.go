package consumergroup

import (
	"fmt"
	"testing"
	"time"

	"ringmaster/job"
)

func smallPark(c *Config) { c.ParkBeyond, c.Window, c.ReadBudget = 2, 8, 4 }

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

// readerTurn does what the reader does before a read.
func (b *bench) readerTurn() {
	b.t.Helper()
	if err := b.s.unparkWanted(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) wakeAll() {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	for _, it := range b.ten.items {
		it.prior.NotBefore = time.Time{}
	}
	b.w.dispatchAll(b.ten, time.Now())
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
	b.fake.onUnpark = func(_ string, n int) job.UnparkPage {
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
		b.readerTurn()
	}
	for n := 11; n <= 20; n++ {
		b.complete(b.mustStart(n))
		b.readerTurn()
	}
	if len(b.ten.items) != 0 || len(b.ten.lanes) != 0 {
		t.Fatalf("left behind: %d items, %d lanes", len(b.ten.items), len(b.ten.lanes))
	}
}

func TestNothingIsUnparkedWhileItsKeyIsBeingParked(t *testing.T) {
	b := newBench(t, smallPark)
	b.arrive(waitingEntry(1, "k"), entry(2, "k"), entry(3, "k"))
	b.answer(job.ByOwner) // 3 is parked
	b.arrive(entry(4, "k"))
	// 4 is on its way: the store may have parked it already, the answer is not here.
	b.w.mu.Lock()
	onTheWay := b.s.ends
	b.s.ends = nil
	b.w.mu.Unlock()
	b.fake.onUnpark = func(string, int) job.UnparkPage {
		return job.UnparkPage{Entries: []job.Entry{entry(3, "k"), entry(4, "k")}}
	}
	b.wakeAll()
	b.complete(b.mustStart(1))
	b.complete(b.mustStart(2))
	b.readerTurn()
	if len(b.fake.unparks) != 0 {
		t.Error("unparked while a job of the key is on its way there")
	}
	if parts, _ := b.s.toRead(); len(parts) != 0 {
		t.Error("more is read while the key waits for its last jobs to be parked: it may wait for ever")
	}
	b.w.mu.Lock()
	b.s.ends, b.s.woken = onTheWay, false
	b.w.mu.Unlock()
	b.answer(job.ByOwner)
	if !b.s.woken {
		t.Error("the reader is not told that it may unpark now")
	}
	b.readerTurn()
	b.complete(b.mustStart(3))
	b.complete(b.mustStart(4))
	if parts, _ := b.s.toRead(); len(parts) != 1 {
		t.Error("the partition is not read any more")
	}
}

func TestAFullWindowShedsWhatWaitsBehindAHeldKey(t *testing.T) {
	b := newBench(t, smallPark)
	for n := 1; n <= 8; n++ {
		b.arrive(entry(n, "k")) // no reason yet to park anything
	}
	it := b.mustStart(1)
	if parts, _ := b.s.toRead(); len(parts) != 0 || len(b.s.ends) != 0 {
		t.Fatalf("a full window: reads %v, parks %s", parts, ids(b.s.ends))
	}
	b.s.blocked, b.s.woken = true, false
	it.prior = Prior{NotBefore: time.Now().Add(time.Hour)}
	b.w.finish(it, job.Completion{Outcome: job.Failed, Data: "wait"})
	b.answer(job.ByOwner)
	if len(b.s.pokes) != 1 {
		t.Error("the reader blocks on, although the key is held up and its window full")
	}
	b.s.toRead()
	if got := ids(b.answer(job.ByOwner)); got != "P3 P4 P5 P6 P7 P8" {
		t.Fatalf("parked %q", got)
	}
	if parts, _ := b.s.toRead(); fmt.Sprint(parts) != "[0]" {
		t.Fatal("the partition is still left out")
	}
	b.arrive(entry(9, "b"), entry(10, "k"))
	if got := ids(b.answer(job.ByOwner)); got != "P10" {
		t.Fatalf("parked %q", got)
	}
	b.complete(b.mustStart(9))
}

func TestAFullWindowOfManyHeldKeysKeepsTheirHeads(t *testing.T) {
	b := newBench(t, smallPark)
	for n := 1; n <= 4; n++ {
		key := fmt.Sprint("k", n)
		b.arrive(waitingEntry(2*n-1, key), entry(2*n, key))
	}
	b.s.toRead()
	if got := len(b.answer(job.ByOwner)); got != 4 {
		t.Fatalf("%d jobs parked, want the 4 that are no heads", got)
	}
	if parts, _ := b.s.toRead(); len(parts) != 1 {
		t.Fatal("the partition is still left out")
	}
}

func TestAPartitionWithRoomAgainWakesTheReader(t *testing.T) {
	b := newBench(t, smallPark)
	for n := 1; n <= 8; n++ {
		b.arrive(entry(n, ""))
	}
	if parts, _ := b.s.toRead(); len(parts) != 0 {
		t.Fatal("a full window is read into")
	}
	if !b.s.startBlocking() {
		t.Fatal("nothing to wait for")
	}
	for n := 1; n <= 4; n++ {
		if len(b.s.pokes) != 0 {
			t.Fatalf("woken with room for %d", n-1)
		}
		b.complete(b.mustStart(n))
	}
	if len(b.s.pokes) != 1 {
		t.Fatal("the reader is not woken: it would wait for the block time")
	}
	b.s.endBlocking()
	if parts, _ := b.s.toRead(); len(parts) != 1 {
		t.Fatal("the partition is not read again")
	}
}
