package streams

import (
	"context"

	"ringmaster/job"
)

// Sighting is what an audit sees of one partition, all at one moment.
type Sighting struct {
	Partition int
	Owner     OwnerRecord // Incarnation "" if there is no readable record
	Planned   string      // "" if there is none
	Groups    []string    // of the job stream
	Last, Top job.EntryID // handed out; given out by the stream, with or without an entry
	Newest    job.EntryID // of the entries that are there
	Added     int64       // entries ever added; -1: the server does not count them (in-memory store)
	Pending   []Holding
	Parked    []string // keys with parked jobs, at most 100
	Type      string   // of the stream's key: stream, or none, or what somebody wrote by hand
}

// Holding is how many entries are pending under one consumer.
type Holding struct {
	Consumer    string
	Incarnation string // of a drainer's permit; "" if it is none
	Reclaim     bool   // marked: the owner takes them over next
	Count       int
}

// Sightings looks at all partitions of a queue. It blocks for a round trip or two. Each
// partition is seen at one moment, not all of them.
func (in *Inspector) Sightings(ctx context.Context, queue string) ([]Sighting, error) {
	q, err := in.s.lookup(ctx, queue)
	if err != nil {
		return nil, err
	}
	const page = 16 // the server tells of each stream its first and last entry, payloads included
	var calls []*call[[]Sighting]
	for sh := range q.Shards {
		for first := sh; first < q.Partitions; first += page * q.Shards {
			k := &call[[]Sighting]{shard: in.s.shard(q, sh)}
			for p := first; p < q.Partitions && len(k.args) < page; p += q.Shards {
				k.args = append(k.args, p)
			}
			calls = append(calls, k)
		}
	}
	runAll(ctx, in.s, in.s.admin, &in.s.scripts.audit, calls)
	out := make([]Sighting, q.Partitions)
	for _, k := range calls {
		if k.err != nil {
			return nil, k.err
		}
		for _, v := range k.answer {
			if v.Partition < len(out) {
				out[v.Partition] = v
			}
		}
	}
	return out, nil
}

func readSightings(v any) ([]Sighting, bool) {
	var out []Sighting
	r := listOf(v)
	for r.more() {
		x := Sighting{Partition: int(r.number())}
		if inc, epoch, ok := ownerRecord(r.text()); ok {
			x.Owner = OwnerRecord{inc, epoch}
		}
		x.Planned, x.Groups, x.Last, x.Top = r.text(), r.texts(), r.id(), r.id()
		added, ok := r.next().(int64)
		r.must(ok)
		x.Added = added
		r.flat(func(l *items) {
			h := Holding{Consumer: l.text(), Count: l.count()}
			h.Reclaim = h.Consumer == reclaim
			if inc, _, ok := holder(h.Consumer); ok {
				h.Incarnation = inc
			}
			x.Pending = append(x.Pending, h)
		})
		x.Parked, x.Type, x.Newest = r.texts(), r.text(), r.id()
		out = append(out, x)
	}
	return out, r.whole()
}

// OpenJob is a job that has not ended.
type OpenJob struct {
	ID  job.EntryID
	Key string
}

// OpenJobs calls f with a partition's jobs up to top that have not ended, in order, a
// page at a time: jobs that nobody has read, pending ones and parked ones. Jobs that end
// while it reads may be given or not. It looks at every entry of the stream, at most 100
// and about 1 MiB of them in one step of the server.
func (in *Inspector) OpenJobs(ctx context.Context, queue string, partition int, top job.EntryID, f func([]OpenJob)) error {
	const page = 100
	q, err := in.s.queueForRead(ctx, queue)
	if err != nil {
		return err
	}
	if partition < 0 || partition >= q.Partitions {
		return job.Invalid("partition %d: queue %s has 0 to %d", partition, queue, q.Partitions-1)
	}
	for from := "-"; from != ""; {
		some, err := run(ctx, in.s, in.s.admin, &in.s.scripts.ids, in.s.shardOf(q, partition), partition, from, top.String(), page)
		if err != nil {
			return err
		}
		f(some.jobs)
		from = some.next
	}
	return nil
}

// idsPage is a page of open jobs, and where to go on; "": that was all.
type idsPage struct {
	next string
	jobs []OpenJob
}

func readIDs(v any) (idsPage, bool) {
	r := listOf(v)
	a := idsPage{next: r.text()}
	for r.more() {
		a.jobs = append(a.jobs, OpenJob{r.id(), r.text()})
	}
	return a, r.whole()
}

// Reclaim marks what is pending under a consumer that can end nothing, so that the owner
// takes it over: one that is neither the owner's, nor a permit of a member. The script
// looks itself, so it needs no leader and harms none. It returns how many jobs it marked.
func (s *Store) Reclaim(ctx context.Context, queue string, partition int, consumer string) (int, error) {
	q, err := s.lookup(ctx, queue)
	if err != nil {
		return 0, err
	}
	for marked := 0; ; {
		n, err := run(ctx, s, s.admin, &s.scripts.reclaim, s.shardOf(q, partition), partition, consumer)
		if err != nil {
			return marked, err
		}
		if marked += n; n == 0 {
			return marked, nil
		}
	}
}

// RingSummary is a queue's ring without its partitions.
type RingSummary struct {
	Epoch   uint64
	Phase   int
	Leader  string // dispatcher, "" if none leads
	Members []MemberRecord
}

// Ring tells who leads a queue and who its members are, with what is left of their leases.
func (in *Inspector) Ring(ctx context.Context, queue string) (RingSummary, error) {
	q, err := in.s.lookup(ctx, queue)
	if err != nil {
		return RingSummary{}, err
	}
	rec, leader, err := in.records(ctx, q)
	return RingSummary{Epoch: rec.Epoch, Phase: rec.Phase, Leader: leader, Members: rec.Members}, err
}

// HeldKeys are keys, at most limit, that may stand still: of jobs with a failed attempt
// behind them, of jobs that were set aside, and of jobs that former owners still run.
func (in *Inspector) HeldKeys(ctx context.Context, queue string, limit int) ([]string, error) {
	q, err := in.s.lookup(ctx, queue)
	if err != nil {
		return nil, err
	}
	var keys []string
	seen := map[string]bool{}
	for p := 0; p < q.Partitions && len(keys) < limit; p++ {
		some, err := run(ctx, in.s, in.s.admin, &in.s.scripts.held, in.s.shardOf(q, p), p, limit-len(keys))
		if err != nil {
			return nil, err
		}
		for _, key := range some {
			if key != "" && !seen[key] {
				seen[key] = true
				keys = append(keys, key)
			}
		}
	}
	return keys, nil
}
