package streams

import (
	"testing"
	"time"
)

// subscribed tells which members hold their liveness channel.
func subscribed(c *crew, incs ...string) []bool {
	out := make([]bool, len(incs))
	for i, s := range signs(c, false, incs...) {
		out[i] = s.Subscribed
	}
	return out
}

func signs(c *crew, ask bool, incs ...string) []Sign {
	c.t.Helper()
	return must1(c.ring.Signs(c.ctx, incs, func(string) bool { return ask }))(c.t)
}

// lastBeat names the last heartbeat of a member that is not subscribed.
func lastBeat(c *crew, inc string) string { return signs(c, false, inc)[0].Beat }

func TestABeatSinceTheLossForbidsTheEviction(t *testing.T) {
	eachCrew(t, Queue{Shards: 2, Partitions: 2}, func(c *crew) {
		a := c.join("a.1")
		evict := func(beat string) bool {
			c.t.Helper()
			return must1(c.ring.Evict(c.ctx, c.term, "a.1", "connection", 0, 0, 0, 0, beat))(c.t)
		}
		lost := lastBeat(c, "a.1")
		must1(a.member.Heartbeat(c.ctx))(c.t)
		now := lastBeat(c, "a.1")
		if lost == "" || now == lost {
			c.t.Fatalf("beat %q, then %q", lost, now)
		}
		c.expect("it has beaten since", evict(lost), false)
		c.expect("nor does it count that nothing was known of it", evict(""), false)
		c.expect("still a member", must1(a.member.Heartbeat(c.ctx))(c.t)[0].Fenced, false)
		c.expect("nothing since", evict(lastBeat(c, "a.1")), true)
		for sh := range 2 {
			c.expect("records", c.exists(sh, "beats"), 0)
		}
		c.expect("of nobody", signs(c, true, "a.1"), []Sign{{}})
	})
}

func TestWhoIsMissedIsAskedForABeat(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.join("a.1"), c.join("b.1")
		signs(c, false, "a.1", "b.1")
		got := must1(c.ring.Signs(c.ctx, []string{"a.1", "b.1"}, func(inc string) bool { return inc == "b.1" }))(c.t)
		if len(got) != 2 || got[0].Subscribed || got[1].Subscribed || got[0].Beat == "" || got[1].Beat == "" {
			c.t.Fatalf("signs %+v", got)
		}
		for m, want := range map[*hand]string{a: "", b: "beat"} {
			batch := must1(m.readers[0].Read(c.ctx, nil, 10, time.Millisecond))(c.t)
			types := ""
			for _, e := range batch.Control {
				types += e.Fields["type"]
			}
			c.expect("inbox of "+m.inc, types, want)
		}
	})
}

// A whole page of them is asked, and each gets its own answer.
func TestManyAreMissedAtOnce(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		var incs []string
		want := map[string]string{}
		for i := range 2*signPage + 3 {
			inc := "w" + string(rune('a'+i%26)) + "." + time.Duration(i).String()
			incs = append(incs, inc)
			want[inc] = time.Duration(i).String() + " " + "7"
			must(c.t, c.raw.HSet(c.ctx, c.key(0, "beats"), inc, want[inc]).Err())
		}
		for _, ask := range []bool{false, true} {
			for i, s := range signs(c, ask, incs...) {
				if s.Beat != want[incs[i]] || s.Reach != 7*time.Millisecond {
					c.t.Fatalf("%s: %+v, want %q", incs[i], s, want[incs[i]])
				}
			}
		}
	})
}
