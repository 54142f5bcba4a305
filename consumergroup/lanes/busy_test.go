package lanes

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"ringmaster/job"
)

// stream is the store's side of one partition: what is to be read, and what is set aside.
type stream struct {
	b      *bench
	unread []job.Entry
	aside  map[string][]job.Entry
	all    map[job.EntryID]job.Entry
	outs   map[job.EntryID]int // how often each was set aside

	acked    func()      // nil, or answers ends in place of acks
	answered func() bool // whether an answer of the store about what it set aside arrives
	read     int
}

func newStream(b *bench) *stream {
	return &stream{b: b, aside: map[string][]job.Entry{}, all: map[job.EntryID]job.Entry{}, outs: map[job.EntryID]int{}}
}

func (s *stream) add(keys ...string) {
	for _, key := range keys {
		e := entry(len(s.all)+1, key)
		s.unread, s.all[e.ID] = append(s.unread, e), e
	}
}

// acks answers the ends that wait.
func (s *stream) acks() {
	if s.acked != nil {
		s.acked()
		return
	}
	for _, e := range s.b.answer(job.ByOwner) {
		if e.c.Outcome == job.Parked {
			list := s.aside[e.c.Key]
			at, _ := slices.BinarySearchFunc(list, e.c.ID, func(e job.Entry, id job.EntryID) int { return e.ID.Compare(id) })
			s.aside[e.c.Key] = slices.Insert(list, at, s.all[e.c.ID])
			s.outs[e.c.ID]++
		}
	}
}

// turn is one of the reader's.
func (s *stream) turn() {
	b := s.b
	for _, l := range b.s.Unparks() {
		list := s.aside[l.Key]
		n := min(l.Asked(), len(list))
		page := job.UnparkPage{Entries: list[:n], Taken: n, Left: len(list) - n}
		if page.Left > 0 {
			page.First = list[n].ID
		}
		s.aside[l.Key] = list[n:]
		b.s.Unparked(l, page, b.now)
	}
	parts, count, _ := b.s.ToRead(b.now)
	for _, ask := range b.s.Skims() {
		page := s.skim(ask)
		if s.answered != nil && !s.answered() {
			b.s.SkimFailed(ask)
			b.s.Merge(b.ten, page.Entries, b.now) // as the reader does on its new connection
			continue
		}
		b.s.Skimmed(ask, &page, b.now)
	}
	if n := min(count, len(s.unread)); len(parts) > 0 {
		b.arrive(s.unread[:n]...)
		s.unread, s.read = s.unread[n:], s.read+n
	}
	b.s.ReadEnded()
	s.acks()
}

// skim is the store's: of keys with jobs set aside, new ones go behind these.
func (s *stream) skim(ask job.Skim) job.SkimPage {
	var page job.SkimPage
	at := map[string]int{}
	for len(s.unread) > 0 && page.Read < ask.Most && len(page.Entries) < ask.Room {
		e := s.unread[0]
		s.unread, s.read = s.unread[1:], s.read+1
		page.Read++
		list := s.aside[e.Key]
		if len(list) == 0 {
			page.Entries = append(page.Entries, e)
			continue
		}
		s.aside[e.Key] = append(list, e)
		s.outs[e.ID]++
		if _, seen := at[e.Key]; !seen {
			at[e.Key] = len(page.Parked)
			page.Parked = append(page.Parked, job.ParkedJobs{Key: e.Key, First: e.ID})
		}
		k := &page.Parked[at[e.Key]]
		k.Count, k.Last = k.Count+1, e.ID
	}
	return page
}

// hands are executors whose handlers take so long.
type hands struct {
	s         *stream
	executors int
	takes     time.Duration
	until     map[*Item]time.Time
	began     map[string]time.Duration // the first start of each key, since the beginning
	from      time.Time
	last      map[string]job.EntryID
}

func newHands(s *stream, executors int, takes time.Duration) *hands {
	return &hands{s: s, executors: executors, takes: takes, until: map[*Item]time.Time{}, began: map[string]time.Duration{},
		from: s.b.now, last: map[string]job.EntryID{}}
}

// pass lets time go by.
func (c *hands) pass(d time.Duration) {
	b := c.s.b
	const tick = time.Millisecond
	for range d / tick {
		b.now = b.now.Add(tick)
		for it, at := range c.until {
			if !at.After(b.now) {
				delete(c.until, it)
				b.finish(it)
			}
		}
		c.s.acks()
		for len(c.until) < c.executors {
			it := b.p.Next(b.now)
			if it == nil {
				break
			}
			key := it.Entry.Key
			if !c.last[key].Less(it.Entry.ID) {
				b.t.Fatalf("job %d of %s starts behind %d", it.Entry.ID.Ms, key, c.last[key].Ms)
			}
			c.last[key] = it.Entry.ID
			if _, known := c.began[key]; !known {
				c.began[key] = b.now.Sub(c.from)
			}
			c.until[it] = b.now.Add(c.takes)
		}
		c.s.turn()
	}
}

