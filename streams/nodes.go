package streams

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// While a cluster moves a slot, its keys are at two servers. The old one answers ASK for a key that it
// has not (any more), and a client that follows it finds at the new one what was moved so far. For a
// script that is the worst of answers: it would find no records, make them anew, and the queue would be
// two. A script's one key is a name that never exists, so from the first moment of a move to the last
// every script is answered ASK, and none is executed at either server, as long as nobody follows. So
// scripts are sent to the server that holds the slot, on a client of its own, which follows nothing.

// movedTries and movedPause bound how long a call looks for the server that a slot went to.
const (
	movedTries = 10
	movedPause = 50 * time.Millisecond
)

// runAtNodes sends calls to the servers that hold their shards. Those that a server has no longer are
// sent again as soon as the cluster's map shows another one: they were not executed.
func runAtNodes[A any](ctx context.Context, s *Store, c *redis.ClusterClient, sc *script[A], calls []*call[A]) {
	for try := 1; ; try++ {
		nodes, err := byMaster(ctx, s, c, calls)
		if err != nil {
			for _, k := range calls {
				k.err = err
			}
			reload(ctx, s, c, calls)
			return
		}
		var all sync.WaitGroup
		for node, some := range nodes {
			all.Go(func() { pipe(ctx, s, node.Pipeline, sc, some, pipeline{}) })
		}
		all.Wait()
		reload(ctx, s, c, calls)
		var moved []*call[A]
		for _, k := range calls {
			if movedAnswer(k.err) {
				moved = append(moved, k)
			}
		}
		if calls = moved; len(calls) == 0 || try == movedTries || !rest(ctx, movedPause) {
			return
		}
	}
}

// movedAnswer reports whether the server said that another has the slot.
func movedAnswer(err error) bool {
	var answer *serverError
	return errors.As(err, &answer) && strings.HasPrefix(answer.err.Error(), "MOVED ")
}

// wordOfMove reports whether the server said that the slot is another's, or on its way.
func wordOfMove(err error) bool {
	var answer *serverError
	if !errors.As(err, &answer) {
		return false
	}
	text := answer.err.Error()
	return strings.HasPrefix(text, "MOVED ") || movingText(text) != ""
}

// rest waits, and reports false if ctx ended first.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// byMaster sorts calls by their servers. Those whose shard may not be used have that as their error.
func byMaster[A any](ctx context.Context, s *Store, c *redis.ClusterClient, calls []*call[A]) (map[*redis.Client][]*call[A], error) {
	nodes, homes := map[*redis.Client][]*call[A]{}, map[string]string{}
	at := map[string]*redis.Client{}
	for _, k := range calls {
		node, err := c.MasterForKey(ctx, k.shard)
		if err != nil {
			return nil, notSent("find the server of "+k.shard, err)
		}
		at[k.shard], homes[k.shard] = node, node.Options().Addr
	}
	divided := s.lookAround(ctx, homes)
	for _, k := range calls {
		if k.err = divided[k.shard]; k.err == nil {
			nodes[at[k.shard]] = append(nodes[at[k.shard]], k)
		}
	}
	return nodes, nil
}

// movingText says in words that a slot is being moved; empty: the answer is another one.
func movingText(answer string) string {
	if ask, ok := strings.CutPrefix(answer, "ASK "); ok {
		slot, to, _ := strings.Cut(ask, " ")
		return "slot " + slot + " of the cluster is being moved to " + to + ": nothing is done with it until it is there"
	}
	if strings.HasPrefix(answer, "TRYAGAIN") {
		return "a slot of the cluster is being moved: nothing is done with it until it is there"
	}
	return ""
}

// slotRisk tells of slots that the server gives away or takes in. A server without a cluster has none.
func slotRisk(ctx context.Context, c *redis.Client) []Risk {
	nodes, err := c.ClusterNodes(ctx).Result()
	if err != nil {
		return nil
	}
	var moving []string
	for line := range strings.Lines(nodes) {
		f := strings.Fields(line)
		if len(f) < 9 || !strings.Contains(f[2], "myself") {
			continue
		}
		for _, slots := range f[8:] {
			if strings.HasPrefix(slots, "[") {
				slot, _, _ := strings.Cut(slots[1:], "-")
				moving = append(moving, slot)
			}
		}
	}
	if len(moving) == 0 {
		return nil
	}
	what := strings.Join(moving[:min(len(moving), 20)], ", ")
	return []Risk{{Name: "slots", Value: what, What: "slots are being moved (" + what + "): queues, or shards of them, in these slots stand still until that has ended",
		Remedy: "wait for the reshard to end; if none runs, redis-cli --cluster fix ends it"}}
}
