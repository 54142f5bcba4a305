package lanes

import (
	"slices"
	"strings"
	"testing"

	"ringmaster/job"
)

// Results that the store has not taken yet are in memory. While they are many, nothing starts
// that would add to them.
func TestNothingStartsWhileLargeEndsAreUnanswered(t *testing.T) {
	b := newBench(t, func(l *Limits) { l.HeldBytes = 1000 })
	b.arrive(entry(1, "a"), entry(2, "b"), entry(3, "c"), entry(4, "d"))
	large := job.Completion{Outcome: job.Done, Data: strings.Repeat("x", 600)}
	b.p.Finished(b.mustStart(1), large)
	b.p.Finished(b.mustStart(2), large)
	b.mustNotStart()
	quiets := b.quiets
	b.reply(b.send()[:1], job.ByOwner)
	if b.quiets == quiets {
		t.Error("nobody was told to look again")
	}
	b.complete(b.mustStart(3))
	b.fail(b.mustStart(4))
	for _, it := range slices.Clone(b.s.Started()) {
		b.p.drop(it)
	}
	if b.p.owed != 0 {
		t.Errorf("%d bytes are left behind", b.p.owed)
	}
}
