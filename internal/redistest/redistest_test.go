package redistest

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func client(t *testing.T, url string) *redis.Client {
	t.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	opts.MaxRetries, opts.DialerRetries, opts.ContextTimeoutEnabled = -1, 1, true
	c := redis.NewClient(opts)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestRealEndsWithTheTest(t *testing.T) {
	var s *Server
	t.Run("inner", func(t *testing.T) {
		s = Real(t)
		if err := client(t, s.URL()).Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	})
	if s.PID() != 0 {
		t.Fatal("the server outlived its test")
	}
	if conn, err := net.Dial("tcp", s.Addr()); err == nil {
		_ = conn.Close()
		t.Fatal("something still listens")
	}
}

func TestRestartKeepsPortAndDirectory(t *testing.T) {
	s, ctx := Real(t, "--appendonly", "yes", "--appendfsync", "always"), t.Context()
	c, pid, addr := client(t, s.URL()), s.PID(), s.Addr()
	if err := c.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if s.PID() != 0 || c.Get(ctx, "k").Err() == nil {
		t.Fatal("it still answers after Kill")
	}
	s.Restart()
	if s.PID() == pid || s.Addr() != addr {
		t.Fatalf("pid %d -> %d, address %s -> %s", pid, s.PID(), addr, s.Addr())
	}
	if got := client(t, s.URL()).Get(ctx, "k").Val(); got != "v" {
		t.Fatalf("the value after a restart = %q", got)
	}
}

func TestForgetsWithoutPersistence(t *testing.T) {
	s, ctx := Real(t), t.Context()
	client(t, s.URL()).Set(ctx, "k", "v", 0)
	s.Restart()
	if n := client(t, s.URL()).Exists(ctx, "k").Val(); n != 0 {
		t.Fatal("the server kept its data")
	}
}

func TestFrozenServerDoesNotAnswer(t *testing.T) {
	s := Real(t)
	c := client(t, s.URL())
	c.Ping(t.Context())
	s.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Ping(ctx).Err(); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("PING on a frozen server: %v", err)
	}
	s.Thaw()
	if err := client(t, s.URL()).Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	s.Freeze()
	s.Stop() // a frozen server can be stopped too
}

func TestEachRunsBoth(t *testing.T) {
	var kinds []string
	Each(t, func(t *testing.T, url, kind string) {
		kinds = append(kinds, kind)
		c := client(t, url)
		if n, err := c.DBSize(t.Context()).Result(); n != 0 || err != nil {
			t.Errorf("%s: %d keys, %v", kind, n, err)
		}
	})
	if len(kinds) != 2 || kinds[0] != "real" || kinds[1] != "miniredis" {
		t.Fatalf("ran %v", kinds)
	}
}

func TestReplicatedEndsWithTheTest(t *testing.T) {
	var addrs []string
	t.Run("inner", func(t *testing.T) {
		g := Replicated(t, 1)
		addrs = []string{g.Nodes[0].Addr(), g.Nodes[1].Addr(), g.Front.Addr()}
		c := client(t, g.URL())
		if n, err := c.Do(t.Context(), "wait", 1, 5000).Int(); err != nil || n != 1 {
			t.Fatalf("WAIT 1 = %d, %v", n, err)
		}
	})
	for _, addr := range addrs {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			t.Errorf("something still listens at %s", addr)
		}
	}
}
