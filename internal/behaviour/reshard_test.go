package behaviour

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// reshard moves slots between the servers of a cluster, in the steps of redis-cli --cluster reshard.
type reshard struct {
	r     *rig
	nodes map[string]*redis.Client // by address
}

// newReshard makes a queue in a cluster.
func newReshard(t *testing.T, servers []*redistest.Server, q streams.Queue) *reshard {
	t.Helper()
	var addrs []string
	for _, s := range servers {
		addrs = append(addrs, s.Addr())
	}
	raw := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, Protocol: 2})
	m := &reshard{r: newRigOn(t, streams.Options{Addrs: addrs, Mode: "cluster"}, raw, q), nodes: map[string]*redis.Client{}}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	m.r.ctx = ctx
	for _, addr := range addrs {
		m.knows(addr)
	}
	return m
}

// knows makes a client of one server.
func (m *reshard) knows(addr string) {
	c := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2})
	m.r.t.Cleanup(func() { _ = c.Close() })
	m.nodes[addr] = c
}

// underLoad starts a leader, two workers and a load.
func (m *reshard) underLoad() *stream {
	r := m.r
	r.t.Helper()
	r.lead()
	r.start(spec{name: "w1", t: quickly})
	r.start(spec{name: "w2", t: quickly})
	r.everywhere("w1", "w2")
	load := r.stream(12)
	r.until("traffic", func() bool { return load.count() > 100 })
	return load
}

func (m *reshard) id(addr string) string {
	m.r.t.Helper()
	id, err := m.nodes[addr].Do(m.r.ctx, "CLUSTER", "MYID").Text()
	m.must(err)
	return id
}

func (m *reshard) must(err error) {
	m.r.t.Helper()
	if err != nil {
		m.r.t.Fatal(err)
	}
}

func (m *reshard) set(addr string, slot int64, state, id string) {
	m.r.t.Helper()
	m.must(m.nodes[addr].Do(m.r.ctx, "CLUSTER", "SETSLOT", slot, state, id).Err())
}

// home is who holds the slot of a key, as all servers say.
func (m *reshard) home(key string) string {
	m.r.t.Helper()
	for addr, c := range m.nodes {
		slot := c.ClusterKeySlot(m.r.ctx, key).Val()
		ranges, err := c.ClusterSlots(m.r.ctx).Result() //nolint:staticcheck // it names the primary first; CLUSTER SHARDS does not
		m.must(err)
		for _, x := range ranges {
			if int64(x.Start) <= slot && slot <= int64(x.End) {
				return x.Nodes[0].Addr
			}
		}
		m.r.t.Fatalf("%s knows no server of slot %d", addr, slot)
	}
	return ""
}

// move takes the slot of a key to another server; half runs when half of the keys are there.
func (m *reshard) move(key, to string, half func()) {
	m.r.t.Helper()
	from := m.home(key)
	if from == to {
		return
	}
	slot := m.nodes[from].ClusterKeySlot(m.r.ctx, key).Val()
	m.set(to, slot, "IMPORTING", m.id(from))
	m.set(from, slot, "MIGRATING", m.id(to))
	host, port, err := net.SplitHostPort(to)
	m.must(err)
	left := m.nodes[from].ClusterCountKeysInSlot(m.r.ctx, int(slot)).Val() / 2
	for first := true; ; left-- {
		keys, err := m.nodes[from].ClusterGetKeysInSlot(m.r.ctx, int(slot), 1).Result()
		m.must(err)
		if first && left <= 0 {
			half()
			first = false
		}
		if len(keys) == 0 {
			break
		}
		m.must(m.nodes[from].Do(m.r.ctx, "MIGRATE", host, port, "", 0, 5000, "KEYS", keys[0]).Err())
	}
	for _, addr := range append([]string{to, from}, m.others(from, to)...) {
		m.set(addr, slot, "NODE", m.id(to))
	}
}

func (m *reshard) others(but ...string) (out []string) {
	for addr := range m.nodes {
		if !strings.Contains(strings.Join(but, " "), addr) {
			out = append(out, addr)
		}
	}
	return out
}

