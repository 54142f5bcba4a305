package lanes

import (
	"slices"
	"testing"

	"ringmaster/job"
	"ringmaster/resize"
)

// Shards of a worker share its executors, and nothing else: one whose gates are closed stands
// still when its own runs have ended, whatever the other runs.
func TestAShardStandsStillByItself(t *testing.T) {
	for _, last := range []string{"its own run is the last to end", "that of the other shard is"} {
		t.Run(last, func(t *testing.T) {
			b := newBench(t, nil)
			other := &bench{t: t, p: b.p, now: b.now}
			other.s = NewShard(b.p, other)
			other.ten, _ = other.s.Claim(1, 1, true)
			other.ten.gate = true
			b.arrive(entry(1, "k"))
			mine := b.mustStart(1)
			other.s.Arrive(1, []job.Entry{entry(1, "k")}, b.now)
			theirs := b.mustStart(1)
			b.s.SetGate(0, 1, false, b.now)
			if last == "that of the other shard is" {
				b.complete(mine)
				b.expectStill()
				other.complete(theirs)
			} else {
				other.s.SetGate(1, 1, false, b.now)
				other.complete(theirs)
				other.expectStill()
				b.complete(mine)
				b.expectStill()
			}
		})
	}
}

func (b *bench) expectStill() {
	b.t.Helper()
	if !slices.Contains(b.events, resize.ParticipantEvent(resize.RunsEnded{})) || !b.s.StillIdle() {
		b.t.Fatalf("nothing of the shard runs, and the participant was told %v", b.events)
	}
}
