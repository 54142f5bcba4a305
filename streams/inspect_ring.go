package streams

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// RingView shows who owns what. Records and counts are not read at one moment.
func (in *Inspector) RingView(ctx context.Context, queue string) (job.RingView, error) {
	q, err := in.s.lookup(ctx, queue)
	if err != nil {
		return job.RingView{}, err
	}
	rec, leader, err := in.records(ctx, q)
	if err != nil {
		return job.RingView{}, err
	}
	counts, err := in.counts(ctx, q, false)
	if err != nil {
		return job.RingView{}, err
	}
	v := job.RingView{Queue: q.Name, Epoch: rec.Epoch, Phase: rec.Phase, Mode: rec.Mode, Leader: leader, Members: []job.RingMember{}}
	for _, m := range rec.Members {
		v.Members = append(v.Members, job.RingMember{Name: m.Name, Incarnation: m.Incarnation, State: m.State, Weight: m.Weight})
	}
	members := map[string]bool{}
	for _, m := range rec.Members {
		members[m.Incarnation] = true
	}
	v.Partitions = make([]job.PartitionView, q.Partitions)
	for p := range v.Partitions {
		o, c := rec.Owners[p], counts[p]
		owner := o.Incarnation
		if !members[owner] {
			owner = "-"
		}
		v.Partitions[p] = job.PartitionView{Partition: p, Owner: owner, Epoch: o.Epoch, Pending: c.pending, Draining: c.draining}
	}
	return v, nil
}

// records are what a leader sees, and who leads. Members come by name.
func (in *Inspector) records(ctx context.Context, q Queue) (Records, string, error) {
	rec, err := in.s.NewRing(q, "").Look(ctx)
	if err != nil {
		return Records{}, "", err
	}
	leader, err := in.s.leader(ctx, q)
	if err != nil {
		return Records{}, "", err
	}
	for i := range rec.Members {
		m := &rec.Members[i]
		if mendMember(&m.MemberInfo); m.State == "up" && m.LeaseLeft < 0 {
			m.State = "silent"
		}
	}
	slices.SortFunc(rec.Members, func(a, b MemberRecord) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Incarnation, b.Incarnation))
	})
	return rec, leader, nil
}

// mendMember gives a member whose record is not readable the name in its incarnation.
func mendMember(m *job.MemberInfo) {
	if m.State != "up" && m.State != "leaving" {
		m.State = "unknown"
	}
	if m.Name == "" {
		m.Name = m.Incarnation
		if i := strings.LastIndexByte(m.Incarnation, '.'); i > 0 {
			m.Name = m.Incarnation[:i]
		}
	}
}

// partCounts are the counts of one partition.
type partCounts struct{ partition, pending, draining, waiting, parked, dead int }

// counts asks for all partitions of a queue, a page of a shard at a time; all asks for
// what is costly too.
func (in *Inspector) counts(ctx context.Context, q Queue, all bool) ([]partCounts, error) {
	page, flag := 256, ""
	if all {
		page, flag = 8, "1" // of each some entries are read
	}
	var calls []*call[[]partCounts]
	for sh := range q.Shards {
		for first := sh; first < q.Partitions; first += page * q.Shards {
			k := &call[[]partCounts]{shard: in.s.shard(q, sh), args: []any{flag}}
			for p := first; p < q.Partitions && len(k.args) <= page; p += q.Shards {
				k.args = append(k.args, p)
			}
			calls = append(calls, k)
		}
	}
	runAll(ctx, in.s, in.s.admin, &in.s.scripts.counts, calls)
	out := make([]partCounts, q.Partitions)
	for _, k := range calls {
		if k.err != nil {
			return nil, k.err
		}
		for _, c := range k.answer {
			if c.partition < len(out) {
				out[c.partition] = c
			}
		}
	}
	return out, nil
}

func readCounts(v any) ([]partCounts, bool) {
	var out []partCounts
	r := listOf(v)
	for r.more() {
		c := partCounts{partition: int(r.number())}
		r.text() // its owner
		c.pending, c.draining, c.waiting, c.parked, c.dead = r.count(), r.count(), r.count(), r.count(), r.count()
		out = append(out, c)
	}
	return out, r.whole()
}

