package streams

import (
	"context"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// A move of a slot that broke off, as by the failover of the server that gives the slot away, leaves the
// keys of a shard at two servers, and neither knows. A script at the one that holds the slot would find
// records missing and make them anew: there would be two of them, and the move could not be ended any
// more. So a shard's server is used once it is known that no other holds keys of the shard's slot. That is
// looked at when a shard is first met, when its server is another than before, and after each word of a move.

// node is the client of the server that holds a shard.
func (s *Store) node(ctx context.Context, shard string) (*redis.Client, error) {
	switch c := s.cmd.(type) {
	case *redis.Client:
		return c, nil
	case *redis.ClusterClient:
		node, err := c.MasterForKey(ctx, shard)
		if err == nil {
			err = s.lookAround(ctx, map[string]string{shard: node.Options().Addr})[shard]
		}
		if err != nil {
			c.ReloadState(ctx) // it may be this map that is old
			return nil, err
		}
		return node, nil
	}
	return nil, fmt.Errorf("a client of type %T has no node for %s", s.cmd, shard)
}

// lookAround looks whether servers hold all there is of their shards: homes is shard -> address. What is
// known already costs nothing. It returns why not, of those shards that may not be used.
func (s *Store) lookAround(ctx context.Context, homes map[string]string) map[string]error {
	unknown := map[string]string{}
	s.mu.Lock()
	for shard, addr := range homes {
		if s.homes[shard] != addr {
			unknown[shard] = addr
		}
	}
	s.mu.Unlock()
	if len(unknown) == 0 {
		return nil
	}
	out := s.divided(ctx, unknown)
	s.mu.Lock()
	defer s.mu.Unlock()
	for shard, addr := range unknown {
		if out[shard] == nil {
			s.homes[shard] = addr
		}
	}
	return out
}

// moving forgets what is known of a shard's server: it is looked at before it is used again.
func (s *Store) moving(shard string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.homes, shard)
}

// divided asks all servers of a cluster for keys in the slots of shards, and says where some are that
// should not be there. homes is shard -> the server that holds its slot; "": whichever one has keys. Who
// may not ask is told nothing.
func (s *Store) divided(ctx context.Context, homes map[string]string) map[string]error {
	out := map[string]error{}
	admin, ok := s.admin.(*redis.ClusterClient)
	if !ok {
		return out
	}
	fail := func(err error) map[string]error {
		admin.ReloadState(ctx) // a failover may be under way, or the map is of a server that has left
		for shard := range homes {
			out[shard] = err
		}
		return out
	}
	slots := map[string]int64{}
	for shard := range homes {
		slot, err := admin.ClusterKeySlot(ctx, shard).Result()
		if err != nil && notPermitted(err.Error()) {
			return out
		}
		if err != nil {
			return fail(notSent("ask for the slot of "+shard, err))
		}
		slots[shard] = slot
	}
	var mu sync.Mutex
	at := map[string][]string{} // shard -> servers with keys of it
	err := admin.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		counts := map[string]*redis.IntCmd{}
		p := node.Pipeline()
		for shard, slot := range slots {
			counts[shard] = p.ClusterCountKeysInSlot(ctx, int(slot))
		}
		_, _ = p.Exec(ctx) // each keeps its own error
		mu.Lock()
		defer mu.Unlock()
		for shard, n := range counts {
			if err := n.Err(); err != nil && !notPermitted(err.Error()) {
				return notSent("look for keys of "+shard, err)
			}
			if n.Val() > 0 {
				at[shard] = append(at[shard], node.Options().Addr)
			}
		}
		return nil
	})
	if err != nil {
		return fail(notSent("ask all servers of the cluster", err))
	}
	for shard, home := range homes {
		for _, addr := range at[shard] {
			if home == "" && len(at[shard]) == 1 || addr == home {
				continue
			}
			admin.ReloadState(ctx) // or the slot has just gone there
			out[shard] = fmt.Errorf("%w: keys of slot %d are at %s, and the slot is elsewhere: a move of the slot is under way, or broke off (redis-cli --cluster fix ends it)",
				job.ErrUnavailable, slots[shard], addr)
		}
	}
	return out
}

// whole is an ErrUnavailable if a shard of the queue is at two servers.
func (s *Store) whole(ctx context.Context, q Queue) error {
	c, ok := s.cmd.(*redis.ClusterClient)
	if !ok {
		return nil
	}
	homes := map[string]string{}
	for sh := range q.Shards {
		shard := s.shard(q, sh)
		node, err := c.MasterForKey(ctx, shard)
		if err != nil {
			return notSent("find the server of "+shard, err)
		}
		s.moving(shard) // whatever is known: look
		homes[shard] = node.Options().Addr
	}
	for _, err := range s.lookAround(ctx, homes) {
		return err
	}
	return nil
}
