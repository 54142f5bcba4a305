package behaviour

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"ringmaster/internal/redistest"
	"ringmaster/streams"
)

// TestAPrimaryComesAndGoes: a server joins a cluster, takes over all slots of the one that holds the
// queue, gives them to a third and leaves, all by redis-cli and under load.
func TestAPrimaryComesAndGoes(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 8} {
		t.Run(itoa(shards), func(t *testing.T) {
			t.Parallel()
			keys := []string{"rm:{c}:"}
			if shards > 1 {
				keys = nil
				for sh := range shards {
					keys = append(keys, "rm:{c/"+itoa(sh)+"}:")
				}
			}
			servers := redistest.Narrow(t, keys...)
			m := newReshard(t, servers, streams.Queue{Name: "c", Partitions: 8, Shards: shards, Journal: true})
			r, slots := m.r, strconv.Itoa(len(keys))
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
			home, other := m.home(keys[0]), servers[2].Addr()
			added := redistest.Joined(t, servers).Addr()
			m.knows(added)
			cli("reshard", home, "--cluster-from", m.id(home), "--cluster-to", m.id(added), "--cluster-slots", slots, "--cluster-yes")
			for _, key := range keys {
				if got := m.home(key); got != added {
					t.Fatalf("%s is at %s, not at the new server", key, got)
				}
			}
			flows()
			cli("reshard", added, "--cluster-from", m.id(added), "--cluster-to", m.id(other), "--cluster-slots", slots, "--cluster-yes")
			cli("del-node", home, m.id(added))
			delete(m.nodes, added)
			r.until("the server is forgotten", func() bool { return !strings.Contains(m.nodes[other].ClusterNodes(r.ctx).Val(), added) })
			flows()
			r.endsOnce(load)
			for _, key := range keys {
				m.alone(key)
			}
		})
	}
}
