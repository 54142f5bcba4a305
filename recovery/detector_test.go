package recovery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const tick = 50 * time.Millisecond

// ground is a detector together with the world it looks at.
type ground struct {
	t      *testing.T
	d      *Detector
	now    time.Time
	wall   time.Time
	server string
	names  []string
	unsub  map[string]bool // not subscribed
	gone   map[string]bool // lease gone
	beats  map[string]int
	reach  map[string]time.Duration
	mute   bool // probe not made
	nolook bool // lease not asked for
}

func newGround(t *testing.T, names ...string) *ground {
	t.Helper()
	start := time.Unix(1_000_000, 0)
	g := &ground{t: t, d: NewDetector(Default()), now: start, wall: start.Add(time.Hour), server: "run-1",
		names: names, unsub: map[string]bool{}, gone: map[string]bool{},
		beats: map[string]int{}, reach: map[string]time.Duration{}}
	g.quiet(2)
	return g
}

// look lets one tick pass and returns the verdicts as "name/evidence ...".
func (g *ground) look() string { return g.lookAfter(tick) }

func (g *ground) lookAfter(d time.Duration) string {
	g.now, g.wall = g.now.Add(d), g.wall.Add(d)
	o := Observation{Now: g.now, ServerID: g.server, ServerTime: g.wall}
	for _, n := range g.names {
		s := Seen{Incarnation: n, LeaseKnown: !g.nolook, LeaseLeft: time.Second}
		if g.gone[n] {
			s.LeaseLeft = 0
		}
		if !g.mute {
			sub := !g.unsub[n]
			if s.Subscribed = &sub; !sub {
				s.Beat, s.Reach = fmt.Sprint(g.beats[n]), g.reach[n]
			}
		}
		o.Members = append(o.Members, s)
	}
	var out []string
	for _, v := range g.d.Observe(o) {
		out = append(out, fmt.Sprintf("%s/%s", v.Incarnation, v.Evidence))
	}
	return strings.Join(out, " ")
}

func (g *ground) want(want string) {
	g.t.Helper()
	if got := g.look(); got != want {
		g.t.Fatalf("at %v: verdicts %q, want %q", g.now, got, want)
	}
}

func (g *ground) quiet(looks int) {
	g.t.Helper()
	for range looks {
		g.want("")
	}
}

// quietUntil looks until the next look would be at deadline or later.
func (g *ground) quietUntil(deadline time.Time) {
	g.t.Helper()
	for g.now.Add(tick).Before(deadline) {
		g.want("")
	}
}

func (g *ground) kill(names ...string) {
	for _, n := range names {
		g.unsub[n] = true
	}
}

func ttl() time.Duration { return Default().LeaseTTL }

func TestKilledWorkerIsFoundAfterTwoMisses(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.kill("b")
	g.want("")
	since := g.now
	g.want("b/connection")
	g.want("b/connection") // repeated until it is gone from the list
	if got := g.d.members["b"].missSince; !got.Equal(since) {
		t.Errorf("since %v, want the first miss %v", got, since)
	}
	g.names = []string{"a", "c"}
	g.quiet(1)
	if len(g.d.members) != 2 {
		t.Errorf("%d members remembered, want 2", len(g.d.members))
	}
}

func TestVerdictTellsSince(t *testing.T) {
	d := NewDetector(Config{LeaseTTL: 3 * time.Second, Misses: 3, MassFraction: 0.5})
	start := time.Unix(5, 0)
	var got []Verdict
	for i := range 5 {
		sub := i < 1
		got = d.Observe(Observation{Now: start.Add(time.Duration(i) * tick), Members: []Seen{{Incarnation: "a", Subscribed: &sub, Beat: "7"}}})
		if i < 3 && len(got) != 0 {
			t.Fatalf("look %d: verdict %v before three misses", i, got)
		}
	}
	want := []Verdict{{"a", Connection, "7"}}
	if !slices.Equal(got, want) {
		t.Errorf("verdicts %v, want %v", got, want)
	}
}

func TestOnlyMemberKilledIsNotHeld(t *testing.T) {
	g := newGround(t, "a")
	g.kill("a")
	g.want("")
	g.want("a/connection")
}

func TestReconnectClearsSuspicion(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	for range 10 {
		g.unsub["a"] = true
		g.quiet(1)
		g.unsub["a"] = false
		g.quiet(1)
	}
	g.kill("a")
	g.want("")
	g.want("a/connection")
}

func TestProbeNotMadeIsNoMiss(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.kill("a")
	g.quiet(1)
	g.mute = true
	g.quiet(5)
	g.mute = false
	g.want("a/connection")
	g.mute = true
	g.quiet(1) // and no verdict from memory
}

