package lanes

import (
	"slices"
	"time"
)

// former are the runs whose handlers outlive their tenure: it was dropped, or moved, or its
// incarnation is over. The partition may be this worker's again before they return, with their
// jobs in the pending list, since a cancelled handler takes its time and a revoked permit ends
// none. What is pending then is not to start beside what still runs here: it waits.
type former struct {
	runs  []*Item
	waits []*Item // were put back because of one of them; each once
	ended bool    // one has returned since waits were offered
	keeping
}

// outlives notes a run that goes on though its tenure has ended.
func (p *Pool) outlives(it *Item) { p.former.runs = append(p.former.runs, it) }

// returned notes that the handler of a run has returned, or that none began.
func (p *Pool) returned(it *Item) {
	f := &p.former
	if i := slices.Index(f.runs, it); i >= 0 {
		f.runs = slices.Delete(f.runs, i, i+1)
		f.ended = true
	}
}

// behind reports whether a job must wait, since it, or another of its key, still runs here under
// a tenure that has ended. Which of the two it is makes no difference: a key has one run.
func (p *Pool) behind(it *Item) bool {
	f := &p.former
	if !slices.ContainsFunc(f.runs, it.sameKey) {
		return false
	}
	if !it.behind {
		it.behind = true
		f.waits = append(f.waits, it)
	}
	return true
}

// sameKey reports whether two items are one job, or of one key.
func (it *Item) sameKey(other *Item) bool {
	return it.Tenure.Partition == other.Tenure.Partition &&
		(it.Entry.ID == other.Entry.ID || it.Entry.Key != "" && it.Entry.Key == other.Entry.Key)
}

// offerBehind offers what waited for a former run once one has returned.
func (p *Pool) offerBehind(now time.Time) {
	f := &p.former
	if !f.ended {
		return
	}
	waits := f.waits
	f.waits, f.ended = nil, false
	for _, it := range waits {
		it.behind = false
		if it.state == waiting && it.held {
			p.awake(it, now)
		}
	}
}
