package streams

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

const (
	// againLimit is the longest pause before a member subscribes again: well within the second
	// that a leader gives to workers that lost their connections together.
	againLimit = 250 * time.Millisecond

	tripsKept = 7
	dialsKept = 3
	// liveConns is not how many connections there are, which is one besides the subscription:
	// go-redis waits a second after so many dials that failed.
	liveConns = 64
)

// heart is what all members of a process have to show that they live: subscriptions, and one
// connection to each server for heartbeats alone, so that none waits behind other calls or on a
// connection of which the network has forgotten. Heartbeats that are due together go in one round
// trip: their number costs the process nothing, and no member depends on when its own goroutine
// gets a processor.
//
// It is made with the first member that watches, and ends with the last.
type heart struct {
	s      *Store
	client redis.UniversalClient
	ctx    context.Context // of its goroutines
	end    context.CancelFunc
	all    sync.WaitGroup

	mu      sync.Mutex
	watched map[*Member]func() // what each calls when a connection is lost
	lines   map[string]*line   // by server; "": there is one
	dials   samples            // how long they took
	trips   samples            // of heartbeats, there and back
	sub     *listener          // nil: each member has its own
}

func (s *Store) newHeart() (*heart, error) {
	h := &heart{s: s, watched: map[*Member]func(){}, lines: map[string]*line{}}
	h.ctx, h.end = context.WithCancel(context.Background())
	uo, err := universal(s.opts)
	if err != nil {
		h.end()
		return nil, err
	}
	uo.PoolSize, uo.MaxIdleConns = liveConns, 1
	dial := uo.Dialer
	uo.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		began := time.Now()
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.dials.add(time.Since(began), dialsKept)
		return &liveConn{c, h.lost}, nil
	}
	h.client = newClient(s.opts.Mode, *uo)
	if s.opts.Mode != "cluster" {
		h.sub = newListener(h.client, s.opts.Timeout)
	}
	return h, nil
}

// join adds a member, and makes the heart if it is the first.
func (s *Store) joinHeart(m *Member, lost func()) (*heart, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heart == nil {
		h, err := s.newHeart()
		if err != nil {
			return nil, err
		}
		s.heart = h
	}
	s.heart.mu.Lock()
	defer s.heart.mu.Unlock()
	s.heart.watched[m] = lost
	return s.heart, nil
}

// leaveHeart takes a member out, and ends the heart with the last one.
func (s *Store) leaveHeart(h *heart, m *Member) {
	s.mu.Lock()
	h.mu.Lock()
	delete(h.watched, m)
	last := len(h.watched) == 0
	h.mu.Unlock()
	if last && s.heart == h {
		s.heart = nil
	}
	s.mu.Unlock()
	if !last {
		return
	}
	h.end()
	if h.sub != nil {
		h.sub.close()
	}
	h.all.Wait()
	_ = h.client.Close()
}

// lost tells all members: a heartbeat at once shows that the process has not ended with the
// connection.
func (h *heart) lost() {
	h.mu.Lock()
	tell := make([]func(), 0, len(h.watched))
	for _, f := range h.watched {
		tell = append(tell, f)
	}
	h.mu.Unlock()
	for _, f := range tell {
		f()
	}
}

// reach is how long it takes from the end of a connection until the server knows the next:
// the news of the end and a subscription are half a round trip each, the set-up of the
// connection one or two, after the dial.
func (h *heart) reach() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	dial, trip := h.dials.low(), h.trips.median()
	if trip == 0 {
		trip = dial
	}
	return dial + 3*trip
}

// line is what goes to one server. It has one round trip under way at a time; what is due
// meanwhile goes with the next. A server that does not answer holds up its own line only.
type line struct {
	h       *heart
	waiting *rounds[*pulse]

	mu   sync.Mutex
	open func() redis.Pipeliner

	stood bool // the last round was answered: its connection stands; the line's goroutine only
}

// send has the heartbeats of one member sent, and waits for the answers in that order. A caller
// whose context ends leaves at once.
func (h *heart) send(ctx context.Context, pulses []*pulse) ([]job.Beat, error) {
	for _, p := range pulses {
		l, err := h.line(ctx, p.shard)
		if err != nil {
			return nil, err
		}
		l.waiting.add(p)
	}
	out := make([]job.Beat, len(pulses))
	var failed error
	for i, p := range pulses {
		select {
		case <-p.done:
			if out[i] = p.answer; p.err != nil {
				failed = p.err
				h.doubt(ctx, p.shard, p.err)
			}
		case <-ctx.Done():
			return nil, notSent("heartbeat", context.Cause(ctx))
		case <-h.ctx.Done():
			return nil, notSent("heartbeat", redis.ErrClosed)
		}
	}
	if failed != nil {
		return nil, failed
	}
	return out, nil
}

// doubt looks at a cluster's map anew: its servers may have changed.
func (h *heart) doubt(ctx context.Context, shard string, err error) {
	if c, ok := h.client.(*redis.ClusterClient); ok {
		reload(ctx, h.s, c, []*attempt{{shard: shard, err: err}})
	}
}

// line is that of the server that holds a shard.
func (h *heart) line(ctx context.Context, shard string) (*line, error) {
	addr, open := "", h.client.Pipeline
	if c, ok := h.client.(*redis.ClusterClient); ok {
		k := &attempt{shard: shard}
		nodes, err := byMaster(ctx, h.s, c, []*attempt{k})
		if k.err = errors.Join(err, k.err); k.err != nil {
			h.doubt(ctx, k.shard, k.err)
			return nil, k.err
		}
		for node := range nodes {
			addr, open = node.Options().Addr, node.Pipeline
		}
	}
	h.mu.Lock()
	l := h.lines[addr]
	if l == nil {
		l = &line{h: h, waiting: newRounds[*pulse]()}
		h.lines[addr] = l
		h.all.Go(func() { l.waiting.run(h.ctx, l.round) })
	}
	h.mu.Unlock()
	l.mu.Lock()
	l.open = open
	l.mu.Unlock()
	return l, nil
}

func (p *pulse) gone() bool { return p.ctx.Err() != nil }

// round sends heartbeats in one round trip. What is not answered for a quarter of a lease on the
// connection that stood is sent once more, on another.
func (l *line) round(ctx context.Context, due []*pulse) {
	l.mu.Lock()
	open := l.open
	l.mu.Unlock()
	ttl := due[0].m.ttl
	for _, p := range due {
		ttl = min(ttl, p.m.ttl)
	}
	if l.stood {
		due = l.try(ctx, open, due, ttl/4)
	}
	if len(due) > 0 {
		due = l.try(ctx, open, due, ttl/2)
	}
	for _, p := range due {
		close(p.done)
	}
}

// try makes a round trip, and lets those go on whom the server has answered. The others are left.
func (l *line) try(ctx context.Context, open func() redis.Pipeliner, due []*pulse, patience time.Duration) []*pulse {
	call, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	sent := time.Now()
	l.h.s.beatAt(call, open, due)
	left := due[:0]
	answered := false
	for _, p := range due {
		if unheard(p.err) {
			left = append(left, p)
			continue
		}
		answered = true
		close(p.done)
	}
	if answered && l.stood {
		l.h.mu.Lock()
		l.h.trips.add(time.Since(sent), tripsKept)
		l.h.mu.Unlock()
	}
	l.stood = answered
	return left
}

// unheard: the server has not said anything to it.
func unheard(err error) bool {
	var answer redis.Error
	return err != nil && !errors.As(err, &answer) && IsUnreachable(err)
}
