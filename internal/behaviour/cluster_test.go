package behaviour

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// TestAClusterOfThree: a queue of three shards on three primaries, under load: a worker
// joins, one is killed, and then a primary, whose replica takes over.
func TestAClusterOfThree(t *testing.T) {
	t.Parallel()
	servers := redistest.Cluster(t)
	addrs := make([]string, 0, 3)
	for _, s := range servers[:3] {
		addrs = append(addrs, s.Addr())
	}
	raw := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, Protocol: 2})
	d := job.Durability{Replicas: 1, Wait: 500 * time.Millisecond}
	r := newRigOn(t, streams.Options{Addrs: addrs, Mode: "cluster", Durability: d}, raw, streams.Queue{Name: "c", Partitions: 12, Shards: 3, Journal: true})
	holders := map[string]int{}
	for sh := range 3 {
		node, err := raw.MasterForKey(r.ctx, "rm:{c/"+itoa(sh)+"}:ring")
		if err != nil {
			t.Fatal(err)
		}
		holders[node.Options().Addr] = sh
	}
	if len(holders) != 3 {
		t.Fatalf("the shards are at %v: the test wants three servers", holders)
	}
	r.lead()
	r.start(spec{name: "w1", t: quickly})
	victim := r.start(spec{name: "w2", t: quickly})
	r.everywhere("w1", "w2")
	load := r.stream(12)
	r.until("traffic", func() bool { return load.count() > 100 })
	r.start(spec{name: "w3", t: quickly})
	r.everywhere("w1", "w2", "w3")
	victim.kill()
	r.everywhere("w1", "w3")
	n := load.count()
	r.until("traffic after the death of a worker", func() bool { return load.count() > n+100 })

	// The server of shard 1 dies; its replica takes over and has no replica itself, so what
	// waits for one is not reported as done until the server is back, as a replica.
	dead := servers[0]
	for _, s := range servers[:3] {
		if holders[s.Addr()] == 1 {
			dead = s
		}
	}
	before := r.generation()
	dead.Kill()
	r.until("another server holds the shard", func() bool {
		node, err := raw.MasterForKey(r.ctx, "rm:{c/1}:ring")
		raw.ReloadState(r.ctx)
		return err == nil && node.Options().Addr != dead.Addr() && raw.HGet(r.ctx, "rm:{c/1}:ring", "epoch").Err() == nil
	})
	dead.Restart()
	n = load.count()
	r.until("traffic after the failover", func() bool { return load.count() > n+100 })
	r.endsOnce(load)
	if got := raw.HGet(r.ctx, "rm:{c/1}:ring", "failovers").Val(); got == "" || got == "0" {
		t.Errorf("failovers of shard 1: %q", got)
	}
	t.Logf("%d jobs, %d answers unknown, generation of shard 0 %d, then %d", len(load.acked), load.unknown, before, r.generation())
}

// everywhere waits until all partitions of all shards are owned by these workers, and each has some.
func (r *rig) everywhere(names ...string) {
	r.t.Helper()
	ring := r.store.NewRing(r.queue, "test")
	r.until("all partitions at "+strings.Join(names, ", "), func() bool {
		rec, err := ring.Look(r.ctx)
		if err != nil || len(rec.Moves) > 0 {
			return false
		}
		has := map[string]bool{}
		for _, o := range rec.Owners {
			name, _, _ := strings.Cut(o.Incarnation, ".")
			has[name] = true
		}
		for _, n := range names {
			if !has[n] {
				return false
			}
		}
		return len(has) == len(names)
	})
}
