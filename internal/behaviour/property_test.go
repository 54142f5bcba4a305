package behaviour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"ringmaster/consumergroup"
	"ringmaster/internal/redistest"
	"ringmaster/internal/service"
	"ringmaster/job"
	"ringmaster/streams"
)

// TestAnyMixOfJobsFailuresAndMoves runs many small random histories: workers come, go and
// die while jobs of a few keys run, some of which fail. Whatever happens, every job ends
// exactly once, and a key's jobs end in their order. In half of them few of their type run at a time.
func TestAnyMixOfJobsFailuresAndMoves(t *testing.T) {
	const seeds, atOnce = 24, 4
	slots := make(chan struct{}, atOnce)
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			history(t, rand.New(rand.NewPCG(seed, 20)), []int{0, 0, 1, 2}[seed%4])
		})
	}
}

func history(t *testing.T, rnd *rand.Rand, most int) {
	r, rs := newRig(t, redistest.Mini(t).URL(), streams.Queue{Partitions: 1 + rnd.IntN(5), Journal: true}), &runs{}
	r.lead()
	fate := newFates()
	keys := []string{"", "a", "b", "c", "d"}[:2+rnd.IntN(4)]
	var procs []*proc
	begin := func() {
		name := fmt.Sprint("w", len(procs))
		procs = append(procs, r.start(spec{name: name, policy: service.Policy{MaxAttempts: 3}, most: most, t: rs.by(name, fate.handler),
			tune: func(c *consumergroup.Config) { c.ParkBeyond, c.Window = 1+rnd.IntN(4), 4+rnd.IntN(60) }}))
	}
	begin()
	begin()
	alive := []int{0, 1}
	next := map[string]int{}
	byKey := map[string][]string{}
	var ids []string
	for range 12 {
		for range rnd.IntN(4) {
			k := keys[rnd.IntN(len(keys))]
			n := 1 + rnd.IntN(8)
			sent := r.sendFrom(k, next[k], n)
			next[k] += n
			byKey[k] = append(byKey[k], sent...)
			ids = append(ids, sent...)
		}
		switch rnd.IntN(4) {
		case 0:
			if len(alive) < 3 {
				alive = append(alive, len(procs))
				begin()
			}
		case 1:
			if len(alive) > 1 {
				i := rnd.IntN(len(alive))
				p := procs[alive[i]]
				alive = append(alive[:i:i], alive[i+1:]...)
				if rnd.IntN(2) == 0 {
					p.kill()
				} else {
					p.stop()
				}
			}
		default:
			want := rnd.IntN(1 + len(ids))
			r.until("some more jobs end", func() bool { return r.ended() >= want/2 })
		}
	}
	r.until(fmt.Sprintf("all %d jobs end", len(ids)), func() bool { return r.ended() >= len(ids) })
	ended := map[string]int{}
	last := map[string]int{} // key -> place of its last ended job
	place := map[string]int{}
	for _, of := range byKey {
		for i, id := range of {
			place[id] = i + 1
		}
	}
	for _, e := range r.journal() {
		ended[e.JobID]++
		if e.Key != "" {
			if place[e.JobID] != last[e.Key]+1 {
				t.Errorf("key %s: its job %d ended after its job %d", e.Key, place[e.JobID], last[e.Key])
			}
			last[e.Key] = place[e.JobID]
		}
		if dies := fate.of(e.JobID) > 2; dies != (e.Outcome == job.Buried) {
			t.Errorf("job %s fails %d times of 3 and ended with %c", e.JobID, fate.of(e.JobID), e.Outcome)
		}
	}
	for _, id := range ids {
		if ended[id] != 1 {
			t.Errorf("job %s ended %d times", id, ended[id])
		}
	}
	for _, p := range procs {
		if n := rs.atOnce(p.name); most > 0 && n > most {
			t.Errorf("%d jobs ran at a time in %s, of at most %d", n, p.name, most)
		}
	}
	for _, x := range rs.list() {
		if succeeded(x) && fate.of(x.d.ID.String()) >= x.d.Attempt {
			t.Errorf("job %s succeeded in attempt %d", x.d.ID, x.d.Attempt)
		}
	}
}

// fates say how often each job fails, by its id: the same wherever it runs.
type fates struct {
	mu sync.Mutex
	by map[string]int
}

func newFates() *fates { return &fates{by: map[string]int{}} }

func (f *fates) of(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.by[id]
	if !ok {
		n = max(0, rand.IntN(12)-8) // 0 mostly, up to 3
		f.by[id] = n
	}
	return n
}

func (f *fates) handler(_ context.Context, d job.Delivery, _ int) (json.RawMessage, error) {
	if d.Attempt <= f.of(d.ID.String()) {
		return nil, errors.New("fated")
	}
	return nil, nil
}
