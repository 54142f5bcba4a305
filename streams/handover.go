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
	calls := make([]*call, len(tenures))
	page := max(r.quota/max(len(tenures), 1), leastClaim)
	for i, t := range tenures {
		cursor := cursors[i]
		if cursor == "" {
			cursor = "0-0"
		}
		calls[i] = &call{shard: r.shard, args: []any{r.inc, t.Partition, epochText(t.Epoch), cursor, count, page}}
	}
	how := pipeline{confirm: begins(cursors) && !r.s.opts.Durability.Memory()}
	along := redis.NewRawCmd(ctx, r.readArgs(also, each, -1)...)
	how.last = func(p redis.Pipeliner) { _ = p.Process(ctx, along) } // queues it
	begun, before := time.Now(), r.received.Load()
	r.s.pipe(ctx, r.conn.Pipeline, &r.s.scripts.claim, calls, how)
	r.noteSpeed(int(r.received.Load()-before), time.Since(begun))
	out := job.Claims{Pages: make([]job.ClaimPage, len(calls)), Errs: make([]error, len(calls))}
	for i, k := range calls {
		if out.Errs[i] = k.err; k.err == nil {
			out.Pages[i] = r.claimPage(tenures[i].Partition, list(k.value))
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

func (r *Reader) claimPage(p int, v []any) job.ClaimPage {
	if text(at(v, 0)) != "OK" {
		return job.ClaimPage{Fenced: true}
	}
	page := job.ClaimPage{
		Cursor:  text(at(v, 1)),
		Entries: entriesWithRetries(list(at(v, 2)), list(at(v, 3)), p, r.q.Partitions),
		Lost:    len(list(at(v, 4))),
	}
	for l := texts(at(v, 6)); len(l) > 1; l = l[2:] {
		first, _ := job.ParseEntryID(l[1])
		page.Parked = append(page.Parked, job.ParkedKey{Key: l[0], First: first})
	}
	page.LastDelivered, _ = job.ParseEntryID(text(at(v, 7)))
	page.Generation = number(at(v, 8))
	r.noteClock(number(at(v, 9)))
	for _, raw := range list(at(v, 5)) {
		x := list(raw)
		if id, ok := job.ParseEntryID(text(at(x, 0))); ok {
			page.Permits = append(page.Permits, job.Permit{ID: id, Holder: text(at(x, 1)), Key: text(at(x, 2))})
		}
	}
	return page
}

// entriesWithRetries pairs rows with their records before rows without a message drop out.
func entriesWithRetries(rows, records []any, p, partitions int) []job.Entry {
	if len(rows) == 0 {
		return nil
	}
	es := entries(rows, p, partitions)
	if len(es) == len(rows) {
		return withRetries(es, records)
	}
	byID := make(map[string]any, len(rows))
	for i, row := range rows {
		byID[text(at(list(row), 0))] = at(records, i)
	}
	for i := range es {
		es[i].Retry = text(byID[es[i].ID.String()])
	}
	return es
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
	calls := make([]*call, len(tenures))
	for i, t := range tenures {
		args := []any{r.inc, t.Partition, epochText(t.Epoch), flag}
		for _, id := range running[i] {
			args = append(args, id.String())
		}
		calls[i] = &call{shard: r.shard, args: args}
	}
	failpoint.Hit(failpoint.W7)
	r.s.pipe(ctx, r.conn.Pipeline, &r.s.scripts.release, calls, pipeline{})
	failpoint.Hit(failpoint.W8)
	out, errs := make([]job.ReleaseAnswer, len(calls)), make([]error, len(calls))
	for i, k := range calls {
		if errs[i] = k.err; k.err != nil {
			continue
		}
		l := list(k.value)
		switch text(at(l, 0)) {
		case "FLIPPED":
			out[i] = job.ReleaseAnswer{Outcome: job.Released, Change: number(at(l, 4)), Lost: int(number(at(l, 5)))}
		case "KEPT":
			out[i].Outcome = job.ReleaseKept
		case "FENCED":
			out[i].Outcome = job.ReleaseFenced
		default:
			out[i].Outcome = job.ReleaseFailed
		}
	}
	return out, errs
}

// Unpark brings parked jobs back, in one round trip: what is asked of one tenure in a row is
// one step. All answers together stay below a bound, but of each tenure one job at least comes
// back: of the keys behind that, fewer than were asked for, or none. Each answer has its own
// error; after ErrOutcomeUnknown what was asked for may be pending for the caller: Reset and
// History.
func (r *Reader) Unpark(ctx context.Context, asks []job.Unpark) ([]job.UnparkPage, []error) {
	var calls []*call
	for i, a := range asks {
		if i == 0 || a.Tenure != asks[i-1].Tenure {
			calls = append(calls, &call{shard: r.shard, args: []any{r.inc, a.Tenure.Partition, epochText(a.Tenure.Epoch), 0}})
		}
		k := calls[len(calls)-1]
		k.args = append(k.args, a.Key, a.Count)
	}
	for _, k := range calls {
		k.args[unparkHead-1] = max(bytesOfPage/len(calls), 1)
	}
	failpoint.Hit(failpoint.D9)
	r.s.pipe(ctx, r.conn.Pipeline, &r.s.scripts.unpark, calls, pipeline{})
	pages, errs := make([]job.UnparkPage, 0, len(asks)), make([]error, 0, len(asks))
	for _, k := range calls {
		answer, asked := list(k.value), (len(k.args)-unparkHead)/2
		fenced := text(at(answer, 0)) == "FENCED"
		if k.err == nil && !fenced && (len(answer) != unparkAnswer+asked || slices.ContainsFunc(answer[unparkAnswer:], func(v any) bool { return len(list(v)) != 5 })) {
			k.err = badAnswer("unpark", k.value)
		}
		if k.err == nil && !fenced {
			r.noteClock(number(at(answer, 1)))
		}
		for i := range asked {
			page, err := job.UnparkPage{Fenced: fenced}, k.err
			if err == nil && !fenced {
				page, err = r.unparkPage(asks[len(pages)].Tenure.Partition, list(answer[unparkAnswer+i]))
			}
			pages, errs = append(pages, page), append(errs, err)
		}
	}
	return pages, errs
}

// unparkHead is how many arguments of unpark.lua come before the keys, unparkAnswer how much of its
// answer does.
const (
	unparkHead   = 4
	unparkAnswer = 2
)

func (r *Reader) unparkPage(p int, v []any) (job.UnparkPage, error) {
	if left, _ := at(v, 0).(int64); left < 0 {
		return job.UnparkPage{}, fmt.Errorf("bring parked jobs back: %s", text(at(v, 3)))
	}
	page := job.UnparkPage{Left: int(number(at(v, 0))), Taken: int(number(at(v, 4)))}
	page.Entries = entriesWithRetries(list(at(v, 1)), list(at(v, 2)), p, r.q.Partitions)
	page.First, _ = job.ParseEntryID(text(at(v, 3)))
	return page, nil
}

// Skim reads new jobs of tenures that have keys with parked jobs, in one round trip, and parks those
// of these keys in the same step. Each answer has its own error; after ErrOutcomeUnknown jobs may
// have been handed out, and others parked: Reset and History.
func (r *Reader) Skim(ctx context.Context, asks []job.Skim) ([]job.SkimPage, []error) {
	calls := make([]*call, len(asks))
	for i, a := range asks {
		calls[i] = &call{shard: r.shard, args: []any{r.inc, a.Tenure.Partition, epochText(a.Tenure.Epoch), a.Room, a.Most, max(bytesOfPage/len(asks), 1)}}
	}
	r.s.pipe(ctx, r.conn.Pipeline, &r.s.scripts.skim, calls, pipeline{})
	pages, errs := make([]job.SkimPage, len(asks)), make([]error, len(asks))
	for i, k := range calls {
		if errs[i] = k.err; k.err == nil {
			pages[i], errs[i] = r.skimPage(asks[i].Tenure.Partition, list(k.value))
		}
	}
	return pages, errs
}

func (r *Reader) skimPage(p int, v []any) (job.SkimPage, error) {
	if text(at(v, 0)) == "FENCED" {
		return job.SkimPage{Fenced: true}, nil
	}
	page := job.SkimPage{Read: int(number(at(v, 1))), Entries: entries(list(at(v, 2)), p, r.q.Partitions)}
	for _, raw := range v[3:] {
		x := list(raw)
		set := job.ParkedJobs{Key: text(at(x, 0)), Count: int(number(at(x, 1))), Bytes: int(number(at(x, 4))), Largest: int(number(at(x, 5)))}
		var first, last bool
		set.First, first = job.ParseEntryID(text(at(x, 2)))
		set.Last, last = job.ParseEntryID(text(at(x, 3)))
		if !first || !last {
			return page, badAnswer("skim", v)
		}
		page.Parked = append(page.Parked, set)
	}
	return page, nil
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
		v, err := r.s.run(ctx, r.conn, &r.s.scripts.snapshot, r.shard, r.inc, first, last, step)
		if err != nil {
			return job.Snapshot{}, false, err
		}
		b := beat(list(v))
		if b.Fenced {
			return job.Snapshot{Beat: b}, true, nil
		}
		if first != r.number && (b.RingEpoch != s.RingEpoch || b.Change != s.Change) {
			return job.Snapshot{}, false, nil
		}
		s.Beat = b
		for mine := texts(at(list(v), 5)); len(mine) > 2; mine = mine[3:] {
			s.Owned = append(s.Owned, job.OwnedPartition{Partition: int(number(mine[0])), Epoch: number(mine[1]), Planned: mine[2]})
		}
	}
	return s, true, nil
}

// beat reads {'FENCED'} or {'OK', ring epoch, phase, mode, change number}.
func beat(l []any) job.Beat {
	if text(at(l, 0)) != "OK" {
		return job.Beat{Fenced: true}
	}
	return job.Beat{RingEpoch: number(at(l, 1)), Phase: int(number(at(l, 2))), Mode: text(at(l, 3)), Change: number(at(l, 4))}
}
