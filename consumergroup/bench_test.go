package consumergroup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
)

// bench is one worker with one shard and one open partition, and no goroutines: a test
// does the steps of reader, executors and acker itself, in the order it wants.
type bench struct {
	t    testing.TB
	w    *Worker
	s    *shard
	ten  *lanes.Tenure
	fake *fakeServer
}

func newBench(t testing.TB, tune func(*Config)) *bench { return newLimited(t, nil, tune) }

// newLimited is newBench with types of which so many handlers run at a time.
func newLimited(t testing.TB, most map[string]int, tune func(*Config)) *bench {
	t.Helper()
	c := Default()
	c.Queue, c.Name = "q", "w"
	if tune != nil {
		tune(&c)
	}
	f := &fakeServer{}
	w, err := New(c, Deps{Store: f, Policy: plainPolicy{}, Log: slog.New(slog.DiscardHandler), NewID: func() string { return "1" },
		Concurrency: most, Handlers: map[string]Handler{"t": func(context.Context, job.Delivery) (json.RawMessage, error) { return nil, nil }}})
	if err != nil {
		t.Fatal(err)
	}
	w.renewLease(time.Now().Add(time.Hour))
	ctx, cancel := context.WithCancelCause(context.Background())
	t.Cleanup(func() { cancel(nil) })
	n := &session{w: w, inc: "w.1", member: f, work: ctx, end: cancel}
	s := n.newShard(0, job.Joined{Partitions: 1})
	n.shards = []*shard{s}
	ten, _ := s.lanes.Claim(0, 1, true)
	s.lanes.Claimed(0, 1, &job.ClaimPage{Cursor: "0-0"}, time.Now())
	s.lanes.SetGate(0, 1, true, time.Now())
	s.lanes.StartReading(0, 1)
	s.lanes.StartOpened(time.Now())
	return &bench{t: t, w: w, s: s, ten: ten, fake: f}
}

// plainPolicy reads "wait" as an attempt that failed and whose next is an hour away,
// "apart" as a suspect, "weigh" as one whose deaths are to be weighed.
type plainPolicy struct{}

func (plainPolicy) Before(record string, now time.Time) lanes.Prior {
	p := lanes.Prior{Attempts: 1}
	switch record {
	case "wait":
		p.NotBefore = now.Add(time.Hour)
	case "apart":
		p.Suspect, p.Apart = true, time.Second
	case "weigh":
		p.Suspect, p.Apart, p.Weigh = true, time.Second, true
	}
	return p
}

// Guilty: who ran in the only worker that died.
func (plainPolicy) Guilty(_ string, deaths []time.Time) (bool, string) {
	return len(deaths) == 1, "guilty"
}

func (plainPolicy) After(f Failure) Decision {
	return Decision{Outcome: job.Failed, Record: f.Err.Error(), Delay: time.Hour}
}

func eid(n int) job.EntryID { return job.EntryID{Ms: uint64(n), Seq: 0} }

func entry(n int, key string) job.Entry {
	return job.Entry{ID: eid(n), Type: "t", Key: key, Payload: json.RawMessage("null")}
}

func (b *bench) arrive(es ...job.Entry) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.s.lanes.Arrive(0, es, time.Now())
}

// start takes the next job that may run, nil if none may.
func (b *bench) start() *lanes.Item {
	b.t.Helper()
	if !b.w.leaseValidNow() {
		b.t.Fatal("the bench has no lease: nothing can start")
	}
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	return b.w.start(time.Now())
}

