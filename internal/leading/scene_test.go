package leading

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/redistest"
	"ringmaster/streams"
)

func TestMain(m *testing.M) { redistest.VerifyMain(m) }

// scene is a queue of one partition that nobody leads.
type scene struct {
	t     *testing.T
	ctx   context.Context
	store *streams.Store
	queue streams.Queue
	raw   *redis.Client // straight to the server
}

func newScene(t *testing.T, url string) *scene {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	sc := &scene{t: t, ctx: ctx, raw: redis.NewClient(o)}
	t.Cleanup(func() { _ = sc.raw.Close() })
	sc.store, err = streams.Open(streams.Options{URL: url, Timeout: 2 * time.Second})
	sc.must(err)
	t.Cleanup(func() { _ = sc.store.Close() })
	sc.queue, err = sc.store.CreateQueue(ctx, streams.Queue{Name: "q", Partitions: 1})
	sc.must(err)
	return sc
}

func (sc *scene) ring(log *slog.Logger) *Ring {
	return NewRing(sc.store, sc.queue, "d-1", time.Second, log)
}

func (sc *scene) must(err error) {
	sc.t.Helper()
	if err != nil {
		sc.t.Fatal(err)
	}
}

// until waits for a fact.
func (sc *scene) until(what string, fact func() bool) {
	sc.t.Helper()
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for !fact() {
		select {
		case <-tick.C:
		case <-sc.ctx.Done():
			sc.t.Fatalf("waited in vain: %s", what)
		}
	}
}
