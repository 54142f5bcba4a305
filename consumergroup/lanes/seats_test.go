package lanes

import (
	"fmt"
	"testing"
	"time"

	"ringmaster/job"
)

// newLimited is a bench whose type few has so many seats.
func newLimited(t testing.TB, most int, tune func(*Limits)) *bench {
	return newBench(t, func(l *Limits) {
		l.Seats, l.Backoff = map[string]int{"few": most}, 16<<10
		if tune != nil {
			tune(l)
		}
	})
}

// few is a job of the type that is limited.
func few(n int, key string) job.Entry {
	e := entry(n, key)
	e.Type = "few"
	return e
}

// seats checks how many seats of the limited type are taken, and how many jobs are in line.
func (b *bench) seats(taken, waits int) {
	b.t.Helper()
	s, lined := b.p.seats["few"], 0
	for _, ten := range b.s.Tenures() {
		lined += ten.lined
	}
	if s.taken != taken || s.waits != waits || lined != waits {
		b.t.Errorf("%d seats taken, %d in line, %d by their tenures, want %d and %d", s.taken, s.waits, lined, taken, waits)
	}
}

// Of a limited type so many run at a time. The others start in the order in which they came, once
// a handler has returned, and hold up no other type.
func TestSoManyOfATypeRunAtATime(t *testing.T) {
	b := newLimited(t, 2, nil)
	b.arrive(few(1, "a"), few(2, "b"), few(3, "c"), few(4, ""), few(5, "d"), entry(6, "e"), entry(7, ""))
	one := b.mustStart(1)
	b.complete(b.mustStart(7))
	b.mustStart(2)
	b.complete(b.mustStart(6))
	b.mustNotStart()
	b.seats(2, 3)
	b.finish(one) // the store has not answered: its key waits, its seat is free
	three := b.mustStart(3)
	b.mustNotStart()
	b.finish(three)
	b.answer(job.ByOwner)
	b.complete(b.mustStart(4))
	b.complete(b.mustStart(5))
	b.mustNotStart()
	b.seats(1, 0)
}

// A key's later job of another type waits behind its earlier one that waits for a seat, and nothing
// else does.
func TestWhoWaitsForASeatHoldsItsKeyOnly(t *testing.T) {
	b := newLimited(t, 1, nil)
	b.arrive(few(1, "a"), few(2, "k"), entry(3, "k"), entry(4, "b"))
	one := b.mustStart(1)
	b.complete(b.mustStart(4))
	b.mustNotStart()
	b.complete(one)
	b.complete(b.mustStart(2))
	b.complete(b.mustStart(3))
	b.seats(0, 0)
}

// A key with much to do gets a seat when those have had theirs who began to wait before.
func TestSeatsGoToKeysInTurn(t *testing.T) {
	b := newLimited(t, 1, nil)
	for n := 1; n <= 6; n++ {
		b.arrive(few(n, "much"))
	}
	b.arrive(few(7, "a"), few(8, "b"), few(9, ""))
	for _, n := range []int{1, 7, 8, 9, 2} {
		if n == 2 {
			b.arrive(few(10, "c")) // in line behind 2, ahead of 3
		}
		b.complete(b.mustStart(n))
	}
	b.complete(b.mustStart(10))
	b.complete(b.mustStart(3))
}

// Nobody overtakes those in line, also in the moment when a seat is free and not given yet.
func TestNobodyOvertakesTheLine(t *testing.T) {
	b := newLimited(t, 1, nil)
	b.arrive(few(1, "a"), few(2, "b"))
	b.finish(b.mustStart(1))
	b.arrive(few(3, "c"))
	b.complete(b.mustStart(2))
	b.complete(b.mustStart(3))
}

// Whatever waits for a seat takes no room of what else is read, up to a bound.
func TestWhatWaitsForASeatTakesNoRoom(t *testing.T) {
	b := newLimited(t, 1, func(l *Limits) { smallPark(l); l.Backoff = 20 })
	fill := b.filler(few)
	fill(20)
	if parts := b.toRead(); len(parts) != 1 {
		t.Fatal("19 jobs that wait for a seat keep the partition from being read")
	}
	fill(8)
	if parts := b.toRead(); len(parts) != 0 {
		t.Fatal("the window is full beside them, and is read into")
	}
	if parts, jobs := b.s.Standing(b.now.Add(standsAfter)); parts != 1 || jobs != 27 {
		t.Errorf("%d partitions with %d jobs stand", parts, jobs)
	}
	for range 28 {
		b.complete(b.p.Next(b.now))
	}
	b.seats(0, 0)
	if b.ten.backoff != 0 || len(b.ten.items) != 0 {
		t.Fatalf("%d counted, %d held at the end", b.ten.backoff, len(b.ten.items))
	}
}

// A job whose backoff is over counts once while it waits for a seat.
func TestAfterItsBackoffAJobLinesUp(t *testing.T) {
	b := newLimited(t, 1, nil)
	late := waitingEntry(2, "b")
	late.Type = "few"
	b.arrive(few(1, "a"), late)
	one := b.mustStart(1)
	b.seats(1, 0) // it takes none while it waits for its backoff
	b.now = b.now.Add(time.Hour)
	b.arrive(entry(3, "b"), few(4, "")) // before the alarm rings
	b.p.dispatchAll(b.ten, b.now)
	if b.seats(1, 2); b.ten.backoff != 0 {
		t.Errorf("%d are counted as waiting for their backoff", b.ten.backoff)
	}
	b.p.Ring(b.now)
	b.complete(one)
	b.p.forget(b.mustInLine(4))
	b.complete(b.mustStart(2))
	b.complete(b.mustStart(3))
	b.seats(0, 0)
}

