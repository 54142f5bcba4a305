package lanes

import (
	"cmp"
	"slices"
	"time"

	"ringmaster/job"
)

// A window that stays full keeps the jobs behind it from their turn. What makes it full is
// set aside: of each key with much to do the tail goes back to the store, there to wait in a
// list of its own, and reading goes on.
const (
	// patience is how long a full window may take to drain by itself.
	patience = 20 * time.Millisecond
	// crowdedFor: others may wait so long while one key has more than its share back.
	crowdedFor = 100 * time.Millisecond
	// mostAside is how many busy keys of a partition are set aside at most: each is remembered.
	mostAside = 1024
)

// parked is what is known of the set-aside jobs of a key: all have ids of at least first.
type parked struct {
	first  job.EntryID
	last   job.EntryID   // no later one was set aside
	left   int           // in the store; of those of a former tenure perhaps one alone is counted
	flight []job.EntryID // on the way there
	early  bool          // one of these may be before others that are there
	unsure bool          // some may have come back in an answer that was lost: left is too many
	blind  bool          // some were on the way when the reader asked: its answer may not know of them
	next   job.EntryID   // the first of those
	page   int           // how many come back at a time
	asked  time.Time     // for the last page
	size   int           // bytes of the largest payload
}

// aside notes that jobs of the key are set aside.
func (l *Lane) aside(first, last job.EntryID, page int) *parked {
	if l.parked == nil {
		l.parked = &parked{first: first, last: last, page: page}
		l.Tenure.aside++
	}
	return l.parked
}

// noneAside notes that there are none any more.
func (l *Lane) noneAside() {
	l.parked = nil
	l.Tenure.aside--
}

// setAside reports whether a job of the key that has just arrived must be parked.
func (l *Lane) setAside(id job.EntryID, beyond int, now time.Time) bool {
	if l.parked != nil {
		return !id.Less(l.parked.first)
	}
	n := len(l.queue)
	return n >= beyond && l.queue[n-1].Entry.ID.Less(id) && l.held(now)
}

// park sends a job to wait in the store, behind those of its key.
func (p *Pool) park(it *Item) {
	id := it.Entry.ID
	set := it.lane.aside(id, id, p.limits.ParkBeyond)
	if id.Less(set.first) {
		set.first = id
	}
	if id.Less(set.last) {
		set.early = true
	} else {
		set.last = id
	}
	set.size = max(set.size, len(it.Entry.Payload))
	set.flight = append(set.flight, id)
	p.withdraw(it)
	it.state = parking
	it.Tenure.parking++
	it.Tenure.Shard.end(it, job.Completion{Outcome: job.Parked})
}

// cut is a lane whose tail may be set aside: all but so many.
type cut struct {
	l     *Lane
	least int
	whole bool // it is to be cut to its least, however little must go
}

// beyond is how many go if so many of each lane stay.
func (c cut) beyond(level int) int {
	if c.whole {
		level = 0
	}
	return max(0, len(c.l.queue)-max(level, c.least))
}

// shed makes room in a full window. What waits behind a held key goes first, and of a long
// lane its tail. late says that the window has been full for long: then each lane with more
// to do than one job gives up what it must, all lanes down to the same length.
func (p *Pool) shed(t *Tenure, late bool, now time.Time) {
	if t.parking > 0 {
		return // room is on its way
	}
	cuts := p.cuts(t, late, now)
	if len(cuts) == 0 {
		return
	}
	excess := t.load() - t.Shard.window/2
	if p.bytes >= p.limits.HeldBytes {
		excess = len(t.items)
	}
	level := p.limits.ParkBeyond
	for ; level > 0; level-- {
		gain := 0
		for _, c := range cuts {
			gain += c.beyond(level)
		}
		if gain >= excess {
			break
		}
	}
	slices.SortFunc(cuts, func(a, b cut) int { return cmp.Compare(a.l.Key, b.l.Key) })
	for _, c := range cuts {
		keep := len(c.l.queue) - c.beyond(level)
		rest := c.l.queue[keep:]
		c.l.queue = c.l.queue[:keep:keep]
		for _, it := range rest {
			p.park(it)
		}
		clear(rest) // the lane shares their memory
	}
}

// cuts are the lanes of which jobs may be set aside. What has been set aside before stays, as
// a rule: but not of a key that is stuck, nor of one that has much more back than its share
// while others wait for theirs.
func (p *Pool) cuts(t *Tenure, late bool, now time.Time) []cut {
	var out []cut
	room, share := mostAside-t.aside, t.share()
	crowded := !t.wantSince.IsZero() && now.Sub(t.wantSince) >= crowdedFor
	// Most lanes hold nothing: it is shorter to look at what is held.
	for _, it := range t.items {
		l := it.lane
		if l == nil || !it.heads(l) {
			continue
		}
		c := cut{l: l, least: 1}
		switch stuck := l.stuck(now); {
		case stuck:
			c.whole = !t.wants.empty()
		case crowded && len(l.queue) > share && l.parked != nil:
			c.least, c.whole = share, true
		case l.held(now):
			c.least = l.settled(1)
		case !late && len(l.queue) <= p.limits.ParkBeyond:
			continue
		default:
			if late && (l.busy != nil || l.parked != nil || len(l.queue) > 1) {
				c.least = 0 // it comes back when it has its turn
			}
			c.least = l.settled(c.least)
			if l.parked == nil {
				if room <= 0 {
					continue
				}
				room--
			}
		}
		if c.beyond(0) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// settled is how many jobs of the lane stay: to the last that was set aside before, but at
// least so many.
func (l *Lane) settled(least int) int {
	for n := len(l.queue); n > least; n-- {
		if l.queue[n-1].back {
			return n
		}
	}
	return least
}

func byKey(a, b *Lane) int { return cmp.Compare(a.Key, b.Key) }

// parkedNow: the job waits in the store.
func (p *Pool) parkedNow(it *Item, now time.Time) {
	l := it.lane
	p.forget(it)
	it.Entry.Payload = nil // it may be in a ready list still
	set := l.parked
	set.left++
	if i := slices.Index(set.flight, it.Entry.ID); i >= 0 {
		set.flight = slices.Delete(set.flight, i, i+1)
	}
	if len(set.flight) == 0 {
		set.early = false
		if l.stalled {
			l.stalled, l.wanted = false, false
			l.Tenure.stalled--
			l.Tenure.Shard.host.Wake()
		}
	}
	l.Tenure.Shard.wantUnpark(l, now)
}
