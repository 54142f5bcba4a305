package streams

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// parseDeadLetter reads a field of a dead hash. What is not readable comes back with id,
// partition and the raw text.
func parseDeadLetter(id, raw string) (job.DeadLetter, bool) {
	var d job.DeadLetter
	ok := json.Unmarshal([]byte(raw), &d) == nil
	if !ok {
		d = job.DeadLetter{Raw: []string{raw}, Error: "this dead letter is not readable"}
	}
	d.ID = id
	if at, err := job.ParseID(id); err == nil {
		d.Partition = at.Partition
	}
	return d, ok
}

// DeadLetters lists at most limit (0: all) dead letters of a queue, by partition and age.
func (in *Inspector) DeadLetters(ctx context.Context, queue string, limit int) ([]job.DeadLetter, error) {
	if limit < 0 {
		return nil, job.Invalid("limit: %d is negative", limit)
	}
	q, err := in.s.lookup(ctx, queue)
	if err != nil {
		return nil, err
	}
	out := []job.DeadLetter{}
	for p := range q.Partitions {
		letters, err := in.deadOf(ctx, q, p, limit)
		if err != nil {
			return nil, err
		}
		out = append(out, letters...)
		if limit > 0 && len(out) >= limit {
			return out[:limit], nil
		}
	}
	return out, nil
}

// deadPage is small at first: a dead letter may take megabytes.
const deadPage = 16

// deadOf reads one partition's oldest, at most limit (0: all), in pages. No more than these and
// a page are held.
func (in *Inspector) deadOf(ctx context.Context, q Queue, p, limit int) ([]job.DeadLetter, error) {
	key := deadKey(in.s.shardOf(q, p), p)
	found := map[string]job.DeadLetter{}
	count := deadPage
	for cursor := uint64(0); ; {
		page, next, err := in.s.admin.HScan(ctx, key, cursor, "", int64(count)).Result()
		if err != nil {
			return nil, wrap("list dead letters", err)
		}
		bytes := 0
		for i := 0; i+1 < len(page); i += 2 {
			found[page[i]], _ = parseDeadLetter(page[i], page[i+1])
			bytes += len(page[i+1])
		}
		count = nextPage(count, bytes)
		if limit > 0 && len(found) > limit {
			for _, d := range byAge(found)[limit:] {
				delete(found, d.ID)
			}
		}
		if cursor = next; cursor == 0 {
			return byAge(found), nil
		}
	}
}

