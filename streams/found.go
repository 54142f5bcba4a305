package streams

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Clustered reports whether the server is a cluster, whose nodes have each their own keys and
// subscribers.
func (s *Store) Clustered() bool { return s.opts.Mode == "cluster" }

// Members are those of one ring, to be looked for.
type Members struct{ channels []string }

// Members names some of a ring's.
func (r *Ring) Members(incs []string) Members {
	shard := r.s.shard(r.q, 0)
	m := Members{channels: make([]string, len(incs))}
	for i, inc := range incs {
		m.channels[i] = aliveKey(shard, inc)
	}
	return m
}

// foundPage is of how many members one command asks.
const foundPage = 2048

// AllFound tells, of each of some rings, whether all of its members hold their liveness channels
// and, with leases, whether all of their leases hold. It is not for a cluster. It blocks for one round
// trip, and for another where a lease is missing.
func (s *Store) AllFound(ctx context.Context, rings []Members, leases bool) ([]bool, error) {
	var all []string
	for _, m := range rings {
		all = append(all, m.channels...)
	}
	var held []*redis.MapStringIntCmd
	var alive []*redis.IntCmd
	p := s.cmd.Pipeline()
	for first := 0; first < len(all); first += foundPage {
		page := all[first:min(first+foundPage, len(all))]
		held = append(held, p.PubSubNumSub(ctx, page...))
		if leases {
			alive = append(alive, p.Exists(ctx, page...))
		}
	}
	if _, err := p.Exec(ctx); err != nil {
		return nil, wrap("look for members", err)
	}
	subscribers := map[string]int64{}
	for _, page := range held {
		for c, n := range page.Val() {
			subscribers[c] = n
		}
	}
	there := int64(len(all))
	for _, n := range alive {
		there -= n.Val()
	}
	out := make([]bool, len(rings))
	for i, m := range rings {
		out[i] = true
		for _, c := range m.channels {
			out[i] = out[i] && subscribers[c] > 0
		}
	}
	if leases && there != 0 {
		return out, s.leasesOf(ctx, rings, out)
	}
	return out, nil
}

// leasesOf says no of the rings where a lease is missing.
func (s *Store) leasesOf(ctx context.Context, rings []Members, out []bool) error {
	p := s.cmd.Pipeline()
	alive := make([]*redis.IntCmd, len(rings))
	for i, m := range rings {
		if len(m.channels) > 0 {
			alive[i] = p.Exists(ctx, m.channels...)
		}
	}
	if _, err := p.Exec(ctx); err != nil {
		return wrap("look for members", err)
	}
	for i, m := range rings {
		out[i] = out[i] && (alive[i] == nil || alive[i].Val() == int64(len(m.channels)))
	}
	return nil
}
