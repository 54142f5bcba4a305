package lanes

import (
	"slices"
	"strings"
	"time"
)

// A type may be limited: so many of its handlers run at a time, at most. A job of it needs a
// seat. It takes one as soon as it may start, ahead of its turn, and gives it free when its
// handler has returned, whatever became of the job meanwhile, or when it does not start after
// all. A job that finds none waits in line: it holds its key, and takes no room of the window,
// since many of them would keep all else from being read.

// seats are those of one type.
type seats struct {
	most  int
	taken int         // by jobs that run, and by those that are ready
	line  fifo[*Item] // in the order in which they began to wait; some have gone away since
	waits int         // that have not
	freed bool        // among the pool's, for those in line to be called up
}

// mostGone is how many that have gone away a line keeps, and no more than there are others.
const mostGone = 64

func newSeats(most map[string]int) map[string]*seats {
	if len(most) == 0 {
		return nil
	}
	all := make(map[string]*seats, len(most))
	for name, n := range most {
		all[name] = &seats{most: n}
	}
	return all
}

// sits reports whether a job that may start has a seat, or needs none. If there is none for it, it
// waits in line: nobody overtakes those who do.
func (p *Pool) sits(it *Item, now time.Time) bool {
	if it.seated {
		return true
	}
	if it.lined {
		return false
	}
	s := p.seats[it.Entry.Type]
	switch {
	case s == nil:
		return true
	case s.taken < s.most && s.waits == 0:
		s.taken++
		it.seated = true
		return true
	}
	it.rested() // it is counted once
	it.lined = true
	it.Tenure.lined++
	s.waits++
	s.line.push(it)
	if it.back { // it may wait for long now: others may come back
		it.notBack()
		it.Tenure.Shard.grant(it.Tenure, now)
	}
	return false
}

// rises gives the seat of a job free, if it has one. The next call of Next calls up who is first
// in line.
func (p *Pool) rises(it *Item) {
	if it.seated {
		p.vacate(it)
	}
}

func (p *Pool) vacate(it *Item) {
	it.seated = false
	s := p.seats[it.Entry.Type]
	s.taken--
	if s.waits > 0 && !s.freed {
		s.freed = true
		p.freed = append(p.freed, s)
	}
}

// withdraw: the job does not start. One that runs keeps its seat until its handler returns.
func (p *Pool) withdraw(it *Item) {
	if it.state == ready && it.seated {
		p.vacate(it)
		p.crew.Ready() // perhaps nobody else asks for the next job
	}
	if !it.lined {
		return
	}
	s := p.seats[it.Entry.Type]
	s.away(it)
	if gone := s.line.len() - s.waits; gone > mostGone && gone > s.waits {
		s.line.keep(func(it *Item) bool { return it.lined })
	}
}

// away ends that a job waits in line.
func (s *seats) away(it *Item) {
	it.lined = false
	it.Tenure.lined--
	s.waits--
}

// callUp offers the first in line where seats were given free.
func (p *Pool) callUp(now time.Time) {
	for _, s := range p.freed {
		s.freed = false
		for s.taken < s.most && s.waits > 0 {
			it := s.line.pop()
			if !it.lined {
				continue
			}
			s.away(it)
			it.seated = true
			s.taken++
			if p.awake(it, now); it.state != ready { // its gate has closed, say: it is offered again
				it.seated = false
				s.taken--
			}
		}
	}
	p.freed = p.freed[:0]
}

// InLine is what waits since so many of its type run.
type InLine struct {
	Type  string
	Most  int // that may run at a time
	Waits int // jobs that could start otherwise
}

// InLine are the types of which jobs wait for others of them, by name.
func (p *Pool) InLine() []InLine {
	var all []InLine
	for name, s := range p.seats {
		if s.waits > 0 {
			all = append(all, InLine{Type: name, Most: s.most, Waits: s.waits})
		}
	}
	slices.SortFunc(all, func(a, b InLine) int { return strings.Compare(a.Type, b.Type) })
	return all
}
