package embedded

import (
	"errors"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func started(t *testing.T) *Store {
	t.Helper()
	s, err := Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// dial gives a client with exactly one connection and no retries.
func dial(t *testing.T, s *Store) *redis.Client {
	t.Helper()
	opts, err := redis.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	opts.PoolSize, opts.MaxRetries = 1, -1
	c := redis.NewClient(opts)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// waitCommands waits until the server has begun n commands in all.
func waitCommands(t *testing.T, s *Store, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); s.mini.CommandCount() < n; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d commands, want %d", s.mini.CommandCount(), n)
		}
	}
}

// The ticker comes ten seconds late: what was set before has run down, and what is set now has all its
// time before it.
func TestALateTickTakesNothingFromWhatWasJustSet(t *testing.T) {
	var mu sync.Mutex
	clock := time.Unix(1, 0)
	pass := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		clock = clock.Add(d)
	}
	s, err := start("127.0.0.1:0", func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return clock
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	c, ctx := dial(t, s), t.Context()
	set := func(key string) {
		if err := c.Set(ctx, key, 1, 2*time.Second).Err(); err != nil {
			t.Fatal(err)
		}
	}
	exists := func(key string) bool { return c.Exists(ctx, key).Val() == 1 }
	set("old")
	pass(10 * time.Second)
	set("new")
	for deadline := time.Now().Add(10 * time.Second); exists("old"); runtime.Gosched() { // the time was taken off
		if time.Now().After(deadline) {
			t.Fatal("the time that passed was not taken off")
		}
	}
	if left := c.PTTL(ctx, "new").Val(); left != 2*time.Second {
		t.Errorf("%v left of 2 s, of which none has passed", left)
	}
	pass(time.Second)
	if left := c.PTTL(ctx, "new").Val(); left != time.Second {
		t.Errorf("%v left after a second", left)
	}
	pass(time.Second)
	if exists("new") {
		t.Error("a key outlived its time")
	}
}

func TestRefusesBeyondLoopback(t *testing.T) {
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.org:0", "6390"} {
		s, err := Start(addr)
		if err == nil {
			s.Close()
			t.Errorf("Start(%q) = nil error, want a refusal", addr)
		}
	}
}

func TestTakenPortIsNamed(t *testing.T) {
	s := started(t)
	_, err := Start(s.Addr())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), s.Addr()+" is taken") {
		t.Fatalf("Start on a taken port: %v", err)
	}
}

func TestTTLsRunDown(t *testing.T) {
	s, ctx := started(t), t.Context()
	c := dial(t, s)
	if err := c.Set(ctx, "k", "v", 150*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); c.Exists(ctx, "k").Val() != 0; {
		if time.Now().After(deadline) {
			t.Fatal("the key outlived its TTL")
		}
	}
}

func TestProbesGetEmptyMaps(t *testing.T) {
	s, ctx := started(t), t.Context()
	c := dial(t, s)
	if got, err := c.ConfigGet(ctx, "maxmemory").Result(); err != nil || len(got) != 0 {
		t.Errorf("CONFIG GET = %v, %v", got, err)
	}
	if got, err := c.Do(ctx, "COMMAND", "DOCS").Result(); err != nil || len(got.(map[any]any)) != 0 {
		t.Errorf("COMMAND DOCS = %v, %v", got, err)
	}
	if err := c.ConfigSet(ctx, "maxmemory", "1").Err(); err == nil {
		t.Error("CONFIG SET succeeded, though it changes nothing")
	}
}

