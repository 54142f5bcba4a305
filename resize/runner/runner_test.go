package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ringmaster/resize"
)

// fake is a store whose records are those of CORE's smallest ring: two partitions. It
// does what it is asked and writes down what that was.
type fake struct {
	mu     sync.Mutex
	did    []string
	rec    resize.Records
	there  map[string]bool // who holds its liveness channel
	leads  uint64          // term it grants, 0: another leads
	led    uint64          // term that it has granted
	given  uint64          // that was given up: it is not granted again
	refuse error           // of plans and steals
	stays  error           // of a resignation
	away   bool
	news   chan<- struct{}
}

func (f *fake) note(format string, args ...any) {
	f.did = append(f.did, fmt.Sprintf(format, args...))
}

var errAway = errors.New("server is away")

func (f *fake) Lead(context.Context, time.Duration, uint64) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return 0, errAway
	}
	if f.leads == f.given {
		return 0, nil
	}
	f.led = f.leads
	return f.leads, nil
}

func (f *fake) Guard([]string, time.Time, chan<- struct{}) bool { return false }
func (f *fake) Unguard()                                        {}
func (f *fake) Seen() time.Time                                 { return time.Time{} }

func (f *fake) Resign(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stays != nil {
		f.note("stays")
		return f.stays
	}
	f.note("resign")
	f.given = f.led
	return nil
}

func (f *fake) Look(context.Context) (Look, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return Look{}, errAway
	}
	r := f.rec
	r.Members, r.Owners, r.Plan = slices.Clone(r.Members), slices.Clone(r.Owners), slices.Clone(r.Plan)
	l := Look{Records: r}
	for _, m := range r.Members {
		l.Members = append(l.Members, Sighting{Incarnation: m.Incarnation, LeaseLeft: time.Second, LeaseKnown: true})
	}
	return l, nil
}

func (f *fake) Signs(_ context.Context, incs []string) ([]Sighting, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Sighting, len(incs))
	for i, inc := range incs {
		there := f.there[inc]
		out[i] = Sighting{Incarnation: inc, Subscribed: &there}
	}
	return out, nil
}

func (f *fake) Evict(_ context.Context, _ uint64, a resize.EvictWorker) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("%v", a)
	f.rec.Members = slices.DeleteFunc(f.rec.Members, func(m resize.MemberRecord) bool { return m.Incarnation == a.Incarnation })
	return nil
}

func (f *fake) WritePlan(_ context.Context, term uint64, a resize.WritePlan) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("term %d %v", term, a)
	if f.refuse != nil {
		return f.refuse
	}
	f.rec.Plan, f.rec.Epoch = slices.Clone(a.Targets), a.BaseEpoch+1
	return nil
}

func (f *fake) Steal(_ context.Context, _ uint64, as []resize.StealPartition) []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	errs := make([]error, len(as))
	for i, a := range as {
		f.note("%v", a)
		f.rec.Owners[a.Partition] = resize.Owner{Incarnation: a.To, Epoch: a.Epoch + 1}
		errs[i] = nil
	}
	return errs
}

func (f *fake) Revoke(context.Context, uint64, resize.RevokePermit) error    { return nil }
func (f *fake) Advance(context.Context, uint64, resize.AdvanceBarrier) error { return nil }
func (f *fake) Repair(context.Context, uint64) ([]string, error)             { return nil, nil }

func (f *fake) Hints(ctx context.Context, news chan<- struct{}) {
	f.mu.Lock()
	f.news = news
	f.mu.Unlock()
	<-ctx.Done()
}

func (f *fake) change(edit func()) {
	f.mu.Lock()
	edit()
	news := f.news
	f.mu.Unlock()
	select {
	case news <- struct{}{}:
	default:
	}
}

func (f *fake) done() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.did, "\n")
}

// twice declares a member dead that two probes in a row did not find.
type twice struct{ misses map[string]int }

func (d *twice) LeaderChanged(time.Time) {}

func (d *twice) Observe(_ time.Time, _ string, _ time.Time, members []Sighting) []Death {
	var dead []Death
	for _, m := range members {
		if m.Subscribed == nil {
			continue
		}
		if d.misses[m.Incarnation]++; *m.Subscribed {
			d.misses[m.Incarnation] = 0
		}
		if d.misses[m.Incarnation] >= 2 {
			dead = append(dead, Death{m.Incarnation, resize.EvidenceConnection, m.Beat})
		}
	}
	return dead
}

func emptyRing() *fake {
	return &fake{leads: 1, there: map[string]bool{}, rec: resize.Records{
		Term: 1, Shards: make([]resize.Shard, 1), Owners: []resize.Owner{{Incarnation: "-"}, {Incarnation: "-"}}, Plan: []string{"-", "-"}}}
}

func (f *fake) join(inc string) {
	f.change(func() {
		f.there[inc] = true
		f.rec.Members = append(f.rec.Members, resize.MemberRecord{Incarnation: inc, Weight: 1})
	})
}

// begin runs a runner in a bubble of virtual time until stop is called.
func begin(t *testing.T, f *fake) (stop func()) {
	t.Helper()
	return beginWith(t, Default(), f, &twice{misses: map[string]int{}})
}

// beginWith is begin with a store and a detector of the caller's.
func beginWith(t *testing.T, cfg Config, s Store, d Detector) (stop func()) {
	t.Helper()
	r, err := New(cfg, s, d, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { r.Run(ctx) })
	<-time.After(100 * time.Millisecond)
	return func() {
		cancel()
		all.Wait()
	}
}

