package behaviour

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"testing"

	"ringmaster/consumergroup"
	"ringmaster/job"
)

// run is one handler call.
type run struct {
	d          job.Delivery
	worker     string
	n          int
	began, end int // on one clock that counts events; end 0: not yet
	err        error
}

// runs is what handlers did, in order.
type runs struct {
	mu    sync.Mutex
	clock int
	all   []*run
	ok    map[job.ID]bool
	good  int // calls that succeeded
}

// by makes a handler that records and then does as body says; nil succeeds at once.
func (rs *runs) by(worker string, body func(ctx context.Context, d job.Delivery, n int) (json.RawMessage, error)) consumergroup.Handler {
	return func(ctx context.Context, d job.Delivery) (result json.RawMessage, err error) {
		var p payload
		_ = json.Unmarshal(d.Payload, &p)
		r := &run{d: d, worker: worker, n: p.N}
		rs.mu.Lock()
		rs.clock++
		r.began = rs.clock
		rs.all = append(rs.all, r)
		rs.mu.Unlock()
		defer func() {
			rs.mu.Lock()
			defer rs.mu.Unlock()
			rs.clock++
			r.end, r.err = rs.clock, err
			if err == nil {
				if rs.ok == nil {
					rs.ok = map[job.ID]bool{}
				}
				rs.ok[d.ID] = true
				rs.good++
			}
		}()
		if body == nil {
			return nil, nil
		}
		return body(ctx, d, p.N)
	}
}

// list is a copy of what was recorded.
func (rs *runs) list() []run {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	out := make([]run, len(rs.all))
	for i, r := range rs.all {
		out[i] = *r
	}
	return out
}

// count is how many calls match.
func (rs *runs) count(match func(run) bool) int {
	n := 0
	for _, r := range rs.list() {
		if match(r) {
			n++
		}
	}
	return n
}

func succeeded(r run) bool { return r.end != 0 && r.err == nil }

// done is the number of jobs that succeeded, calls that of calls that did.
func (rs *runs) done() int {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return len(rs.ok)
}

func (rs *runs) calls() int {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.good
}

// inOrder checks that no call for a key overlaps another, and that the numbers of each
// key never fall: a job starts only after the one before it ended for good.
func (rs *runs) inOrder(t *testing.T) {
	t.Helper()
	last := map[string]run{}
	for _, r := range rs.list() {
		if r.d.Key == "" {
			continue
		}
		if was, ok := last[r.d.Key]; ok {
			if was.end == 0 || was.end > r.began {
				t.Errorf("key %s: job %d (%s) started on %s while job %d ran on %s", r.d.Key, r.n, r.d.ID, r.worker, was.n, was.worker)
			}
			if r.n < was.n {
				t.Errorf("key %s: job %d started after job %d", r.d.Key, r.n, was.n)
			}
		}
		last[r.d.Key] = r
	}
}

// onceEach checks that keys' jobs 0..n-1 each ran exactly once.
func (rs *runs) onceEach(t *testing.T, n int, keys ...string) {
	t.Helper()
	got := map[string]map[int]int{}
	for _, r := range rs.list() {
		if got[r.d.Key] == nil {
			got[r.d.Key] = map[int]int{}
		}
		got[r.d.Key][r.n]++
	}
	for _, k := range keys {
		for i := range n {
			if got[k][i] != 1 {
				t.Errorf("key %q: job %d ran %d times", k, i, got[k][i])
			}
		}
	}
}

// atOnce is how many handlers of a worker ran at a time at most.
func (rs *runs) atOnce(worker string) int {
	at := map[int]int{}
	for _, x := range rs.list() {
		if x.worker == worker {
			at[x.began]++
			at[x.end]-- // 0 if it has not ended
		}
	}
	delete(at, 0)
	n, most := 0, 0
	for _, when := range slices.Sorted(maps.Keys(at)) {
		n += at[when]
		most = max(most, n)
	}
	return most
}