// mustInLine is a job that waits for a seat.
func (b *bench) mustInLine(n int) *Item {
	b.t.Helper()
	for _, it := range b.ten.items {
		if it.Entry.ID == eid(n) && it.lined {
			return it
		}
	}
	b.t.Fatalf("job %d is not in line", n)
	return nil
}

// A thousand jobs wait for one seat: jobs behind them, of another type and key, start as if they were
// not there. Without keys, each of its own, or many of some: what is behind a key is set aside.
func TestManyThatWaitForASeatStopNobody(t *testing.T) {
	for name, key := range map[string]func(i int) string{
		"no keys":  func(int) string { return "" },
		"own keys": func(i int) string { return fmt.Sprint("k", i) },
		"one key":  func(int) string { return "k" },
		"40 keys":  func(i int) string { return fmt.Sprint("k", i%40) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newLimited(t, 1, nil)
			s := newStream(b)
			for i := range 1000 {
				s.addFew(key(i))
			}
			s.add("late")
			c := newHands(s, 16, 50*time.Millisecond)
			c.pass(100 * time.Millisecond)
			if at, ran := c.began["late"]; !ran {
				t.Fatalf("not started after 100 ms: %d jobs were read", s.read)
			} else if at > 60*time.Millisecond {
				t.Errorf("started after %v", at)
			}
			for i := range 200 { // a busy key of another type, with jobs set aside: they come back
				s.add("busy")
				if i == 100 {
					c.pass(50 * time.Millisecond)
				}
			}
			c.takes = time.Millisecond
			c.pass(600 * time.Millisecond)
			if last := c.last["busy"].Ms; last != 1201 {
				t.Errorf("the last job of another key that has started is %d, want 1201", last)
			}
			c.pass(2 * time.Second)
			if b.seats(0, 0); len(b.ten.items) != 0 || len(s.unread) != 0 || b.used() != 0 || b.ten.back != 0 {
				t.Errorf("left behind: %d items, %d unread, %d lanes, %d back", len(b.ten.items), len(s.unread), b.used(), b.ten.back)
			}
		})
	}
}

// What waits behind a job in line is set aside, as behind any key that is held up.
func TestJobsBehindAKeyInLineAreParked(t *testing.T) {
	b := newLimited(t, 1, smallPark)
	b.arrive(few(1, "a"), few(2, "k"), entry(3, "k"), entry(4, "k"), few(5, "k"), entry(6, "b"))
	if got := ids(b.answer(job.ByOwner)); got != "P4 P5" {
		t.Errorf("parked %q", got)
	}
	one := b.mustStart(1)
	b.complete(b.mustStart(6))
	b.complete(one)
	b.complete(b.mustStart(2))
	if asked := b.s.Unparks(); len(asked) != 1 || asked[0].Key != "k" {
		t.Errorf("the key has started, and nothing of it comes back: %v", asked)
	}
	b.complete(b.mustStart(3))
}

func (s *stream) addFew(key string) {
	e := few(len(s.all)+1, key)
	s.unread, s.all[e.ID] = append(s.unread, e), e
}

// Keys of a limited type that have jobs set aside, and cannot start, do not take what may be back
// from those that can.
func TestKeysInLineLeaveRoomForWhatComesBack(t *testing.T) {
	b := newLimited(t, 1, nil)
	s := newStream(b)
	for i := range 4000 {
		s.addFew(fmt.Sprint("k", i%200))
		if i%8 == 0 {
			s.add("busy")
		}
	}
	c := newHands(s, 16, 2*time.Millisecond)
	c.pass(3 * time.Second)
	last := job.EntryID{}
	for id, e := range s.all {
		if e.Key == "busy" && last.Less(id) {
			last = id
		}
	}
	if got := c.last["busy"]; got != last {
		t.Errorf("the busy key has come to %d of %d in 3 s", got.Ms, last.Ms)
	}
}

// Those that have gone away from a line are not kept.
func TestALineForgetsWhoHasGone(t *testing.T) {
	b := newLimited(t, 1, nil)
	b.arrive(few(1, ""))
	one := b.mustStart(1)
	for epoch := uint64(2); epoch < 40; epoch++ {
		var pending []job.Entry
		for n := range 100 {
			pending = append(pending, few(n+2, ""))
		}
		b.s.Drop(0, b.ten.Epoch, true, b.now)
		b.seats(1, 0)
		b.again(epoch, pending...)
		b.seats(1, 100)
		if kept := b.p.seats["few"].line.len(); kept > 100+100+mostGone {
			t.Fatalf("%d are kept in line, 100 wait", kept)
		}
	}
	b.finish(one)
	b.mustStart(2)
	b.mustNotStart()
}

func BenchmarkLimitedLanes(b *testing.B) {
	const jobs = 1000
	b.ReportAllocs()
	w := newLimited(b, 4, func(l *Limits) { l.ParkBeyond = jobs })
	entries := make([]job.Entry, jobs)
	for i := range entries {
		entries[i] = few(i+1, fmt.Sprint("k", i))
	}
	for b.Loop() {
		w.arrive(entries...)
		for i := range entries {
			entries[i].ID.Ms += jobs
		}
		w.runAll(jobs)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/jobs, "ns/job")
}