func byAge(found map[string]job.DeadLetter) []job.DeadLetter {
	out := make([]job.DeadLetter, 0, len(found))
	for _, d := range found {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b job.DeadLetter) int {
		x, _ := job.ParseID(a.ID)
		y, _ := job.ParseID(b.ID)
		return cmp.Or(x.Entry.Compare(y.Entry), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// deadLetter finds one; ok is false if there is none of that id.
func (s *Store) deadLetter(ctx context.Context, q Queue, id job.ID) (d job.DeadLetter, readable, ok bool, err error) {
	if id.Partition >= q.Partitions {
		return d, false, false, nil
	}
	raw, err := s.cmd.HGet(ctx, deadKey(s.shardOf(q, id.Partition), id.Partition), id.String()).Result()
	if errors.Is(err, redis.Nil) {
		return d, false, false, nil
	}
	if err != nil {
		return d, false, false, wrap("read dead letter", err)
	}
	d, readable = parseDeadLetter(id.String(), raw)
	return d, readable, true, nil
}

// RequeueDead puts a dead letter back as a new job, at the end of its partition, with
// all attempts before it. A repeat answers with the same new id, marked as duplicate. One
// that cannot be decoded is an ErrConflict: it would only die again.
func (s *Store) RequeueDead(ctx context.Context, queue, id string) (job.Receipt, error) {
	q, at, err := s.deadTarget(ctx, queue, id)
	if err != nil {
		return job.Receipt{}, err
	}
	d, readable, ok, err := s.deadLetter(ctx, q, at)
	if err != nil {
		return job.Receipt{}, err
	}
	if ok {
		if err := requeueable(d, readable, q, at); err != nil {
			return job.Receipt{}, err
		}
	}
	trace, err := traceOf(d, false, s.now(ctx))
	if err != nil {
		return job.Receipt{}, err
	}
	return s.requeue(ctx, q, at, d, trace)
}

func requeueable(d job.DeadLetter, readable bool, q Queue, at job.ID) error {
	why := ""
	j := job.Job{Type: d.Type, Key: d.Key, Payload: d.Payload}
	switch err := j.Validate(); {
	case !readable:
		why = "its record is not readable"
	case len(d.Raw) > 0:
		why = "its entry could not be decoded: " + d.Error
	case err != nil:
		why = err.Error()
	case d.Key != "" && job.PartitionOf(d.Key, q.Partitions) != at.Partition:
		why = "its key belongs to another partition"
	}
	if why == "" {
		return nil
	}
	return job.Conflict("dead letter %s cannot be put back: %s; submit a corrected job and remove this one", at, why)
}

func (s *Store) requeue(ctx context.Context, q Queue, id job.ID, d job.DeadLetter, trace string) (job.Receipt, error) {
	e := encode(&job.Job{Type: d.Type, Key: d.Key, Payload: d.Payload})
	shard := s.shardOf(q, id.Partition)
	if err := s.meet(ctx, shard); err != nil {
		return job.Receipt{}, err
	}
	a, err := run(ctx, s, s.cmd, &s.scripts.requeue, shard, id.Partition, id.String(), e[0], e[1], e[2], "",
		trace, job.ResultTTL.Milliseconds())
	if err != nil {
		return job.Receipt{}, err
	}
	if a.done {
		return job.Receipt{ID: job.ID{Partition: id.Partition, Entry: a.id}.String(), Partition: id.Partition}, nil
	}
	if a.kept != nil && a.kept.RequeuedAs != "" {
		return job.Receipt{ID: a.kept.RequeuedAs, Partition: id.Partition, Duplicate: true}, nil
	}
	return job.Receipt{}, noDeadLetter(q, id)
}

// requeued is the new id of a dead letter, or what is kept of one that is none any more.
type requeued struct {
	done bool
	id   job.EntryID
	kept *job.Result // nil: nothing readable
}

func readRequeued(v any) (requeued, bool) {
	r := listOf(v)
	if a := (requeued{done: true}); len(r.rest) == 1 {
		a.id = r.id()
		return a, r.whole()
	}
	r.word("")
	a := requeued{kept: parseResult(r.text())}
	return a, r.whole()
}

// RemoveDead removes a dead letter for good. Its status stays readable for job.ResultTTL.
func (s *Store) RemoveDead(ctx context.Context, queue, id string) error {
	q, at, err := s.deadTarget(ctx, queue, id)
	if err != nil {
		return err
	}
	d, _, ok, err := s.deadLetter(ctx, q, at)
	if err != nil {
		return err
	}
	if !ok {
		return noDeadLetter(q, at)
	}
	trace, err := traceOf(d, true, s.now(ctx))
	if err != nil {
		return err
	}
	n, err := run(ctx, s, s.cmd, &s.scripts.discard, s.shardOf(q, at.Partition), at.Partition, at.String(), trace, job.ResultTTL.Milliseconds())
	if err == nil && n == 0 {
		return noDeadLetter(q, at)
	}
	return err
}

func noDeadLetter(q Queue, id job.ID) error {
	return job.NotFound("no dead letter %s in queue %s: 'ringctl dead ls %s' lists them", id, q.Name, q.Name)
}

func (s *Store) deadTarget(ctx context.Context, queue, id string) (Queue, job.ID, error) {
	q, err := s.lookup(ctx, queue)
	if err != nil {
		return Queue{}, job.ID{}, err
	}
	at, err := job.ParseID(id)
	return q, at, err
}

// traceOf is the result that stays of a dead letter when it is taken away, now by the server's clock.
func traceOf(d job.DeadLetter, removed bool, now time.Time) (string, error) {
	r := job.Result{Type: d.Type, Key: d.Key, Attempts: d.Attempts, FinishedAt: d.DiedAt, Removed: removed, Error: d.Error}
	if r.FinishedAt == "" {
		r.FinishedAt = now.Format(job.TimeLayout)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encode what stays of dead letter %s: %w", d.ID, err)
	}
	return string(raw), nil
}
