package streams

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// Leases renews the leases of the rings that a process leads, those that are due together in one
// round trip, and looks together whether others lead the rest: their number costs the process
// nothing, and none depends on when its own goroutine gets a processor. In a cluster each ring asks
// for its own. Make it with NewLeases; Run sends, until its context ends.
type Leases struct {
	s       *Store
	waiting *rounds[*hold]
}

// hold is one question about a lease.
type hold struct {
	*call[lease]
	ctx  context.Context // of who waits for it
	ring *Ring
	ttl  time.Duration
	term uint64 // that it has; 0: none
	take bool   // it is to be taken, or renewed, by the script
	got  uint64 // the term that is its own now
	sure bool   // otherwise it is to be tried by the script
	done chan struct{}
}

// NewLeases prepares it. It is nil, which is of use too, where leases are not asked for together.
func (s *Store) NewLeases() *Leases {
	if s.opts.Mode == "cluster" {
		return nil
	}
	return &Leases{s: s, waiting: newRounds[*hold]()}
}

// Run sends what waits, round by round, until ctx ends.
func (l *Leases) Run(ctx context.Context) { l.waiting.run(ctx, l.round) }

func (h *hold) gone() bool { return h.ctx.Err() != nil }

// round asks all, each kind in one round trip. Those that take a lease come second, and wait for
// nobody's turn at a connection: there may be hundreds of them, and renewals must not wait for them.
func (l *Leases) round(ctx context.Context, due []*hold) {
	var plain, take []*hold
	var calls []*call[lease]
	patience := due[0].ttl
	for _, h := range due {
		if patience = min(patience, h.ttl); !h.take {
			plain = append(plain, h)
			continue
		}
		h.call = &call[lease]{shard: l.s.shard(h.ring.q, 0), args: []any{h.ring.dispatcher, h.ttl.Milliseconds()}}
		take, calls = append(take, h), append(calls, h.call)
	}
	if len(plain) > 0 {
		l.renew(ctx, plain, patience/2)
	}
	if len(take) == 0 {
		return
	}
	call, cancel := context.WithTimeout(ctx, patience/2)
	defer cancel()
	runAll(call, l.s, l.s.vital, &l.s.scripts.lead, calls)
	for _, h := range take {
		h.got, h.sure = h.answer.term, true
		close(h.done)
	}
}

// renew renews leases, and reads who leads the rest. A lease that is renewed, and whose holder is then
// read as this dispatcher under this term, was its own when it was renewed: whoever else had had it in
// between would have raised the term. To have renewed another's does no harm, once.
func (l *Leases) renew(ctx context.Context, due []*hold, patience time.Duration) {
	call, cancel := context.WithTimeout(ctx, patience)
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
		h.renewal(renewed[i], held[i], failed)
		close(h.done)
	}
}

func (h *hold) renewal(renewed *redis.BoolCmd, held *redis.SliceCmd, failed error) {
	if renewed != nil && renewed.Err() != nil {
		h.err = wrap("renew leadership", renewed.Err())
		return
	}
	if h.err = wrap("renew leadership", held.Err()); h.err != nil {
		return
	}
	v := held.Val()
	if len(v) != 2 {
		h.err = unsent("renew leadership", failed)
		return
	}
	who, term := field(v, 0), recorded(field(v, 1))
	if renewed == nil {
		h.sure = who != "" && who != h.ring.dispatcher
		return
	}
	h.got, h.sure = h.term, renewed.Val() && who == h.ring.dispatcher && term == h.term
}

// ask waits for an answer, or for the end of ctx.
func (l *Leases) ask(ctx context.Context, h *hold) error {
	l.waiting.add(h)
	select {
	case <-h.done:
		return h.err
	case <-ctx.Done():
		return notSent("renew leadership", context.Cause(ctx))
	}
}

// scriptEvery is how many of these calls are a Lead: what else that mends is mended then.
const scriptEvery = 16

// Hold is Lead, asked together with those of other rings, and all but a few times without its script.
// term is what the last call told.
func (r *Ring) Hold(ctx context.Context, l *Leases, ttl time.Duration, term uint64) (uint64, error) {
	if l == nil {
		term, _, err := r.Lead(ctx, ttl)
		return term, err
	}
	r.asked++
	for take := r.asked%scriptEvery == 0; ; take = true {
		h := &hold{call: &call[lease]{}, ctx: ctx, ring: r, ttl: ttl, term: term, take: take, done: make(chan struct{})}
		if err := l.ask(ctx, h); err != nil {
			return 0, err // its round may be under way still, and write to it
		}
		if h.sure {
			return h.got, nil
		}
	}
}
