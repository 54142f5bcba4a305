package service

import (
	"testing"

	"ringmaster/internal/redistest"
	"ringmaster/streams"
)

// A worker that was never told the counts makes the queue again with those it had found.
func TestAQueueIsMadeAgainAsItWas(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, url, _ string) {
		r := newScene(t, url, 4)
		g := GroupStore(r.store, streams.Queue{Name: "q"})
		for range 2 {
			if _, err := g.Prepare(r.ctx); err != nil {
				t.Fatal(err)
			}
			q, err := r.store.LookupQueue(r.ctx, "q")
			if err != nil || q.Partitions != 4 {
				t.Fatalf("queue %+v, %v; want 4 partitions", q, err)
			}
			r.must(r.raw.FlushAll(r.ctx).Err())
		}
	})
}
