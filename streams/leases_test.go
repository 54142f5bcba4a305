package streams

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// Leases of many rings are renewed by two commands each, and nothing is taken for one's own that
// is another's by now, or under another term.
func TestLeasesAreRenewedTogether(t *testing.T) {
	c := realCrew(t, Queue{})
	l := c.s.NewLeases()
	ctx, cancel := context.WithCancel(c.ctx)
	var running sync.WaitGroup
	running.Go(func() { l.Run(ctx) })
	defer running.Wait()
	defer cancel()
	const many = 20
	rings, terms := make([]*Ring, many), make([]uint64, many)
	for i := range rings {
		q := must1(c.s.CreateQueue(c.ctx, Queue{Name: fmt.Sprintf("q%d", i), Partitions: 1}))(t)
		rings[i] = c.s.NewRing(q, "d1")
		var err error
		terms[i], err = rings[i].Hold(c.ctx, l, time.Minute, 0)
		must(t, err)
		if terms[i] == 0 {
			t.Fatal("it does not lead")
		}
		must(t, c.raw.PExpire(c.ctx, c.s.shard(q, 0)+"leader", time.Second).Err())
	}
	hold := func(want func(i int) uint64) {
		t.Helper()
		var all sync.WaitGroup
		for i, r := range rings {
			all.Go(func() {
				if got, err := r.Hold(c.ctx, l, time.Minute, terms[i]); err != nil || got != want(i) {
					t.Errorf("ring %d: term %d, %v, want %d", i, got, err, want(i))
				}
			})
		}
		all.Wait()
	}
	c.forgetCalls()
	hold(func(i int) uint64 { return terms[i] })
	c.expect("commands", fmt.Sprint(c.calls()), fmt.Sprintf("map[hmget:%d pexpire:%d]", many, many))
	if left := c.raw.PTTL(c.ctx, c.s.shard(rings[3].q, 0)+"leader").Val(); left < 50*time.Second {
		t.Errorf("%v of a lease are left", left)
	}
	leader := func(i int) string { return c.s.shard(rings[i].q, 0) + "leader" }
	must(t, c.raw.Del(c.ctx, leader(4)).Err()) // resigned, or over
	must(t, c.raw.HSet(c.ctx, leader(5), "dispatcher", "d2").Err())
	must(t, c.raw.HSet(c.ctx, leader(6), "term", terms[6]+1).Err()) // its own, of another time
	must(t, c.raw.HSet(c.ctx, c.s.shard(rings[6].q, 0)+"ring", "term", terms[6]+1).Err())
	hold(func(i int) uint64 {
		switch i {
		case 4, 6:
			return terms[i] + 1
		case 5:
			return 0
		}
		return terms[i]
	})
	terms[4], terms[5], terms[6] = terms[4]+1, 0, terms[6]+1
	c.forgetCalls()
	hold(func(i int) uint64 { return terms[i] })
	if n := c.calls(); n["evalsha"] != 0 {
		t.Errorf("a look whether others lead: %v", n)
	}
}
