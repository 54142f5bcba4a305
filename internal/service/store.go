package service

import (
	"context"
	"errors"
	"time"

	"ringmaster/consumergroup"
	"ringmaster/job"
	"ringmaster/streams"
)

// GroupStore gives a worker what it needs of one queue, which is created as want says if it does not
// exist yet.
func GroupStore(s *streams.Store, want streams.Queue) consumergroup.Store {
	return &groupStore{s: s, want: want}
}

// groupStore is the store of one queue, in the worker's words.
type groupStore struct {
	s    *streams.Store
	want streams.Queue // the counts it has, once it was found
	q    streams.Queue // once prepared
}

func (g *groupStore) Prepare(ctx context.Context) (int, error) {
	q, err := g.s.CreateQueue(ctx, g.want)
	if errors.Is(err, job.ErrConflict) {
		// The queue exists with other counts: the worker serves it as it is.
		q, err = g.s.LookupQueue(ctx, g.want.Name)
	}
	if err != nil {
		return 0, err
	}
	// A server that lost everything gets the queue again as it was, not with the defaults.
	g.q, g.want = q, q
	return q.Shards, nil
}

func (g *groupStore) Member(info job.MemberInfo, ttl time.Duration) consumergroup.Member {
	return g.s.NewMember(g.q, info, ttl)
}

func (g *groupStore) Reader(shard int, incarnation string) consumergroup.Reader {
	return g.s.NewReader(g.q, shard, incarnation)
}
