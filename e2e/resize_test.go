package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"ringmaster/job"
)

// TestResizeModes has a fifth worker join four that are busy, in each mode. It shows
// what waits for what, and logs how long:
//
//	key        a partition that moves waits for nothing; only the keys of running jobs do
//	partition  nothing of a moving partition starts at its new owner before what runs of it has ended
//	ring       nothing starts anywhere between the first gate's closing and the end of all runs
func TestResizeModes(t *testing.T) {
	for _, mode := range []string{"key", "partition", "ring"} {
		t.Run(mode, func(t *testing.T) {
			r := newRing(t, 64)
			r.start("dispatcher", mode)
			for range 4 {
				r.worker()
			}
			r.settled(4)
			r.backlog(6000, 3000, func(i int) int {
				if i%20 == 0 {
					return 400
				}
				return i % 4
			})
			r.until("the workers are busy", 10*time.Second, func() bool { return r.committed() > 800 })
			before := r.owners()
			fifth := r.worker()
			r.settled(5)
			moved := r.movedTo(before)
			r.until("all jobs completed", 60*time.Second, func() bool { return r.committed() == 6000 })
			m := r.measure(moved, fifth)
			t.Logf("mode %-9s moved %d: plan to first job p50 %v max %v; gap without a start: moved p50 %v max %v, unmoved p50 %v max %v, before the resize p50 %v max %v",
				mode, len(moved), m.open.p50, m.open.max, m.moved.p50, m.moved.max, m.unmoved.p50, m.unmoved.max, m.base.p50, m.base.max)
			m.check(t, mode)
		})
	}
}

// TestJoinIsFast has a fifth worker join four under a load that the machine can bear, and
// logs how long the first job of each moved partition waited at its new owner: since the
// plan, or since it came, if it came later.
func TestJoinIsFast(t *testing.T) {
	r := newRing(t, 64)
	r.dispatcher()
	for range 4 {
		r.worker()
	}
	r.settled(4)
	l := r.startLoad(2000, 1200, 2)
	r.until("traffic", 20*time.Second, func() bool { return l.count() > 1200 })
	before := r.owners()
	fifth := r.worker()
	r.settled(5)
	moved := r.movedTo(before)
	sent := l.count()
	r.until("traffic after the join", 20*time.Second, func() bool { return l.count() > sent+1200 })
	r.audit(l, 60*time.Second)
	plan := r.planned()
	var first, others []time.Duration
	seen := map[int]bool{}
	for _, s := range r.spans() {
		wait := s.start.Sub(s.came)
		switch {
		case moved[s.part] && s.by == fifth.Name && !seen[s.part]:
			seen[s.part] = true
			first = append(first, min(wait, s.start.Sub(plan)))
		case !moved[s.part] && s.came.After(plan) && s.came.Before(plan.Add(200*time.Millisecond)):
			others = append(others, wait)
		}
	}
	m, u := stats(first), stats(others)
	t.Logf("%d of 64 partitions moved; wait of the first job at the new owner: p50 %v, max %v; of jobs of unmoved partitions in the 200 ms after the plan: p50 %v, max %v",
		len(moved), m.p50, m.max, u.p50, u.max)
	if len(moved) == 0 || len(first) == 0 {
		t.Error("nothing moved, or nothing ran there: the test shows nothing")
	}
}

// backlog hands in n jobs of many keys; the i-th takes ms(i).
func (r *ring) backlog(n, keys int, ms func(i int) int) {
	r.t.Helper()
	p := r.store.NewProducer(r.q)
	defer p.Close()
	sent := map[string]int{}
	for at := 0; at < n; {
		var batch []job.Job
		for ; len(batch) < 500 && at < n; at++ {
			key := "k" + strconv.Itoa(at%keys)
			w := work{N: sent[key], Ms: ms(at)}
			sent[key]++
			raw, _ := json.Marshal(w)
			batch = append(batch, job.Job{Type: "work", Key: key, Payload: raw})
		}
		if _, errs := p.Enqueue(r.ctx, batch...); errs != nil {
			r.t.Fatal(errs)
		}
	}
}

func (r *ring) owners() map[int]string {
	out := map[int]string{}
	for _, p := range r.view().Partitions {
		out[p.Partition] = p.Owner
	}
	return out
}

func (r *ring) movedTo(before map[int]string) map[int]bool {
	out := map[int]bool{}
	for p, inc := range r.owners() {
		if inc != before[p] {
			out[p] = true
		}
	}
	return out
}

// span is one run of a job, from all ledgers.
type span struct {
	part       int
	key        string
	by         string
	came       time.Time // by the server's clock, the same machine's
	start, end time.Time
}

