package resize

import (
	"fmt"
	"testing"
)

// newShards is a bench of two members and several shards of one partition each, in a plan of
// ring epoch 4 that is not done. b.1 has replied to nothing.
func newShards(t *testing.T, n int, mode Mode) *bench {
	t.Helper()
	b := newBench(t)
	b.r.Epoch, b.r.Owners, b.r.Plan, b.r.Shards = 4, nil, nil, nil
	for i := range n {
		b.r.Shards = append(b.r.Shards, Shard{Epoch: 4, Phase: Stopping, Mode: mode, Replies: map[string]Phase{"a.1": Stopping}})
		inc := []string{"a.1", "b.1"}[i%2]
		b.r.Owners, b.r.Plan = append(b.r.Owners, Owner{inc, 1}), append(b.r.Plan, inc)
	}
	return b
}

// replied makes new records, in which a member has replied in some shards.
func (b *bench) replied(inc string, phase Phase, shards ...int) {
	all := append([]Shard(nil), b.r.Shards...)
	for _, i := range shards {
		replies := map[string]Phase{inc: phase}
		for other, p := range all[i].Replies {
			if other != inc {
				replies[other] = p
			}
		}
		all[i].Replies = replies
	}
	b.r.Shards = all
}

func TestPhaseOneEndsWhenAllShardsStandStill(t *testing.T) {
	b := newShards(t, 3, ModeRing)
	b.want(0, "")
	b.replied("b.1", Stopping, 0, 2)
	b.want(10, "")
	b.replied("b.1", Stopping, 1)
	b.r.Plan = []string{"a.1", "b.1", "b.1"}
	b.want(20, "") // something is left to move in the third
	b.r.Plan = b.r.Plan[:2:2]
	b.r.Plan = append(b.r.Plan, "a.1")
	b.want(30, "advance epoch=4")
	// A leader that died between two shards has left one in phase 1; the others go on without it.
	b.r.Shards = append([]Shard(nil), b.r.Shards...)
	b.r.Shards[0].Phase, b.r.Shards[2].Phase = Syncing, Stable
	b.want(200, "advance epoch=4")
	b.r.Shards[1].Phase = Stable
	b.want(400, "")
	b.replied("b.1", Syncing, 0)
	b.replied("a.1", Syncing, 0)
	b.want(600, "advance epoch=4")
}

func TestAMemberSilentInOneShardIsEvicted(t *testing.T) {
	b := newShards(t, 3, ModeRing)
	b.replied("b.1", Stopping, 0, 1)
	b.want(0, "")
	b.want(31_999, "")
	b.want(32_000, "evict b.1 silent epoch=4 phase=1 shard=2")
}

func TestAShardLeftBehindGetsThePlanOfTheOthers(t *testing.T) {
	for _, mode := range []Mode{ModeKey, ModePartition, ModeRing} {
		b := newShards(t, 3, mode)
		b.r.Shards[2] = Shard{Epoch: 3}
		b.want(0, fmt.Sprintf("plan after=4 mode=%s (a.1 b.1 a.1)", mode))
		// When nothing is under way, shards may differ: a failover of one server raises its own epoch alone.
		b = newShards(t, 2, mode)
		b.r.Shards = []Shard{{Epoch: 4}, {Epoch: 1004}}
		b.want(0, "")
	}
}

// Everybody leaves while the plan has not come to the third shard, where jobs run. There is nobody to
// plan for, so the others stay in phase 1 until there is.
func TestNoBarrierMovesWhileAShardIsLeftBehind(t *testing.T) {
	b := newShards(t, 3, ModeRing)
	b.replied("b.1", Stopping, 0, 1)
	b.r.Shards[2] = Shard{Epoch: 3}
	for i := range b.r.Members {
		b.r.Members[i].Leaving = true
	}
	b.want(0, "")
}

// What the records say and what the leader waits for may disagree, as when somebody wrote them
// by hand: the plan is superseded.
func TestAPlanThatDoesNotGoOnIsWrittenAnew(t *testing.T) {
	for _, mode := range []Mode{ModeKey, ModePartition, ModeRing} {
		for _, phase := range []Phase{Stopping, Syncing} {
			for _, n := range []int{1, 3} {
				b := newShards(t, n, mode)
				for i := range b.r.Shards {
					b.r.Shards[i].Phase = phase
				}
				b.want(0, "")
				b.want(31_999, "")
				if mode == ModeRing { // and the records say that nobody is missing
					b.want(32_000, map[Phase]string{Stopping: "evict b.1 silent epoch=4 phase=1",
						Syncing: "evict a.1 silent epoch=4 phase=2; evict b.1 silent epoch=4 phase=2"}[phase])
				}
				targets := map[int]string{1: "a.1", 3: "a.1 b.1 a.1"}[n]
				b.want(36_000, fmt.Sprintf("plan after=4 mode=%s (%s)", mode, targets))
			}
		}
	}
	// The time begins anew whenever something goes on.
	b := newShards(t, 3, ModeKey)
	b.want(0, "")
	b.r.Shards = append([]Shard(nil), b.r.Shards...)
	b.r.Shards[1].Phase = Stable
	b.want(30_000, "")
	b.want(65_999, "")
	b.want(66_000, "plan after=4 mode=key (a.1 b.1 a.1)")
}