func (f *fake) has(t *testing.T, line string) {
	t.Helper()
	if !strings.Contains(f.done(), line) {
		t.Errorf("did not: %s\ndid:\n%s", line, f.done())
	}
}

func TestLeaderPlansForWhoJoinsAndReplacesWhoDies(t *testing.T) {
	f := emptyRing()
	synctest.Test(t, func(t *testing.T) {
		defer begin(t, f)()
		f.join("a.1")
		time.Sleep(50 * time.Millisecond)
		f.has(t, "term 1 plan after=0 mode=key (a.1 a.1)")
		f.has(t, "steal 0@0 - -> a.1")
		f.join("b.1")
		time.Sleep(300 * time.Millisecond)
		f.change(func() { // the workers hand over by themselves
			for p, to := range f.rec.Plan {
				f.rec.Owners[p] = resize.Owner{Incarnation: to, Epoch: 2}
			}
		})
		time.Sleep(100 * time.Millisecond)
		f.change(func() { f.there["a.1"] = false })
		time.Sleep(150 * time.Millisecond)
		f.has(t, "evict a.1 connection")
		f.has(t, "a.1 -> b.1")
	})
	f.has(t, "resign")
}

func TestStandbyDoesNothing(t *testing.T) {
	f := emptyRing()
	f.leads = 0
	synctest.Test(t, func(t *testing.T) {
		defer begin(t, f)()
		f.join("a.1")
		time.Sleep(5 * time.Second)
	})
	if did := f.done(); did != "" {
		t.Errorf("a standby did:\n%s", did)
	}
}

func TestLeaderOfAnOldTermStepsDown(t *testing.T) {
	f := emptyRing()
	f.refuse = fmt.Errorf("plan: %w", ErrStale)
	synctest.Test(t, func(t *testing.T) {
		defer begin(t, f)()
		f.join("a.1")
		time.Sleep(100 * time.Millisecond)
		once := strings.Count(f.done(), "plan")
		time.Sleep(time.Second)
		if n := strings.Count(f.done(), "plan"); once != 1 || n != 1 {
			t.Errorf("it planned %d and then %d times though its term is over", once, n)
		}
		// Nobody else leads: a shard has seen a term that the first one has forgotten.
		f.has(t, "resign")
		f.change(func() { f.refuse, f.leads = nil, 2 })
		time.Sleep(time.Second)
		f.has(t, "term 2 plan")
	})
}

// Who has stepped down asks for the lease again, and may get the same term: a server that has gone back
// gives it out once more. It leads then; it would else keep the lease for ever, and lead nothing.
func TestATermThatIsGivenOutAgainIsLed(t *testing.T) {
	f := emptyRing()
	f.refuse = fmt.Errorf("plan: %w", ErrStale)
	synctest.Test(t, func(t *testing.T) {
		defer begin(t, f)()
		f.join("a.1")
		time.Sleep(100 * time.Millisecond)
		f.has(t, "resign")
		f.change(func() { f.refuse, f.given, f.did = nil, 0, nil })
		time.Sleep(time.Second)
		f.has(t, "term 1 plan")
	})
}

// Who has stepped down and is not heard must ask again: it would else renew the lease for ever, and
// lead nothing.
func TestAResignationThatWasNotAnsweredIsRepeated(t *testing.T) {
	f := emptyRing()
	f.refuse, f.stays = fmt.Errorf("plan: %w", ErrStale), errAway
	synctest.Test(t, func(t *testing.T) {
		defer begin(t, f)()
		f.join("a.1")
		time.Sleep(3 * time.Second)
		f.has(t, "stays")
		if strings.Contains(f.done(), "resign") {
			t.Fatal("it has resigned")
		}
		f.change(func() { f.refuse, f.stays, f.leads = nil, nil, 2 })
		time.Sleep(time.Second)
		f.has(t, "resign")
		f.has(t, "term 2 plan")
	})
}

func TestRefusedPlanIsComputedAnew(t *testing.T) {
	f := emptyRing()
	f.refuse = fmt.Errorf("plan: %w", ErrConflict)
	synctest.Test(t, func(t *testing.T) {
		defer begin(t, f)()
		f.join("a.1")
		time.Sleep(100 * time.Millisecond)
		f.change(func() { f.refuse, f.rec.Epoch = nil, 7 })
		time.Sleep(500 * time.Millisecond)
		f.has(t, "term 1 plan after=7 mode=key (a.1 a.1)")
		f.has(t, "steal 1@0 - -> a.1")
	})
}

func TestLeaderGivesUpWhenItCannotRenew(t *testing.T) {
	f := emptyRing()
	synctest.Test(t, func(t *testing.T) {
		defer begin(t, f)()
		f.change(func() { f.away = true })
		time.Sleep(3 * time.Second) // the lease is over
		f.change(func() { f.away, f.leads = false, 0 })
		f.join("a.1")
		time.Sleep(time.Second)
		if strings.Contains(f.done(), "plan") {
			t.Errorf("it planned after its lease:\n%s", f.done())
		}
		f.change(func() { f.leads, f.rec.Term = 9, 9 })
		time.Sleep(2 * time.Second)
		f.has(t, "term 9 plan")
	})
}
