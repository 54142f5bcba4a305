package app

import (
	"os/exec"
	"strings"
	"testing"

	"ringmaster/internal/redistest"
	"ringmaster/streams"
)

// TestAPrimaryComesAndGoes: a server joins a cluster, takes over all slots of the one that holds the
// queue, gives them to a third and leaves, all by redis-cli and under load.
func TestAPrimaryComesAndGoes(t *testing.T) {
	servers := redistest.Narrow(t, "rm:{c}:")
	m := newReshard(t, servers, streams.Queue{Name: "c", Partitions: 8, Shards: 1, Journal: true})
	r := m.r
	cli := func(args ...string) {
		if out, err := exec.CommandContext(r.ctx, "redis-cli", append([]string{"--cluster"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("redis-cli --cluster %v: %v\n%s", args, err, out)
		}
	}
	load := m.underLoad()
	flows := func() {
		n := load.count()
		r.until("traffic", func() bool { return load.count() > n+100 })
	}
	const key = "rm:{c}:"
	home := m.home(key)
	other := servers[2].Addr()
	added := redistest.Joined(t, servers).Addr()
	m.knows(added)
	cli("reshard", home, "--cluster-from", m.id(home), "--cluster-to", m.id(added), "--cluster-slots", "21", "--cluster-yes")
	if got := m.home(key); got != added {
		t.Fatalf("the queue is at %s, not at the new server", got)
	}
	flows()
	cli("reshard", added, "--cluster-from", m.id(added), "--cluster-to", m.id(other), "--cluster-slots", "21", "--cluster-yes")
	cli("del-node", home, m.id(added))
	delete(m.nodes, added)
	r.until("the server is forgotten", func() bool { return !strings.Contains(m.nodes[other].ClusterNodes(r.ctx).Val(), added) })
	flows()
	r.endsOnce(load)
	m.alone(key)
}
