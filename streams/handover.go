package streams

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/failpoint"
	"ringmaster/job"
)

// Claim asks for one page of each of some partitions that the caller was given, in one
// round trip. A page has at most count jobs, and of large ones fewer, so that all pages together
// stay below a bound; but one at least. cursors are parallel to tenures; "" begins a pass, ClaimAll one that also takes
// what is pending for the caller itself, of which it must hold nothing. Each answer has its own
// error; after ErrOutcomeUnknown the marks of that page may be gone: Reset and History.
// The first page of a pass is confirmed at the store's durability (else ErrUnconfirmed).
//
// Along come messages, since partitions are given by the dozen, and new jobs of the partitions in
// also, which would otherwise wait for the claim: at most each of every stream. Their memory, and
// their error, are as Read's.
func (r *Reader) Claim(ctx context.Context, tenures []job.Tenure, cursors []string, count int, also []int, each int) job.Claims {
	calls := make([]*call[claimPage], len(tenures))
	page := max(r.quota/max(len(tenures), 1), leastClaim)
	for i, t := range tenures {
		cursor := cursors[i]
		if cursor == "" {
			cursor = "0-0"
		}
		calls[i] = &call[claimPage]{shard: r.shard, args: []any{r.inc, t.Partition, epochText(t.Epoch), cursor, count, page}}
	}
	how := pipeline{confirm: begins(cursors) && !r.s.opts.Durability.Memory()}
	along := redis.NewRawCmd(ctx, r.readArgs(also, each, -1)...)
	how.last = func(p redis.Pipeliner) { _ = p.Process(ctx, along) } // queues it
	begun, before := time.Now(), r.received.Load()
	pipe(ctx, r.s, r.conn.Pipeline, &r.s.scripts.claim, calls, how)
	r.noteSpeed(int(r.received.Load()-before), time.Since(begun))
	out := job.Claims{Pages: make([]job.ClaimPage, len(calls)), Errs: make([]error, len(calls))}
	for i, k := range calls {
		if out.Errs[i] = k.err; k.err == nil {
			out.Pages[i] = r.claimPage(tenures[i].Partition, k.answer)
		}
	}
	r.forget()
	out.Along, out.AlongErr = r.readBatch(along.Result())
	return out
}

// An answer to claims is to be on its way for a quarter of a second: messages wait behind it. It takes
// longer where many pages have one large job each, since each page brings one.
const (
	leastClaim = 16 << 10 // bytes of a page
	firstClaim = 1 << 20  // of all pages, while nobody knows the link
	mostClaim  = 4 << 20
	claimTime  = 4 // of a second
)

// noteSpeed learns how fast the link is from an answer that was large enough.
func (r *Reader) noteSpeed(bytes int, took time.Duration) {
	if bytes < tapSlow {
		return
	}
	r.speed = int(float64(bytes) / max(took.Seconds(), 1e-6))
	r.quota = max(min(r.speed/claimTime, mostClaim), 4*leastClaim)
}

// claimPage is a page of a claim: the jobs of a page are made of rows and their retry records.
type claimPage struct {
	job.ClaimPage
	rows    []row
	records []string
	clock   uint64
}

func (r *Reader) claimPage(p int, a claimPage) job.ClaimPage {
	r.noteClock(a.clock)
	a.Entries = decode(a.rows, a.records, p, r.q.Partitions)
	return a.ClaimPage
}

func readClaimed(v any) (claimPage, bool) {
	var a claimPage
	r := listOf(v)
	if a.Fenced = r.word("OK", "FENCED") == "FENCED"; a.Fenced {
		return a, r.whole()
	}
	a.Cursor = r.text()
	a.rows, a.records, a.Lost = r.entries(), r.texts(), len(r.texts())
	r.must(a.Cursor != "" && (len(a.records) == 0 || len(a.records) == len(a.rows)))
	r.each(func(x *items) {
		a.Permits = append(a.Permits, job.Permit{ID: x.id(), Holder: x.text(), Key: x.text()})
	})
	r.flat(func(l *items) {
		k := job.ParkedKey{Key: l.text()}
		k.First, _ = job.ParseEntryID(l.text()) // of a list that somebody wrote by hand
		a.Parked = append(a.Parked, k)
	})
	a.LastDelivered, a.Generation, a.clock = r.id(), r.recorded(), r.number()
	return a, r.whole()
}

// begins reports whether a pass begins with one of the pages. What the caller was given is
// confirmed before its first use, on the connection that claims: the change of owner, and
// the ends of former owners' runs that a pass finds, come before it in what replicas get.
func begins(cursors []string) bool {
	return slices.ContainsFunc(cursors, func(c string) bool { return c == "" || c == job.ClaimAll })
}

