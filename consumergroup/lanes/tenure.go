package lanes

import (
	"slices"
	"time"

	"ringmaster/job"
)

// Tenure is a partition this incarnation owns, or did: runs that outlive it refer to it.
type Tenure struct {
	job.Tenure
	Shard      *Shard
	Generation uint64      // of the step that claimed it first
	LastRead   job.EntryID // the last entry that was handed out, as far as is known here

	gate    bool // jobs may start
	reading bool // new jobs may be read
	doubt   bool // nobody knows whether the records still have it: nothing of it starts
	over    bool // dropped or released: nothing of it starts any more
	lost    bool // dropped: its runs are not ours to finish either
	renewed bool // the records have it under the epoch of a later generation
	denied  bool // the records do not have it
	adopted bool // runs have come into it while its gate was closed
	leftOut bool // a read is under way without it, because its window was full
	roomAt  int  // leftOut: it has room when it holds so few
	parking int  // items on the way to be set aside
	stalled int  // stalled lanes: nothing is read meanwhile, so that their parking comes to an end
	aside   int  // lanes with jobs that are set aside
	back    int  // items held that came back from there, and those that are asked for

	short     bool        // the last read brought less than was asked for: there is no more
	fullSince time.Time   // its window has been too full to be read since then; zero: it is not
	wants     fifo[*Lane] // those that run low, and wait until few enough are back
	wantSince time.Time   // some have waited since then

	items   []*Item // all that is held: waiting, running, unanswered; each knows its place
	backoff int     // of these, those that wait for their backoff
	lined   int     // and those that wait for a seat
	lanes   map[string]*Lane
	idle    fifo[*Lane] // those that held nothing, the longest ago first; some are in use again
	ready   [turns]fifo[*Item]
	permits map[job.EntryID]string // entries former owners still run -> key
	blocked map[string]int         // key -> permits
	running int                    // started and not answered

	cursor string // of the claim under way
	paged  bool   // a page of a claim was answered
	passes int    // finished claims

	brokenUntil time.Time   // the stream cannot be read: left out until then
	closedAt    time.Time   // gate closed to hand over; zero: not
	low         job.EntryID // the low-water mark when it was last looked for
	above       int         // ends since then
	pinned      bool        // it had not moved then since it was looked for before
	ended       int         // ends that left the stream untrimmed
	endedBytes  int         // and their payloads
}

// Lane is the FIFO of one key: one job runs at a time.
type Lane struct {
	Tenure *Tenure
	Key    string
	queue  []*Item  // waiting, by id; the head may be ready
	few    [2]*Item // where the queue begins: most are short
	idle   bool     // among its tenure's idle ones
	busy   *Item    // running or unanswered
	parked *parked  // jobs of the key that are set aside, nil if none
	wanted bool     // among its tenure's wants, or to be unparked by the reader
	asked  int      // how many the reader is to unpark
	served bool     // a job of it has started since it held nothing
	// stalled: wanted, but jobs of the key are on the way to be parked. Unparked before the
	// answer is here they would be known as both.
	stalled bool
}

type state uint8

const (
	waiting state = iota
	ready         // in its tenure's ready list
	running
	ending  // its end is on the way to the store
	parking // as ending: on the way to be set aside
)

// Run is an attempt under way. End tells it that nobody waits for it any more, and why.
type Run interface{ End(cause error) }

// Item is one job held by the worker.
type Item struct {
	Tenure  *Tenure
	Entry   job.Entry
	Prior   *Prior    // never nil, and not to be written to: all new jobs share one
	Attempt int       // the one under way, from 1; 0 before the first
	Run     Run       // nil unless it runs
	Fence   job.Fence // of Run

	lane   *Lane     // nil: unkeyed
	since  time.Time // of running
	slot   int32     // in its shard's list of runs
	place  int32     // among its tenure's items
	owed   int32     // bytes of its end, until that is answered
	state  state
	held   bool // it is among its tenure's items
	flight bool // its end was sent and is not answered
	again  bool // it was delivered once more meanwhile: the end may have come before
	behind bool // it waits for a run of a former tenure
	kept   bool // its tenure has ended, and it may go on in another
	permit bool // a release named it as running: its entry may be under this incarnation's permit
	back   bool // it was set aside and came back: it is not set aside again
	rests  bool // it waits for its backoff, and its tenure counts it
	lined  bool // it waits for a seat of its type, and its tenure counts it
	seated bool // it has one
}

// Runs reports whether a handler is at work on it.
func (it *Item) Runs() bool { return it.state == running }

// Began is when it was started last.
func (it *Item) Began() time.Time { return it.since }

// Prior is what a job's past asks for.
type Prior struct {
	Attempts  int           // counted so far
	Crashes   int           // of workers that held it
	NotBefore time.Time     // zero: at once
	Suspect   bool          // a mark is written before the start
	Apart     time.Duration // nothing else starts in this worker for so long
	Weigh     bool          // its deaths are weighed before the start
	Error     string        // of the last failed attempt
}

func newTenure(s *Shard, t job.Tenure) *Tenure {
	return &Tenure{Tenure: t, Shard: s, lanes: map[string]*Lane{}, permits: map[job.EntryID]string{}, blocked: map[string]int{}}
}

// Lost reports whether even its runs are not ours to finish any more.
func (t *Tenure) Lost() bool { return t.lost }

// Gate reports whether jobs of it may start.
func (t *Tenure) Gate() bool { return t.gate }

// starts reports whether a job of it may start now.
func (t *Tenure) starts() bool { return t.gate && !t.over && !t.doubt }

// Pinned reports whether one old entry keeps the low-water mark where it is, so that
// looking for it with every batch of ends would be in vain.
func (t *Tenure) Pinned() bool { return t.pinned || t.aside > 0 }

