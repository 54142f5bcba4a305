package resize

import (
	"strings"
	"testing"
)

// bench is a leading coordinator of one partition and two members.
type bench struct {
	t *testing.T
	c *Coordinator
	r Records
}

func newBench(t *testing.T) *bench {
	t.Helper()
	c, err := NewCoordinator(Default())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, c: c, r: Records{Term: 1, Epoch: 1, Generation: 1,
		Members: []MemberRecord{{Incarnation: "a.1", Weight: 1}, {Incarnation: "b.1", Weight: 1}},
		Owners:  []Owner{{"a.1", 1}}, Plan: []string{"a.1"}, Shards: []Shard{{Epoch: 1}}}}
	b.step(LeaseWon{Now: 0, Term: 1})
	return b
}

func (b *bench) step(ev CoordinatorEvent) string {
	b.t.Helper()
	actions, err := b.c.Step(ev)
	if err == nil {
		err = b.c.CheckInvariants()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, a := range actions {
		if _, read := a.(ReadRecords); !read {
			out = append(out, a.String())
		}
	}
	return strings.Join(out, "; ")
}

// at reads the records as they are, at a time, and returns what is wanted then.
func (b *bench) at(now int64) string {
	b.t.Helper()
	return b.step(RecordsRead{Now: now, Records: b.r})
}

func (b *bench) want(now int64, action string) {
	b.t.Helper()
	if got := b.at(now); got != action {
		b.t.Errorf("at %d: %q, want %q", now, got, action)
	}
}

func TestPermitsLastAsLongAsTheirHolderSays(t *testing.T) {
	b := newBench(t)
	b.r.Owners, b.r.Plan = []Owner{{"b.1", 2}}, []string{"b.1"}
	b.r.Permits = []Permit{{0, "5-0", "a.1", 1}}
	b.want(0, "")
	b.want(29_999, "")
	b.want(30_000, "revoke 0 5-0 from a.1@1")

	b = newBench(t)
	b.r.Members[0].Drain = 300_000
	b.r.Owners, b.r.Plan = []Owner{{"b.1", 2}}, []string{"b.1"}
	b.r.Permits = []Permit{{0, "5-0", "a.1", 1}}
	b.want(0, "")
	b.want(299_999, "")
	b.want(300_000, "revoke 0 5-0 from a.1@1")

	// Of one that is gone, at once.
	b.r.Members = b.r.Members[1:]
	b.r.Permits[0].ID = "6-0"
	b.want(300_500, "revoke 0 6-0 from a.1@1")
}

func TestDeafOwnerIsEvictedByTheModesTime(t *testing.T) {
	for _, c := range []struct {
		mode  Mode
		drain int64
		limit int64
	}{{ModeKey, 300_000, 2_000}, {ModePartition, 0, 32_000}, {ModePartition, 60_000, 62_000}} {
		b := newBench(t)
		b.r.Shards[0].Mode, b.r.Shards[0].Phase, b.r.Plan = c.mode, Stopping, []string{"b.1"}
		b.r.Members[0].Drain = c.drain
		b.want(0, "")
		b.want(c.limit-1, "")
		b.want(c.limit, "evict a.1 deaf part=0@1")
	}
}

func TestChangeOfModeStartsTheDeafTimerAnew(t *testing.T) {
	b := newBench(t)
	b.r.Shards[0].Mode, b.r.Shards[0].Phase, b.r.Plan = ModePartition, Stopping, []string{"b.1"}
	b.want(0, "")
	b.r.Epoch, b.r.Shards = 2, []Shard{{Epoch: 2, Phase: Stopping, Mode: ModeKey}}
	b.want(31_000, "")
	b.want(32_999, "")
	b.want(33_000, "evict a.1 deaf part=0@1")
}

func TestSilentMemberHoldsNoBarrierForEver(t *testing.T) {
	b := newBench(t)
	b.r.Epoch = 4
	b.r.Shards = []Shard{{Epoch: 4, Phase: Stopping, Mode: ModeRing, Replies: map[string]Phase{"a.1": Stopping}}}
	b.want(0, "")
	b.want(31_999, "")
	b.want(32_000, "evict b.1 silent epoch=4 phase=1")
}

func TestFailoverStartsAllTimersAnew(t *testing.T) {
	b := newBench(t)
	b.r.Shards[0].Phase, b.r.Plan = Stopping, []string{"b.1"}
	b.want(0, "")
	b.r.Generation = 2
	b.want(1_999, "")
	b.want(2_500, "")
	b.want(3_998, "")
	b.want(3_999, "evict a.1 deaf part=0@1")
}
