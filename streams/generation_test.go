package streams

import (
	"testing"

	"ringmaster/job"
)

// Workers take a ring epoch that has risen by so much for a new generation.
func TestANewGenerationJumps(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		c.give(c.join("a.1"))
		epoch := func() uint64 { return must1(c.raw.HGet(c.ctx, c.key(0, "ring"), "epoch").Uint64())(c.t) }
		must(c.t, c.raw.HSet(c.ctx, c.key(0, "ring"), "server", "another").Err())
		before := epoch()
		must1(run(c.ctx, c.s, c.s.cmd, &c.s.scripts.renew, c.s.shard(c.q, 0), "this", 0))(c.t)
		rose := epoch() - before
		c.expect("the epoch rises by", rose, max(rose/job.GenerationJump, 1)*job.GenerationJump)
	})
}

// A server may be restored twice from one snapshot, from before the first generation that began
// after it. The second one has no number of the first: who has met that could not tell.
func TestALostGenerationsNumbersAreNotUsedAgain(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		c.give(c.join("a.1"))
		keys := []string{c.key(0, "ring"), c.key(0, "owner"), c.key(0, "change")}
		var was []map[string]string
		for _, k := range keys {
			was = append(was, must1(c.raw.HGetAll(c.ctx, k).Result())(c.t))
		}
		seen := map[string]bool{}
		for tries := 0; len(seen) < 2; tries++ {
			if tries == 1000 {
				c.t.Fatal("each of 1,000 generations began with the same ring epoch")
			}
			for i, k := range keys {
				must(c.t, c.raw.Del(c.ctx, k).Err())
				must(c.t, c.raw.HSet(c.ctx, k, was[i]).Err())
			}
			must(c.t, c.raw.HSet(c.ctx, keys[0], "server", "another").Err())
			must1(run(c.ctx, c.s, c.s.cmd, &c.s.scripts.renew, c.s.shard(c.q, 0), "this", 0))(c.t)
			seen[must1(c.raw.HGet(c.ctx, keys[0], "epoch").Result())(c.t)] = true
		}
	})
}