func TestMalformedCommandsAreErrors(t *testing.T) {
	s, ctx := started(t), t.Context()
	c := dial(t, s)
	for _, line := range []string{
		"XTRIM k MAXLEN ~", "XADD k NOMKSTREAM MAXLEN ~", "XADD k NOMKSTREAM MINID =",
		"XCLAIM k g c 0 1-1 IDLE", "XCLAIM k g c 0 1-1 JUSTID RETRYCOUNT",
	} {
		var args []any
		for _, f := range strings.Fields(line) {
			args = append(args, f)
		}
		if err := c.Do(ctx, args...).Err(); err == nil || !strings.Contains(err.Error(), "wrong number of arguments") {
			t.Errorf("%s: %v", line, err)
		}
	}
	if err := c.Do(ctx, "XADD", "k", "MAXLEN", "~", "10", "*", "type", "MAXLEN").Err(); err != nil {
		t.Errorf("an option word as data: %v", err)
	}
	script := "return redis.call('XTRIM', KEYS[1], 'MAXLEN', '~')"
	if err := c.Eval(ctx, script, []string{"k"}).Err(); err == nil {
		t.Error("a malformed command in a script succeeded")
	}
}

func TestClientIDsDiffer(t *testing.T) {
	s, ctx := started(t), t.Context()
	a, b := dial(t, s), dial(t, s)
	first, second := a.ClientID(ctx).Val(), b.ClientID(ctx).Val()
	if first <= 0 || second <= 0 || first == second {
		t.Fatalf("ids %d and %d", first, second)
	}
	if again := a.ClientID(ctx).Val(); again != first {
		t.Fatalf("the id changed from %d to %d", first, again)
	}
	if err := a.Do(ctx, announce, second).Err(); err == nil {
		t.Error("a client could claim a number")
	}
}

func TestKillEndsABlockedReader(t *testing.T) {
	s, ctx := started(t), t.Context()
	victim, killer := dial(t, s), dial(t, s)
	if err := victim.XGroupCreateMkStream(ctx, "k", "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	id := victim.ClientID(ctx).Val()
	killer.Ping(ctx)
	before := s.mini.CommandCount()
	ended := make(chan error, 1)
	go func() {
		ended <- victim.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: "g", Consumer: "c", Streams: []string{"k", ">"}, Block: time.Minute}).Err()
	}()
	waitCommands(t, s, before+1) // until the read has reached the server
	if got := killer.ClientKillByFilter(ctx, "ID", strconv.FormatInt(id, 10)).Val(); got != 1 {
		t.Fatalf("CLIENT KILL = %d, want 1", got)
	}
	killer.XAdd(ctx, &redis.XAddArgs{Stream: "k", Values: []any{"a", "b"}})
	if err := <-ended; err == nil || errors.Is(err, redis.Nil) {
		t.Fatalf("the killed reader's error: %v", err)
	}
	if n := killer.XPending(ctx, "k", "g").Val().Count; n != 0 {
		t.Fatalf("%d entries were handed to a killed connection", n)
	}
	if got := killer.ClientKillByFilter(ctx, "ID", strconv.FormatInt(id, 10)).Val(); got != 0 {
		t.Fatalf("second CLIENT KILL = %d, want 0", got)
	}
	if victim.ClientID(ctx).Val() == id {
		t.Fatal("a new connection got the killed one's number")
	}
}

func TestKillSkipsItself(t *testing.T) {
	s, ctx := started(t), t.Context()
	c := dial(t, s)
	id := c.ClientID(ctx).Val()
	if got, err := c.ClientKillByFilter(ctx, "ID", strconv.FormatInt(id, 10)).Result(); got != 0 || err != nil {
		t.Fatalf("killing itself = %d, %v", got, err)
	}
	if got := c.ClientKillByFilter(ctx, "ID", strconv.FormatInt(id, 10), "SKIPME", "no").Val(); got != 1 {
		t.Fatalf("killing itself with SKIPME no = %d", got)
	}
	if c.ClientKillByFilter(ctx, "ID", "0").Err() == nil {
		t.Error("the number 0 was accepted")
	}
}

func TestCloseEndsBlockedCommands(t *testing.T) {
	s, ctx := started(t), t.Context()
	c := dial(t, s)
	c.Ping(ctx)
	before := s.mini.CommandCount()
	ended := make(chan error, 1)
	go func() { ended <- c.BLPop(ctx, 0, "none").Err() }()
	waitCommands(t, s, before+1)
	s.Close()
	s.Close()
	if err := <-ended; err == nil {
		t.Fatal("a blocked command succeeded")
	}
}
