package leading

import (
	"context"
	"sync"
	"time"

	"ringmaster/streams"
)

// watch looks for the members of all rings at rest that this process leads: every detect interval
// for their connections, every half a second for their leases, each in one call however many there
// are. It says of which ring somebody is missed, and leaves the rest to that ring's runner.
type watch struct {
	s     *streams.Store
	every time.Duration

	mu   sync.Mutex
	of   map[*Ring]*atRest
	list []*atRest // of; nil: it has changed
}

// atRest is a ring that is guarded.
type atRest struct {
	members streams.Members
	alarm   chan<- struct{}
	seen    time.Time // when all were last found
	over    bool
	failed  bool // nobody could tell
}

// leasesEvery is how often leases are looked at, as a runner does that is awake.
const leasesEvery = 500 * time.Millisecond

// newWatch is nil, and guards nothing, where members are not looked for together.
func newWatch(s *streams.Store, every time.Duration) *watch {
	if s.Clustered() {
		return nil
	}
	return &watch{s: s, every: every, of: map[*Ring]*atRest{}}
}

// run looks until ctx ends.
func (w *watch) run(ctx context.Context) {
	ticker := time.NewTicker(w.every)
	defer ticker.Stop()
	var leases time.Time
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		all := w.all()
		if len(all) == 0 {
			continue
		}
		now := time.Now()
		both := now.Sub(leases) >= leasesEvery
		if both {
			leases = now
		}
		w.look(ctx, now, all, both)
	}
}

// all are the rings that are guarded now.
func (w *watch) all() []*atRest {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.list == nil {
		w.list = make([]*atRest, 0, len(w.of))
		for _, g := range w.of {
			w.list = append(w.list, g)
		}
	}
	return w.list
}

// look is one look at all. Where nobody can tell, everybody looks for himself.
func (w *watch) look(ctx context.Context, now time.Time, all []*atRest, leases bool) {
	rings := make([]streams.Members, len(all))
	for i, g := range all {
		rings[i] = g.members
	}
	call, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	found, err := w.s.AllFound(call, rings, leases)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, g := range all {
		switch {
		case g.over:
		case err == nil && found[i]:
			g.seen = now
		default:
			g.failed = err != nil
			w.raise(g)
		}
	}
}

// raise gives the alarm, once. The lock is held.
func (w *watch) raise(g *atRest) {
	if g.over {
		return
	}
	g.over = true
	select {
	case g.alarm <- struct{}{}:
	default:
	}
}

// Guard implements runner.Store.
func (r *Ring) Guard(incs []string, seen time.Time, alarm chan<- struct{}) bool {
	w := r.share.watch
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.of[r] = &atRest{members: r.ring.Members(incs), alarm: alarm, seen: seen}
	w.list = nil
	return true
}

// Seen implements runner.Store.
func (r *Ring) Seen() time.Time {
	w := r.share.watch
	if w == nil {
		return time.Time{}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if g := w.of[r]; g != nil {
		return g.seen
	}
	return time.Time{}
}

// Unguard implements runner.Store.
func (r *Ring) Unguard() {
	w := r.share.watch
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if g := w.of[r]; g != nil {
		g.over = true
		r.unsure = r.unsure || g.failed
		delete(w.of, r)
		w.list = nil
	}
}