// Release gives partitions up, in one round trip: for each, running are the entries the
// caller still runs, which it may finish under a permit. leaving hands over to nobody
// if the plan has no other owner.
func (r *Reader) Release(ctx context.Context, tenures []job.Tenure, running [][]job.EntryID, leaving bool) ([]job.ReleaseAnswer, []error) {
	flag := ""
	if leaving {
		flag = "1"
	}
	calls := make([]*call[job.ReleaseAnswer], len(tenures))
	for i, t := range tenures {
		args := []any{r.inc, t.Partition, epochText(t.Epoch), flag}
		for _, id := range running[i] {
			args = append(args, id.String())
		}
		calls[i] = &call[job.ReleaseAnswer]{shard: r.shard, args: args}
	}
	failpoint.Hit(failpoint.W7)
	pipe(ctx, r.s, r.conn.Pipeline, &r.s.scripts.release, calls, pipeline{})
	failpoint.Hit(failpoint.W8)
	out, errs := make([]job.ReleaseAnswer, len(calls)), make([]error, len(calls))
	for i, k := range calls {
		out[i], errs[i] = k.answer, k.err
	}
	return out, errs
}

func readReleased(v any) (job.ReleaseAnswer, bool) {
	a := job.ReleaseAnswer{Outcome: job.ReleaseFailed}
	r := listOf(v)
	switch r.word("FLIPPED", "KEPT", "FENCED", "MISMATCH", "SAME") {
	case "FLIPPED":
		a.Outcome = job.Released
		_, _, _ = r.text(), r.number(), r.text() // target, new epoch, cut
		a.Change, a.Lost = r.recorded(), r.count()
	case "KEPT":
		a.Outcome = job.ReleaseKept
	case "FENCED":
		a.Outcome = job.ReleaseFenced
	}
	return a, r.whole()
}

// Unpark brings parked jobs back, in one round trip: what is asked of one tenure in a row is
// one step. All answers together stay below a bound, but of each tenure one job at least comes
// back: of the keys behind that, fewer than were asked for, or none. Each answer has its own
// error; after ErrOutcomeUnknown what was asked for may be pending for the caller: Reset and
// History.
func (r *Reader) Unpark(ctx context.Context, asks []job.Unpark) ([]job.UnparkPage, []error) {
	var calls []*call[unparked]
	for i, a := range asks {
		if i == 0 || a.Tenure != asks[i-1].Tenure {
			calls = append(calls, &call[unparked]{shard: r.shard, args: []any{r.inc, a.Tenure.Partition, epochText(a.Tenure.Epoch), 0}})
		}
		k := calls[len(calls)-1]
		k.args = append(k.args, a.Key, a.Count)
	}
	for _, k := range calls {
		k.args[unparkHead-1] = max(bytesOfPage/len(calls), 1)
	}
	failpoint.Hit(failpoint.D9)
	pipe(ctx, r.s, r.conn.Pipeline, &r.s.scripts.unpark, calls, pipeline{})
	pages, errs := make([]job.UnparkPage, 0, len(asks)), make([]error, 0, len(asks))
	for _, k := range calls {
		asked := (len(k.args) - unparkHead) / 2
		if a := k.answer; k.err == nil && !a.fenced && len(a.keys) != asked {
			misfit(&r.s.scripts.unpark, k)
		}
		if k.err == nil {
			r.noteClock(k.answer.clock)
		}
		for i := range asked {
			page, err := job.UnparkPage{Fenced: k.answer.fenced}, k.err
			if err == nil && !page.Fenced {
				page, err = k.answer.keys[i].page(asks[len(pages)].Tenure.Partition, r.q.Partitions)
			}
			pages, errs = append(pages, page), append(errs, err)
		}
	}
	return pages, errs
}

// unparkHead is how many arguments of unpark.lua come before the keys.
const unparkHead = 4

// unparked is what came back of parked jobs, by key as asked.
type unparked struct {
	fenced bool
	clock  uint64
	keys   []unparkedKey
}

// unparkedKey is what came back of one key's.
type unparkedKey struct {
	job.UnparkPage
	rows    []row
	records []string
	failure string // why its list cannot be read
}

func readUnparked(v any) (unparked, bool) {
	var a unparked
	r := listOf(v)
	if a.fenced = r.word("OK", "FENCED") == "FENCED"; a.fenced {
		return a, r.whole()
	}
	a.clock = r.number()
	r.rows(func(x *items) {
		var k unparkedKey
		left, ok := x.next().(int64)
		k.Left, k.rows, k.records = int(left), x.entries(), x.texts()
		x.must(ok && left >= -1 && (len(k.records) == len(k.rows)))
		if first := x.text(); left < 0 {
			k.failure = first
		} else {
			k.First, _ = job.ParseEntryID(first) // "": none is left
		}
		k.Taken = x.count()
		a.keys = append(a.keys, k)
	})
	return a, r.whole()
}

