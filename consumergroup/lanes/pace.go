package lanes

import "time"

// How much a worker holds follows how fast its jobs end. What it holds must be handed over
// when a partition moves, so where handlers take long it is little; where they do not,
// answers and reads are on their way while thousands end.
const (
	heldFor   = 50 * time.Millisecond // so much of its work is held
	paceAfter = 20 * time.Millisecond // as long as this, at least, ends are counted before
)

// pace is how fast jobs end, all shards together.
type pace struct {
	since  time.Time
	ended  int // since then
	budget int // what came of the count before
}

// readBudget is how many entries a read may bring now.
func (p *Pool) readBudget(now time.Time) int {
	if took := now.Sub(p.pace.since); took >= paceAfter {
		p.pace = pace{since: now, budget: int(float64(p.pace.ended) * float64(heldFor) / float64(took))}
	}
	return max(p.limits.ReadBudget, min(p.pace.budget, p.limits.MostBudget))
}