// TestASlotMovesUnderLoad: the slots of a queue go round all servers of a cluster while jobs are handed
// in and run. In the midst of a move nothing is executed anywhere; after it everything goes on.
func TestASlotMovesUnderLoad(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 8} {
		t.Run(itoa(shards), func(t *testing.T) {
			t.Parallel()
			servers := redistest.Cluster(t)
			m := newReshard(t, servers[:3], streams.Queue{Name: "c", Partitions: 8, Shards: shards, Journal: true})
			r := m.r
			prefix := func(sh int) string {
				if shards == 1 {
					return "rm:{c}:"
				}
				return "rm:{c/" + itoa(sh) + "}:"
			}
			load := m.underLoad()
			ring := r.store.NewRing(r.queue, "test")
			for sh := range shards {
				home := m.home(prefix(sh))
				for i, to := range m.others(home) {
					if i > 0 && sh > 1 {
						break // once for most
					}
					m.move(prefix(sh), to, func() {
						if i > 0 || sh > 0 {
							return
						}
						begin := time.Now()
						r.until("a lease is over, and nothing was executed", func() bool {
							if _, err := ring.Look(r.ctx); !errors.Is(err, job.ErrUnavailable) || !strings.Contains(err.Error(), "move") {
								t.Fatalf("look at records half of which are elsewhere: %v", err)
							}
							if _, err := r.store.CreateQueue(r.ctx, r.queue); !errors.Is(err, job.ErrUnavailable) {
								t.Fatalf("records are made in the midst of a move: %v", err)
							}
							return time.Since(begin) > 2500*time.Millisecond
						})
					})
				}
				n := load.count()
				r.until("traffic after the move", func() bool { return load.count() > n+50 })
			}
			r.endsOnce(load)
			for sh := range shards {
				m.alone(prefix(sh))
			}
			t.Logf("%d jobs, %d answers unknown", len(load.acked), load.unknown)
		})
	}
}

// TestAFailoverInTheMidstOfAMove: the server that gives a slot away dies when half of its keys are at the
// other, and the replica that takes over knows of no move. Nothing is made anew beside what is elsewhere:
// redis-cli can end the move, and everything goes on.
func TestAFailoverInTheMidstOfAMove(t *testing.T) {
	t.Parallel()
	servers := redistest.Cluster(t)
	m := newReshard(t, servers, streams.Queue{Name: "c", Partitions: 8, Shards: 1, Journal: true})
	r := m.r
	load := m.underLoad()

	const key = "rm:{c}:"
	home := m.home(key)
	i := slices.IndexFunc(servers[:3], func(s *redistest.Server) bool { return s.Addr() == home })
	to, heir := servers[(i+1)%3].Addr(), servers[i+3].Addr()
	slot := m.nodes[home].ClusterKeySlot(r.ctx, key).Val()
	m.set(to, slot, "IMPORTING", m.id(home))
	m.set(home, slot, "MIGRATING", m.id(to))
	host, port, err := net.SplitHostPort(to)
	m.must(err)
	count := func(addr string) int64 { return m.nodes[addr].ClusterCountKeysInSlot(r.ctx, int(slot)).Val() }
	for left := count(home) / 2; count(home) > left; {
		keys := m.nodes[home].ClusterGetKeysInSlot(r.ctx, int(slot), 1).Val()
		m.must(m.nodes[home].Do(r.ctx, "MIGRATE", host, port, "", 0, 5000, "KEYS", keys[0]).Err())
	}
	m.must(m.nodes[home].Do(r.ctx, "WAIT", 1, 5000).Err())
	servers[i].Kill()
	delete(m.nodes, home)
	r.until("the replica takes over", func() bool { return m.home(key) == heir })
	ring, begin := r.store.NewRing(r.queue, "test"), time.Now()
	r.until("a lease is over, and nothing was executed", func() bool {
		if _, err := ring.Look(r.ctx); !errors.Is(err, job.ErrUnavailable) {
			t.Fatalf("look at records half of which are elsewhere: %v", err)
		}
		return time.Since(begin) > 4*time.Second
	})
	there := map[string]bool{}
	for _, k := range m.nodes[to].ClusterGetKeysInSlot(r.ctx, int(slot), 10_000).Val() {
		there[k] = true
	}
	for _, k := range m.nodes[heir].ClusterGetKeysInSlot(r.ctx, int(slot), 10_000).Val() {
		if there[k] {
			t.Errorf("%s is at both servers", k)
		}
	}
	servers[i].Restart() // it follows its heir now
	r.until("all servers are there", func() bool {
		return strings.Count(m.nodes[to].ClusterNodes(r.ctx).Val(), " connected") == 6 && !strings.Contains(m.nodes[to].ClusterNodes(r.ctx).Val(), "fail")
	})
	out, err := exec.CommandContext(r.ctx, "redis-cli", "--cluster", "fix", to).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli --cluster fix: %v\n%s", err, out)
	}
	if (count(to) > 0) == (count(heir) > 0) {
		t.Errorf("%d and %d keys at the two servers", count(to), count(heir))
	}
	n := load.count()
	r.until("traffic after the move", func() bool { return load.count() > n+50 })
	r.endsOnce(load)
}

