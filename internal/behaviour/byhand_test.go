package behaviour

import (
	"context"
	"encoding/json"
	"testing"

	"ringmaster/consumergroup"
	"ringmaster/internal/doctor"
	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// What somebody wrote into our records with redis-cli stops no job that is not concerned.
func TestWhatIsWrittenByHandStopsNothing(t *testing.T) {
	r := newRig(t, redistest.Real(t).URL(), streams.Queue{Partitions: 2, Journal: true})
	r.lead()
	started, free := make(chan struct{}, 1), make(chan struct{})
	r.start(spec{name: "w", t: r.instant, h: map[string]consumergroup.Handler{
		"held": func(ctx context.Context, _ job.Delivery) (json.RawMessage, error) {
			started <- struct{}{}
			select {
			case <-free:
			case <-ctx.Done():
			}
			return nil, nil
		},
	}})
	r.settled("w")
	owner := r.owners()["0"]
	key := r.keysOf(0, 1)[0]

	r.must(r.raw.HSet(r.ctx, r.key("acks:1"), "nobody", "{", owner, "[[").Err()) // replies that are none
	r.must(r.raw.HSet(r.ctx, r.key("replied:1"), "nobody 1", "x", owner+" 9", "").Err())
	r.must(r.raw.Persist(r.ctx, r.key("alive:"+owner)).Err())      // a lease without an end
	r.must(r.raw.HSet(r.ctx, r.key("idem:taken"), "a", "b").Err()) // a memory of another type
	if _, errs := r.out.Enqueue(r.ctx, job.Job{Type: "t", Key: key, Payload: json.RawMessage(`1`), IdempotencyKey: "taken"}); errs == nil {
		t.Error("an idempotency key whose memory is a hash was taken")
	}
	future := "9999999999999-0"
	r.must(r.raw.XAdd(r.ctx, &redisAdd{Stream: r.key("jobs:0"), ID: future, Values: []any{"type", "t", "key", key}}).Err())
	if err := r.raw.XAdd(r.ctx, &redisAdd{Stream: r.key("jobs:0"), ID: future, Values: []any{"type", "t", "key", key}}).Err(); err == nil {
		t.Error("an id was given twice")
	}
	r.send(key, 3)
	r.send("", 10)
	r.until("all ended", func() bool { return r.ended() == 14 })
	r.verified()

	// A running job that is acked by hand: its end counts for nothing, and the audit sees it.
	id, err := job.ParseID(r.sendJobs(job.Job{Type: "held", Key: key})[0])
	r.must(err)
	receive(r, started, "the job to start")
	r.must(r.raw.XAck(r.ctx, r.key("jobs:0"), owner, id.Entry.String()).Err())
	close(free)
	r.send(key, 1)
	r.until("the key goes on", func() bool { return r.ended() == 15 })
	v, err := doctor.Verify(r.ctx, r.store, r.queue.Name)
	if err != nil || v.Lost != 1 || v.Open != 0 || v.CompletedTwice+v.OutOfOrder != 0 {
		t.Errorf("audit %+v, %v; want one lost", v, err)
	}
}
