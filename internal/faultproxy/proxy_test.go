package faultproxy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"ringmaster/internal/faultproxy"
	"ringmaster/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// each runs f with a client through a proxy and one that goes to the server.
func each(t *testing.T, f func(t *testing.T, p *faultproxy.Proxy, via, direct *redis.Client)) {
	redistest.Each(t, func(t *testing.T, url, _ string) {
		p := faultproxy.New(t, strings.TrimPrefix(url, "redis://"))
		f(t, p, client(t, p.URL()), client(t, url))
	})
}

func client(t *testing.T, url string) *redis.Client {
	t.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	opts.PoolSize, opts.MaxRetries, opts.ContextTimeoutEnabled = 1, -1, true
	c := redis.NewClient(opts)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestPassesEverythingThrough(t *testing.T) {
	each(t, func(t *testing.T, _ *faultproxy.Proxy, via, _ *redis.Client) {
		ctx, big := t.Context(), strings.Repeat("\r\n$x", 1<<16)
		cmds, err := via.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Set(ctx, "k", big, 0)
			pipe.Get(ctx, "k")
			pipe.HSet(ctx, "h", "a", "1")
			pipe.HGetAll(ctx, "h")
			return nil
		})
		if err != nil || cmds[1].(*redis.StringCmd).Val() != big {
			t.Fatalf("pipeline: %v", err)
		}
		if got := cmds[3].(*redis.MapStringStringCmd).Val(); got["a"] != "1" {
			t.Fatalf("HGETALL = %v", got)
		}
		sub := via.Subscribe(ctx, "ch")
		defer func() { _ = sub.Close() }()
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

func TestLoseReplyExecutesOnce(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, via, direct *redis.Client) {
		ctx := t.Context()
		rule := p.LoseReply("counter", 1)
		_, err := via.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Set(ctx, "other", "1", 0)
			pipe.Incr(ctx, "counter")
			return nil
		})
		if err == nil {
			t.Fatal("the lost reply arrived")
		}
		<-rule.Fired()
		<-rule.Executed()
		if got := direct.Get(ctx, "counter").Val(); got != "1" {
			t.Fatalf("the server counted %q", got)
		}
		if got, err := via.Incr(ctx, "counter").Result(); got != 2 || err != nil {
			t.Fatalf("after the rule was used up: %d, %v", got, err)
		}
	})
}

func TestHeldRequestIsExecutedLate(t *testing.T) {
	for _, name := range []string{"client gives up", "cut"} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, p *faultproxy.Proxy, via, direct *redis.Client) {
				rule := p.Hold("late", 1)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
				defer cancel()
				if err := via.Set(ctx, "late", "1", 0).Err(); err == nil {
					t.Fatal("a held request was answered")
				}
				<-rule.Fired()
				if name == "cut" {
					p.CutAll()
				} else {
					_ = via.Close()
				}
				if n := direct.Exists(t.Context(), "late").Val(); n != 0 {
					t.Fatal("a held request was executed")
				}
				rule.Release()
				<-rule.Executed()
				if n := direct.Exists(t.Context(), "late").Val(); n != 1 {
					t.Fatal("a released request was not executed")
				}
			})
		})
	}
}

func TestHeldRequestReachesAPatientClient(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, via, _ *redis.Client) {
		rule := p.Hold("late", 1)
		done := make(chan error, 1)
		go func() { done <- via.Set(context.Background(), "late", "1", 0).Err() }()
		<-rule.Fired()
		rule.Release()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestCutIsNotExecuted(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, via, direct *redis.Client) {
		rule := p.Cut("victim", 2)
		for range 2 {
			if err := via.Incr(t.Context(), "victim").Err(); err == nil {
				t.Fatal("a cut request was answered")
			}
			<-rule.Fired()
		}
		if n := direct.Exists(t.Context(), "victim").Val(); n != 0 {
			t.Fatal("a cut request was executed")
		}
		if err := via.Incr(t.Context(), "victim").Err(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDelay(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, via, _ *redis.Client) {
		const d = 30 * time.Millisecond
		rule, begin := p.Delay("slow", 1, d), time.Now()
		if err := via.Set(t.Context(), "slow", "1", 0).Err(); err != nil {
			t.Fatal(err)
		}
		<-rule.Fired()
		if took := time.Since(begin); took < d {
			t.Fatalf("it took %v, want at least %v", took, d)
		}
	})
}

func TestRefuseAndCutAll(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, via, _ *redis.Client) {
		ctx := t.Context()
		if err := via.Ping(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		p.Refuse(true)
		if err := via.Ping(ctx).Err(); err != nil {
			t.Fatalf("an existing connection was refused: %v", err)
		}
		p.CutAll()
		for _, meets := range []string{"the cut", "the refusal"} {
			if via.Ping(ctx).Err() == nil {
				t.Fatalf("answered after %s", meets)
			}
		}
		p.Refuse(false)
		if err := via.Ping(ctx).Err(); err != nil {
			t.Fatal(err)
		}
	})
}
