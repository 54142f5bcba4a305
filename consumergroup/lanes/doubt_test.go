package lanes

import (
	"testing"

	"ringmaster/job"
)

func TestNothingStartsInDoubt(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, "k"), entry(2, "k"), entry(3, ""))
	one := b.mustStart(1)
	b.s.Doubt()
	b.mustNotStart()
	b.complete(one)
	b.mustNotStart()
	b.arrive(entry(6, ""))
	b.mustNotStart()
	for _, owned := range []map[int]uint64{nil, {0: 2}, {1: 1}} {
		b.s.Confirm(owned, b.now)
		b.mustNotStart()
	}
	b.s.Confirm(map[int]uint64{0: 1}, b.now)
	for _, n := range []int{3, 2, 6} {
		b.complete(b.mustStart(n))
	}
	suspect := entry(7, "")
	suspect.Retry = "apart"
	b.arrive(suspect)
	b.s.Doubt()
	b.mustNotStart()
	b.s.Confirm(map[int]uint64{0: 1}, b.now)
	b.mustStart(7)
}

// The store refused an end: the tenure is not this worker's, whose reader does not know yet.
func TestNothingStartsAfterARefusal(t *testing.T) {
	b := newBench(t, nil)
	b.arrive(entry(1, "k"), entry(2, ""))
	b.finish(b.mustStart(1))
	b.answer(job.Refused)
	b.mustNotStart()
}
