package recovery

import (
	"fmt"
	"testing"
	"time"
)

func TestServerRestartGivesGraceToAllEvidence(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.kill("a")
	g.quiet(1)
	g.server = "run-2"
	g.kill("a", "b", "c") // connections went with the old server
	g.want("")
	end := g.now.Add(ttl())
	g.quiet(4)
	g.unsub = map[string]bool{"c": true} // c does not come back
	g.quietUntil(end)
	g.want("c/connection")
}

func TestServerRestartDelaysLeases(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.server = "run-2"
	g.gone["a"] = true
	g.want("")
	g.quietUntil(g.now.Add(ttl()))
	g.want("a/lease")
}

func TestRestartThatKillsAllWaitsOnlyOnce(t *testing.T) {
	// Grace and the mass guard's hold run together, not one after the other.
	g := newGround(t, "a", "b", "c")
	g.server = "run-2"
	g.kill("a", "b", "c")
	g.want("")
	g.quietUntil(g.now.Add(ttl()))
	g.want("a/connection b/connection c/connection")
}

func TestUnknownServerIsNoChange(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.server = ""
	g.quiet(1)
	g.server = "run-1"
	g.kill("a")
	g.want("")
	g.want("a/connection")
}

func TestServerClockStep(t *testing.T) {
	for _, c := range []struct {
		step  time.Duration
		grace bool
	}{
		{60 * time.Second, true},
		{-180 * time.Second, true},
		{1001 * time.Millisecond, true},
		{-1001 * time.Millisecond, true},
		{time.Second, false},
		{-time.Second, false},
		{0, false},
	} {
		t.Run(c.step.String(), func(t *testing.T) {
			g := newGround(t, "a", "b", "c")
			g.wall = g.wall.Add(c.step)
			// A step forward ends every lease at once; one is enough to see, without
			// the mass guard in play.
			g.gone["a"] = true
			if !c.grace {
				g.want("a/lease")
				return
			}
			g.want("")
			end := g.now.Add(ttl())
			g.quiet(5)
			g.gone["a"] = false // renewed by its heartbeat
			g.kill("b")         // and this one is really dead
			g.quietUntil(end)
			g.want("b/connection")
		})
	}
}

func TestServerClockStepLimitGrowsWithTTL(t *testing.T) {
	d := NewDetector(Config{LeaseTTL: 20 * time.Second, Misses: 1, MassFraction: 0.5})
	start := time.Unix(1000, 0)
	at := func(n int, wall time.Duration) int {
		return len(d.Observe(Observation{Now: start.Add(time.Duration(n) * tick), ServerTime: start.Add(time.Duration(n)*tick + wall),
			Members: []Seen{{Incarnation: "a", LeaseKnown: true}}}))
	}
	for n, c := range []struct {
		wall time.Duration
		want int
	}{{0, 1}, {5 * time.Second, 1}, {10*time.Second + time.Millisecond, 0}} {
		if got := at(n, c.wall); got != c.want {
			t.Errorf("server clock at %v: %d verdicts, want %d", c.wall, got, c.want)
		}
	}
}

func TestUnknownServerTimeIsNoJump(t *testing.T) {
	d := NewDetector(Default())
	now := time.Unix(1000, 0)
	for i, wall := range []time.Time{now, {}, now.Add(2 * tick)} {
		got := d.Observe(Observation{Now: now.Add(time.Duration(i) * tick), ServerTime: wall,
			Members: []Seen{{Incarnation: "a", LeaseKnown: true}}})
		if len(got) != 1 {
			t.Errorf("look %d: %v, want one verdict", i, got)
		}
	}
}

func TestLeaderChangeDelaysLeasesOnly(t *testing.T) {
	g := newGround(t, "a", "b", "c", "d", "e")
	g.kill("a")
	g.quiet(1)
	g.d.LeaderChanged(g.now)
	end := g.now.Add(ttl())
	g.gone["b"] = true
	g.want("")             // the old miss does not count
	g.want("a/connection") // two fresh ones do
	g.names = []string{"b", "c", "d", "e"}
	g.quietUntil(end)
	g.want("b/lease")
}

func TestNewLeaderFindsWorkerKilledWithTheOldOne(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.d = NewDetector(Default()) // another process, which never saw a subscribed
	g.d.LeaderChanged(g.now)
	g.kill("a")
	g.want("")
	g.want("a/connection")
	// Who joins later has its TTL to subscribe.
	g.names = []string{"b", "c", "new"}
	g.kill("new")
	g.quiet(5)
}

func TestLateLeaderStartsCounting(t *testing.T) {
	for _, c := range []struct {
		gap  time.Duration
		want string
	}{
		{ttl() / 2, "a/connection"},
		{ttl()/2 + time.Millisecond, ""},
		{10 * time.Minute, ""},
	} {
		t.Run(fmt.Sprint(c.gap), func(t *testing.T) {
			g := newGround(t, "a", "b", "c")
			g.kill("a")
			g.quiet(1)
			if got := g.lookAfter(c.gap); got != c.want {
				t.Fatalf("after a gap of %v: %q, want %q", c.gap, got, c.want)
			}
			g.want("a/connection")
		})
	}
}

func TestLateLeaderDoesNotJudgeLeasesAtOnce(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.gone["a"] = true
	if got := g.lookAfter(ttl()); got != "" {
		t.Fatalf("verdict %q from the first look after a pause", got)
	}
	g.want("a/lease")
}

func TestLateByHand(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.kill("a")
	g.quiet(1)
	g.d.Late()
	g.want("")
	g.want("a/connection")
}

func TestSuspendedLeaderSeesAJump(t *testing.T) {
	// The leader's monotonic clock stood still for ten minutes; the server's did not.
	g := newGround(t, "a", "b", "c")
	g.wall = g.wall.Add(10 * time.Minute)
	g.gone["a"], g.unsub["b"] = true, true
	g.want("")
	end := g.now.Add(ttl())
	g.gone["a"] = false
	g.quietUntil(end)
	g.want("b/connection")
}
