package lanes

import (
	"container/heap"
	"slices"
	"time"

	"ringmaster/job"
)

// Limits are how much a worker holds.
type Limits struct {
	Window     int // entries held of one partition at most
	ReadBudget int // entries one read may bring at most; of all partitions so many are held, or 32 of each
	MostBudget int // the same where jobs end fast; less than ReadBudget: the same always
	ReadBytes  int // bytes that one answer of the store may bring, as far as can be told before; 0: it is not bounded
	HeldBytes  int // payload bytes held before reading pauses, and bytes of unanswered ends before no job starts
	ParkBeyond int // jobs of a key that may wait in a full window, or behind a blocked key, before the rest is parked
	Backoff    int // jobs that wait for their backoff, or for a seat, and take no room of the window: of a shard, with an equal share for each partition
	IdleLanes  int // lanes that hold nothing and are kept for their keys' next jobs: of a shard, of each partition at least one

	Seats map[string]int // handlers of a type that run at a time; of one that is not here as many as there are executors
}

// Crew is who runs the jobs. Its methods are called from within the calls to the pool and
// its shards, and may not call back.
type Crew interface {
	Ready() // one more job may start
	Quiet() // nothing runs, a job that ran alone has ended, or large ends were answered, and others wait: look again
	Alarm() // an alarm was set that is earlier than all others
}

// Pool is all that one worker holds.
type Pool struct {
	limits Limits
	crew   Crew

	fresh  Prior                // of a job without a past
	ready  [turns]fifo[*Tenure] // of each kind those with ready items, each once
	turn   turn                 // whose it is
	alarms alarms
	apart  apart             // suspects that are held apart
	former former            // runs of ended tenures
	seats  map[string]*seats // of the types that are limited; nil: none is
	freed  []*seats          // that were given free while others wait for them
	runs   int               // started and not answered
	bytes  int               // of payloads held
	owed   int               // bytes of ends that are not answered
	choked bool              // no job was started because of them
	pace   pace
	weight weight
}

// NewPool makes a pool that holds nothing.
func NewPool(limits Limits, crew Crew) *Pool {
	return &Pool{limits: limits, crew: crew, seats: newSeats(limits.Seats)}
}

// Runs is how many jobs were started whose end is not answered.
func (p *Pool) Runs() int { return p.runs }

// began counts a run; ceased ends the count.
func (p *Pool) began(it *Item) {
	it.Tenure.running++
	p.runs++
	s := it.Tenure.Shard
	it.slot = int32(len(s.started))
	s.started = append(s.started, it)
}

// owes counts the bytes of an item's unanswered end.
func (p *Pool) owes(it *Item, n int) {
	p.owed += n - int(it.owed)
	it.owed = int32(n)
}

func (p *Pool) ceased(it *Item) {
	p.owes(it, 0)
	it.Tenure.running--
	p.runs--
	s := it.Tenure.Shard
	last := s.started[len(s.started)-1]
	s.started[it.slot], last.slot = last, it.slot
	s.started[len(s.started)-1] = nil
	s.started = s.started[:len(s.started)-1]
	p.together(it)
	if p.runs == 0 || (p.choked && p.owed < p.limits.HeldBytes) {
		p.choked = false
		p.quiet()
	}
}

// Entries with small payloads are made in blocks: an item that stays keeps those of its block
// in memory, which held payloads do not count.
const (
	itemBlock    = 16
	blockPayload = 1 << 10
)