func (k unparkedKey) page(p, partitions int) (job.UnparkPage, error) {
	if k.Left < 0 {
		return job.UnparkPage{}, fmt.Errorf("bring parked jobs back: %s", k.failure)
	}
	k.Entries = decode(k.rows, k.records, p, partitions)
	return k.UnparkPage, nil
}

// Skim reads new jobs of tenures that have keys with parked jobs, in one round trip, and parks those
// of these keys in the same step. Each answer has its own error; after ErrOutcomeUnknown jobs may
// have been handed out, and others parked: Reset and History.
func (r *Reader) Skim(ctx context.Context, asks []job.Skim) ([]job.SkimPage, []error) {
	calls := make([]*call[skimmed], len(asks))
	for i, a := range asks {
		calls[i] = &call[skimmed]{shard: r.shard, args: []any{r.inc, a.Tenure.Partition, epochText(a.Tenure.Epoch), a.Room, a.Most, max(bytesOfPage/len(asks), 1)}}
	}
	pipe(ctx, r.s, r.conn.Pipeline, &r.s.scripts.skim, calls, pipeline{})
	pages, errs := make([]job.SkimPage, len(asks)), make([]error, len(asks))
	for i, k := range calls {
		if errs[i] = k.err; k.err == nil {
			pages[i] = k.answer.SkimPage
			pages[i].Entries = decode(k.answer.rows, nil, asks[i].Tenure.Partition, r.q.Partitions)
		}
	}
	return pages, errs
}

// skimmed is what a skim has read: the jobs that came are made of rows.
type skimmed struct {
	job.SkimPage
	rows []row
}

func readSkimmed(v any) (skimmed, bool) {
	var a skimmed
	r := listOf(v)
	if a.Fenced = r.word("OK", "FENCED") == "FENCED"; a.Fenced {
		return a, r.whole()
	}
	a.Read, a.rows = r.count(), r.entries()
	r.rows(func(x *items) {
		a.Parked = append(a.Parked, job.ParkedJobs{Key: x.text(), Count: x.count(), First: x.id(), Last: x.id(), Bytes: x.count(), Largest: x.count()})
	})
	return a, r.whole()
}

// snapshotParts bounds how long one page holds the server.
const snapshotParts = 512

// Snapshot reads what the records say of the caller, at one moment: in pages, and anew if
// something of the caller's has changed between them. It blocks for a round trip for each.
func (r *Reader) Snapshot(ctx context.Context) (job.Snapshot, error) {
	for {
		s, whole, err := r.snapshot(ctx)
		if err != nil || whole {
			return s, err
		}
	}
}

func (r *Reader) snapshot(ctx context.Context) (s job.Snapshot, whole bool, err error) {
	step := r.q.Shards
	for first := r.number; first < r.q.Partitions; first += snapshotParts * step {
		last := min(first+(snapshotParts-1)*step, r.q.Partitions-1)
		a, err := run(ctx, r.s, r.conn, &r.s.scripts.snapshot, r.shard, r.inc, first, last, step)
		if err != nil {
			return job.Snapshot{}, false, err
		}
		b := a.beat
		if b.Fenced {
			return job.Snapshot{Beat: b}, true, nil
		}
		if first != r.number && (b.RingEpoch != s.RingEpoch || b.Change != s.Change) {
			return job.Snapshot{}, false, nil
		}
		s.Beat, s.Owned = b, append(s.Owned, a.parts...)
	}
	return s, true, nil
}

// owned is a page of what the records say of a worker.
type owned struct {
	beat  job.Beat
	parts []job.OwnedPartition
}

func readOwned(v any) (owned, bool) {
	r := listOf(v)
	a := owned{beat: r.beat()}
	if !a.beat.Fenced {
		r.flat(func(l *items) {
			a.parts = append(a.parts, job.OwnedPartition{Partition: int(l.number()), Epoch: l.recorded(), Planned: l.text()})
		})
	}
	return a, r.whole()
}

// beat is how the ring stands for a worker, or that it is no member.
func (r *items) beat() job.Beat {
	if r.word("OK", "FENCED") == "FENCED" {
		return job.Beat{Fenced: true}
	}
	return job.Beat{RingEpoch: r.recorded(), Phase: int(r.recorded()), Mode: r.text(), Change: r.recorded()}
}

func readBeat(v any) (job.Beat, bool) {
	r := listOf(v)
	b := r.beat()
	return b, r.whole()
}
