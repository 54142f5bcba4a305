package sim

import "slices"

type phase uint8

const (
	waiting phase = iota
	running
	ending // its end is on the way to the store
	stuck  // its end was refused: its key is another owner's
)

// item is a job held by a worker.
type item struct {
	l         *lanes
	n         int
	key       string
	phase     phase
	attempts  int
	notBefore int64
	permit    bool // a release named it as running
	how       end
	wait      int64 // backoff that goes with a failure
}

// lanes are what a worker holds of one tenure: per key one job runs at a time, in id
// order, and none beside a former owner's.
type lanes struct {
	part     int
	epoch    uint64
	era      int // of the store when it began
	gate     bool
	reads    bool
	over     bool // dropped: nothing of it starts
	lost     bool // and its runs are not ours to finish
	first    bool // the first pass has ended
	cursor   int
	lastRead int
	closed   int64 // when the gate was closed, -1: told already
	items    []*item
	permits  map[int]string // entries that former owners run -> key
	running  int
	refused  []string // keys of ends that were refused
	listed   []int    // what ran when the gate closed: used by a bug alone
}

// arrive takes an entry in, in id order: claimed and new ones come through one door.
func (l *lanes) arrive(n int, e *entry) {
	i, found := slices.BinarySearchFunc(l.items, n, func(it *item, n int) int { return it.n - n })
	if found {
		return
	}
	l.lastRead = max(l.lastRead, n)
	l.items = slices.Insert(l.items, i, &item{l: l, n: n, key: e.key, attempts: e.attempts, notBefore: e.notBefore})
}

// next is the first job that may start, nil if there is none.
func (l *lanes) next(now int64, bug Bug) *item {
	if !l.gate || l.over {
		return nil
	}
	for i, it := range l.items {
		if it.phase == waiting && it.notBefore <= now && !l.busy(it.key, i, bug) {
			return it
		}
	}
	return nil
}

// busy reports whether a key has an unfinished job before the i-th, or a former owner's.
func (l *lanes) busy(key string, i int, bug Bug) bool {
	for _, other := range l.items[:i] {
		if other.key == key {
			return true
		}
	}
	for _, other := range l.items[i+1:] {
		if other.key == key && other.phase != waiting {
			return true
		}
	}
	if bug == BugDrainersKey {
		return false
	}
	for _, k := range l.permits {
		if k == key {
			return true
		}
	}
	return false
}

// runs are the ids a release must name. It notes which they are.
func (l *lanes) runs(bug Bug) []int {
	var ids []int
	for _, it := range l.items {
		if it.permit = it.phase == running || it.phase == ending; it.permit {
			ids = append(ids, it.n)
		}
	}
	if bug == BugStalePermits {
		return l.listed
	}
	return ids
}

func (l *lanes) remove(it *item) {
	l.items = slices.DeleteFunc(l.items, func(x *item) bool { return x == it })
}

// abandon ends the claim on everything that does not run, and returns what must be
// handed back: an attempt that ended while the hand-over was under way.
func (l *lanes) abandon(lost bool) (back []*item) {
	l.over, l.lost, l.gate, l.reads = true, lost, false, false
	var kept []*item
	for _, it := range l.items {
		switch it.phase {
		case running, ending:
			kept = append(kept, it)
		default:
			if it.permit {
				kept, back = append(kept, it), append(back, it)
			}
		}
	}
	l.items = kept
	return back
}
