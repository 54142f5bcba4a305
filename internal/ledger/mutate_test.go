package ledger

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestGoodLedgers: what a queue that works leaves behind passes, over many quiet moments.
func TestGoodLedgers(t *testing.T) {
	for seed := range uint64(60) {
		w := newWorld(seed, 4, 20)
		var first Finding
		c := NewChecker(func(f Finding) { first = f })
		for range 4 {
			tr := w.window(150)
			tr.feed(c)
		}
		var tr trace
		tr.files = map[string][]Record{}
		w.close(&tr)
		tr.feed(c)
		r := c.Report()
		if r.Found() != 0 {
			t.Fatalf("seed %d: %v, such as %v", seed, r.Anomalies, first)
		}
		if r.Completed < 300 || r.Recovered == 0 || r.Reruns == 0 || r.Effects < r.FencedEffects || r.FencedEffects != r.Completed {
			t.Fatalf("seed %d shows too little: %+v", seed, r)
		}
	}
}

// mutation is one fault put into good ledgers, in such a way that numbers and times still
// look right: only what the records say can give it away.
type mutation struct {
	what       string // "drop start"
	observable bool
}

const mutationSeeds = 2000

// TestMutations drops, doubles and swaps records of good ledgers. Each that can be
// observed must be found. What cannot be, and why:
//
//   - without close: a process that lost its last record looks as one that was killed;
//   - without accepted, refused or unknown of a producer that never closed: the same;
//   - without invoke of a job that was not answered and did not come out: it never was;
//   - without a start and its missing end: a handler that was killed at once;
//   - without a failed end, or that of a worker that was cut off: its run was killed;
//   - without an effect that the sink refused, a join among others, a fault, a phase: they
//     excuse nothing and prove nothing;
//   - a join, a refused effect, a fault or a phase twice: may happen twice;
//   - two neighbours that are not about the same thing: in no order anyway.
func TestMutations(t *testing.T) {
	tried, found := map[string]int{}, map[string]int{}
	blind := map[string]int{}
	for seed := range uint64(mutationSeeds) {
		w := newWorld(seed%50, 3, 8)
		tr := w.window(60)
		w.close(&tr)
		rnd := rand.New(rand.NewPCG(seed, 9))
		m := tr.mutate(rnd)
		c := NewChecker(nil)
		tr.feed(c)
		switch {
		case !m.observable:
			blind[m.what]++
		case c.Report().Found() > 0:
			tried[m.what]++
			found[m.what]++
		default:
			tried[m.what]++
			t.Logf("seed %d: %s was not found", seed, m.what)
		}
	}
	all, hit := 0, 0
	for _, what := range slices.Sorted(maps.Keys(tried)) {
		all, hit = all+tried[what], hit+found[what]
		t.Logf("%-16s %4d of %4d found", what, found[what], tried[what])
	}
	t.Logf("not observable: %v", blind)
	if all < mutationSeeds/2 || hit*100 < all*99 {
		t.Errorf("%d of %d mutations were found, want 99%% of at least %d", hit, all, mutationSeeds/2)
	}
}

// TestRawMutations: with a record taken out, put in twice or exchanged with its neighbour
// as it stands, the numbers alone give it away, unless it is the last of its file.
func TestRawMutations(t *testing.T) {
	for seed := range uint64(500) {
		w := newWorld(seed%50, 3, 8)
		tr := w.window(40)
		rnd := rand.New(rand.NewPCG(seed, 11))
		name, i := tr.pick(rnd)
		records := tr.files[name]
		if i == len(records)-1 {
			continue
		}
		switch seed % 3 {
		case 0:
			records = slices.Delete(slices.Clone(records), i, i+1)
		case 1:
			records = slices.Insert(slices.Clone(records), i, records[i])
		default:
			records = slices.Clone(records)
			records[i], records[i+1] = records[i+1], records[i]
		}
		tr.files[name] = records
		c := NewChecker(nil)
		tr.feed(c)
		if c.Report().Anomalies[Gap] == 0 {
			t.Errorf("seed %d: record %d of %s: no gap in %v", seed, i, name, c.Report().Anomalies)
		}
	}
}