func busyPartition(t *testing.T, keys, jobs int) *stream {
	b := newBench(t, nil)
	s := newStream(b)
	for i := range jobs {
		s.add(fmt.Sprint("busy", i%keys))
	}
	return s
}

// The matrix: so many busy keys, whatever their jobs take, and a key with one job behind.
func TestAKeyWithMuchToDoTakesItsTurn(t *testing.T) {
	for _, keys := range []int{1, 10, 100} {
		for _, takes := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 500 * time.Millisecond} {
			t.Run(fmt.Sprint(keys, takes), func(t *testing.T) {
				s := busyPartition(t, keys, 3000)
				s.add("late")
				c := newHands(s, 16, takes)
				c.pass(takes + 100*time.Millisecond)
				if _, ran := c.began["late"]; !ran {
					t.Errorf("not started after %v: %d jobs were read", takes+100*time.Millisecond, s.read)
				}
				c.pass(300 * time.Millisecond)
				c.from = s.b.now
				s.add("later")
				c.pass(takes + 10*time.Millisecond)
				if _, ran := c.began["later"]; !ran {
					t.Error("one that came when all was read has not started")
				}
				if n := len(s.b.ten.items); n > s.b.p.limits.Window {
					t.Errorf("%d are held", n)
				}
			})
		}
	}
}

// Each job is set aside once and comes back once, and the lanes count what is there.
func TestAJobIsSetAsideOnce(t *testing.T) {
	for _, keys := range []int{1, 10, 100, 300} {
		s := busyPartition(t, keys, 3000)
		c := newHands(s, 16, 2*time.Millisecond)
		c.pass(8 * time.Second)
		for id, n := range s.outs {
			if n > 1 {
				t.Fatalf("%d keys: job %d was set aside %d times", keys, id.Ms, n)
			}
		}
		ten := s.b.ten
		// Of 300 keys the window holds a job each: those are served as they came.
		if (len(s.outs) > 0) != (keys < 300) || len(ten.items) != 0 || s.b.used() != 0 || ten.back != 0 || ten.aside != 0 || ten.wants.len() != 0 || ten.parking != 0 {
			t.Errorf("%d keys, %d were set aside; left behind: %d items, %d lanes, back %d, aside %d, wants %d", keys, len(s.outs),
				len(ten.items), s.b.used(), ten.back, ten.aside, ten.wants.len())
		}
	}
}

// A key whose jobs end fast does not wait for its parked ones: it keeps an executor busy.
func TestABusyKeyRunsOn(t *testing.T) {
	s := busyPartition(t, 1, 3000)
	c := newHands(s, 16, time.Millisecond)
	c.pass(3200 * time.Millisecond)
	if ran := c.last["busy0"].Ms; ran < 3000 {
		t.Errorf("%d of 3000 have started in 3.2 s", ran)
	}
}

// Keys that come ever anew and keys with much to do take turns; so do jobs without a key.
func TestNewKeysAndBusyOnesTakeTurns(t *testing.T) {
	b := newBench(t, nil)
	n := 0
	add := func(key string) {
		n++
		b.arrive(entry(n, key))
	}
	for i := range 20 {
		add(fmt.Sprint("busy", i))
		add(fmt.Sprint("busy", i))
	}
	for range 20 {
		b.finish(b.p.Next(b.now))
	}
	b.answer(job.ByOwner) // each has had its turn
	for i := range 20 {
		add("")
		add(fmt.Sprint("new", i))
	}
	count := map[string]int{}
	for range 15 {
		key := b.p.Next(b.now).Entry.Key
		count[key[:min(3, len(key))]]++
	}
	if count["bus"] != 5 || count["new"] != 5 || count[""] != 5 {
		t.Errorf("starts: %v", count)
	}
}

// Where the window drains by itself nothing is set aside: it would cost more than it gains.
func TestAWindowThatDrainsIsLeftAlone(t *testing.T) {
	b := newBench(t, func(l *Limits) { l.ReadBudget, l.MostBudget = 256, 8192 })
	s := newStream(b)
	for i := range 20000 {
		s.add(fmt.Sprint("k", i%300))
	}
	c := newHands(s, 64, time.Millisecond)
	c.pass(60 * time.Millisecond)
	before := len(s.outs)
	c.pass(100 * time.Millisecond)
	if n := len(s.outs) - before; n > 0 {
		t.Errorf("%d jobs were set aside", n)
	}
}
