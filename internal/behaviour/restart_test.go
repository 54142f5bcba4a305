package behaviour

import (
	"bytes"
	"context"
	"encoding/json"
	"runtime"
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

// redialed waits until no client of Redis dials in the background: one that has failed often sleeps
// for a second before the next time.
func (r *rig) redialed() {
	r.t.Helper()
	stacks := make([]byte, 4<<20)
	r.until("the clients have dialled", func() bool {
		return !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("tryDial"))
	})
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
	r.redialed()
}

// TestAJobWhoseEndWasLostStartsOnceMore: a server comes back without the ends of jobs that it
// had handed out. Each starts once more, under a fence of the new generation.
func TestAJobWhoseEndWasLostStartsOnceMore(t *testing.T) {
	server := redistest.Real(t)
	r, rs := newRig(t, server.URL(), streams.Queue{Partitions: 2, Journal: true}), &runs{}
	r.lead()
	begun, open := make(chan struct{}, 100), make(chan struct{})
	r.start(spec{name: "w", tune: func(c *consumergroup.Config) { c.Concurrency = 32 },
		t: rs.by("w", func(context.Context, job.Delivery, int) (json.RawMessage, error) {
			begun <- struct{}{}
			<-open
			return nil, nil
		})})
	r.settled("w")
	var ids []string
	for p := range 2 {
		for _, key := range r.keysOf(p, 3) {
			ids = append(ids, r.sendFrom(key, 0, 1)...)
		}
	}
	ids = append(ids, r.send("", 2)...)
	for range ids {
		receive(r, begun, "a run")
	}
	r.must(r.raw.Save(r.ctx).Err())
	close(open)
	for _, id := range ids {
		r.completed(id)
	}
	restart(server)
	for range ids {
		receive(r, begun, "the run after the end was lost")
	}
	r.until("nothing pending", func() bool { return r.pending(0)+r.pending(1) == 0 })
	fences := map[job.ID][]job.Fence{}
	for _, run := range rs.list() {
		fences[run.d.ID] = append(fences[run.d.ID], run.d.Fence)
	}
	for id, f := range fences {
		if len(f) != 2 || f[0]>>32 >= f[1]>>32 {
			t.Errorf("job %s ran under the fences %d, want two of different generations", id, f)
		}
	}
	r.endedOnce(ids, nil)
	r.redialed()
}