func (r *ring) spans() []span {
	var out []span
	for _, p := range r.alive("worker") {
		open := map[string]line{}
		for _, x := range readLedger(r.t, p.Ledger) {
			if x.what == "start" {
				open[x.id] = x
				continue
			}
			id, err := job.ParseID(x.id)
			if err != nil {
				r.t.Fatal(err)
			}
			out = append(out, span{id.Partition, x.key, p.Name, id.Entry.Time(), open[x.id].at, x.at})
		}
	}
	slices.SortFunc(out, func(a, b span) int { return a.start.Compare(b.start) })
	return out
}

type stat struct{ p50, max time.Duration }

func stats(ds []time.Duration) stat {
	if len(ds) == 0 {
		return stat{}
	}
	slices.Sort(ds)
	return stat{ds[len(ds)/2].Round(100 * time.Microsecond), ds[len(ds)-1].Round(100 * time.Microsecond)}
}

type measured struct {
	open                 stat // from the plan to the first start at the new owner
	moved, unmoved, base stat // longest time without a start, per partition
	early                int  // starts at the new owner while the old one still ran a job of the partition
	sameKey              int  // of those, beside a job of the same key
	during               int  // starts anywhere while another worker still ran a job it had started before the gates closed
	old                  int  // runs at old owners that outlasted the move of their partition
}

// planned is when the last plan was written, by the server's clock (the same machine's).
func (r *ring) planned() time.Time {
	r.t.Helper()
	history, err := r.store.RingHistory(r.ctx, queue, 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	var at time.Time
	for _, h := range history {
		if h.Type == "sync" && h.Phase == 1 && h.Time.After(at) {
			at = h.Time
		}
	}
	return at
}

func (r *ring) measure(moved map[int]bool, fifth *process) measured {
	var m measured
	all, plan := r.spans(), r.planned()
	first := map[int]time.Time{}
	for _, s := range all {
		if s.by == fifth.Name && (first[s.part].IsZero() || s.start.Before(first[s.part])) {
			first[s.part] = s.start
		}
	}
	var open []time.Duration
	firstAny := time.Time{}
	for p := range moved {
		if at := first[p]; !at.IsZero() {
			open = append(open, at.Sub(plan))
			if firstAny.IsZero() || at.Before(firstAny) {
				firstAny = at
			}
		}
	}
	m.open = stats(open)
	for _, s := range all {
		if s.by == fifth.Name || !moved[s.part] {
			continue
		}
		if at := first[s.part]; !at.IsZero() && s.end.After(at) {
			m.old++
			for _, n := range all {
				if n.by == fifth.Name && n.part == s.part && n.start.Before(s.end) {
					m.early++
					if n.key == s.key {
						m.sameKey++
					}
				}
			}
		}
	}
	// Mode ring: the last run that began before the plan ends before anything new starts,
	// from the moment the gates have closed (50 ms after the plan at the latest here).
	var last time.Time
	for _, s := range all {
		if s.start.Before(plan) && s.end.After(last) {
			last = s.end
		}
	}
	for _, s := range all {
		if s.start.After(plan.Add(50*time.Millisecond)) && s.start.Before(last) {
			m.during++
		}
	}
	const window = 700 * time.Millisecond
	m.moved = stats(gaps(all, plan, plan.Add(window), func(p int) bool { return moved[p] }))
	m.unmoved = stats(gaps(all, plan, plan.Add(window), func(p int) bool { return !moved[p] }))
	m.base = stats(gaps(all, plan.Add(-window), plan, func(int) bool { return true }))
	return m
}

// gaps are the longest times between two starts of each partition within a window.
func gaps(all []span, from, to time.Time, want func(int) bool) []time.Duration {
	last, worst := map[int]time.Time{}, map[int]time.Duration{}
	for _, s := range all {
		if !want(s.part) || s.start.Before(from) || s.start.After(to) {
			continue
		}
		if at, ok := last[s.part]; ok {
			worst[s.part] = max(worst[s.part], s.start.Sub(at))
		}
		last[s.part] = s.start
	}
	var out []time.Duration
	for _, d := range worst {
		out = append(out, d)
	}
	return out
}

func (m measured) check(t *testing.T, mode string) {
	t.Helper()
	if m.sameKey > 0 {
		t.Errorf("%d starts beside a run of the same key at the old owner", m.sameKey)
	}
	switch mode {
	case "key":
		if m.old == 0 || m.early == 0 {
			t.Error("no run outlasted its partition's move, or nothing started beside it: the test shows nothing")
		}
	case "partition":
		if m.early > 0 {
			t.Error(fmt.Sprint(m.early, " starts at the new owner while the old one still ran a job of the partition"))
		}
	case "ring":
		if m.early > 0 || m.during > 0 {
			t.Errorf("%d starts in moving partitions, %d anywhere, before everything had stopped", m.early, m.during)
		}
	}
}
