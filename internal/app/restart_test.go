package app

import (
	"context"
	"encoding/json"
	"testing"

	"ringmaster/consumergroup"
	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// besideItself complains about jobs that were started while they ran.
func (rs *runs) besideItself(t *testing.T) {
	t.Helper()
	last := map[job.ID]run{}
	for _, r := range rs.list() {
		if was, ok := last[r.d.ID]; ok && (was.end == 0 || was.end > r.began) {
			t.Errorf("job %s was started under fence %d while it ran under %d", r.d.ID, r.d.Fence, was.d.Fence)
		}
		last[r.d.ID] = r
	}
}

// restart ends a server as a crash does, and starts it again.
func restart(s *redistest.Server) {
	s.Kill()
	s.Restart()
}

// TestARestartStartsNothingBesideItself: a server that keeps everything is restarted while
// handlers run that take their time. Their jobs are in the pending list as before, under new
// numbers: none is started beside itself, nor the next of its key, and other keys go on.
func TestARestartStartsNothingBesideItself(t *testing.T) {
	server := redistest.Real(t, "--appendonly", "yes", "--appendfsync", "always")
	r, rs := newRig(t, server.URL(), streams.Queue{Partitions: 2, Journal: true}), &runs{}
	r.lead()
	begun, open := make(chan struct{}, 100), make(chan struct{})
	slow := func(context.Context, job.Delivery, int) (json.RawMessage, error) {
		begun <- struct{}{}
		<-open // whatever its context says
		return nil, nil
	}
	work, quick := rs.by("w", slow), rs.by("w", nil)
	r.start(spec{name: "w", tune: func(c *consumergroup.Config) { c.Concurrency = 32 }, t: func(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
		if d.Key == "a" || d.Key == "" {
			return work(ctx, d)
		}
		return quick(ctx, d)
	}})
	r.settled("w")
	ids := append(r.sendFrom("a", 0, 3), r.send("", 2)...)
	for range 3 {
		receive(r, begun, "a run")
	}
	for range 2 {
		restart(server)
		for p := range 2 { // behind the others in their partitions
			id := r.again(r.keysOf(p, 1)[0])
			ids = append(ids, id)
			r.completed(id)
		}
	}
	rs.besideItself(t)
	rs.inOrder(t)
	close(open)
	r.onceInOrder(rs, 0, ids)
	rs.besideItself(t)
}
