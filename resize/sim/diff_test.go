package sim

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ringmaster/internal/redistest"
)

var (
	diffOps  = flag.Int("ops", 3000, "operations of TestModelAgainstServers in all; make differential makes 100,000")
	diffSeed = flag.Uint64("diff-seed", 0, "only this seed of TestModelAgainstServers")
)

// The worlds of TestModelAgainstServers: small, so that much happens to each thing.
const (
	diffParts   = 3
	diffLength  = 250 // operations on one queue
	diffCompare = 5   // every so many operations all that can be seen is compared
)

// op is one operation, in the model's terms: entries by their numbers.
type op struct {
	verb     string
	inc      string
	p        int
	epoch    uint64
	term     uint64
	to       string
	phase    int
	mode     string
	evidence string
	targets  []string
	ids      []int
	n        int
	how      string
	key      string
	flag     bool
}

func (o op) String() string {
	s := o.verb
	for _, f := range []struct {
		name string
		v    any
		skip bool
	}{{"inc", o.inc, o.inc == ""}, {"p", o.p, o.verb == "join" || o.verb == "beat"}, {"epoch", o.epoch, o.epoch == 0}, {"term", o.term, o.term == 0},
		{"to", o.to, o.to == ""}, {"phase", o.phase, o.phase == 0}, {"mode", o.mode, o.mode == ""}, {"evidence", o.evidence, o.evidence == ""},
		{"targets", o.targets, o.targets == nil}, {"ids", o.ids, o.ids == nil}, {"n", o.n, o.n == 0}, {"how", o.how, o.how == ""},
		{"key", o.key, o.key == ""}, {"flag", o.flag, !o.flag}} {
		if !f.skip {
			s += fmt.Sprintf(" %s=%v", f.name, f.v)
		}
	}
	return s
}

// side is one of the stores that are compared.
type side interface {
	do(o op) string // the answer
	state() string  // all that can be seen
}

// TestModelAgainstServers gives the same random operations to the model, to the store in
// memory and to a real server, and compares each answer and, every few operations, owners,
// plan, groups, pending lists, retry records, members, phases, replies, change numbers and
// inboxes. The model is what the simulator's schedules run on: where it differed, they
// would show nothing.
func TestModelAgainstServers(t *testing.T) {
	urls := map[string]string{"memory": redistest.Mini(t).URL(), "real": redistest.Real(t).URL()}
	seeds := []uint64{*diffSeed}
	if *diffSeed == 0 {
		seeds = nil
		for n := range max(1, *diffOps/diffLength) {
			seeds = append(seeds, uint64(n+1))
		}
	}
	began, count := time.Now(), map[string]int{}
	for _, seed := range seeds {
		ops, why := diffRun(t, urls, seed, nil, count)
		if why == "" {
			continue
		}
		ops = shrink(t, urls, seed, ops)
		_, why = diffRun(t, urls, seed, ops, nil)
		t.Fatalf("seed %d (go test ./resize/sim -run TestModelAgainstServers -diff-seed %d), %d operations:\n%s\n%s", seed, seed, len(ops), lines(ops), why)
	}
	all := 0
	for _, n := range count {
		all += n
	}
	t.Logf("%d operations on each of three stores in %v: %v", all, time.Since(began).Round(time.Millisecond), count)
}

func lines(ops []op) string {
	var b strings.Builder
	for i, o := range ops {
		fmt.Fprintf(&b, "%3d %v\n", i, o)
	}
	return b.String()
}

// diffRun makes a history of the seed, or repeats the one that is given, and tells where
// the stores first differ.
func diffRun(t *testing.T, urls map[string]string, seed uint64, given []op, count map[string]int) (done []op, why string) {
	t.Helper()
	m := newModelSide()
	sides := map[string]side{}
	for name, url := range urls {
		s := newServerSide(t, url)
		defer s.close()
		sides[name] = s
	}
	g := &diffGen{rnd: rand.New(rand.NewPCG(seed, 3)), m: m, park: seed%3 == 0}
	length := diffLength
	if given != nil {
		length = len(given)
	}
	for i := range length {
		var o op
		if given != nil {
			o = given[i]
		} else {
			o = g.next()
		}
		if count != nil {
			count[o.verb]++
		}
		done = append(done, o)
		want := m.do(o)
		for name, s := range sides {
			if got := s.do(o); got != want {
				return done, fmt.Sprintf("%v\n%s answers %s\nthe model   %s", o, name, got, want)
			}
		}
		if (i+1)%diffCompare != 0 && i != length-1 {
			continue
		}
		want = m.state()
		for name, s := range sides {
			if got := s.state(); got != want {
				return done, fmt.Sprintf("after %v\n%s", o, differing(name, got, want))
			}
		}
	}
	return done, ""
}

func differing(name, got, want string) string {
	var b strings.Builder
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		var x, y string
		if i < len(g) {
			x = g[i]
		}
		if i < len(w) {
			y = w[i]
		}
		if x != y {
			fmt.Fprintf(&b, "%-9s %s\nthe model %s\n", name, x, y)
		}
	}
	return b.String()
}

// shrink leaves out what is not needed to see a difference, for some seconds.
func shrink(t *testing.T, urls map[string]string, seed uint64, ops []op) []op {
	t.Helper()
	end := time.Now().Add(15 * time.Second)
	for size := len(ops) / 2; size > 0; {
		removed := false
		for at := 0; at+size <= len(ops) && time.Now().Before(end); {
			some := slices.Delete(slices.Clone(ops), at, at+size)
			if done, why := diffRun(t, urls, seed, some, nil); why != "" {
				ops, removed = done, true
				continue
			}
			at += size
		}
		if !removed || size > len(ops) {
			size /= 2
		}
	}
	return ops
}
