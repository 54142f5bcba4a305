package behaviour

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"ringmaster/internal/doctor"
	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// crowd counts the handlers of all workers that run, and notes when none does.
type crowd struct {
	mu    sync.Mutex
	runs  int
	stood int // times that nothing ran any more
	ended int
}

func (c *crowd) handler(ctx context.Context, _ job.Delivery) (json.RawMessage, error) {
	c.mu.Lock()
	c.runs++
	c.mu.Unlock()
	timer := time.NewTimer(10 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended++
	if c.runs--; c.runs == 0 {
		c.stood++
	}
	return nil, ctx.Err()
}

func (c *crowd) counts() (stood, ended int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stood, c.ended
}

// phases are those of the shards of the queue.
func (r *rig) phases() []string {
	r.t.Helper()
	var out []string
	for sh := range r.queue.Shards {
		out = append(out, r.raw.HGet(r.ctx, r.shardKey(sh, "ring"), "phase").Val())
	}
	return out
}

func (r *rig) shardKey(shard int, name string) string {
	if r.queue.Shards == 1 {
		return r.key(name)
	}
	return fmt.Sprintf("rm:{%s/%d}:%s", r.queue.Name, shard, name)
}

func (r *rig) stable() bool {
	return !slices.ContainsFunc(r.phases(), func(p string) bool { return p != "0" })
}

// Resizes in all modes come to their end, under load and without, whatever the number of
// shards; and in mode ring nothing at all runs at one moment.
func TestResizesOfSeveralShards(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(shards, " shards"), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, redistest.Real(t).URL(), streams.Queue{Partitions: 12, Shards: shards, Journal: true})
			r.lead()
			c := &crowd{}
			for _, name := range []string{"a", "b", "c"} {
				receive(r, r.start(spec{name: name, t: c.handler}).ready, "worker "+name)
			}
			r.until("the first plan done", func() bool { return r.members() == 3 && r.stable() })
			for _, busy := range []bool{true, false} {
				for _, mode := range []string{"ring", "key", "partition", "ring"} {
					if busy {
						_, ended := c.counts()
						for k := range 60 {
							r.send(fmt.Sprint("k", k), 12)
						}
						r.until("jobs run", func() bool { _, now := c.counts(); return now > ended+20 })
					}
					stood, _ := c.counts()
					if _, err := r.store.RequestResize(r.ctx, r.queue.Name, mode); err != nil {
						t.Fatal(err)
					}
					r.until(mode+" resize done", r.stable)
					if now, _ := c.counts(); busy && mode == "ring" && now == stood {
						t.Error("in mode ring something ran all the time")
					}
				}
				r.until("all jobs done", func() bool { _, ended := c.counts(); return !busy || ended == 4*60*12 })
			}
			r.verified()
		})
	}
}

func (r *rig) members() int {
	return int(r.raw.HLen(r.ctx, r.shardKey(0, "members")).Val())
}

// A plan that waits for what will never be: a doctor ends it, whether somebody leads or not.
func TestDoctorEndsAnyPlan(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 3} {
		for _, led := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d shards, led %v", shards, led), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, redistest.Real(t, "--appendonly", "yes").URL(), streams.Queue{Partitions: 6, Shards: shards, Journal: true})
				stop := r.lead()
				for _, name := range []string{"a", "b"} {
					receive(r, r.start(spec{name: name, t: r.instant}).ready, "worker "+name)
				}
				r.until("both are members", func() bool { return r.members() == 2 })
				if _, err := r.store.RequestResize(r.ctx, r.queue.Name, "key"); err != nil { // then nothing is left to balance
					t.Fatal(err)
				}
				r.until("the plan done", r.stable)
				if !led {
					stop()
				}
				for _, mode := range []string{"key", "partition", "ring"} {
					for _, phase := range []string{"1", "2"} {
						r.stick(shards-1, mode, phase)
						found, err := doctor.Treat(r.ctx, r.store, quickDoctor(), r.log)
						r.must(err)
						// Where all replies of the present ring epoch are in, the leader may have been faster.
						if !r.stable() || !led && !slices.Contains(checks(found, mended), doctor.UnfinishedPlan) {
							t.Fatalf("mode %s, phase %s: phases %v, found %+v", mode, phase, r.phases(), found)
						}
					}
				}
				r.lead()
				r.send("", 50)
				r.verified()
			})
		}
	}
}

// stick writes into a shard by hand that a plan is not done, and that something is still to
// move, which nothing is.
func (r *rig) stick(shard int, mode, phase string) {
	r.t.Helper()
	r.must(r.raw.HSet(r.ctx, r.shardKey(shard, "ring"), "mode", mode, "phase", phase).Err())
	r.must(r.raw.SAdd(r.ctx, r.shardKey(shard, "moves"), shard).Err())
}
