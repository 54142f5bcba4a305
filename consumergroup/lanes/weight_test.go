package lanes

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"ringmaster/job"
)

// readers is a bench with eight open partitions and a bound of bytes.
func readers(t *testing.T) *bench {
	b := newBench(t, func(l *Limits) { l.ReadBytes, l.HeldBytes = 4<<20, 8<<20 })
	for p := 1; p < 8; p++ {
		ten, _ := b.s.Claim(p, 1, true)
		ten.gate, ten.reading = true, true
	}
	return b
}

func sized(n, size int) job.Entry {
	e := entry(n, "")
	e.Payload = json.RawMessage(strings.Repeat("1", size))
	return e
}

// Nobody knows how large the first jobs are: few are asked for, of partitions in turn. Small
// ones let the number rise.
func TestReadsBeginWithFew(t *testing.T) {
	b := readers(t)
	first, count, wait := b.s.ToRead(b.now)
	second, _, _ := b.s.ToRead(b.now)
	if len(first) != 4 || count != 1 || wait >= 0 || slices.ContainsFunc(second, func(p int) bool { return slices.Contains(first, p) }) {
		t.Errorf("asked for %d of each of %v, then of %v; wait: %v", count, first, second, wait)
	}
	// All had nothing: now all are waited for, as long as none comes.
	for range 3 {
		if parts, count, wait := b.s.ToRead(b.now); len(parts) != 8 || count != 1 || wait < 0 {
			t.Errorf("asked for %d of each of %v; wait: %v", count, parts, wait)
		}
	}
	for n := 1; n < 80; n++ {
		b.arrive(sized(n, 100))
		b.s.ToRead(b.now)
	}
	if parts, count, wait := b.s.ToRead(b.now); len(parts) != 7 || count < 64 || wait < 0 {
		t.Errorf("asked for %d of each of %v; wait: %v", count, parts, wait)
	}
}

func TestReadsFollowSizeSpeedAndRoom(t *testing.T) {
	b := readers(t)
	asked := func() int {
		parts, count, _ := b.s.ToRead(b.now)
		return len(parts) * count
	}
	for n := 1; n < 80; n++ {
		b.arrive(sized(n, 100))
		b.s.ToRead(b.now)
	}
	b.arrive(sized(100, 1<<20)) // one large job: the next may all be
	if n := asked(); n*(1<<20)/8 > 4<<20 {
		t.Errorf("%d after a large job", n)
	}
	b.s.Carried(1 << 30)
	fast := asked()
	b.s.Carried(1 << 20) // so slow that a quarter of a second carries 256 KiB
	if n := asked(); n > 2 || n >= fast {
		t.Errorf("%d over a slow link, %d over a fast one", n, fast)
	}
	b.s.Carried(1 << 30)
	b.s.Unanswered()
	if n := asked(); n >= fast {
		t.Errorf("%d after an answer that did not come, %d before", n, fast)
	}
	for n := 101; n < 107; n++ {
		b.arrive(sized(n, 1<<20))
	}
	if b.s.Full() {
		t.Fatal("full too early")
	}
	b.arrive(sized(108, 1<<20))
	if !b.s.Full() || asked() != 0 {
		t.Error("more is asked for than there is room for")
	}
}

// Pages of pending jobs that bring little tell nothing of what jobs weigh: the more are asked for next.
func TestClaimsThatBringLittleBecomeMore(t *testing.T) {
	b := readers(t)
	first := b.s.Claims()
	b.s.ClaimsBrought(first, 0)
	second := b.s.Claims()
	if first != 4 || second != 4 { // half of 8 MiB is four of the largest jobs
		t.Errorf("%d, then %d", first, second)
	}
	b.s.pool.limits.HeldBytes = 64 << 20
	for want := 16; want <= 32; want *= 2 {
		b.s.ClaimsBrought(b.s.Claims(), 0)
		if n := b.s.Claims(); n != want {
			t.Errorf("%d, want %d", n, want)
		}
	}
	b.s.ClaimsBrought(32, 0)
	if n := b.s.Claims(); n != 32 {
		t.Errorf("%d, more than half of the room has the largest jobs for", n)
	}
	b.s.ClaimsBrought(32, 1<<20) // as much as is on its way for a second
	if n := b.s.Claims(); n != 4 {
		t.Errorf("%d after many bytes", n)
	}
	b.s.ClaimsBrought(4, 0)
	b.s.Unanswered()
	if n := b.s.Claims(); n > 2 {
		t.Errorf("%d after an answer that did not come", n)
	}
}
