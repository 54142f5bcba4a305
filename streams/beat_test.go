package streams

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ringmaster/job"
)

// watched is a member that has shown the server its signs of life.
func (c *crew) watched(inc string) *Member {
	c.t.Helper()
	h := c.join(inc)
	c.t.Cleanup(must1(h.member.Watch(c.ctx, func() {}))(c.t))
	must1(h.member.Heartbeat(c.ctx))(c.t)
	return h.member
}

// calls are the commands that the server has executed since the last CONFIG RESETSTAT, those in
// scripts included.
func (c *crew) calls() map[string]int {
	c.t.Helper()
	out := map[string]int{}
	for line := range strings.Lines(c.raw.Info(c.ctx, "commandstats").Val()) {
		name, stats, is := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "cmdstat_"), ":calls=")
		if n, _, _ := strings.Cut(stats, ","); is && name != "info" && !strings.HasPrefix(name, "config") {
			out[name], _ = strconv.Atoi(n)
		}
	}
	return out
}

func (c *crew) forgetCalls() { must(c.t, c.raw.ConfigResetStat(c.ctx).Err()) }

// A worker at rest: its lease goes on by one command and a look whether there is news, and who
// doubts that it lives sees that.
func TestARestingMemberRenewsItsLeaseAndNothingElse(t *testing.T) {
	c := realCrew(t, Queue{})
	m := c.watched("a.1")
	alive := c.key(0, "alive:a.1")
	must(t, c.raw.PExpire(c.ctx, alive, time.Second).Err())
	before := must1(run(c.ctx, c.s, c.s.cmd, &c.s.scripts.doubt, c.s.shard(c.q, 0), 0, "a.1"))(t)
	c.forgetCalls()
	got := must1(m.Renew(c.ctx))(t)
	c.expect("commands", fmt.Sprint(c.calls()), "map[hget:1 pexpire:1]")
	c.expect("answer", got[0].Fenced, false)
	if left := c.raw.PTTL(c.ctx, alive).Val(); left < 50*time.Second {
		t.Errorf("%v of the lease are left", left)
	}
	after := must1(run(c.ctx, c.s, c.s.cmd, &c.s.scripts.doubt, c.s.shard(c.q, 0), 0, "a.1"))(t)
	if b, a := before[0].beat, after[0].beat; b == a {
		t.Errorf("a leader sees the same heartbeat before and after: %q", a)
	}
	c.expect("nor does a miss count against it", must1(c.ring.Evict(c.ctx, c.term, "a.1", "connection", 0, 0, 0, 0, before[0].beat))(t), false)
	c.forgetCalls()
	for range 2 * wholeEvery {
		must1(m.Renew(c.ctx))(t)
	}
	if n := c.calls(); n["evalsha"] != 2 || n["hmget"] != 4 {
		t.Errorf("among %d renewals: %v", 2*wholeEvery, n)
	}
}

func TestARenewalThatFindsNewsIsAHeartbeat(t *testing.T) {
	c := realCrew(t, Queue{Partitions: 2, Shards: 2})
	m := c.watched("a.1")
	alive := c.key(1, "alive:a.1")
	for what, change := range map[string]func(){
		"a plan gives it partitions": func() { must(t, c.plan("key", "a.1")); must(t, c.steal(1, "-", 0, "a.1")) },
		"its lease was over":         func() { must(t, c.raw.Del(c.ctx, alive).Err()) },
	} {
		change()
		c.forgetCalls()
		must1(m.Renew(c.ctx))(t)
		if n := c.calls(); n["evalsha"] != 2 {
			t.Errorf("%s: %v", what, n)
		}
		beats := must1(m.Heartbeat(c.ctx))(t)
		c.expect(what+": what it answers", must1(m.Renew(c.ctx))(t), beats)
	}
	// What no change number tells, as where a message of mode ring is lost.
	must(t, c.raw.HSet(c.ctx, c.key(1, "ring"), "phase", "2").Err())
	for range ringEvery {
		if must1(m.Renew(c.ctx))(t)[1].Phase == 2 {
			break
		}
	}
	c.expect("phase", must1(m.Renew(c.ctx))(t)[1].Phase, 2)
	must1(c.ring.Evict(c.ctx, c.term, "a.1", "dead", 0, 0, 0, 0, ""))(t)
	c.expect("evicted", must1(m.Renew(c.ctx))(t)[0].Fenced, true)
}

