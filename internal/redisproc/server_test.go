package redisproc

import (
	"errors"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, o Options) *Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, s.Kill()) })
	return s
}

func client(t *testing.T, s *Server) *redis.Client {
	t.Helper()
	c := s.Client()
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAForeignServerIsNotTakenForOurs(t *testing.T) {
	other := start(t, Options{})
	s := &Server{opts: Options{Dir: t.TempDir()}, bin: other.bin, port: other.port}
	if err := s.start(t.Context()); err == nil {
		must(t, s.Kill())
		t.Fatal("started on a port that another server holds")
	}
}

func TestAServerThatEndsByItself(t *testing.T) {
	s := start(t, Options{})
	pid := s.PID()
	if err := client(t, s).ShutdownNoSave(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	<-s.child.ended
	if s.PID() != 0 || s.ExitCode() != 0 {
		t.Fatalf("process %d, exit code %d", s.PID(), s.ExitCode())
	}
	must(t, s.Kill()) // nothing to do
	if err := s.Freeze(); err == nil {
		t.Fatal("froze what is down")
	}
	must(t, s.Restart(t.Context(), "--maxmemory", "50mb"))
	if s.PID() == pid {
		t.Fatal("it is the same process")
	}
	if v := client(t, s).ConfigGet(t.Context(), "maxmemory").Val()["maxmemory"]; v != "52428800" {
		t.Fatalf("the new argument was not taken: %q", v)
	}
}

func group(t *testing.T, n int, args ...string) *Group {
	t.Helper()
	g, err := StartGroup(t.Context(), n, Options{Dir: t.TempDir(), Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// A replica that was cut off knows nothing of later writes, and its promotion forgets
// them; WAIT says so before.
func TestPromotionForgetsWhatTheReplicaHadNot(t *testing.T) {
	g, ctx := group(t, 1), t.Context()
	old, replica := g.Primary(), g.Replicas()[0]
	front := redis.NewClient(&redis.Options{Addr: g.Front.Addr(), MaxRetries: -1, PoolSize: 1})
	defer func() { _ = front.Close() }()

	must(t, front.Set(ctx, "before", 1, 0).Err())
	if n := front.Do(ctx, "wait", 1, 5000).Val(); n != int64(1) {
		t.Fatalf("WAIT 1 = %v", n)
	}
	replica.Link.Cut()
	must(t, front.Set(ctx, "after", 1, 0).Err())
	if n := front.Do(ctx, "wait", 1, 50).Val(); n != int64(0) {
		t.Fatalf("WAIT 1 with a link that is cut = %v", n)
	}
	must(t, g.Promote(ctx, replica))
	if g.Primary() != replica || g.Replicas()[0] != old {
		t.Fatal("the roles did not change")
	}
	// The pool's old connection was closed: the first call may fail.
	if err := front.Ping(ctx).Err(); err != nil {
		var net net.Error
		t.Log(errors.As(err, &net), err)
	}
	if n := front.Exists(ctx, "before", "after").Val(); n != 1 {
		t.Fatalf("%d of 1 keys after the promotion", n)
	}
	if n := client(t, old.Server).Exists(ctx, "before", "after").Val(); n != 2 {
		t.Fatalf("%d of 2 keys at the former primary", n)
	}
	must(t, g.Follow(ctx, old))
	if n := client(t, old.Server).Exists(ctx, "before", "after").Val(); n != 1 {
		t.Fatalf("%d of 1 keys at the former primary that follows now", n)
	}
}
