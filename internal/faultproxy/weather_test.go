package faultproxy_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/faultproxy"
)

func TestHalfAReplyIsNoReply(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, via, direct *redis.Client) {
		rule := p.HalveReply("counter", 1)
		if n, err := via.Incr(t.Context(), "counter").Result(); err == nil {
			t.Fatalf("half a reply was read as %d", n)
		}
		<-rule.Fired()
		if got := direct.Get(t.Context(), "counter").Val(); got != "1" {
			t.Fatalf("the server counted %q", got)
		}
	})
}

func TestSilence(t *testing.T) {
	for name, c := range map[string]struct{ requests, replies, executed bool }{
		"requests": {requests: true}, "replies": {replies: true, executed: true},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, p *faultproxy.Proxy, via, direct *redis.Client) {
				if err := via.Ping(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
				p.Silence(c.requests, c.replies)
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if err := via.Set(ctx, "k", "1", 0).Err(); err == nil {
					t.Fatal("answered through a silent proxy")
				}
				if n := direct.Exists(t.Context(), "k").Val(); (n == 1) != c.executed {
					t.Fatalf("executed %d times", n)
				}
				p.Silence(false, false)
				if err := via.Ping(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestForget(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, via, direct *redis.Client) {
		if err := via.Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if n := p.Forget(); n != 1 {
			t.Fatalf("%d connections forgotten", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := via.Set(ctx, "k", "1", 0).Err(); err == nil {
			t.Fatal("answered on a forgotten connection")
		}
		if n := direct.Exists(t.Context(), "k").Val(); n != 0 {
			t.Fatal("it arrived")
		}
		if err := via.Set(t.Context(), "k", "1", 0).Err(); err != nil {
			t.Fatalf("on a new one: %v", err)
		}
	})
}

func TestDisturb(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, via, _ *redis.Client) {
		p.Disturb(faultproxy.Noise{Min: 10 * time.Millisecond, Max: 12 * time.Millisecond, Reset: 0.5}, 1)
		begin, failed := time.Now(), 0
		for range 20 {
			if via.Ping(t.Context()).Err() != nil {
				failed++
			}
		}
		if failed == 0 || failed == 20 || p.Resets() < failed {
			t.Fatalf("%d of 20 failed, %d resets", failed, p.Resets())
		}
		if took := time.Since(begin); took < time.Duration(20-failed)*10*time.Millisecond {
			t.Fatalf("it took %v", took)
		}
		p.Disturb(faultproxy.Noise{}, 1)
		for range 20 {
			if err := via.Ping(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
