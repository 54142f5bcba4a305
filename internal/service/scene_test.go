package service

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/redistest"
	"ringmaster/streams"
)

func TestMain(m *testing.M) { redistest.VerifyMain(m) }

// scene is a server with one queue, named q, and nobody who serves it.
type scene struct {
	t     *testing.T
	ctx   context.Context
	store *streams.Store
	raw   *redis.Client // straight to the server
}

func newScene(t *testing.T, url string, partitions int) *scene {
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
	_, err = sc.store.CreateQueue(ctx, streams.Queue{Name: "q", Partitions: partitions})
	sc.must(err)
	return sc
}

func (sc *scene) must(err error) {
	sc.t.Helper()
	if err != nil {
		sc.t.Fatal(err)
	}
}
