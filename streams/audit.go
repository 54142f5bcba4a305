package streams

import (
	"context"
	"strconv"

	"ringmaster/job"
)

// Sighting is what an audit sees of one partition, all at one moment.
type Sighting struct {
	Partition int
	Owner     OwnerRecord // Incarnation "" if there is no readable record
	Planned   string      // "" if there is none
	Groups    []string    // of the job stream
	Last, Top job.EntryID // handed out; in the stream
	Added     int64       // entries ever added; -1: the server does not count them (in-memory store)
	Pending   []Holding
	Parked    []string // keys with parked jobs, at most 100
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
func (s *Store) Sightings(ctx context.Context, queue string) ([]Sighting, error) {
	q, err := s.lookup(ctx, queue)
	if err != nil {
		return nil, err
	}
	const page = 64
	var calls []*call
	for sh := range q.Shards {
		for first := sh; first < q.Partitions; first += page * q.Shards {
			k := &call{shard: s.shard(q, sh)}
			for p := first; p < q.Partitions && len(k.args) < page; p += q.Shards {
				k.args = append(k.args, p)
			}
			calls = append(calls, k)
		}
	}
	s.runAll(ctx, s.admin, &s.scripts.audit, calls)
	out := make([]Sighting, q.Partitions)
	for _, k := range calls {
		if k.err != nil {
			return nil, k.err
		}
		l := list(k.value)
		for i := 0; i+8 < len(l); i += 9 {
			if p := int(number(at(l, i))); p < len(out) {
				out[p] = sighting(p, l[i:i+9])
			}
		}
	}
	return out, nil
}

func sighting(p int, l []any) Sighting {
	v := Sighting{Partition: p, Planned: text(at(l, 2)), Groups: texts(at(l, 3)), Added: -1, Parked: texts(at(l, 8))}
	if inc, epoch, ok := ownerRecord(text(at(l, 1))); ok {
		v.Owner = OwnerRecord{inc, epoch}
	}
	v.Last, _ = job.ParseEntryID(text(at(l, 4)))
	v.Top, _ = job.ParseEntryID(text(at(l, 5)))
	if n, ok := at(l, 6).(int64); ok {
		v.Added = n
	}
	held := list(at(l, 7))
	for i := 0; i+1 < len(held); i += 2 {
		h := Holding{Consumer: text(held[i]), Count: int(number(held[i+1]))}
		h.Reclaim = h.Consumer == reclaim
		if inc, _, ok := holder(h.Consumer); ok {
			h.Incarnation = inc
		}
		v.Pending = append(v.Pending, h)
	}
	return v
}

// OpenJobs calls f with the ids of a partition's jobs up to top that have not ended, in
// order, a page at a time: jobs that nobody has read, pending ones and parked ones. Jobs
// that end while it reads may be given or not. It looks at every entry of the stream.
func (s *Store) OpenJobs(ctx context.Context, queue string, partition int, top job.EntryID, f func([]job.EntryID)) error {
	const page = 100
	q, err := s.queueForRead(ctx, queue)
	if err != nil {
		return err
	}
	if partition < 0 || partition >= q.Partitions {
		return job.Invalid("partition %d: queue %s has 0 to %d", partition, queue, q.Partitions-1)
	}
	for from := "-"; from != ""; {
		v, err := s.run(ctx, s.admin, &s.scripts.ids, s.shardOf(q, partition), partition, from, top.String(), strconv.Itoa(page))
		if err != nil {
			return err
		}
		l := texts(v)
		if len(l) == 0 {
			return nil
		}
		ids := make([]job.EntryID, 0, len(l)-1)
		for _, raw := range l[1:] {
			if id, ok := job.ParseEntryID(raw); ok {
				ids = append(ids, id)
			}
		}
		f(ids)
		from = l[0]
	}
	return nil
}

// RingSummary is a queue's ring without its partitions.
type RingSummary struct {
	Epoch   uint64
	Phase   int
	Leader  string // dispatcher, "" if none leads
	Members []MemberRecord
}

// Ring tells who leads a queue and who its members are, with what is left of their leases.
func (s *Store) Ring(ctx context.Context, queue string) (RingSummary, error) {
	q, err := s.lookup(ctx, queue)
	if err != nil {
		return RingSummary{}, err
	}
	rec, leader, err := s.records(ctx, q)
	return RingSummary{Epoch: rec.Epoch, Phase: rec.Phase, Leader: leader, Members: rec.Members}, err
}

// HeldKeys are keys, at most limit, that may stand still: of jobs with a failed attempt
// behind them, of jobs that were set aside, and of jobs that former owners still run.
func (s *Store) HeldKeys(ctx context.Context, queue string, limit int) ([]string, error) {
	q, err := s.lookup(ctx, queue)
	if err != nil {
		return nil, err
	}
	var keys []string
	seen := map[string]bool{}
	for p := 0; p < q.Partitions && len(keys) < limit; p++ {
		v, err := s.run(ctx, s.admin, &s.scripts.held, s.shardOf(q, p), p, limit-len(keys))
		if err != nil {
			return nil, err
		}
		for _, key := range texts(v) {
			if key != "" && !seen[key] {
				seen[key] = true
				keys = append(keys, key)
			}
		}
	}
	return keys, nil
}