func (t *Tenure) lane(key string) *Lane {
	l := t.lanes[key]
	if l == nil {
		if l = t.reclaim(); l == nil {
			l = &Lane{Tenure: t}
		}
		l.Key, l.queue = key, l.few[:0]
		t.lanes[key] = l
	}
	return l
}

// reclaim takes the lane that has held nothing for longest from its key, if enough are kept. It
// forgets another one where too many are: with each partition that is gained fewer are kept.
func (t *Tenure) reclaim() *Lane {
	most := max(t.Shard.pool.limits.IdleLanes/max(len(t.Shard.tenures), 1), 1)
	var free *Lane
	for t.idle.len() >= most {
		l := t.idle.pop()
		if l.idle = false; !l.empty() {
			continue
		}
		delete(t.lanes, l.Key)
		if free != nil {
			break
		}
		*l = Lane{Tenure: t}
		free = l
	}
	return free
}

func (it *Item) heads(l *Lane) bool { return len(l.queue) > 0 && l.queue[0] == it }

func (l *Lane) empty() bool { return l.busy == nil && len(l.queue) == 0 && l.parked == nil }

// tidy keeps nothing alive by a lane that holds nothing, and notes that it may be reclaimed.
func (t *Tenure) tidy(l *Lane) {
	if !l.empty() {
		return
	}
	l.few = [2]*Item{}
	l.queue = l.few[:0]
	if !l.idle {
		l.idle = true
		t.idle.push(l)
	}
}

// hold counts an item among those that are held, letGo does no more.
func (t *Tenure) hold(it *Item) {
	it.place, it.held = int32(len(t.items)), true
	t.items = append(t.items, it)
}

func (t *Tenure) letGo(it *Item) {
	n := len(t.items) - 1
	last := t.items[n]
	t.items[it.place], last.place = last, it.place
	t.items[n] = nil
	t.items, it.held = t.items[:n], false
}

// insert keeps the queue in id order. New jobs go to the end; claimed ones may not.
func (l *Lane) insert(it *Item) {
	n := len(l.queue)
	if n == 0 || l.queue[n-1].Entry.ID.Less(it.Entry.ID) {
		l.queue = append(l.queue, it)
		return
	}
	i, _ := slices.BinarySearchFunc(l.queue, it, byID)
	l.queue = slices.Insert(l.queue, i, it)
}

// index is what is held, by id. New jobs need none, hence it is not kept.
func (t *Tenure) index() map[job.EntryID]*Item {
	all := make(map[job.EntryID]*Item, len(t.items))
	for _, it := range t.items {
		all[it.Entry.ID] = it
	}
	return all
}

func byID(a, b *Item) int { return a.Entry.ID.Compare(b.Entry.ID) }

// held reports whether the key is held up: by a backoff, a former owner's run, others of its
// type, or a run that takes long.
func (l *Lane) held(now time.Time) bool {
	if l.busy != nil && l.busy.state == running && now.Sub(l.busy.since) > time.Second {
		return true
	}
	return l.stuck(now)
}

// stuck reports whether nothing of the key runs, nor may.
func (l *Lane) stuck(now time.Time) bool {
	if l.Tenure.blocked[l.Key] > 0 {
		return true
	}
	return l.busy == nil && len(l.queue) > 0 && (l.queue[0].behind || l.queue[0].lined || l.queue[0].Prior.NotBefore.After(now))
}

// named are the entries a release must name. It notes which they are.
func (t *Tenure) named() []job.EntryID {
	var ids []job.EntryID
	for _, it := range t.items {
		if it.permit = it.state == running || it.state == ending; it.permit {
			ids = append(ids, it.Entry.ID)
		}
	}
	slices.SortFunc(ids, job.EntryID.Compare)
	return ids
}

// setPermits replaces what is known of former owners' runs, as a page told it that covers
// the ids in [from, to). A run whose permit is gone may have failed: its job comes back
// with the page that covers it, and until then its key stays blocked. It reports whether
// such a permit is left.
func (t *Tenure) setPermits(ps []job.Permit, from, to job.EntryID) bool {
	known := t.permits
	t.permits = make(map[job.EntryID]string, len(ps))
	clear(t.blocked)
	for _, p := range ps {
		t.block(p.ID, p.Key)
	}
	left := false
	for id, key := range known {
		if _, still := t.permits[id]; !still && (id.Less(from) || !id.Less(to)) {
			t.block(id, key)
			left = true
		}
	}
	return left
}

func (t *Tenure) block(id job.EntryID, key string) {
	t.permits[id] = key
	if key != "" {
		t.blocked[key]++
	}
}

// A stream is trimmed once so much has ended, or nothing of it is held: trimming takes as long as
// the rest of a call for one job.
const (
	trimEvery      = 64
	trimEveryBytes = 64 << 10
)

// LeaveUntrimmed counts ends that are about to be sent, and reports whether their call is to leave
// the stream as it is.
func (t *Tenure) LeaveUntrimmed(ended []*Item) bool {
	t.ended += len(ended)
	for _, it := range ended {
		t.endedBytes += len(it.Entry.Payload)
	}
	if len(t.items) > len(ended) && t.ended < trimEvery && t.endedBytes < trimEveryBytes {
		return true
	}
	t.ended, t.endedBytes = 0, 0
	return false
}

// markEvery is after how many ends of a partition its low-water mark is looked for.
const markEvery = 256

// noteMark looks now and then whether one old entry keeps the low-water mark where it is.
func (t *Tenure) noteMark(n int) {
	if t.above += n; t.above < markEvery {
		return
	}
	low := t.LastRead
	for _, it := range t.items {
		if it.Entry.ID.Less(low) {
			low = it.Entry.ID
		}
	}
	t.pinned = low == t.low
	t.low, t.above = low, 0
}
