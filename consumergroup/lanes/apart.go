package lanes

import "time"

// How suspects are held apart. None holds the others up for long: starts pause until nothing
// runs, or for drainFor, then the suspect starts beside what still runs, and for as long as it
// asks for (Prior.Apart) nothing else does. Then others go on beside it, and for three times as
// long as all that took no pause begins. One whose turn does not come runs among others.
const (
	drainFor = time.Second      // a pause before a suspect's start
	markFor  = time.Second      // until its mark must be written
	turnFor  = 10 * time.Second // it waits for its turn no longer
)

// apart is the part of a pool that holds suspects apart.
type apart struct {
	ready fifo[*Item] // suspects that may start
	item  *Item       // runs, and nothing else starts
	runs  int         // so many ran when it started, itself included
	until time.Time   // then others start again
	since time.Time   // when starts paused for it
	quiet time.Time   // starts pause until nothing runs, at most until then; zero: they do not
	ended bool        // item has ended, or others may start: what it took is not counted yet
	rest  time.Time   // no pause begins before
	look  time.Time   // somebody has to look again then; zero: nobody
}

// holds reports whether nothing may start, because a suspect has the worker for itself.
func (p *Pool) holds(now time.Time) bool {
	a := &p.apart
	if a.item != nil && !now.Before(a.until) {
		a.item, a.ended = nil, true
	}
	if a.ended {
		a.ended = false
		a.rest = now.Add(3 * now.Sub(a.since))
	}
	return a.item != nil
}

// suspect starts the next suspect, if it is its turn. It reports true if nothing else may start.
func (p *Pool) suspect(now time.Time) (*Item, bool) {
	a := &p.apart
	for !a.ready.empty() {
		it := a.ready.peek()
		switch {
		case it.state != ready || !it.Tenure.starts() || p.behind(it):
			a.ready.pop()
			p.take(it, now) // which sees why not
			continue
		case p.runs == 0 && p.idle(), p.runs == 0 && !a.quiet.IsZero(): // it holds nobody up
		case a.quiet.IsZero() && now.Before(a.rest):
			if turn := it.since.Add(turnFor); now.Before(turn) {
				p.lookAt(earlier(a.rest, turn))
				return nil, false
			}
			a.ready.pop()
			if p.take(it, now) {
				return it, false
			}
			continue
		case a.quiet.IsZero():
			a.since, a.quiet = now, now.Add(drainFor)
			if p.runs > 0 {
				p.lookAt(a.quiet)
				return nil, true
			}
		case now.Before(a.quiet):
			return nil, true
		}
		a.ready.pop()
		if !p.take(it, now) {
			continue
		}
		if a.quiet.IsZero() {
			a.since = now
		}
		a.item, a.runs, a.quiet = it, p.runs, time.Time{}
		a.until = now.Add(it.Prior.Apart + markFor)
		p.lookAt(a.until)
		return it, true
	}
	a.quiet = time.Time{}
	return nil, false
}

// Apart is how many run beside a suspect that is held apart, itself included; 0 if it is not.
func (p *Pool) Apart(it *Item) int {
	if p.apart.item == it {
		return p.apart.runs
	}
	return 0
}

// Marked tells that the mark of a suspect that was held apart is written: from now on nothing
// else starts for as long as the mark says. It reports false if others may have started already.
func (p *Pool) Marked(it *Item, now time.Time) bool {
	a := &p.apart
	if a.item != it || !now.Before(a.until) {
		return false
	}
	a.until = now.Add(it.Prior.Apart)
	p.lookAt(a.until)
	return true
}

// together ends the time in which a suspect has the worker for itself, if it does.
func (p *Pool) together(it *Item) {
	if p.apart.item == it {
		p.apart.item, p.apart.ended = nil, true
		p.quiet()
	}
}

// lookAt has somebody look again.
func (p *Pool) lookAt(at time.Time) {
	if p.apart.look != at {
		p.apart.look = at
		p.crew.Alarm()
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
