package streams

import (
	"slices"
	"testing"

	"ringmaster/job"
)

// A plan of more partitions than one call writes is whole, and so is what each worker reads
// of it, where the one's incarnation begins like the other's.
func TestPlanOfManyPartitions(t *testing.T) {
	const partitions = 1201
	eachCrew(t, Queue{Partitions: partitions}, func(c *crew) {
		a, b := c.join("a.12"), c.join("a.1")
		c.give(a)
		targets := make([]string, partitions)
		var moves []int
		for p := range targets {
			if targets[p] = a.inc; p%3 == 0 || p == partitions-1 {
				targets[p] = b.inc
				moves = append(moves, p)
			}
		}
		must(c.t, c.plan("key", targets...))
		rec := must1(c.ring.Look(c.ctx))(c.t)
		slices.Sort(rec.Moves)
		c.expect("the plan", rec.Plan, targets)
		c.expect("what moves", rec.Moves, moves)
		inbox := a.inbox()
		c.expect("the loser is told", len(inbox[len(inbox)-1].Parts), len(moves))
		snap := must1(a.readers[0].Snapshot(c.ctx))(c.t)
		slices.SortFunc(snap.Owned, func(x, y job.OwnedPartition) int { return x.Partition - y.Partition })
		for p := range targets {
			if want := (job.OwnedPartition{Partition: p, Epoch: 1, Planned: targets[p]}); p >= len(snap.Owned) || snap.Owned[p] != want {
				c.t.Fatalf("the owner's records of partition %d are not %+v", p, want)
			}
		}
		c.expect("the other owns", len(must1(b.readers[0].Snapshot(c.ctx))(c.t).Owned), 0)
		must(c.t, c.plan("key", a.inc))
		c.expect("taken back", len(must1(c.ring.Look(c.ctx))(c.t).Moves), 0)
	})
}