// crowd are members of many queues in one process.
func (c *crew) crowd(n int) []*Member {
	c.t.Helper()
	out := make([]*Member, n)
	for i := range out {
		q := must1(c.s.CreateQueue(c.ctx, Queue{Name: fmt.Sprintf("q%d", i), Partitions: 1}))(c.t)
		m := c.s.NewMember(q, job.MemberInfo{Incarnation: "a.1", Name: "a", Weight: 1}, time.Minute)
		c.t.Cleanup(must1(m.Watch(c.ctx, func() {}))(c.t))
		must1(m.Join(c.ctx))(c.t)
		out[i] = m
	}
	return out
}

// beatAll has all of them beat at once.
func beatAll(ctx context.Context, all []*Member, beat func(*Member) ([]job.Beat, error)) []error {
	errs := make([]error, len(all))
	var group sync.WaitGroup
	for i, m := range all {
		group.Go(func() { _, errs[i] = beat(m) })
	}
	group.Wait()
	return errs
}

// The members of a process have one connection for their heartbeats and one that holds all
// their channels, and one whose records are damaged holds up nobody else.
func TestMembersOfAProcessBeatTogether(t *testing.T) {
	c := realCrew(t, Queue{})
	all := c.crowd(30)
	for round, beat := range []func(*Member) ([]job.Beat, error){
		func(m *Member) ([]job.Beat, error) { return m.Heartbeat(c.ctx) }, func(m *Member) ([]job.Beat, error) { return m.Renew(c.ctx) },
	} {
		if i := slices.IndexFunc(beatAll(c.ctx, all, beat), func(err error) bool { return err != nil }); i >= 0 {
			t.Fatalf("round %d: member %d has an error", round, i)
		}
	}
	subs, lines := 0, 0
	for line := range strings.Lines(c.raw.ClientList(c.ctx).Val()) {
		switch {
		case strings.Contains(line, " sub=30 "):
			subs++
		case strings.Contains(line, "cmd=hget "), strings.Contains(line, "cmd=evalsha ") && strings.Contains(line, " qbuf-free="):
			lines++
		}
	}
	c.expect("connections with all channels", subs, 1)
	if lines > 3 { // one for heartbeats; the others joined
		t.Errorf("%d connections have sent heartbeats", lines)
	}
	spoiled := c.s.shard(all[7].q, 0) + "change"
	must(t, c.raw.Del(c.ctx, spoiled).Err())
	must(t, c.raw.Set(c.ctx, spoiled, "x", 0).Err())
	for i, err := range beatAll(c.ctx, all, func(m *Member) ([]job.Beat, error) { return m.Renew(c.ctx) }) {
		if (err != nil) != (i == 7) {
			t.Errorf("member %d: %v", i, err)
		}
	}
}

// The server hangs: who gives up leaves the round that is under way at once, and so does who stops.
func TestWhoLeavesARoundDoesNotWaitForIt(t *testing.T) {
	c := realCrew(t, Queue{})
	h := c.join("a.1")
	stop := must1(h.member.Watch(c.ctx, func() {}))(t)
	must1(h.member.Heartbeat(c.ctx))(t)
	must(t, c.raw.Do(c.ctx, "CLIENT", "PAUSE", "5000", "ALL").Err())
	began := time.Now()
	call, cancel := context.WithTimeout(c.ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := h.member.Renew(call); err == nil {
		t.Error("a server that hangs has answered")
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it left after %v", took)
	}
	began = time.Now()
	stop()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it stopped after %v", took)
	}
}
