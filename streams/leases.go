package streams

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Leases renews the leases of the rings that a process leads, those that are due together in one
// round trip, and looks together whether others lead the rest: their number costs the process
// nothing, and none depends on when its own goroutine gets a processor. In a cluster each ring asks
// for its own. Make it with NewLeases; Run sends, until its context ends.
type Leases struct {
	s    *Store
	wake chan struct{} // capacity 1

	mu      sync.Mutex
	waiting []*hold
}

// hold is one question about a lease.
type hold struct {
	ctx  context.Context // of who waits for it
	ring *Ring
	ttl  time.Duration
	term uint64 // that it has; 0: none
	yes  bool   // it is renewed; without a term: another leads
	err  error
	done chan struct{}
}

// NewLeases prepares it. It is nil, which is of use too, where leases are not asked for together.
func (s *Store) NewLeases() *Leases {
	if s.opts.Mode == "cluster" {
		return nil
	}
	return &Leases{s: s, wake: make(chan struct{}, 1)}
}

// Run sends what waits, round by round, until ctx ends.
func (l *Leases) Run(ctx context.Context) {
	for {
		select {
		case <-l.wake:
		case <-ctx.Done():
			return
		}
		l.mu.Lock()
		due := l.waiting
		l.waiting = nil
		l.mu.Unlock()
		due = slices.DeleteFunc(due, func(h *hold) bool { return h.ctx.Err() != nil })
		if len(due) > 0 {
			l.round(ctx, due)
		}
	}
}

// round asks all in one round trip. A lease that is renewed, and whose holder is then read as this
// dispatcher under this term, was its own when it was renewed: whoever else had had it in between
// would have raised the term. To have renewed another's does no harm, once.
func (l *Leases) round(ctx context.Context, due []*hold) {
	patience := due[0].ttl
	for _, h := range due {
		patience = min(patience, h.ttl)
	}
	call, cancel := context.WithTimeout(ctx, patience/4)
	defer cancel()
	p := l.s.vital.Pipeline()
	renewed, held := make([]*redis.BoolCmd, len(due)), make([]*redis.SliceCmd, len(due))
	for i, h := range due {
		key := l.s.shard(h.ring.q, 0) + "leader"
		if h.term != 0 {
			renewed[i] = p.PExpire(call, key, h.ttl)
		}
		held[i] = p.HMGet(call, key, "dispatcher", "term")
	}
	_, failed := p.Exec(call)
	for i, h := range due {
		h.yes, h.err = h.answer(renewed[i], held[i], failed)
		close(h.done)
	}
}

func (h *hold) answer(renewed *redis.BoolCmd, held *redis.SliceCmd, failed error) (bool, error) {
	if renewed != nil && renewed.Err() != nil {
		return false, wrap("renew leadership", renewed.Err())
	}
	if err := held.Err(); err != nil {
		return false, wrap("renew leadership", err)
	}
	v := held.Val()
	if len(v) != 2 {
		return false, unsent("renew leadership", failed)
	}
	who, term := text(v[0]), number(v[1])
	if renewed == nil {
		return who != "" && who != h.ring.dispatcher, nil
	}
	return renewed.Val() && who == h.ring.dispatcher && term == h.term, nil
}

// ask waits for an answer, or for the end of ctx.
func (l *Leases) ask(ctx context.Context, r *Ring, ttl time.Duration, term uint64) (bool, error) {
	h := &hold{ctx: ctx, ring: r, ttl: ttl, term: term, done: make(chan struct{})}
	l.mu.Lock()
	l.waiting = append(l.waiting, h)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	select {
	case <-h.done:
		return h.yes, h.err
	case <-ctx.Done():
		return false, notSent("renew leadership", context.Cause(ctx))
	}
}

// scriptEvery is how many of these calls are a Lead: what else that mends is mended then.
const scriptEvery = 16

// Hold is Lead, of which all but a few are asked together with those of other rings. term is
// what the last call told.
func (r *Ring) Hold(ctx context.Context, l *Leases, ttl time.Duration, term uint64) (uint64, error) {
	r.asked++
	if l != nil && r.asked%scriptEvery != 0 {
		yes, err := l.ask(ctx, r, ttl, term)
		switch {
		case err != nil:
			return 0, err
		case yes && term != 0:
			return term, nil
		case yes:
			return 0, nil
		}
	}
	term, _, err := r.Lead(ctx, ttl)
	return term, err
}
