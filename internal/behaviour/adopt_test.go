package behaviour

import (
	"context"
	"encoding/json"
	"testing"

	"ringmaster/consumergroup"
	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// patient makes a handler that says that it has begun, and waits for a word. It returns at once
// where its context ends.
func patient(begun chan<- struct{}, word <-chan struct{}) func(context.Context, job.Delivery, int) (json.RawMessage, error) {
	return func(ctx context.Context, _ job.Delivery, _ int) (json.RawMessage, error) {
		begun <- struct{}{}
		select {
		case <-word:
			return nil, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// TestARestartThatLostNothingEndsNothing: a server that keeps everything is stopped, or killed,
// twice while handlers run. They go on, and jobs that ended while it was away have ended: each
// starts once and ends once, in the order of its key.
func TestARestartThatLostNothingEndsNothing(t *testing.T) {
	for name, end := range map[string]func(*redistest.Server){"stopped": (*redistest.Server).Stop, "killed": (*redistest.Server).Kill} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Real(t, "--appendonly", "yes", "--appendfsync", "always")
			r, rs := newRig(t, server.URL(), streams.Queue{Partitions: 2, Journal: true}), &runs{}
			r.lead()
			begun, last := make(chan struct{}, 100), make(chan struct{})
			away := [2]chan struct{}{make(chan struct{}), make(chan struct{})} // closed while it is
			long, quick := rs.by("w", patient(begun, last)), rs.by("w", nil)
			ends := [2]consumergroup.Handler{rs.by("w", patient(begun, away[0])), rs.by("w", patient(begun, away[1]))}
			r.start(spec{name: "w", tune: func(c *consumergroup.Config) { c.Concurrency = 32 }, t: func(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
				switch d.Key {
				case "a", "b", "":
					return long(ctx, d)
				case "0", "1":
					return ends[d.Key[0]-'0'](ctx, d)
				}
				return quick(ctx, d)
			}})
			r.settled("w")
			ids := append(append(r.sendFrom("a", 0, 3), r.sendFrom("b", 0, 2)...), r.send("", 2)...)
			ids = append(append(ids, r.sendFrom("0", 0, 1)...), r.sendFrom("1", 0, 1)...)
			for range 6 {
				receive(r, begun, "a run")
			}
			for i := range away {
				end(server)
				close(away[i])
				r.until("jobs have ended while the server was away", func() bool { return rs.done() == 3*i+1 })
				server.Restart()
				for p := range 2 { // behind the others in their partitions
					id := r.again(r.keysOf(p, 1)[0])
					ids = append(ids, id)
					r.completed(id)
				}
			}
			if n := rs.count(func(run run) bool { return run.end != 0 && run.err != nil }); n > 0 {
				t.Errorf("%d handlers were told to end", n)
			}
			close(last)
			r.redialed()
			r.onceInOrder(rs, 0, ids)
			if n := len(rs.list()); n != len(ids) {
				t.Errorf("%d starts of %d jobs", n, len(ids))
			}
			r.endedOnce(ids, nil)
			r.redialed()
		})
	}
}

// TestWhatASnapshotLacksIsToldToEnd: a server comes back with an older snapshot. What runs of it
// goes on, where it is pending as it was; what it does not have is told to end.
func TestWhatASnapshotLacksIsToldToEnd(t *testing.T) {
	server := redistest.Real(t)
	r, rs := newRig(t, server.URL(), streams.Queue{Partitions: 2, Journal: true}), &runs{}
	r.lead()
	begun, last := make(chan struct{}, 100), make(chan struct{})
	r.start(spec{name: "w", tune: func(c *consumergroup.Config) { c.Concurrency = 32 }, t: rs.by("w", patient(begun, last))})
	r.settled("w")
	begin := func(p int) string {
		id := r.sendFrom(r.keysOf(p, len(rs.list())+1)[len(rs.list())], 0, 1)[0]
		receive(r, begun, "a run")
		return id
	}
	kept := []string{begin(0), begin(1)}
	r.must(r.raw.Save(r.ctx).Err())
	lost := []string{begin(0), begin(1)}
	restart(server)
	r.until("what was lost is told to end", func() bool {
		return rs.count(func(run run) bool { return run.end != 0 && run.err != nil }) == len(lost)
	})
	close(last)
	r.redialed()
	for _, id := range kept {
		r.completed(id)
	}
	for _, id := range lost {
		r.unknown("after the restart", id)
	}
	if n := len(rs.list()); n != len(kept)+len(lost) {
		t.Errorf("%d starts of %d jobs", n, len(kept)+len(lost))
	}
	r.endedOnce(kept, nil)
}
