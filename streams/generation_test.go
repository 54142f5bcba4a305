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
		must1(c.s.run(c.ctx, c.s.cmd, &c.s.scripts.renew, c.s.shard(c.q, 0), "this", 0))(c.t)
		c.expect("the epoch rises by", epoch()-before, job.GenerationJump)
	})
}
