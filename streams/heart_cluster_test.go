package streams

import (
	"context"
	"testing"
	"time"

	"ringmaster/internal/redistest"
	"ringmaster/job"
)

// A process serves queues at two servers of a cluster. While the slot of one queue is on its way,
// and then while its server hangs, the heartbeats of the other are answered as ever.
func TestAServerThatHangsHoldsUpNoHeartbeatOfAnother(t *testing.T) {
	servers := redistest.Primaries(t, 2, "{a}", "{b}")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	s, err := Open(Options{Addrs: []string{servers[0].Addr(), servers[1].Addr()}, Mode: "cluster", Timeout: time.Second})
	must(t, err)
	defer func() { _ = s.Close() }()
	const ttl = 3 * time.Second
	members := map[string]*Member{}
	for _, name := range []string{"a", "b"} {
		q := must1(s.CreateQueue(ctx, Queue{Name: name, Partitions: 1}))(t)
		m := s.NewMember(q, job.MemberInfo{Incarnation: "w.1", Name: "w", Weight: 1}, ttl)
		defer must1(m.Watch(ctx, func() {}))(t)()
		must1(m.Join(ctx))(t)
		must1(m.Heartbeat(ctx))(t)
		members[name] = m
	}
	home := must1(s.node(ctx, "rm:{b}:"))(t)
	bad, other := servers[0], servers[1]
	if bad.Addr() != home.Options().Addr {
		bad, other = other, bad
	}
	if at := must1(s.node(ctx, "rm:{a}:"))(t).Options().Addr; at != other.Addr() {
		t.Fatalf("both queues are at %s", at)
	}
	fine := func(what string) {
		t.Helper()
		for name, beat := range map[string]func(context.Context) ([]job.Beat, error){"heartbeat": members["a"].Heartbeat, "renewal": members["a"].Renew} {
			began := time.Now()
			if _, err := beat(ctx); err != nil || time.Since(began) > ttl/4 {
				t.Errorf("%s: a %s of the other queue: %v, after %v", what, name, err, time.Since(began))
			}
		}
	}
	slot := home.ClusterKeySlot(ctx, "rm:{b}:").Val()
	to := must1(s.node(ctx, "rm:{a}:"))(t)
	id := must1(to.Do(ctx, "CLUSTER", "MYID").Text())(t)
	must(t, home.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", id).Err())
	if _, err := members["b"].Heartbeat(ctx); err == nil {
		t.Error("a script was executed while its slot is on its way")
	}
	fine("a slot is on its way")
	must(t, home.Do(ctx, "CLUSTER", "SETSLOT", slot, "STABLE").Err())
	must1(members["b"].Heartbeat(ctx))(t)
	bad.Freeze()
	defer bad.Thaw()
	hangs := make(chan error, 1)
	go func() { // ended below
		call, cancel := context.WithTimeout(ctx, ttl/2)
		defer cancel()
		_, err := members["b"].Renew(call)
		hangs <- err
	}()
	for over := false; !over; {
		select {
		case err := <-hangs:
			if over = true; err == nil {
				t.Error("a server that hangs has answered")
			}
		default:
			fine("its server hangs")
		}
	}
}