func (t *trace) pick(rnd *rand.Rand) (string, int) {
	names := slices.Sorted(maps.Keys(t.files))
	name := names[rnd.IntN(len(names))]
	return name, rnd.IntN(len(t.files[name]))
}

func (t *trace) mutate(rnd *rand.Rand) mutation {
	if rnd.IntN(4) == 0 {
		return t.mutateJournal(rnd)
	}
	name, i := t.pick(rnd)
	records := slices.Clone(t.files[name])
	r := records[i]
	var m mutation
	switch op := rnd.IntN(3); {
	case op == 0:
		m = mutation{fmt.Sprintf("drop %s", r.Kind), t.dropShows(name, i)}
		records = slices.Delete(records, i, i+1)
	case op == 1 || i == len(records)-1:
		m = mutation{fmt.Sprintf("double %s", r.Kind), !slices.Contains([]Kind{Join, Kept, Fault, Phase}, r.Kind)}
		records = slices.Insert(records, i, r)
	default:
		m = mutation{"swap", swapShows(records, i)}
		records[i], records[i+1] = records[i+1], records[i]
		records[i].At, records[i+1].At = records[i+1].At, records[i].At
	}
	for n := range records {
		records[n].Seq = uint64(n + 1)
	}
	t.files[name] = records
	return m
}

func (t *trace) mutateJournal(rnd *rand.Rand) mutation {
	p := rnd.IntN(len(t.journal))
	entries := slices.Clone(t.journal[p])
	if len(entries) < 2 {
		return mutation{"nothing", false}
	}
	i := rnd.IntN(len(entries) - 1)
	defer func() { t.journal[p] = entries }()
	switch rnd.IntN(3) {
	case 0:
		entries = slices.Delete(entries, i, i+1)
		return mutation{"drop commit", true}
	case 1:
		entries = slices.Insert(entries, i, entries[i])
		return mutation{"double commit", true}
	}
	entries[i], entries[i+1] = entries[i+1], entries[i]
	return mutation{"swap commits", entries[i].Key == entries[i+1].Key}
}

// dropShows reports whether a record can be missed.
func (t *trace) dropShows(name string, i int) bool {
	records := t.files[name]
	r := records[i]
	closed := records[len(records)-1].Kind == Close
	others := func(f func(Record) bool) bool { return slices.ContainsFunc(records, f) }
	switch r.Kind { //nolint:exhaustive // the others prove nothing
	case Open:
		return true
	case Invoke: // it was answered
		return others(func(o Record) bool { return o.Token == r.Token && o.Kind != Invoke })
	case Accepted, Refused, Unknown:
		return closed
	case Join:
		return others(func(o Record) bool { return o.Kind == Start })
	case Start:
		return others(func(o Record) bool { return o.Run == r.Run && o.Kind != Start })
	case Effect:
		return true
	case End:
		for _, o := range records {
			if o.Kind == Start && o.Run == r.Run {
				return t.completed(name, o) && !others(func(x Record) bool { // nor another good run of the tenure
					return x.Kind == End && x.Run != r.Run && slices.ContainsFunc(records, func(s Record) bool {
						return s.Kind == Start && s.Run == x.Run && s.Job == o.Job && s.Epoch == o.Epoch
					})
				})
			}
		}
	}
	return false
}

func (t *trace) completed(process string, start Record) bool {
	return slices.ContainsFunc(t.journal[start.Job.Partition], func(c Commit) bool {
		return c.Job == start.Job && c.Epoch == start.Epoch && c.Worker == process+".1"
	})
}

// swapShows reports whether two neighbours are in an order that matters.
func swapShows(records []Record, i int) bool {
	a, b := records[i], records[i+1]
	switch {
	case a.Kind == Open || b.Kind == Close:
		return true
	case a.Token != "" && a.Token == b.Token:
		return true
	case a.Run != 0 && a.Run == b.Run:
		return true
	case a.Kind == Join && b.Kind == Start:
		return true
	case a.Kind == Phase && b.Kind == Phase:
		return a.Epoch != b.Epoch || a.Attempt != b.Attempt
	case a.Kind == End && b.Kind == Start: // the next of the key
		for _, o := range records {
			if o.Kind == Start && o.Run == a.Run {
				return o.Key == b.Key && o.Fence == b.Fence
			}
		}
	}
	return false
}
