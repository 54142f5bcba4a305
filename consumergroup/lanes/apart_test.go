package lanes

import (
	"fmt"
	"testing"
	"time"

	"ringmaster/job"
)

func suspect(n int, key string) job.Entry {
	e := entry(n, key)
	e.Retry = "apart"
	return e
}

// pass lets time go by, and rings whatever alarm comes up.
func (b *bench) pass(d time.Duration) {
	b.t.Helper()
	end := b.now.Add(d)
	for {
		at, set := b.p.Ring(b.now)
		if !set || at.After(end) {
			b.now = end
			return
		}
		if !at.After(b.now) {
			b.t.Fatalf("an alarm for %v is set again and again", at)
		}
		b.now = at
	}
}

func TestASuspectIsHeldApart(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, "a"), entry(2, "b"))
	one, two := b.mustStart(1), b.mustStart(2)
	b.arrive(suspect(3, "c"), entry(4, "d"), entry(5, "e"))
	b.mustNotStart()
	b.complete(one)
	b.mustNotStart()
	if b.quiets != 0 {
		t.Error("everybody was woken while a job ran beside the suspect")
	}
	b.complete(two)
	if b.quiets == 0 {
		t.Error("nobody was woken for the suspect")
	}
	three := b.mustStart(3)
	if n := b.p.Apart(three); n != 1 {
		t.Errorf("%d run", n)
	}
	b.mustNotStart()
	if !b.p.Marked(three, b.now) {
		t.Error("it was marked too late")
	}
	b.pass(999 * time.Millisecond)
	b.mustNotStart()
	b.quiets = 0
	b.complete(three)
	if b.quiets == 0 {
		t.Error("nobody was woken when the suspect had ended")
	}
	b.complete(b.mustStart(4))
	b.complete(b.mustStart(5))
}

// A job takes long, and so does the suspect: the others wait for a second or two, no more.
func TestASuspectHoldsNobodyUpForLong(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, "long"))
	b.mustStart(1)
	b.arrive(suspect(2, "s"), entry(3, "a"), entry(4, "b"), entry(5, "c"))
	b.mustNotStart()
	b.pass(drainFor - 1)
	b.mustNotStart()
	b.quiets = 0
	b.pass(1)
	if b.quiets == 0 {
		t.Error("nobody was woken when the pause was over")
	}
	s := b.mustStart(2)
	if n := b.p.Apart(s); n != 2 {
		t.Errorf("%d run, want 2: it and the one that takes long", n)
	}
	b.mustNotStart()
	b.p.Marked(s, b.now)
	b.pass(time.Second - 1)
	b.mustNotStart()
	b.quiets = 0
	b.pass(1)
	if b.quiets == 0 {
		t.Error("nobody was woken when others might start again")
	}
	b.mustStart(3)
	b.mustStart(4)
	if n := b.p.Apart(s); n != 0 || b.p.Marked(s, b.now) {
		t.Errorf("%d run, and it is not apart", n)
	}
	// The next suspect lets the others have their share first.
	b.arrive(suspect(6, "t"))
	b.mustStart(5)
	b.pass(3*2*time.Second - 1)
	b.arrive(entry(7, "d"))
	b.mustStart(7)
	b.pass(1)
	b.arrive(entry(8, "e"))
	b.mustNotStart()
	b.pass(drainFor)
	b.mustStart(6)
}

// Many suspects at once: each has its turn or runs among others, and those are served.
func TestManySuspectsHoldNobodyUpForLong(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, "long"))
	b.mustStart(1)
	for n := range 30 {
		b.arrive(suspect(10+n, fmt.Sprint("s", n)))
	}
	began, last, next := b.now, b.now, 100
	for b.now.Sub(began) < 15*time.Second {
		b.arrive(entry(next, fmt.Sprint("k", next)))
		next++
		for it := b.p.Next(b.now); it != nil; it = b.p.Next(b.now) {
			if it.Prior.Suspect {
				b.p.Marked(it, b.now)
				continue // it takes long
			}
			last = b.now
			b.complete(it)
		}
		if held := b.now.Sub(last); held > drainFor+time.Second {
			t.Fatalf("no start for %v", held)
		}
		b.pass(10 * time.Millisecond)
	}
	if n := b.p.Runs(); n != 31 {
		t.Errorf("%d of 31 run after %v", n, b.now.Sub(began))
	}
}

// A suspect that does not start after all, since its mark could not be written, wakes those
// that waited for it, though something else is not answered yet.
func TestASuspectThatIsPutBackWakesTheOthers(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(suspect(1, "a"))
	it := b.mustStart(1)
	broken := entry(2, "b")
	broken.Broken = &job.Broken{Why: "why"}
	b.arrive(broken, entry(3, "c"), entry(4, "d"))
	b.mustNotStart()
	b.quiets = 0
	it.Prior = &Prior{Suspect: true, Apart: time.Second, NotBefore: b.now.Add(time.Hour)}
	b.p.PutBack(it, b.now)
	if b.quiets == 0 {
		t.Error("nobody was woken")
	}
	b.mustStart(3)
	b.mustStart(4)
}

// A suspect whose partition goes while it waits for its turn holds nobody up.
func TestASuspectThatGoesHoldsNobodyUp(t *testing.T) {
	for name, gone := range map[string]func(*bench){
		"its gate closes": func(b *bench) { b.s.SetGate(0, 1, false, b.now) },
		"it moves":        func(b *bench) { b.s.Drop(0, 1, false, b.now) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			other, _ := b.s.Claim(1, 1, true)
			other.gate = true
			b.s.Arrive(1, []job.Entry{entry(1, "long")}, b.now)
			b.mustStart(1)
			b.arrive(suspect(2, "s"))
			b.s.Arrive(1, []job.Entry{entry(3, "a")}, b.now)
			b.mustNotStart()
			gone(b)
			b.mustStart(3)
		})
	}
}