// arrive takes entries into a tenure, in id order: claimed and new ones, and those that come
// back from being set aside, come through the same door. What is held already is left alone.
func (p *Pool) arrive(t *Tenure, entries []job.Entry, back bool, now time.Time) {
	var block []Item // made together; few enough that one that stays does not keep much
	var known map[job.EntryID]*Item
	for i := range entries {
		e := &entries[i]
		if t.LastRead.Less(e.ID) {
			t.LastRead = e.ID // nothing later is held
		} else {
			if known == nil {
				known = t.index()
			}
			if it := known[e.ID]; it != nil {
				it.again = it.flight
				continue
			}
		}
		if len(block) == 0 {
			block = make([]Item, min(itemBlock, len(entries)-i))
		}
		it := &block[0]
		if block = block[1:]; len(e.Payload) > blockPayload {
			it = new(Item)
		}
		it.Tenure, it.Entry, it.Prior = t, *e, &p.fresh
		t.hold(it)
		if known != nil {
			known[e.ID] = it
		}
		p.bytes += len(e.Payload)
		if e.Broken != nil {
			it.state = ending
			p.began(it)
			t.Shard.end(it, t.Shard.host.Broken(it))
			continue
		}
		if e.Retry != "" {
			prior := t.Shard.host.Before(e.Retry, now)
			it.Prior = &prior
		}
		if e.Key == "" {
			p.offer(it, now)
			continue
		}
		l := t.lane(e.Key)
		if it.lane = l; l.empty() {
			l.served = false
		}
		switch {
		case back:
			it.back = true
			t.back++
		case l.wasBack(e.ID) && t.blocked[e.Key] == 0 && !it.Prior.NotBefore.After(now):
			it.back = true
			t.back++
		case l.setAside(e.ID, p.limits.ParkBeyond, now):
			p.park(it)
			continue
		}
		l.insert(it)
		p.dispatch(l, now)
	}
}

// wasBack reports whether a job may have come back from being set aside under a former owner:
// it is claimed before those that are set aside still. A few are taken for such.
func (l *Lane) wasBack(id job.EntryID) bool {
	t := l.Tenure
	return t.passes == 0 && l.parked != nil && id.Less(l.parked.first) && len(l.queue) < 2
}

// dispatch offers the head of a lane, if it may start.
func (p *Pool) dispatch(l *Lane, now time.Time) {
	if l.busy != nil || len(l.queue) == 0 || l.Tenure.blocked[l.Key] > 0 {
		return
	}
	if head := l.queue[0]; head.state == waiting {
		p.offer(head, now)
	}
}

// dispatchAll offers all that may start in a tenure, the oldest first.
func (p *Pool) dispatchAll(t *Tenure, now time.Time) {
	var first []*Item
	for _, it := range t.items {
		if it.state == waiting && (it.lane == nil || it.heads(it.lane)) {
			first = append(first, it)
		}
	}
	slices.SortFunc(first, byID)
	for _, it := range first {
		p.awake(it, now)
	}
}

// awake offers a waiting item if it is its turn.
func (p *Pool) awake(it *Item, now time.Time) {
	if it.lane != nil {
		p.dispatch(it.lane, now)
	} else {
		p.offer(it, now)
	}
}

// Ring offers the jobs whose backoff is over, and has everybody look who waits for a suspect. It
// returns when the next one's is; false if there is none.
func (p *Pool) Ring(now time.Time) (time.Time, bool) {
	if look := p.apart.look; !look.IsZero() && !look.After(now) {
		p.apart.look = time.Time{}
		p.quiet()
	}
	for len(p.alarms) > 0 && !p.alarms[0].at.After(now) {
		it := heap.Pop(&p.alarms).(alarm).item
		it.rested()
		if it.state == waiting && it.held {
			p.awake(it, now)
		}
	}
	next := p.apart.look
	if len(p.alarms) > 0 && (next.IsZero() || p.alarms[0].at.Before(next)) {
		next = p.alarms[0].at
	}
	return next, !next.IsZero()
}

// drop forgets an item without freeing its key.
func (p *Pool) drop(it *Item) {
	if it.state == running || it.state == ending {
		p.ceased(it)
	}
	p.forget(it)
	it.Tenure.Shard.runEnded(it.Tenure)
}

func (p *Pool) forget(it *Item) {
	if it.held {
		it.Tenure.letGo(it)
		if it.state == parking {
			it.Tenure.parking--
		}
		p.bytes -= len(it.Entry.Payload)
		it.notBack()
		if it.rests || it.lined {
			it.rested()
			it.Entry.Payload = nil // its alarm keeps it, for as long as the backoff, or the line does
		}
		if p.seats != nil {
			p.withdraw(it)
		}
	}
}

// alarm wakes a job whose backoff ends.
type alarm struct {
	at   time.Time
	item *Item
}

type alarms []alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)        { *a = append(*a, x.(alarm)) }
func (a *alarms) Pop() any {
	old := *a
	x := old[len(old)-1]
	old[len(old)-1] = alarm{}
	*a = old[:len(old)-1]
	return x
}
