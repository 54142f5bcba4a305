package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
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
			l := r.startLoad(2000, 1200, func(rnd *rand.Rand) int {
				if rnd.IntN(12) == 0 { // so many that one of a partition that moves is at work
					return 400
				}
				return rnd.IntN(4)
			})
			r.until("traffic", 20*time.Second, func() bool { return l.count() > 1200 })
			before := r.owners()
			fifth := r.worker()
			r.settled(5)
			moved := r.movedTo(before)
			sent := l.count()
			r.until("traffic after the join", 20*time.Second, func() bool { return l.count() > sent+1200 })
			r.audit(l, 60*time.Second)
			m := r.measure(moved, fifth)
			t.Logf("| `%s` | %d | %v | %v | %v |", mode, len(moved), m.moved, m.unmoved, m.base)
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
	l := r.startLoad(2000, 1200, upTo(2))
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
	t.Logf("%d of 64 partitions moved; wait of the first job at the new owner: %v; of jobs of unmoved partitions in the 200 ms after the plan: %v (p50, p90, max)",
		len(moved), m, u)
	if len(moved) == 0 || len(first) == 0 {
		t.Error("nothing moved, or nothing ran there: the test shows nothing")
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

type stat struct{ p50, p90, max time.Duration }

func (s stat) String() string { return fmt.Sprintf("%v, %v, %v", s.p50, s.p90, s.max) }

func stats(ds []time.Duration) stat {
	if len(ds) == 0 {
		return stat{}
	}
	slices.Sort(ds)
	at := func(i int) time.Duration { return ds[i].Round(100 * time.Microsecond) }
	return stat{at(len(ds) / 2), at(len(ds) * 9 / 10), at(len(ds) - 1)}
}

type measured struct {
	moved, unmoved, base stat // from a job's coming to its start: in the 400 ms after the plan, and in the second before it
	early                int  // starts at the new owner while the old one still ran a job of the partition
	sameKey              int  // of those, beside a job of the same key
	during               int  // starts anywhere while another worker still ran a job it had started before the gates closed
	old                  int  // runs at old owners that outlasted the move of their partition
}

// planned is when the last plan was written, by the server's clock (the same machine's).
func (r *ring) planned() time.Time {
	r.t.Helper()
	history, err := r.store.Inspect().RingHistory(r.ctx, queue, 1000)
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
	// from the moment the gates have closed (150 ms after the plan at the latest, on a busy machine).
	var last time.Time
	for _, s := range all {
		if s.start.Before(plan) && s.end.After(last) {
			last = s.end
		}
	}
	for _, s := range all {
		if s.start.After(plan.Add(150*time.Millisecond)) && s.start.Before(last) {
			m.during++
		}
	}
	wait := func(from, to time.Time, want func(span) bool) stat {
		var ds []time.Duration
		for _, s := range all {
			if s.came.After(from) && s.came.Before(to) && want(s) {
				ds = append(ds, s.start.Sub(s.came))
			}
		}
		return stats(ds)
	}
	after := plan.Add(400 * time.Millisecond)
	m.moved = wait(plan, after, func(s span) bool { return moved[s.part] })
	m.unmoved = wait(plan, after, func(s span) bool { return !moved[s.part] })
	m.base = wait(plan.Add(-time.Second), plan, func(span) bool { return true })
	return m
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
