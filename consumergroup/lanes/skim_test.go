package lanes

import (
	"fmt"
	"testing"
	"time"

	"ringmaster/job"
)

// A worker is told of a few of the jobs that the store set aside while it read past them, and of the
// others the answer is lost: all of them come back.
func TestWhatWasSetAsideUnheardComesBack(t *testing.T) {
	s := busyPartition(t, 3, 3000)
	c := newHands(s, 16, time.Millisecond)
	lost := 0
	s.answered = func() bool { lost++; return lost%2 == 0 }
	c.pass(1500 * time.Millisecond)
	if lost < 2 {
		t.Fatalf("%d times the store was asked to set aside", lost)
	}
	if ten := s.b.ten; len(s.unread) != 0 || len(ten.items) != 0 || ten.aside != 0 {
		t.Errorf("left behind: %d unread, %d items, %d keys with jobs set aside", len(s.unread), len(ten.items), ten.aside)
	}
	for key, id := range c.last {
		if id.Ms <= 2997 {
			t.Errorf("%s ended with %d", key, id.Ms)
		}
	}
}

// A stream is trimmed now and then while there is more to do, and when there is not.
func TestAStreamIsTrimmedNowAndThen(t *testing.T) {
	b := newBench(t, nil)
	for n := 1; n <= 300; n++ {
		b.arrive(entry(n, "k"))
	}
	calls, left := 0, 0
	for n := 1; n <= 300; n++ {
		b.finish(b.mustStart(n))
		batch := b.send()
		if calls++; !b.ten.LeaveUntrimmed([]*Item{batch[0].it}) {
			if calls < trimEvery && n < 300 {
				t.Fatalf("trimmed after %d ends", calls)
			}
			calls = 0
		}
		left = max(left, calls)
		b.reply(batch, job.ByOwner)
	}
	if left >= trimEvery || calls != 0 {
		t.Errorf("%d ends were left untrimmed, and %d at last", left, calls)
	}
	large := entry(301, "k")
	large.Payload = make([]byte, trimEveryBytes)
	b.arrive(large, entry(302, "k"))
	b.finish(b.mustStart(301))
	if batch := b.send(); b.ten.LeaveUntrimmed([]*Item{batch[0].it}) {
		t.Error("a large job is left untrimmed")
	}
}

// While jobs are on their way to be set aside the store sets none aside by itself: they would be there first.
func TestNothingIsSetAsideBeforeWhatIsOnItsWay(t *testing.T) {
	b := newBench(t, smallPark)
	b.arrive(waitingEntry(1, "k"), entry(2, "k"), entry(3, "k"), entry(4, "k"))
	b.ten.short = false
	if parts := b.toRead(); b.ten.parking == 0 || len(parts) != 0 {
		t.Errorf("%d are on their way; read are %v", b.ten.parking, parts)
	}
	b.wakes = 0
	b.answer(job.ByOwner)
	b.s.Settled(b.ten, 2, b.now)
	if b.wakes == 0 {
		t.Error("nobody is told that they are there")
	}
	b.s.ToRead(b.now)
	if asks := b.s.Skims(); len(asks) != 1 {
		t.Errorf("asked to set aside: %v", asks)
	}
}

// Jobs that are set aside keep the low-water mark where they are: what ends above it is deleted.
func TestWhatEndsBeforeParkedJobsIsDeleted(t *testing.T) {
	s := busyPartition(t, 1, 600)
	c := newHands(s, 16, time.Millisecond)
	c.pass(60 * time.Millisecond)
	if ten := s.b.ten; ten.aside == 0 || !ten.Pinned() {
		t.Errorf("%d keys have jobs set aside, and what ends is deleted: %v", ten.aside, ten.Pinned())
	}
	c.pass(2 * time.Second)
	if s.b.ten.Pinned() {
		t.Error("nothing is set aside any more, and what ends is deleted all the same")
	}
}

// A new owner finds as many keys that wait for their backoff as half of a window holds, and one whose jobs
// may start: that one gets its jobs.
func TestKeysThatWaitKeepNoneFromTheirJobs(t *testing.T) {
	b := newBench(t, nil)
	b.ten, _ = b.s.Claim(0, 2, true)
	page := &job.ClaimPage{Cursor: "0-0"}
	for n := 1; n <= 200; n++ {
		key := fmt.Sprint("failing", n)
		page.Entries = append(page.Entries, waitingEntry(n, key))
		page.Parked = append(page.Parked, job.ParkedKey{Key: key, First: eid(1000 + n)})
	}
	page.Parked = append(page.Parked, job.ParkedKey{Key: "busy", First: eid(2000)})
	b.s.Claimed(0, 2, page, b.now)
	if asks := b.s.Unparks(); len(asks) != 1 || asks[0].Key != "busy" {
		t.Errorf("%d keys get jobs back", len(asks))
	}
}

// What has come back and runs makes room for others.
func TestLongRunsKeepNoOtherKeyFromItsJobs(t *testing.T) {
	s := busyPartition(t, 40, 4000)
	c := newHands(s, 100, 100*time.Millisecond)
	c.pass(time.Second)
	if len(c.until) != 40 {
		t.Fatalf("%d of 40 keys run", len(c.until))
	}
	if n := s.b.ten.back; n >= s.b.s.half() {
		t.Errorf("%d are back, of which none waits", n)
	}
}
