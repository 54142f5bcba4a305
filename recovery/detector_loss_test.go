package recovery

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A connection that is reset is no death: these are the ways in which a member shows that
// it lives, and what is concluded where it does not.

func TestABeatAfterTheLossIsProofOfLife(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.kill("a")
	g.want("")
	g.beats["a"]++
	g.quiet(100) // its subscription does not come back, and it need not beat more: the lease tells
	g.gone["a"] = true
	g.want("a/lease")
}

func TestABeatBeforeTheLossWasSeenIsNone(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.quiet(5)
	g.beats["a"] = 7 // between the last look that found it and the first that did not
	g.kill("a")
	g.want("")
	g.want("a/connection")
}

func TestEachLossIsJudgedByItself(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.kill("a")
	g.want("")
	g.beats["a"]++
	g.quiet(10)
	g.unsub["a"] = false
	g.quiet(10)
	g.beats["a"] += 10
	g.kill("a") // now it is dead
	g.want("")
	g.want("a/connection")
}

func TestAMemberHasTheTimeItTakesToConnect(t *testing.T) {
	for _, c := range []struct{ reach, want time.Duration }{
		{0, tick}, {2 * time.Millisecond, tick}, {60 * time.Millisecond, 3 * tick}, {400 * time.Millisecond, 800 * time.Millisecond},
		{time.Hour, ttl()}, // nobody waits longer than for a lease
	} {
		t.Run(c.reach.String(), func(t *testing.T) {
			g := newGround(t, "a", "b", "c")
			g.reach["b"] = c.reach
			g.kill("b")
			g.want("")
			first := g.now
			g.quietUntil(first.Add(c.want))
			g.want("b/connection")
			if got := g.now.Sub(first); got != c.want {
				t.Errorf("dead after %v, want %v", got, c.want)
			}
		})
	}
}

func TestAFarMemberReconnectsInTime(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.reach["a"] = 400 * time.Millisecond
	for range 20 { // a reset every 2 s, and nothing is heard until it is back
		g.kill("a")
		g.quiet(14)
		g.unsub["a"] = false
		g.quiet(26)
	}
	g.kill("a")
	first := g.now.Add(tick)
	g.quietUntil(first.Add(800 * time.Millisecond))
	g.want("a/connection")
}

// Two of four behind a path of their own are not more than half.
func TestACrowdHasMoreTime(t *testing.T) {
	g := newGround(t, "a", "b", "c", "d")
	g.kill("a", "b")
	g.want("")
	first := g.now
	g.quiet(10)
	g.unsub["a"] = false
	g.quietUntil(first.Add(Default().Crowd))
	g.want("b/connection")
}

func TestACrowdCountsAcrossLooks(t *testing.T) {
	g := newGround(t, "a", "b", "c", "d", "e")
	g.kill("a")
	g.want("")
	first := g.now
	g.kill("b")
	g.quietUntil(first.Add(Default().Crowd))
	g.want("a/connection")
	g.want("a/connection b/connection")
}

func TestDeathsOneAfterTheOtherAreNoCrowd(t *testing.T) {
	g := newGround(t, "a", "b", "c", "d", "e")
	g.kill("a")
	g.want("")
	g.want("a/connection")
	g.kill("b") // and a is still in the list
	g.want("a/connection")
	g.want("a/connection b/connection")
}

func TestWhoBeatsIsNotMissedByTheMassGuard(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.kill("a", "b")
	g.want("")
	g.beats["a"]++
	hold := g.now.Add(ttl())
	g.quietUntil(hold)
	g.want("b/connection")
	g.names = []string{"a", "c"}
	g.quiet(20)
}

func TestALateLeaderKnowsWhoHasBeaten(t *testing.T) {
	g := newGround(t, "a", "b", "c", "d", "e")
	g.kill("a", "b")
	g.want("")
	g.beats["a"]++
	g.d.Late()
	g.want("")
	since := g.now
	g.quietUntil(since.Add(Default().Crowd))
	var all []string
	for range 3 {
		all = append(all, g.look())
	}
	if got := strings.Join(all, ","); got != "b/connection,b/connection,b/connection" {
		t.Errorf("verdicts %s", got)
	}
}

// Whatever a member does, no verdict by connection is given in the look that shows a beat
// since its loss, nor one that names another beat than the one of the loss.
func TestNoVerdictAgainstABeat(t *testing.T) {
	d := NewDetector(Default())
	now, sub, beat, at := time.Unix(1, 0), true, 0, ""
	next := uint32(1)
	dead := 0
	for range 100_000 {
		next = next*1664525 + 1013904223
		switch r := next >> 16; {
		case r%8 == 0:
			sub = !sub
			at = ""
		case r%5 == 0:
			beat++
		}
		now = now.Add(tick)
		if !sub && at == "" {
			at = fmt.Sprint(beat)
		}
		s := sub
		for _, v := range d.Observe(Observation{Now: now, Members: []Seen{{Incarnation: "a", Subscribed: &s, Beat: fmt.Sprint(beat)}}}) {
			if dead++; fmt.Sprint(beat) != at || v.Beat != at {
				t.Fatalf("dead by beat %s; lost at %s, now %d", v.Beat, at, beat)
			}
		}
	}
	if dead == 0 {
		t.Error("nobody was ever dead")
	}
}