// mustStart takes the next job and says which it has to be.
func (b *bench) mustStart(n int) *lanes.Item {
	b.t.Helper()
	it := b.start()
	if it == nil || it.Entry.ID != eid(n) {
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

func describe(it *lanes.Item) string {
	if it == nil {
		return "nothing"
	}
	return fmt.Sprintf("job %d of key %q", it.Entry.ID.Ms, it.Entry.Key)
}

// run makes one attempt at a job that was started.
func (b *bench) run(it *lanes.Item) {
	if c, ended := b.w.run(it); ended {
		b.w.finish(it, c)
	}
}

// finish ends a run that succeeded, without an answer yet.
func (b *bench) finish(it *lanes.Item) { b.w.finish(it, job.Completion{Outcome: job.Done}) }

// answer has the server end all that waits for it as the owner's, and returns what was sent.
func (b *bench) answer() []job.Completion {
	var sent []job.Completion
	b.fake.onAck = func(ends []job.Completion) ([]job.Answer, error) {
		sent = append(sent, ends...)
		return byOwner(ends), nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // what waits is sent all the same
	b.s.driver.RunAcks(ctx)
	return sent
}

func byOwner(ends []job.Completion) []job.Answer {
	return slices.Repeat([]job.Answer{job.ByOwner}, len(ends))
}

func (b *bench) complete(it *lanes.Item) { b.finish(it); b.answer() }

// fakeServer answers what a test sets; everything else succeeds with nothing.
type fakeServer struct {
	stand   job.Stand
	mu      sync.Mutex
	markErr error
	marks   []string
	onMark  func()
	deaths  []time.Time
	onRead  func(block time.Duration) (job.ReadBatch, error)
	onAck   func(ends []job.Completion) ([]job.Answer, error) // of one partition
	pokes   int

	clock, clockAt time.Time
}

func (f *fakeServer) Prepare(context.Context) (int, error)        { return 1, nil }
func (f *fakeServer) Member(job.MemberInfo, time.Duration) Member { return f }
func (f *fakeServer) Reader(int, string) Reader                   { return f }
func (f *fakeServer) Reset(context.Context) error                 { return nil }
func (f *fakeServer) Received() uint64                            { return 0 }
func (f *fakeServer) Clock() (store, at time.Time)                { return f.clock, f.clockAt }
func (f *fakeServer) Close() error                                { return nil }
func (f *fakeServer) AckControl(context.Context, []string) error  { return nil }
func (f *fakeServer) Snapshot(context.Context) (job.Snapshot, error) {
	return job.Snapshot{Owned: []job.OwnedPartition{{Partition: 0, Epoch: 1, Planned: "w.1"}}}, nil
}
func (f *fakeServer) Watch(context.Context, func()) (func(), error) { return func() {}, nil }
func (f *fakeServer) Join(context.Context) ([]job.Joined, error) {
	return []job.Joined{{Partitions: 1}}, nil
}
func (f *fakeServer) Heartbeat(context.Context) ([]job.Beat, error)          { return []job.Beat{{}}, nil }
func (f *fakeServer) Renew(context.Context) ([]job.Beat, error)              { return []job.Beat{{}}, nil }
func (f *fakeServer) Leaving(context.Context) error                          { return nil }
func (f *fakeServer) Left(context.Context) error                             { return nil }
func (f *fakeServer) Heal(context.Context, []int) ([]string, error)          { return nil, nil }
func (f *fakeServer) Stand(context.Context) (job.Stand, error)               { return f.stand, nil }
func (f *fakeServer) Report(context.Context, int, uint64, int, string) error { return nil }
func (f *fakeServer) History(context.Context, int) ([]job.Entry, error)      { return nil, nil }

func (f *fakeServer) Poke(context.Context, int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pokes++
	return nil
}

func (f *fakeServer) Ack(_ context.Context, _ int, batches []job.PartitionAcks) ([][]job.Answer, error) {
	if len(batches) != 1 {
		return nil, errors.New("the bench has one partition")
	}
	answers, err := f.onAck(batches[0].Completions)
	return [][]job.Answer{answers}, err
}

func (f *fakeServer) Mark(_ context.Context, _ job.Tenure, id job.EntryID, runs int, apart time.Duration) error {
	f.marks = append(f.marks, fmt.Sprint(id.Ms, " ", runs, " ", apart))
	if f.onMark != nil {
		f.onMark()
	}
	return f.markErr
}

func (f *fakeServer) Deaths(context.Context, int) ([]time.Time, error) { return f.deaths, f.markErr }

func (f *fakeServer) Read(_ context.Context, _ []int, _ int, block time.Duration) (job.ReadBatch, error) {
	if f.onRead == nil {
		return job.ReadBatch{}, nil
	}
	return f.onRead(block)
}

func (f *fakeServer) Claim(_ context.Context, ts []job.Tenure, _ []string, _ int, _ []int, _ int) job.Claims {
	return job.Claims{Pages: []job.ClaimPage{{Cursor: "0-0"}}, Errs: make([]error, len(ts))}
}

func (f *fakeServer) Release(_ context.Context, ts []job.Tenure, _ [][]job.EntryID, _ bool) ([]job.ReleaseAnswer, []error) {
	return make([]job.ReleaseAnswer, len(ts)), make([]error, len(ts))
}

func (f *fakeServer) Skim(_ context.Context, asks []job.Skim) ([]job.SkimPage, []error) {
	return make([]job.SkimPage, len(asks)), make([]error, len(asks))
}

func (f *fakeServer) Unpark(_ context.Context, asks []job.Unpark) ([]job.UnparkPage, []error) {
	return make([]job.UnparkPage, len(asks)), make([]error, len(asks))
}