func TestJoiningMemberHasOneTTLToSubscribe(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.names = append(g.names, "new")
	g.kill("new")
	g.want("")
	first := g.now
	g.quietUntil(first.Add(ttl() + tick))
	if g.now.Sub(first) != ttl() {
		t.Fatalf("stopped at %v", g.now.Sub(first))
	}
	g.want("") // first miss that counts
	g.want("new/connection")
}

func TestLeaseGone(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.gone["c"] = true
	g.want("c/lease")
	g.nolook = true
	g.quiet(2) // not asked: no verdict from memory
	g.nolook = false
	g.want("c/lease")
	g.gone["c"] = false
	g.quiet(3)
}

func TestMassGuardHoldsOneTTLThenAllAreDead(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.kill("a", "b")
	g.want("")
	hold := g.now.Add(ttl())
	g.quietUntil(hold)
	g.want("a/connection b/connection")
	g.want("a/connection b/connection")
}

func TestMassGuardCountsAcrossLooks(t *testing.T) {
	g := newGround(t, "a", "b", "c", "d", "e")
	g.kill("a", "b")
	g.quiet(1)
	g.kill("c") // a few ms later, but the next look
	g.want("")
	g.quietUntil(g.now.Add(ttl()))
	g.want("a/connection b/connection c/connection")
}

func TestMassGuardAtItsBoundary(t *testing.T) {
	for _, c := range []struct {
		members, killed int
		held            bool
	}{
		{1, 1, false}, {2, 1, false}, {2, 2, true}, {3, 1, false}, {3, 2, true},
		{4, 2, false}, {4, 3, true}, {5, 2, false}, {5, 3, true}, {10, 5, false}, {10, 6, true},
	} {
		t.Run(fmt.Sprintf("%d of %d", c.killed, c.members), func(t *testing.T) {
			var names []string
			for i := range c.members {
				names = append(names, fmt.Sprint("w", i))
			}
			g := newGround(t, names...)
			g.kill(names[:c.killed]...)
			g.quiet(1)
			first := g.now
			for g.look() == "" {
				if g.now.Sub(first) > 2*ttl() {
					t.Fatal("no verdict")
				}
			}
			if held := g.now.Sub(first) >= ttl(); held != c.held {
				t.Errorf("held %v, want %v", g.now.Sub(first), c.held)
			}
		})
	}
}

func TestMassGuardSparesWhoReturns(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.kill("a", "b", "c")
	g.want("")
	hold := g.now.Add(ttl())
	g.quiet(10)
	g.unsub = map[string]bool{"c": true}
	g.quietUntil(hold)
	g.want("c/connection")
	// The hold is used up: a single death is quick again.
	g.names = []string{"a", "b"}
	g.kill("a")
	g.want("")
	g.want("a/connection")
}

func TestMassGuardHoldsOthersToo(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.kill("a", "b")
	g.want("")
	hold := g.now.Add(ttl())
	g.quiet(5)
	g.kill("c") // dies alone, during the hold
	g.quietUntil(hold)
	g.want("a/connection b/connection c/connection")
}

func TestSecondMassEventGetsItsOwnHold(t *testing.T) {
	g := newGround(t, "a", "b", "c", "d")
	g.kill("a", "b", "c")
	g.want("")
	hold := g.now.Add(ttl())
	g.quiet(5)
	g.unsub = map[string]bool{"a": true} // only a stays away
	g.quietUntil(hold.Add(-2 * tick))
	g.kill("b", "c", "d") // a second wave, just before the end
	g.quietUntil(hold)
	g.want("a/connection") // has waited; the others begin to
	hold = g.now.Add(ttl())
	g.quietUntil(hold)
	g.want("a/connection b/connection c/connection d/connection")
}

func TestMassExpiryOfLeases(t *testing.T) {
	g := newGround(t, "a", "b", "c")
	g.gone["a"], g.gone["b"] = true, true
	g.want("")
	hold := g.now.Add(ttl())
	g.quiet(3)
	g.gone["a"] = false
	g.quietUntil(hold)
	g.want("b/lease")
}

func TestConfigValidate(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Errorf("default: %v", err)
	}
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{0, 2, 0, 0.5}, "lease ttl"},
		{Config{time.Second, 0, 0, 0.5}, "misses"},
		{Config{time.Second, 1, -1, 0.5}, "crowd"},
		{Config{time.Second, 1, 0, 0}, "mass fraction"},
		{Config{time.Second, 1, 0, 1.5}, "mass fraction"},
	} {
		if err := c.cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want a complaint about %s", c.cfg, err, c.want)
		}
	}
}
