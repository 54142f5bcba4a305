package lanes

import (
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
