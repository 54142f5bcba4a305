package redisproc

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// acked writes keys until n were acknowledged.
func acked(t *testing.T, s *Server, n int) {
	t.Helper()
	c := client(t, s)
	for i := range n {
		must(t, c.Set(t.Context(), strconv.Itoa(i), "v", 0).Err())
	}
}

func powered(t *testing.T, fsync string) *PowerCut {
	t.Helper()
	p, err := StartPowerCut(t.Context(), Options{Dir: t.TempDir(), Args: []string{"--appendonly", "yes", "--appendfsync", fsync}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, p.Kill()) })
	return p
}

func TestPowerCut(t *testing.T) {
	for _, c := range []struct {
		fsync string
		loses bool
	}{{"always", false}, {"no", true}} {
		t.Run(c.fsync, func(t *testing.T) {
			p := powered(t, c.fsync)
			acked(t, p.Server, 500)
			lost, err := p.Cut()
			must(t, err)
			must(t, p.Restart(t.Context()))
			n := client(t, p.Server).DBSize(t.Context()).Val()
			if (n < 500) != c.loses || (lost > 0) != c.loses {
				t.Fatalf("%d of 500 keys and %d bytes less after a power cut", n, lost)
			}
		})
	}
}

// With everysec the writes of the last second are lost, and those before are not.
func TestPowerCutEverySecond(t *testing.T) {
	p := powered(t, "everysec")
	c := client(t, p.Server)
	must(t, c.Set(t.Context(), "early", 1, 0).Err())
	poll(t, "the file is synced", func() bool {
		n, err := p.Unsynced()
		return err == nil && n == 0
	})
	lost := int64(0)
	for try := range 10 { // a write may come just before the sync of its second
		must(t, c.Set(t.Context(), "late"+strconv.Itoa(try), 1, 0).Err())
		var err error
		if lost, err = p.Cut(); err != nil {
			t.Fatal(err)
		}
		must(t, p.Restart(t.Context()))
		if lost > 0 {
			if n := client(t, p.Server).Exists(t.Context(), "early", "late"+strconv.Itoa(try)).Val(); n != 1 {
				t.Fatalf("%d keys of early and late are left", n)
			}
			return
		}
	}
	t.Fatal("no power cut lost a write of its last second")
}

func TestPowerCutDuringRewrites(t *testing.T) {
	p := powered(t, "always")
	c := client(t, p.Server)
	for i := range 1000 {
		must(t, c.Set(t.Context(), strconv.Itoa(i), strings.Repeat("v", 1000), 0).Err())
		if i%100 == 50 {
			_ = c.BgRewriteAOF(t.Context()).Err() // refused while one is under way
		}
	}
	_, err := p.Cut()
	must(t, err)
	must(t, p.Restart(t.Context()))
	if n := client(t, p.Server).DBSize(t.Context()).Val(); n != 1000 {
		t.Fatalf("%d of 1000 keys after a power cut", n)
	}
}

func TestClock(t *testing.T) {
	clock, err := NewClock(t.Context(), t.TempDir())
	must(t, err)
	s := start(t, clock.Options(Options{}))
	c := client(t, s)
	must(t, c.Set(t.Context(), "lease", 1, 30*time.Second).Err())
	for _, step := range []time.Duration{0, time.Minute, 24 * time.Hour, -180 * time.Second, 0} {
		must(t, clock.Step(step))
		now, err := c.Time(t.Context()).Result()
		must(t, err)
		if d := time.Until(now) - step; d.Abs() > time.Second {
			t.Fatalf("after a step of %v the server's clock is off by %v", step, d)
		}
		if step == time.Minute && c.Exists(t.Context(), "lease").Val() != 0 {
			t.Fatal("a lease of 30 s outlived a minute")
		}
	}
}

func TestFullDisk(t *testing.T) {
	d, err := NewDisk(t.TempDir(), 1<<20)
	if os.Geteuid() != 0 {
		if err == nil {
			t.Fatal("mounted without the right to")
		}
		return
	}
	must(t, err)
	t.Cleanup(func() { must(t, d.Close()) })
	s, err := Start(t.Context(), Options{Dir: d.Dir, Args: []string{"--appendonly", "yes", "--appendfsync", "always"}})
	must(t, err)
	t.Cleanup(func() { must(t, s.Kill()) })
	acked(t, s, 10)
	must(t, d.Fill())
	c := client(t, s)
	poll(t, "the server ends", func() bool {
		_ = c.Set(t.Context(), "more", 1, 0).Err()
		return s.PID() == 0
	})
	if s.ExitCode() != 1 {
		t.Fatalf("it ended with %d", s.ExitCode())
	}
	must(t, d.Drain())
	must(t, s.Restart(t.Context()))
	if n := client(t, s).Exists(t.Context(), "0", "9").Val(); n != 2 {
		t.Fatal("an acknowledged write is lost")
	}
}

func poll(t *testing.T, what string, fact func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !fact() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatal("waited for: ", what)
		}
	}
}
