package behaviour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/producing"
	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// stream submits jobs of some keys, one at a time for each key and in its order, and
// remembers which were reported as handed in.
type stream struct {
	mu      sync.Mutex
	acked   []string
	unknown int
	stop    func()
}

func (r *rig) stream(keys int) *stream {
	x := &stream{}
	ctx, cancel := context.WithCancel(r.ctx)
	var all sync.WaitGroup
	for k := range keys {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				j := job.Job{Type: "t", Key: fmt.Sprint("k", k), Payload: json.RawMessage(fmt.Sprintf(`{"N":%d}`, n)), IdempotencyKey: fmt.Sprintf("%d-%d", k, n)}
				// Repeated under its key until it is known to be in, as the advice is.
				for ctx.Err() == nil {
					got, errs := r.out.Enqueue(ctx, j)
					x.mu.Lock()
					if errs == nil {
						x.acked = append(x.acked, got[0].ID)
						x.mu.Unlock()
						break
					}
					if errors.Is(errs[0], job.ErrOutcomeUnknown) {
						x.unknown++
					}
					x.mu.Unlock()
					if !producing.Passing(errs[0]) {
						r.t.Errorf("enqueue: %v", errs[0])
						return
					}
				}
			}
		})
	}
	x.stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	r.t.Cleanup(x.stop)
	return x
}

func (x *stream) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.acked)
}

// ends are how often each job's end is in the journal, and whether the ids of each
// partition's keys rise.
func (r *rig) ends() map[string]int {
	r.t.Helper()
	got, last := map[string]int{}, map[string]job.EntryID{}
	for _, e := range r.journal() {
		got[e.JobID]++
		id, err := job.ParseID(e.JobID)
		if err != nil {
			r.t.Fatal(err)
		}
		if !last[e.Key].Less(id.Entry) {
			r.t.Errorf("key %s: %s ended after %s", e.Key, id.Entry, last[e.Key])
		}
		last[e.Key] = id.Entry
	}
	return got
}

// endsOnce stops the load and checks that each of its jobs has ended once.
func (r *rig) endsOnce(load *stream) {
	r.t.Helper()
	load.stop()
	r.flows(20 * time.Second)
	r.until("nothing is open", r.open0)
	ends := r.ends()
	for _, id := range load.acked {
		if ends[id] != 1 {
			r.t.Errorf("acknowledged job %s ended %d times", id, ends[id])
		}
	}
}

// flows waits until every partition has an owner and a new job of each runs.
func (r *rig) flows(within time.Duration) {
	r.t.Helper()
	began := time.Now()
	for p := range r.queue.Partitions {
		j := job.Job{Type: "t", Key: r.keysOf(p, 1)[0], IdempotencyKey: fmt.Sprintf("flow-%d-%d", p, began.UnixNano())}
		var id string
		r.until("a submission after the failover", func() bool {
			got, errs := r.out.Enqueue(r.ctx, j)
			if errs == nil {
				id = got[0].ID
			}
			return errs == nil
		})
		r.until(fmt.Sprintf("a job of partition %d ends after the failover", p), func() bool {
			st, err := r.store.Inspect().Job(r.ctx, r.queue.Name, id)
			return err == nil && st.State == job.Completed
		})
	}
	if took := time.Since(began); took > within {
		r.t.Errorf("all partitions flow %v after the failover, want %v", took, within)
	}
}

func quickly(ctx context.Context, _ job.Delivery) (json.RawMessage, error) {
	select {
	case <-time.After(3 * time.Millisecond):
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// TestSentinelPromotesAReplica: under load the primary is killed and a replica promoted.
// With replicas:1 nothing that was reported is gone, no end is there twice, fences rise; in
// memory what is gone is seen. In both, everything flows again.
func TestSentinelPromotesAReplica(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"replicas:1", "memory"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			primary := redistest.Real(t, "--repl-diskless-sync-delay", "0")
			redistest.Replica(t, primary, "--repl-diskless-sync-delay", "0")
			sentinels := redistest.Sentinels(t, primary)
			d, err := job.ParseDurability(level)
			if err != nil {
				t.Fatal(err)
			}
			d.Wait = 500 * time.Millisecond
			raw := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "main", SentinelAddrs: sentinels, Protocol: 2, MaxRetries: -1})
			r := newRigOn(t, streams.Options{Addrs: sentinels, Mode: "sentinel", Master: "main", Durability: d}, raw, streams.Queue{Partitions: 6, Journal: true})
			r.lead()
			var mu sync.Mutex
			fences := map[int]job.Fence{} // by partition, of the starts in a new generation
			low := 0
			handler := func(ctx context.Context, x job.Delivery) (json.RawMessage, error) {
				mu.Lock()
				if f := fences[x.Partition]; x.Fence>>32 < f>>32 {
					low++
				} else {
					fences[x.Partition] = max(f, x.Fence)
				}
				mu.Unlock()
				return quickly(ctx, x)
			}
			for _, name := range []string{"w1", "w2"} {
				r.start(spec{name: name, t: handler})
			}
			r.settled("w1", "w2")
			before := r.generation()
			load := r.stream(12)
			r.until("traffic", func() bool { return load.count() > 300 })
			primary.Kill()
			killed := time.Now()
			r.until("submissions go on", func() bool {
				_, errs := r.out.Enqueue(r.ctx, job.Job{Type: "t", Key: "again", IdempotencyKey: "again"})
				return errs == nil || level != "memory" && errors.Is(errs[0], job.ErrUnconfirmed)
			})
			t.Logf("submissions go on %v after the kill", time.Since(killed))
			if level != "memory" {
				// The promoted server has no replica: nothing may be reported until it has one.
				redistest.Replica(t, r.promoted(sentinels), "--repl-diskless-sync-delay", "0")
			}
			n := load.count()
			r.until("traffic after the failover", func() bool { return load.count() > n+200 })
			load.stop()
			r.flows(20 * time.Second)
			r.until("nothing is open", r.open0)
			if after := r.generation(); after <= before {
				t.Errorf("generation %d after the failover, %d before", after, before)
			}
			ends, lost := r.ends(), 0
			for _, id := range load.acked {
				if ends[id] == 0 {
					lost++
				}
			}
			for id, n := range ends {
				if n != 1 {
					t.Errorf("job %s ended %d times", id, n)
				}
			}
			t.Logf("%s: %d jobs reported as handed in, %d of them gone; %d answers unknown; %d late starts under an old fence", level, len(load.acked), lost, load.unknown, low)
			if level != "memory" && lost > 0 {
				t.Errorf("%d acknowledged jobs are gone", lost)
			}
		})
	}
}

func (r *rig) generation() uint64 {
	rec, err := r.store.NewRing(r.queue, "test").Look(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	return rec.Generation
}

// open0 reports whether no job waits or is pending.
func (r *rig) open0() bool {
	v, err := r.store.Inspect().QueueView(r.ctx, r.queue.Name)
	return err == nil && v.Waiting+v.Pending+v.Parked == 0
}

// promoted is the server that the sentinels name.
func (r *rig) promoted(sentinels []string) redistest.Address {
	c := redis.NewSentinelClient(&redis.Options{Addr: sentinels[0]})
	defer func() { _ = c.Close() }()
	at, err := c.GetMasterAddrByName(r.ctx, "main").Result()
	if err != nil {
		r.t.Fatal(err)
	}
	return redistest.Address(at[0] + ":" + at[1])
}
