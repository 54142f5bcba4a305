package consumergroup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ringmaster/job"
	"ringmaster/resize"
)

// bench is one worker with one shard and one open partition, and no goroutines: a test
// does the steps of reader, executors and acker itself, in the order it wants.
type bench struct {
	t    testing.TB
	w    *Worker
	s    *shard
	ten  *tenure
	fake *fakeServer
}

func newBench(t testing.TB, tune func(*Config)) *bench {
	t.Helper()
	c := Default()
	c.Queue, c.Name = "q", "w"
	if tune != nil {
		tune(&c)
	}
	f := &fakeServer{}
	w, err := New(c, Deps{Store: f, Policy: plainPolicy{}, Log: slog.New(slog.DiscardHandler), NewID: func() string { return "1" },
		Handlers: map[string]Handler{"t": func(context.Context, job.Delivery) (json.RawMessage, error) { return nil, nil }}})
	if err != nil {
		t.Fatal(err)
	}
	w.renewLease(time.Now().Add(time.Hour))
	w.partitions = 1
	ctx, cancel := context.WithCancelCause(context.Background())
	t.Cleanup(func() { cancel(nil) })
	n := &session{w: w, inc: "w.1", member: f, work: ctx, end: cancel}
	s := &shard{w: w, session: n, reader: f, brain: resize.NewParticipant(), ackWake: make(chan struct{}, 1), pokes: make(chan struct{}, 1),
		tenures: map[int]*tenure{}, closing: map[*tenure]bool{}}
	n.shards = []*shard{s}
	ten := newTenure(s, job.Tenure{Partition: 0, Epoch: 1})
	ten.gate, ten.reading = true, true
	s.tenures[0] = ten
	return &bench{t: t, w: w, s: s, ten: ten, fake: f}
}

// plainPolicy reads "wait" as an attempt that failed and whose next is an hour away,
// "alone" and "guilty" as what they say.
type plainPolicy struct{}

func (plainPolicy) Before(record string) Prior {
	p := Prior{Attempts: 1}
	switch record {
	case "wait":
		p.NotBefore = time.Now().Add(time.Hour)
	case "alone":
		p.Alone, p.Mark = true, "alone!"
	case "guilty":
		p.Guilty = true
	}
	return p
}

func (plainPolicy) After(f Failure, _ time.Time) Decision {
	return Decision{Outcome: job.Failed, Record: f.Err.Error(), NotBefore: time.Now().Add(time.Hour)}
}

func eid(n int) job.EntryID { return job.EntryID{Ms: uint64(n), Seq: 0} }

func entry(n int, key string) job.Entry {
	return job.Entry{ID: eid(n), Type: "t", Key: key, Payload: json.RawMessage("null")}
}

func waitingEntry(n int, key string) job.Entry {
	e := entry(n, key)
	e.Retry = "wait"
	return e
}

func (b *bench) arrive(es ...job.Entry) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.w.arrive(b.ten, es, time.Now())
}

// start takes the next job that may run, nil if none may. It says done to an executor
// that would wait, which is how next comes back.
func (b *bench) start() *item {
	b.t.Helper()
	if !b.w.leaseValidNow() {
		b.t.Fatal("the bench has no lease: nothing can start")
	}
	got := make(chan *item, 1)
	go func() { got <- b.w.next(nil, job.Completion{}) }()
	for {
		select {
		case it := <-got:
			return it
		default:
		}
		b.w.mu.Lock()
		b.w.done = b.mustWait()
		b.w.idle.Broadcast()
		b.w.mu.Unlock()
		if b.w.done {
			it := <-got
			b.w.done = false
			return it
		}
		runtime.Gosched()
	}
}

// mustWait reports whether nothing in the ready lists may start now. The lock is held.
func (b *bench) mustWait() bool {
	it := b.w.head()
	return it == nil || b.w.alone != nil || it.prior.Alone && b.w.runs > 0
}

// mustStart takes the next job and says which it has to be.
func (b *bench) mustStart(n int) *item {
	b.t.Helper()
	it := b.start()
	if it == nil || it.entry.ID != eid(n) {
		b.t.Fatalf("started %v, want job %d", describe(it), n)
	}
	return it
}

func (b *bench) mustNotStart() {
	b.t.Helper()
	if it := b.start(); it != nil {
		b.t.Fatalf("started %v, want nothing", describe(it))
	}
}

func describe(it *item) string {
	if it == nil {
		return "nothing"
	}
	return fmt.Sprintf("job %d of key %q", it.entry.ID.Ms, it.entry.Key)
}