// alone holds that the keys of a slot are at one primary. One that has given all its slots away follows
// the one that took the last, so it has the keys too.
func (m *reshard) alone(key string) {
	m.r.t.Helper()
	home := m.home(key)
	for addr, c := range m.nodes {
		if strings.Contains(c.Info(m.r.ctx, "replication").Val(), "role:slave") {
			continue
		}
		slot := c.ClusterKeySlot(m.r.ctx, key).Val()
		if n := c.ClusterCountKeysInSlot(m.r.ctx, int(slot)).Val(); (n > 0) != (addr == home) {
			m.r.t.Errorf("%d keys of %s at %s; its slot is at %s", n, key, addr, home)
		}
	}
}

// TestABrokenMoveMakesNoSecondQueue: a move that broke off, and whose servers forgot that it was one, as
// after the promotion of a replica: what is missing at one server is not made anew.
func TestABrokenMoveMakesNoSecondQueue(t *testing.T) {
	t.Parallel()
	servers := redistest.Primaries(t, 2, "rm:{c}:", "rm:{d}:")
	m := newReshard(t, servers, streams.Queue{Name: "c", Partitions: 4, Shards: 1})
	r := m.r
	// A process that knows the queue's home from before, and hears of no move.
	slept, err := streams.Open(streams.Options{URL: "redis://" + servers[0].Addr(), Mode: "cluster"})
	m.must(err)
	defer func() { m.must(slept.Close()) }()
	_, err = slept.CreateQueue(r.ctx, r.queue)
	m.must(err)
	home := m.home("rm:{c}:")
	to := m.others(home)[0]
	slot := m.nodes[home].ClusterKeySlot(r.ctx, "rm:{c}:").Val()
	m.set(to, slot, "IMPORTING", m.id(home))
	m.set(home, slot, "MIGRATING", m.id(to))
	host, port, _ := net.SplitHostPort(to)
	m.must(m.nodes[home].Do(r.ctx, "MIGRATE", host, port, "", 0, 5000, "KEYS", "rm:{c}:ring", "rm:{c}:owner").Err())
	for _, c := range m.nodes {
		m.must(c.Do(r.ctx, "CLUSTER", "SETSLOT", slot, "STABLE").Err())
	}
	if _, err := slept.CreateQueue(r.ctx, r.queue); !errors.Is(err, job.ErrUnavailable) || !strings.Contains(err.Error(), "--cluster fix") {
		t.Errorf("make the queue: %v", err)
	}
	ctx, cancel := context.WithTimeout(r.ctx, 2*time.Second)
	defer cancel()
	_, errs := r.out.Enqueue(ctx, job.Job{Type: "t", Key: "k"})
	if errs == nil || !errors.Is(errs[0], job.ErrUnavailable) {
		t.Errorf("a job in half a queue: %v", errs)
	}
	if n := m.nodes[home].Exists(r.ctx, "rm:{c}:ring").Val(); n != 0 {
		t.Error("the records were made anew beside those that moved")
	}
	m.move("rm:{c}:", to, func() {})
	m.alone("rm:{c}:")
	r.until("it goes on", func() bool {
		_, errs := r.out.Enqueue(r.ctx, job.Job{Type: "t", Key: "k"})
		return errs == nil
	})
}

// TestTheFirstJobAfterAMove: a process that has looked at a queue and done nothing with it since hears
// from the former server that its slot has gone, and asks where, for its first job as for readiness.
func TestTheFirstJobAfterAMove(t *testing.T) {
	for name, first := range map[string]func(context.Context, *streams.Store, *rig) error{
		"submission": func(ctx context.Context, s *streams.Store, r *rig) error {
			p := s.NewProducer(r.queue)
			defer p.Close()
			_, errs := p.Enqueue(ctx, job.Job{Type: "t", Key: "k"})
			return errors.Join(errs...)
		},
		"readiness": func(ctx context.Context, s *streams.Store, r *rig) error {
			r.until("the map is read", func() bool { return s.Writable(ctx) == nil || ctx.Err() != nil })
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			servers := redistest.Primaries(t, 2, "rm:{c}:", "rm:{d}:")
			m := newReshard(t, servers, streams.Queue{Name: "c", Partitions: 1, Shards: 1})
			s, err := streams.Open(streams.Options{URL: "redis://" + servers[0].Addr(), Mode: "cluster"})
			m.must(err)
			defer func() { m.must(s.Close()) }()
			_, err = s.CreateQueue(m.r.ctx, m.r.queue)
			m.must(err)
			m.move("rm:{c}:", m.others(m.home("rm:{c}:"))[0], func() {})
			ctx, cancel := context.WithTimeout(m.r.ctx, 5*time.Second)
			defer cancel()
			m.must(first(ctx, s, m.r))
		})
	}
}
