package app

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/redistest"
	"ringmaster/streams"
)

// TestAPrimaryComesAndGoes: a server joins a cluster, takes over all slots of the one that holds the
// queue, gives them to a third and leaves, all by redis-cli and under load.
func TestAPrimaryComesAndGoes(t *testing.T) {
	servers := redistest.Narrow(t, "rm:{c}:")
	var addrs []string
	for _, s := range servers {
		addrs = append(addrs, s.Addr())
	}
	raw := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, Protocol: 2})
	r := newRigOn(t, streams.Options{Addrs: addrs, Mode: "cluster"}, raw, streams.Queue{Name: "c", Partitions: 8, Shards: 1, Journal: true})
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	r.ctx = ctx
	m := &reshard{r: r, nodes: map[string]*redis.Client{}}
	know := func(addr string) {
		c := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2})
		t.Cleanup(func() { _ = c.Close() })
		m.nodes[addr] = c
	}
	for _, addr := range addrs {
		know(addr)
	}
	cli := func(args ...string) {
		if out, err := exec.CommandContext(ctx, "redis-cli", append([]string{"--cluster"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("redis-cli --cluster %v: %v\n%s", args, err, out)
		}
	}
	r.lead()
	r.start(spec{name: "w1", t: quickly})
	r.start(spec{name: "w2", t: quickly})
	r.everywhere("w1", "w2")
	load := r.stream(12)
	flows := func() {
		n := load.count()
		r.until("traffic", func() bool { return load.count() > n+100 })
	}
	flows()
	const key = "rm:{c}:"
	home := m.home(key)
	other := servers[2].Addr()
	added := redistest.Joined(t, servers).Addr()
	know(added)
	cli("reshard", home, "--cluster-from", m.id(home), "--cluster-to", m.id(added), "--cluster-slots", "21", "--cluster-yes")
	if got := m.home(key); got != added {
		t.Fatalf("the queue is at %s, not at the new server", got)
	}
	flows()
	cli("reshard", added, "--cluster-from", m.id(added), "--cluster-to", m.id(other), "--cluster-slots", "21", "--cluster-yes")
	cli("del-node", home, m.id(added))
	delete(m.nodes, added)
	r.until("the server is forgotten", func() bool { return !strings.Contains(m.nodes[other].ClusterNodes(ctx).Val(), added) })
	flows()
	load.stop()
	r.flows(20 * time.Second)
	r.until("nothing is open", r.open0)
	ends := r.ends()
	for _, id := range load.acked {
		if ends[id] != 1 {
			t.Errorf("acknowledged job %s ended %d times", id, ends[id])
		}
	}
	m.alone(key)
}