// QueueView shows one queue with its counts. Waiting is exact as long as a partition's
// stream holds at most 256 entries, or 1 MiB of eight partitions, that were handed out; beyond
// that it may be too high by jobs that have ended but stand above an old unfinished one.
func (in *Inspector) QueueView(ctx context.Context, queue string) (job.QueueView, error) {
	q, err := in.s.lookup(ctx, queue)
	if err != nil {
		return job.QueueView{}, err
	}
	return in.queueView(ctx, q)
}

func (in *Inspector) queueView(ctx context.Context, q Queue) (job.QueueView, error) {
	rec, leader, err := in.records(ctx, q)
	if err != nil {
		return job.QueueView{}, err
	}
	counts, err := in.counts(ctx, q, true)
	if err != nil {
		return job.QueueView{}, err
	}
	v := job.QueueView{Queue: q.Name, Partitions: q.Partitions, Shards: q.Shards, Journal: q.Journal, Created: q.Created,
		Epoch: rec.Epoch, Phase: rec.Phase, Mode: rec.Mode, Leader: leader}
	living := map[string]bool{}
	for _, m := range rec.Members {
		if m.LeaseLeft > 0 {
			v.Members++
			living[m.Incarnation] = true
		}
	}
	for p, c := range counts {
		if living[rec.Owners[p].Incarnation] {
			v.Owned++
		}
		v.Waiting += c.waiting
		v.Pending += c.pending
		v.Draining += c.draining
		v.Parked += c.parked
		v.Dead += c.dead
	}
	return v, nil
}

// QueueViews shows all queues, by name. A queue whose record is not readable is left out;
// one with damaged keys is shown without counts, and does not hide the others.
func (in *Inspector) QueueViews(ctx context.Context) ([]job.QueueView, error) {
	qs, _, err := in.s.Queues(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]job.QueueView, 0, len(qs))
	for _, q := range qs {
		v, err := in.queueView(ctx, q)
		if err != nil && (IsUnreachable(err) || ctx.Err() != nil) {
			return nil, err
		}
		if err != nil {
			v = job.QueueView{Queue: q.Name, Partitions: q.Partitions, Shards: q.Shards, Journal: q.Journal, Created: q.Created, Error: err.Error()}
		}
		out = append(out, v)
	}
	return out, nil
}

// RingHistory is the last n messages of the resize protocol, oldest first: those of all
// shards, by time.
func (in *Inspector) RingHistory(ctx context.Context, queue string, n int) ([]job.HistoryEntry, error) {
	q, err := in.s.lookup(ctx, queue)
	if err != nil {
		return nil, err
	}
	if n < 1 {
		return nil, job.Invalid("number of messages: %d is not at least 1", n)
	}
	out := []job.HistoryEntry{}
	for sh := range q.Shards {
		rows, err := in.s.admin.XRevRangeN(ctx, controlKey(in.s.shard(q, sh)), "+", "-", int64(n)).Result()
		if err != nil {
			return nil, wrap("read control stream", err)
		}
		for _, row := range rows {
			out = append(out, historyEntry(row))
		}
	}
	slices.SortStableFunc(out, func(a, b job.HistoryEntry) int {
		x, _ := job.ParseEntryID(a.ID)
		y, _ := job.ParseEntryID(b.ID)
		return x.Compare(y)
	})
	return out[max(0, len(out)-n):], nil
}

func historyEntry(row redis.XMessage) job.HistoryEntry {
	field := func(name string) string {
		v, _ := row.Values[name].(string)
		return strings.ToValidUTF8(v, "\uFFFD")
	}
	e := job.HistoryEntry{ID: row.ID, Type: field("type"), Name: field("name"), Epoch: recorded(field("epoch")), Term: recorded(field("term"))}
	if id, ok := job.ParseEntryID(row.ID); ok {
		e.Time = id.Time()
	}
	e.Phase, _ = strconv.Atoi(field("phase"))
	e.Data = json.RawMessage("null")
	if data := field("data"); data != "" {
		e.Data, _ = job.TextPayload(data)
	}
	return e
}
