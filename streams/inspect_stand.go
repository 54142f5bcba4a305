package streams

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// standing is how an incarnation stands, in the words of lua/part_try.lua.
type standing string

const (
	lives    standing = "alive"
	silent   standing = "silent" // a member whose lease is over
	noMember standing = ""
)

func (r *items) standing() standing {
	return standing(r.word(string(lives), string(silent), string(noMember)))
}

// ownerSeen is who owns a partition, and whether that worker lives.
type ownerSeen struct {
	inc string
	standing
}

// Stand tells whether somebody leads a queue's ring, and whether a worker lives.
type Stand struct {
	Queue  string
	Leader string // dispatcher, "" if none leads
	Worker bool   // a member of the ring lives
}

// Why says what keeps a ring from going on, and what to do; "" if nothing does.
func (st Stand) Why() string {
	switch {
	case !st.Worker && st.Leader == "":
		return fmt.Sprintf("queue %s has no live worker, and no dispatcher leads its ring: start both", st.Queue)
	case !st.Worker:
		return fmt.Sprintf("queue %s has no live worker: start one", st.Queue)
	case st.Leader == "":
		return fmt.Sprintf("no dispatcher leads the ring of queue %s, so nobody gives its partitions to live workers: start one", st.Queue)
	}
	return ""
}

// Stand asks who leads a queue and whether a worker of it lives. It blocks for three round trips.
func (in *Inspector) Stand(ctx context.Context, queue string) (Stand, error) {
	q, err := in.s.queueForRead(ctx, queue)
	if err != nil {
		return Stand{}, err
	}
	return in.stand(ctx, q)
}

func (in *Inspector) stand(ctx context.Context, q Queue) (Stand, error) {
	st, shard := Stand{Queue: q.Name}, in.s.shard(q, 0)
	var err error
	if st.Leader, err = in.s.leader(ctx, q); err != nil {
		return st, err
	}
	members, err := in.s.admin.HKeys(ctx, shard+"members").Result()
	if err != nil {
		return st, wrap("ask who works", err)
	}
	const page = 128
	for some := range slices.Chunk(members, page) {
		keys := make([]string, len(some))
		for i, inc := range some {
			keys[i] = aliveKey(shard, inc)
		}
		n, err := in.s.admin.Exists(ctx, keys...).Result()
		if err != nil {
			return st, wrap("ask who lives", err)
		}
		if st.Worker = n > 0; st.Worker {
			break
		}
	}
	return st, nil
}

// Stand tells how far the ring is with this member. It blocks for three round trips a shard.
func (m *Member) Stand(ctx context.Context) (job.Stand, error) {
	var st job.Stand
	var err error
	if st.Leader, err = m.s.leader(ctx, m.q); err != nil {
		return st, err
	}
	for sh := range m.q.Shards {
		shard := m.s.shard(m.q, sh)
		ring, err := m.s.cmd.HMGet(ctx, shard+"ring", "phase").Result()
		if err != nil {
			return st, wrap("look at the ring", err)
		}
		moves, err := m.s.cmd.SCard(ctx, shard+"moves").Result()
		if err != nil {
			return st, wrap("look at the ring", err)
		}
		st.Phase, st.Moves = max(st.Phase, int(recorded(field(ring, 0)))), st.Moves+int(moves)
		if st.Phase != 0 || st.Moves != 0 {
			continue
		}
		plan, err := m.s.cmd.HGetAll(ctx, shard+"plan").Result()
		if err != nil {
			return st, wrap("look at the plan", err)
		}
		for _, target := range plan {
			if target == m.info.Incarnation {
				st.Planned++
			}
		}
	}
	return st, nil
}

// leader is the dispatcher that leads a queue's ring, "" if none does.
func (s *Store) leader(ctx context.Context, q Queue) (string, error) {
	leader, err := s.admin.HGet(ctx, s.shard(q, 0)+"leader", "dispatcher").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", wrap("ask who leads", err)
	}
	return leader, nil
}

// whyUnowned says why a partition has no live owner.
func (in *Inspector) whyUnowned(ctx context.Context, q Queue, partition int, o ownerSeen) (string, error) {
	st, err := in.stand(ctx, q)
	if err != nil {
		return "", err
	}
	what := fmt.Sprintf("nobody owns partition %d", partition)
	if o.standing == silent {
		what = fmt.Sprintf("%s owns partition %d and has not been heard of for a lease", o.inc, partition)
	}
	if why := st.Why(); why != "" {
		return what + ": " + why, nil
	}
	return fmt.Sprintf("%s: dispatcher %s gives it to a live worker next", what, st.Leader), nil
}

// whyWaiting says why a job that is open stands still, where its partition has no live owner; else "".
func (in *Inspector) whyWaiting(ctx context.Context, st job.Status, o ownerSeen) (string, error) {
	if st.State.Terminal() || st.State == job.Running || o.standing == lives {
		return "", nil
	}
	q, err := in.s.queueForRead(ctx, st.Queue)
	if err != nil {
		return "", err
	}
	why, err := in.whyUnowned(ctx, q, st.Partition, o)
	if errors.Is(err, job.ErrNotPermitted) {
		return "", nil // who may look at jobs alone is told of the job alone
	}
	return why, err
}
