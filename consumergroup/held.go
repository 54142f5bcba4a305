package consumergroup

import (
	"slices"
	"time"

	"ringmaster/job"
)

// tenure is a partition this incarnation owns, or did: runs that outlive it refer to it.
type tenure struct {
	job.Tenure
	shard      *shard
	generation uint64 // of the step that claimed it first

	gate    bool // jobs may start
	reading bool // new jobs may be read
	over    bool // dropped or released: nothing of it starts any more
	lost    bool // dropped: its runs are not ours to finish either
	leftOut bool // a read is under way without it, because its window was full
	stalled int  // stalled lanes: nothing is read meanwhile, so that their parking comes to an end

	items    map[job.EntryID]*item // all that is held: waiting, running, unanswered
	lanes    map[string]*lane
	ready    fifo[*item]
	permits  map[job.EntryID]string // entries former owners still run -> key
	blocked  map[string]int         // key -> permits
	running  int                    // started and not answered
	lastRead job.EntryID

	cursor string // of the claim under way
	passes int    // finished claims

	brokenUntil time.Time // the stream cannot be read: left out until then
	closedAt    time.Time // gate closed to hand over; zero: not
	low         job.EntryID
	above       int // ends above an unmoved low-water mark
}

// lane is the FIFO of one key: one job runs at a time.
type lane struct {
	key    string
	queue  []*item  // waiting, by id; the head may be ready
	few    [2]*item // where the queue begins: most are short
	busy   *item    // running or unanswered
	parked *parked  // jobs of the key that are set aside, nil if none
	wanted bool     // to be unparked by the reader
	// stalled: wanted, but jobs of the key are on the way to be parked. Unparked before the
	// answer is here they would be known as both.
	stalled bool
}

// parked is what is known of the set-aside jobs of a key: all have ids of at least first.
type parked struct {
	first  job.EntryID
	left   int           // in the store
	flight []job.EntryID // on the way there
}

type state uint8

const (
	waiting state = iota
	ready         // in its tenure's ready list
	running
	ending  // its end is on the way to the store
	parking // as ending: on the way to be set aside
)

// item is one job held by the worker.
type item struct {
	t       *tenure
	lane    *lane // nil: unkeyed
	entry   job.Entry
	prior   Prior
	state   state
	since   time.Time // of running
	attempt int
	ctx     *runContext // while it runs
	fence   job.Fence
	slot    int  // in its shard's list of runs
	flight  bool // its end was sent and is not answered
	again   bool // it was delivered once more meanwhile: the end may have come before
	permit  bool // a release named it as running: its entry may be under this incarnation's permit
}

func newTenure(s *shard, t job.Tenure) *tenure {
	return &tenure{Tenure: t, shard: s, generation: s.generation, items: map[job.EntryID]*item{}, lanes: map[string]*lane{},
		permits: map[job.EntryID]string{}, blocked: map[string]int{}}
}

func (t *tenure) lane(key string) *lane {
	l := t.lanes[key]
	if l == nil {
		l = &lane{key: key}
		l.queue = l.few[:0]
		t.lanes[key] = l
	}
	return l
}

// tidy forgets a lane that holds nothing.
func (t *tenure) tidy(l *lane) {
	if l != nil && l.busy == nil && len(l.queue) == 0 && l.parked == nil {
		delete(t.lanes, l.key)
	}
}

// insert keeps the queue in id order. New jobs go to the end; claimed ones may not.
func (l *lane) insert(it *item) {
	n := len(l.queue)
	if n == 0 || l.queue[n-1].entry.ID.Less(it.entry.ID) {
		l.queue = append(l.queue, it)
		return
	}
	i, _ := slices.BinarySearchFunc(l.queue, it, func(a, b *item) int { return a.entry.ID.Compare(b.entry.ID) })
	l.queue = slices.Insert(l.queue, i, it)
}

// held reports whether the key is held up: by a backoff, a former owner's run, or a run
// that takes long.
func (t *tenure) held(l *lane, now time.Time) bool {
	if t.blocked[l.key] > 0 {
		return true
	}
	if l.busy != nil {
		return l.busy.state == running && now.Sub(l.busy.since) > time.Second
	}
	return len(l.queue) > 0 && l.queue[0].prior.NotBefore.After(now)
}

// setAside reports whether a job of the key that has just arrived must be parked.
func (t *tenure) setAside(l *lane, id job.EntryID, beyond int, now time.Time) bool {
	if l.parked != nil {
		return !id.Less(l.parked.first)
	}
	n := len(l.queue)
	return n >= beyond && l.queue[n-1].entry.ID.Less(id) && t.held(l, now)
}

// runningIDs are the entries a release must name. It notes which they are.
func (t *tenure) runningIDs() []job.EntryID {
	var ids []job.EntryID
	for id, it := range t.items {
		if it.permit = it.state == running || it.state == ending; it.permit {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, job.EntryID.Compare)
	return ids
}

// setPermits replaces what is known of former owners' runs, as a page told it that covers
// the ids in [from, to). A run whose permit is gone may have failed: its job comes back
// with the page that covers it, and until then its key stays blocked. It reports whether
// such a permit is left.
func (t *tenure) setPermits(ps []job.Permit, from, to job.EntryID) bool {
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

func (t *tenure) block(id job.EntryID, key string) {
	t.permits[id] = key
	if key != "" {
		t.blocked[key]++
	}
}
