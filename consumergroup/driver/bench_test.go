package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
	"ringmaster/resize"
)

// bench is a driver with one open partition, and no goroutines: a test does the steps of Run,
// of RunAcks and of who runs the jobs itself, in the order it wants.
type bench struct {
	t    testing.TB
	d    *Driver
	mu   sync.Mutex // the driver's lock
	pool *lanes.Pool
	ten  *lanes.Tenure
	fake *fakeStore
}

func newBench(t testing.TB) *bench {
	t.Helper()
	limits := lanes.Limits{Window: 256, ReadBudget: 1024, MostBudget: 8192, ReadBytes: 4 << 20, HeldBytes: 64 << 20, ParkBeyond: 16, Backoff: 16 << 10, IdleLanes: 16 << 10}
	b := &bench{t: t, pool: lanes.NewPool(limits, bystander{}), fake: &fakeStore{}}
	b.d = New(Config{Block: time.Second, Lease: 3 * time.Second, Drain: 25 * time.Second},
		Deps{Reader: b.fake, Member: b.fake, Clock: bystander{}, Due: make(signal, 1), Merge: make(turnstile, 1), Host: bystander{},
			Log: slog.New(slog.DiscardHandler), Lock: &b.mu, Pool: b.pool}, resize.Joined{})
	b.d.events = nil // a test tells the participant itself that it has joined, if it matters
	b.ten, _ = b.d.lanes.Claim(0, 1, true)
	b.d.lanes.Claimed(0, 1, &job.ClaimPage{Cursor: "0-0"}, time.Now())
	b.d.lanes.SetGate(0, 1, true, time.Now())
	b.d.lanes.StartReading(0, 1)
	b.d.lanes.StartOpened(time.Now())
	return b
}

// bystander is a process around a driver that has no wishes and tells nobody, its clock, and who
// runs its jobs.
type bystander struct{}

func (bystander) Broken(*lanes.Item) job.Completion      { return job.Completion{Outcome: job.Buried} }
func (bystander) Before(string, time.Time) lanes.Prior   { return lanes.Prior{Attempts: 1} }
func (bystander) Poke()                                  {}
func (bystander) Stirred()                               {}
func (bystander) Asked(string)                           {}
func (bystander) Alone() bool                            { return false }
func (bystander) Arrived()                               {}
func (bystander) Turns(time.Time)                        {}
func (bystander) Waits(context.Context, string) Patience { return bystander{} }
func (bystander) Failed(error)                           {}
func (bystander) Answered()                              {}
func (bystander) Over()                                  {}
func (bystander) Ready()                                 {}
func (bystander) Quiet()                                 {}
func (bystander) Alarm()                                 {}
func (bystander) Now() time.Time                         { return time.Now() }
func (bystander) Sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

type signal chan struct{}

func (c signal) Set() {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (c signal) Wait(ctx context.Context) bool {
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}

// turnstile is a Gate that lets one through at a time: no test sends more.
type turnstile chan struct{}

func (c turnstile) Enter(ctx context.Context) error {
	select {
	case c <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c turnstile) Close(ctx context.Context) error { return c.Enter(ctx) }
func (c turnstile) Leave()                          { <-c }
func (c turnstile) Open()                           { <-c }

func eid(n int) job.EntryID { return job.EntryID{Ms: uint64(n), Seq: 0} }

func entry(n int, key string) job.Entry {
	return job.Entry{ID: eid(n), Type: "t", Key: key, Payload: json.RawMessage("null")}
}

func (b *bench) arrive(es ...job.Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.d.lanes.Arrive(0, es, time.Now())
}

// running is a job that nobody can end.
type running struct{}

func (running) End(error) {}

// start takes the next job that may run, nil if none may.
func (b *bench) start() *lanes.Item {
	b.mu.Lock()
	defer b.mu.Unlock()
	it := b.pool.Next(time.Now())
	if it != nil {
		it.Run = running{}
	}
	return it
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

// finish ends a run that succeeded, without an answer yet.
func (b *bench) finish(it *lanes.Item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pool.Finished(it, job.Completion{Outcome: job.Done})
}

// sendEnds is a turn of RunAcks.
func (b *bench) sendEnds(ctx context.Context) {
	b.mu.Lock()
	batch := b.d.ends
	b.d.ends = nil
	b.mu.Unlock()
	b.d.flush(ctx, batch)
}

// complete ends a run that succeeded, and has the store answer that.
func (b *bench) complete(it *lanes.Item) { b.finish(it); b.sendEnds(b.t.Context()) }

// fakeStore answers what a test sets; everything else succeeds with nothing.
type fakeStore struct {
	onRead  func(parts []int) (job.ReadBatch, error)
	history []job.Entry
	asked   int    // for the history
	epoch   uint64 // of partition 0, by the records; 0: 1
}

func (f *fakeStore) Reset(context.Context) error                            { return nil }
func (f *fakeStore) AckControl(context.Context, []string) error             { return nil }
func (f *fakeStore) Heal(context.Context, []int) ([]string, error)          { return nil, nil }
func (f *fakeStore) Report(context.Context, int, uint64, int, string) error { return nil }

func (f *fakeStore) Snapshot(context.Context) (job.Snapshot, error) {
	return job.Snapshot{Owned: []job.OwnedPartition{{Partition: 0, Epoch: max(f.epoch, 1), Planned: "w.1"}}}, nil
}

func (f *fakeStore) History(context.Context, int) ([]job.Entry, error) {
	f.asked++
	return f.history, nil
}

// Ack says of every end that the owner may end it.
func (f *fakeStore) Ack(_ context.Context, _ int, batches []job.PartitionAcks) ([][]job.Answer, error) {
	out := make([][]job.Answer, len(batches))
	for i, b := range batches {
		for range b.Completions {
			out[i] = append(out[i], job.ByOwner)
		}
	}
	return out, nil
}

func (f *fakeStore) Read(_ context.Context, parts []int, _ int, _ time.Duration) (job.ReadBatch, error) {
	if f.onRead == nil {
		return job.ReadBatch{}, nil
	}
	return f.onRead(parts)
}

func (f *fakeStore) Claim(_ context.Context, ts []job.Tenure, _ []string, _ int, _ []int, _ int) job.Claims {
	return job.Claims{Pages: []job.ClaimPage{{Cursor: "0-0"}}, Errs: make([]error, len(ts))}
}

func (f *fakeStore) Release(_ context.Context, ts []job.Tenure, _ [][]job.EntryID, _ bool) ([]job.ReleaseAnswer, []error) {
	return make([]job.ReleaseAnswer, len(ts)), make([]error, len(ts))
}

func (f *fakeStore) Skim(_ context.Context, asks []job.Skim) ([]job.SkimPage, []error) {
	return make([]job.SkimPage, len(asks)), make([]error, len(asks))
}

func (f *fakeStore) Unpark(_ context.Context, asks []job.Unpark) ([]job.UnparkPage, []error) {
	return make([]job.UnparkPage, len(asks)), make([]error, len(asks))
}
