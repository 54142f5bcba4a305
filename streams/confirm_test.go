package streams

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"ringmaster/internal/faultproxy"
	"ringmaster/internal/redistest"
	"ringmaster/job"
)

// replicated is a crew on a primary with one replica that has caught up.
func replicated(t *testing.T, q Queue) (*crew, *redistest.Server) {
	t.Helper()
	primary := redistest.Real(t, "--repl-diskless-sync-delay", "0")
	replica := redistest.Real(t, "--replicaof", "127.0.0.1 "+primary.Addr()[len("127.0.0.1:"):])
	c := newCrew(t, primary.URL(), "real", q)
	c.until("the replica is connected", func() bool {
		return c.raw.Incr(c.ctx, "probe").Err() == nil && c.raw.Wait(c.ctx, 1, 100*time.Millisecond).Val() == 1
	})
	return c, replica
}

// durable opens another store of the crew's server.
func (c *crew) durable(url, level string, wait time.Duration) *Store {
	c.t.Helper()
	d, err := job.ParseDurability(level)
	must(c.t, err)
	d.Wait = wait
	s, err := Open(Options{URL: url, Durability: d})
	must(c.t, err)
	c.t.Cleanup(func() { _ = s.Close() })
	return s
}

func (c *crew) until(what string, fact func() bool) {
	c.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !fact() {
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			c.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// waits is how often the server was asked to wait.
func (c *crew) waits() int {
	c.t.Helper()
	stats, err := c.raw.InfoMap(c.ctx, "commandstats").Result()
	must(c.t, err)
	n := 0
	_, _ = fmt.Sscanf(stats["Commandstats"]["cmdstat_wait"], "calls=%d", &n)
	return n
}

// TestUnconfirmedIsUnknown: while the replica says nothing, nothing is reported as done,
// and a repeat under the same idempotency key waits again. A wait on a connection other
// than the one that wrote would answer for older writes, which the replica has.
func TestUnconfirmedIsUnknown(t *testing.T) {
	c, replica := replicated(t, Queue{Partitions: 4})
	s := c.durable(c.url, "replicas:1", 100*time.Millisecond)
	p := s.NewProducer(c.q)
	t.Cleanup(p.Close)
	one := job.Job{Type: "t", Key: "k", IdempotencyKey: "once"}
	warm := make(chan []error)
	for i := range 8 { // several connections, each with a confirmed write
		go func() {
			_, errs := p.Enqueue(c.ctx, job.Job{Type: "t", Key: "k", IdempotencyKey: fmt.Sprint("warm", i)})
			warm <- errs
		}()
	}
	for range 8 {
		if errs := <-warm; errs != nil {
			t.Fatal(errs)
		}
	}
	a := c.give(c.joinVia(s, "a.1"))
	part := job.PartitionOf("k", 4)
	ids := a.read(part)
	// What was written until now is confirmed, so that any other connection than the one that
	// writes next would get its yes at once.
	c.until("the replica has all", func() bool {
		return c.raw.Incr(c.ctx, "probe").Err() == nil && c.raw.Wait(c.ctx, 1, 100*time.Millisecond).Val() == 1
	})
	replica.Freeze()
	before := c.xlen(part)
	for range 3 {
		for _, j := range []job.Job{one, {Type: "t", Key: "k"}} {
			if _, errs := p.Enqueue(c.ctx, j); errs == nil || !errors.Is(errs[0], job.ErrUnconfirmed) || !errors.Is(errs[0], job.ErrOutcomeUnknown) {
				t.Errorf("enqueue while the replica is frozen: %v", errs)
			}
		}
	}
	// Unknown, and there: one by its idempotency key, and each of the others by itself.
	c.expect("added", c.xlen(part)-before, 4)
	end := []job.PartitionAcks{{Partition: part, Epoch: 1, Completions: []job.Completion{done(ids[0])}}}
	for range 2 {
		if _, err := a.member.Ack(c.ctx, 0, end); !errors.Is(err, job.ErrUnconfirmed) {
			t.Errorf("ack while the replica is frozen: %v", err)
		}
	}
	replica.Thaw()
	c.until("the repeat is confirmed", func() bool {
		r, errs := p.Enqueue(c.ctx, one)
		if errs == nil && !r[0].Duplicate {
			t.Errorf("a repeat added a second job: %+v", r[0])
		}
		return errs == nil
	})
	if got, err := a.member.Ack(c.ctx, 0, end); err != nil || got[0][0] != job.ByOwner {
		t.Errorf("ack repeated: %c, %v", got, err)
	}
}

// TestARepeatOnAnotherConnectionIsUnconfirmed: a repeat writes nothing, so on a connection of its own the
// server has nothing to wait for, and some servers answer at once. So the question comes after a write,
// also where memory is full.
func TestARepeatOnAnotherConnectionIsUnconfirmed(t *testing.T) {
	c, replica := replicated(t, Queue{})
	first := c.durable(c.url, "replicas:1", 100*time.Millisecond)
	a := c.give(c.joinVia(first, "a.1"))
	ids := c.add(1, "k")
	a.read(0)
	one := job.Job{Type: "t", Key: "k", IdempotencyKey: "once"}
	end := []job.PartitionAcks{{Partition: 0, Epoch: 1, Completions: []job.Completion{done(ids[0])}}}
	replica.Freeze()
	enqueue := func(s *Store) error {
		p := s.NewProducer(c.q)
		defer p.Close()
		if _, errs := p.Enqueue(c.ctx, one); errs != nil {
			return errs[0]
		}
		return nil
	}
	ack := func(s *Store) error {
		m := s.NewMember(c.q, job.MemberInfo{Incarnation: "a.1", Name: "a.1"}, time.Minute)
		_, err := m.Ack(c.ctx, 0, end)
		return err
	}
	for i, memory := range []string{"0", "0", "1"} {
		must(t, c.raw.ConfigSet(c.ctx, "maxmemory", memory).Err())
		for name, call := range map[string]func(*Store) error{"enqueue": enqueue, "ack": ack} {
			before, _ := c.raw.Get(c.ctx, c.key(0, "confirm")).Int()
			if err := call(c.durable(c.url, "replicas:1", 100*time.Millisecond)); !errors.Is(err, job.ErrUnconfirmed) {
				t.Errorf("%s, %d times before, with a memory of %s: %v", name, i, memory, err)
			}
			if after, _ := c.raw.Get(c.ctx, c.key(0, "confirm")).Int(); after <= before {
				t.Errorf("%s, %d times before, with a memory of %s: no write before the question", name, i, memory)
			}
		}
	}
	replica.Thaw()
	must(t, c.raw.ConfigSet(c.ctx, "maxmemory", "0").Err())
	c.until("the repeats are confirmed", func() bool { return enqueue(first) == nil && ack(first) == nil })
	c.expect("entries", c.xlen(0), 1)
}

// TestAClaimIsConfirmedBeforeItsUse: a change of owner that the replica does not have is
// not used.
func TestAClaimIsConfirmedBeforeItsUse(t *testing.T) {
	c, replica := replicated(t, Queue{})
	s := c.durable(c.url, "replicas:1", 100*time.Millisecond)
	a := c.joinVia(s, "a.1")
	replica.Freeze()
	must(t, c.plan("key", "a.1"))
	must(t, c.steal(0, "-", 0, "a.1"))
	claim := func() error {
		return a.readers[0].Claim(c.ctx, []job.Tenure{{Partition: 0, Epoch: 1}}, []string{""}, 10, nil, 16).Errs[0]
	}
	if err := claim(); !errors.Is(err, job.ErrUnconfirmed) {
		t.Errorf("claim while the replica is frozen: %v", err)
	}
	replica.Thaw()
	c.until("the claim is confirmed", func() bool { return claim() == nil })
}

// TestABatchSharesAWait: what a round trip adds is confirmed by one wait, and in memory by none.
func TestABatchSharesAWait(t *testing.T) {
	c, _ := replicated(t, Queue{Partitions: 8})
	jobs := make([]job.Job, 400)
	for i := range jobs {
		jobs[i] = job.Job{Type: "t", Key: fmt.Sprint(i)}
	}
	for level, want := range map[string]int{"replicas:1": 1, "memory": 0} {
		p := c.durable(c.url, level, time.Second).NewProducer(c.q)
		t.Cleanup(p.Close)
		if _, errs := p.Enqueue(c.ctx, jobs[0]); errs != nil { // so that the server knows the script
			t.Fatal(errs)
		}
		before := c.waits()
		if _, errs := p.Enqueue(c.ctx, jobs...); errs != nil {
			t.Fatal(errs)
		}
		if n := c.waits() - before; n != want {
			t.Errorf("%s: %d waits for one call of %d jobs in 8 partitions, want %d", level, n, len(jobs), want)
		}
	}
}

func TestWhatCannotBeConfirmedIsRefused(t *testing.T) {
	everysec := redistest.Real(t, "--appendonly", "yes", "--appendfsync", "everysec").URL()
	always := redistest.Real(t, "--appendonly", "yes", "--appendfsync", "always").URL()
	none, mini := redistest.Real(t).URL(), redistest.Mini(t).URL()
	missing := "no WAITAOF"
	if c := newCrew(t, everysec, "", Queue{}); c.raw.Do(c.ctx, "WAITAOF", 0, 0, 1).Err() == nil {
		missing = "" // Redis 7.2 and later, Valkey
	}
	for _, x := range []struct{ name, url, level, want string }{
		{"no file", none, "fsync", "appendonly is no"},
		{"everysec before WAITAOF", everysec, "fsync", missing},
		{"always", always, "fsync", ""},
		{"replicas' disks before WAITAOF", always, "fsync+replicas:1", missing},
		{"in memory", mini, "replicas:1", "neither disk nor replicas"},
		{"replicas", none, "replicas:1", ""},
	} {
		c := newCrew(t, x.url, "", Queue{})
		err := c.durable(x.url, x.level, time.Second).CheckDurability(c.ctx)
		var refused *NotDurable
		if x.want == "" && err != nil || x.want != "" && (!errors.As(err, &refused) || !errors.Is(err, job.ErrInvalid) || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("%s: %v, want %q", x.name, err, x.want)
		}
	}
}

// TestWaitAOFAnswers: a server of 7.0 does not know the command, so its answers are given
// by the proxy. What they mean is from the documentation; it was not run on a real 7.2.
func TestWaitAOFAnswers(t *testing.T) {
	server := redistest.Real(t, "--appendonly", "yes", "--appendfsync", "everysec")
	proxy := faultproxy.New(t, server.Addr())
	c := newCrew(t, server.URL(), "real", Queue{})
	proxy.Answer("WAITAOF", "*2\r\n:0\r\n:0\r\n", 1) // the probe
	s := c.durable(proxy.URL(), "fsync+replicas:1", 100*time.Millisecond)
	must(t, s.CheckDurability(c.ctx))
	p := s.NewProducer(c.q)
	t.Cleanup(p.Close)
	proxy.Answer("WAITAOF", "*2\r\n:1\r\n:1\r\n", 2) // a first call brings the script's text in a second round trip
	if _, errs := p.Enqueue(c.ctx, job.Job{Type: "t", IdempotencyKey: "once"}); errs != nil {
		t.Fatal(errs)
	}
	for _, x := range []struct{ answer, want string }{
		{"*2\r\n:1\r\n:1\r\n", ""},
		{"*2\r\n:0\r\n:1\r\n", "own disk"},
		{"*2\r\n:1\r\n:0\r\n", "0 of 1 replicas"},
		{"-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n", "appendonly is disabled"},
	} {
		proxy.Answer("WAITAOF", x.answer, 1)
		_, errs := p.Enqueue(c.ctx, job.Job{Type: "t", IdempotencyKey: "once"})
		if x.want == "" && errs != nil || x.want != "" && (errs == nil || !errors.Is(errs[0], job.ErrUnconfirmed) || !strings.Contains(errs[0].Error(), x.want)) {
			t.Errorf("%q: %v, want %q", x.answer, errs, x.want)
		}
	}
}

// TestTheWaitFollowsTheServer: where nobody has set it, the server is asked for as long as its settings
// make it take. The server's own CONFIG tells; WAITAOF is answered by the proxy, which looks at the
// question, unless the server has it: then every submission is confirmed in that time.
func TestTheWaitFollowsTheServer(t *testing.T) {
	everysec := redistest.Real(t, "--appendonly", "yes", "--appendfsync", "everysec")
	always := redistest.Real(t, "--appendonly", "yes", "--appendfsync", "always")
	c := newCrew(t, everysec.URL(), "real", Queue{Partitions: 16})
	must(t, c.raw.ACLSetUser(c.ctx, "mute", "on", ">secret", "~*", "&*", "+@all", "-config").Err())
	for _, x := range []struct {
		name, server, user, level string
		set                       time.Duration
		asked                     string // of the server, in ms
	}{
		{"once a second", everysec.Addr(), "", "fsync", 0, "3000"},
		{"set", everysec.Addr(), "", "fsync", 700 * time.Millisecond, "700"},
		{"a server that does not tell", everysec.Addr(), "mute:secret@", "fsync", 0, "3000"},
		{"replicas do not tell", always.Addr(), "", "fsync+replicas:1", 0, "3000"},
	} {
		proxy := faultproxy.New(t, x.server)
		proxy.Answer("WAITAOF", "*2\r\n:0\r\n:0\r\n", 1) // the probe
		s := c.durable("redis://"+x.user+proxy.Addr(), x.level, x.set)
		q := must1(s.CreateQueue(c.ctx, Queue{Name: "q"}))(t)
		must(t, s.CheckDurability(c.ctx))
		question := fmt.Sprintf("\r\n$%d\r\n%s\r\n", len(x.asked), x.asked)
		proxy.Answer(question, "*2\r\n:1\r\n:1\r\n", 2)
		p := s.NewProducer(q)
		_, errs := p.Enqueue(c.ctx, job.Job{Type: "t", IdempotencyKey: "once"})
		p.Close()
		if errs != nil {
			t.Errorf("%s: not asked for %s ms: %v", x.name, x.asked, errs)
		}
	}
	for set, want := range map[time.Duration]time.Duration{0: waitForReplicas, time.Microsecond: time.Millisecond} {
		// To the server 0 ms are for ever.
		if s := c.durable(always.URL(), "fsync", set); s.CheckDurability(c.ctx) != nil || s.waitFor() != want {
			t.Errorf("at every write, set to %v: %v", set, s.waitFor())
		}
	}
	if c.raw.Do(c.ctx, "WAITAOF", 0, 0, 1).Err() != nil {
		return // before 7.2
	}
	p := c.durable(everysec.URL(), "fsync", 0).NewProducer(c.q)
	defer p.Close()
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			if _, errs := p.Enqueue(c.ctx, job.Job{Type: "t", Key: fmt.Sprint(i), IdempotencyKey: fmt.Sprint(i)}); errs != nil {
				t.Errorf("job %d: %v", i, errs)
			}
		})
	}
	all.Wait()
}