// finish ends a run that succeeded, without an answer yet.
// run makes one attempt at a job that was started.
func (b *bench) run(it *item) {
	if c, ended := b.w.run(it); ended {
		b.w.finish(it, c)
	}
}

func (b *bench) finish(it *item) { b.w.finish(it, job.Completion{Outcome: job.Done}) }

// answer gives one answer to all ends that wait, and returns them.
func (b *bench) answer(a job.Answer) []ended {
	b.w.mu.Lock()
	batch := b.s.ends
	b.s.ends = nil
	b.w.mu.Unlock()
	groups := b.s.group(batch)
	all := make([][]job.Answer, len(groups))
	for i, g := range groups {
		for range g.items {
			all[i] = append(all[i], a)
		}
	}
	b.s.applyAll(groups, all)
	return batch
}

func (b *bench) complete(it *item) { b.finish(it); b.answer(job.ByOwner) }

func ids(es []ended) string {
	var out []string
	for _, e := range es {
		out = append(out, fmt.Sprintf("%c%d", e.c.Outcome, e.c.ID.Ms))
	}
	return strings.Join(out, " ")
}

// fakeServer answers what a test sets; everything else succeeds with nothing.
type fakeServer struct {
	mu       sync.Mutex
	unparks  []string // keys asked for
	onUnpark func(key string, n int) job.UnparkPage
	markErr  error
	marks    []string
	onRead   func(parts []int) (job.ReadBatch, error)
	claims   []job.ClaimPage
	history  []job.Entry
	pokes    int
}

func (f *fakeServer) Prepare(context.Context) (int, error)           { return 1, nil }
func (f *fakeServer) Member(job.MemberInfo, time.Duration) Member    { return f }
func (f *fakeServer) Reader(int, string) Reader                      { return f }
func (f *fakeServer) Reset(context.Context) error                    { return nil }
func (f *fakeServer) Close() error                                   { return nil }
func (f *fakeServer) AckControl(context.Context, []string) error     { return nil }
func (f *fakeServer) Snapshot(context.Context) (job.Snapshot, error) { return job.Snapshot{}, nil }
func (f *fakeServer) Watch(context.Context) (func(), error)          { return func() {}, nil }
func (f *fakeServer) Join(context.Context) ([]job.Joined, error) {
	return []job.Joined{{Partitions: 1}}, nil
}
func (f *fakeServer) Heartbeat(context.Context) ([]job.Beat, error)          { return []job.Beat{{}}, nil }
func (f *fakeServer) Leaving(context.Context) error                          { return nil }
func (f *fakeServer) Left(context.Context) error                             { return nil }
func (f *fakeServer) Heal(context.Context, []int) ([]string, error)          { return nil, nil }
func (f *fakeServer) History(context.Context, int) ([]job.Entry, error)      { return f.history, nil }
func (f *fakeServer) Report(context.Context, int, uint64, int, string) error { return nil }

func (f *fakeServer) Poke(context.Context, int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pokes++
	return nil
}

func (f *fakeServer) Ack(context.Context, int, []job.PartitionAcks) ([][]job.Answer, error) {
	return nil, errors.New("not used: see bench.answer")
}

func (f *fakeServer) Mark(_ context.Context, _ job.Tenure, id job.EntryID, record string) error {
	f.marks = append(f.marks, fmt.Sprint(id.Ms, " ", record))
	return f.markErr
}

func (f *fakeServer) Read(_ context.Context, parts []int, _ int, _ time.Duration) (job.ReadBatch, error) {
	if f.onRead == nil {
		return job.ReadBatch{}, nil
	}
	return f.onRead(parts)
}

func (f *fakeServer) Claim(_ context.Context, ts []job.Tenure, _ []string, _ int) ([]job.ClaimPage, []error) {
	page := job.ClaimPage{Cursor: "0-0"}
	if len(f.claims) > 0 {
		page, f.claims = f.claims[0], f.claims[1:]
	}
	return []job.ClaimPage{page}, make([]error, len(ts))
}

func (f *fakeServer) Release(_ context.Context, ts []job.Tenure, _ [][]job.EntryID, _ bool) ([]job.ReleaseOutcome, []error) {
	return make([]job.ReleaseOutcome, len(ts)), make([]error, len(ts))
}

func (f *fakeServer) Unpark(_ context.Context, _ job.Tenure, key string, n int) (job.UnparkPage, error) {
	f.unparks = append(f.unparks, key)
	if f.onUnpark == nil {
		return job.UnparkPage{}, nil
	}
	return f.onUnpark(key, n), nil
}
