package streams

import (
	"strconv"
	"testing"

	"ringmaster/job"
)

// A crash is counted only for who ended without leaving: whoever left, was told to leave,
// answers but hands nothing over, or beats again after all, has crashed over nothing.
func TestOnlyTheDeadCountACrash(t *testing.T) {
	gone := func(evidence string) func(c *crew, h *hand) {
		return func(c *crew, h *hand) {
			if evidence == "ttl" {
				must(c.t, c.raw.Del(c.ctx, c.key(0, "alive:"+h.inc)).Err())
			}
			if !must1(c.ring.Evict(c.ctx, c.term, h.inc, evidence, 0, 0, 1, 0, lastBeat(c, h.inc)))(c.t) {
				c.t.Fatalf("not evicted for %s", evidence)
			}
		}
	}
	leaving := func(c *crew, h *hand) { must(c.t, h.member.Leaving(c.ctx)) }
	for name, k := range map[string]struct {
		ends  []func(c *crew, h *hand)
		wants int64
	}{
		"its lease is over":           {[]func(*crew, *hand){gone("ttl")}, 1},
		"its connection is gone":      {[]func(*crew, *hand){gone("connection")}, 1},
		"it hands nothing over":       {[]func(*crew, *hand){gone("decided")}, 0},
		"it has left":                 {[]func(*crew, *hand){leaving, func(c *crew, h *hand) { must(c.t, h.member.Left(c.ctx)) }}, 0},
		"it dies while it leaves":     {[]func(*crew, *hand){leaving, gone("ttl")}, 0},
		"it beats after it was found": {[]func(*crew, *hand){gone("ttl"), func(c *crew, h *hand) { must1(h.member.Heartbeat(c.ctx))(c.t) }}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			eachCrew(t, Queue{Partitions: 2, Shards: 2}, func(c *crew) {
				a, b := c.give(c.join("a.1")), c.join("b.1")
				ids := [2][]job.EntryID{}
				for n := range 2 {
					ids[n] = c.add(1, keysByPartition(2)[n])
				}
				a.read(0)
				a.read(1)
				must(c.t, c.plan("key", b.inc))
				c.expect("release", a.release(1, 1, ids[1]...), job.Released)
				for _, end := range k.ends {
					end(c, a)
				}
				must(c.t, c.steal(0, a.inc, 1, b.inc))
				for _, h := range must1(c.ring.Permits(c.ctx, []int{1}))(c.t) {
					must(c.t, c.ring.Revoke(c.ctx, c.term, h))
				}
				c.expect("crashes of what it held", c.exists(0, "retry:0"), k.wants)
				c.expect("crashes of what it held under a permit", c.exists(1, "retry:1"), k.wants)
				c.expect("claimed", []int{len(claimed(b.claimAll(0, 2, 10))), len(claimed(b.claimAll(1, 2, 10)))}, "[1 1]")
			})
		})
	}
}

// keysByPartition has a key for each of n partitions.
func keysByPartition(n int) []string {
	keys := make([]string, n)
	for i, left := 0, n; left > 0; i++ {
		k := "k" + strconv.Itoa(i)
		if p := job.PartitionOf(k, n); keys[p] == "" {
			keys[p], left = k, left-1
		}
	}
	return keys
}
