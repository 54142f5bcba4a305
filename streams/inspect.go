package streams

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"ringmaster/job"
)

// skewAllowed is how far the clocks of producers and the server may differ before an id
// that is older than its queue is taken for a typing error.
const skewAllowed = 24 * time.Hour

// maxRequeues bounds how often a job that was requeued from the dead letters is followed.
const maxRequeues = 16

// Job tells what is known of one job. There is no record per job: one that was handed
// out and is neither pending, parked nor dead has completed; its result is kept for
// job.ResultTTL if there was one. A dead letter that was put back is followed to its new
// id for as long. One that is handed out counts as running unless an earlier job of its key
// is open. ErrNotFound: no such queue, or no job has that id yet. ErrUnknownJob, and the state
// job.Unknown: what became of it was lost with a former server's last writes.
func (in *Inspector) Job(ctx context.Context, queue, id string) (job.Status, error) {
	st, owner, err := in.job(ctx, queue, id)
	if err == nil {
		err = in.putBehind(ctx, &st)
	}
	if err == nil {
		st.Why, err = in.whyWaiting(ctx, st, owner)
	}
	return st, err
}

// job is Job, except that it takes for running whatever a live worker was handed, and does not say why.
func (in *Inspector) job(ctx context.Context, queue, id string) (job.Status, ownerSeen, error) {
	var owner ownerSeen
	q, err := in.s.queueForRead(ctx, queue)
	if err != nil {
		return job.Status{}, owner, err
	}
	jid, err := job.ParseID(id)
	if err != nil {
		return job.Status{}, owner, err
	}
	for range maxRequeues {
		st, owner, next, err := in.jobState(ctx, q, jid)
		if err != nil || next == nil {
			return st, owner, err
		}
		jid = *next
	}
	return job.Status{}, owner, job.NotFound("no job %s in queue %s: its record points round in a circle", id, queue)
}

// jobState reads one job, or the id it was requeued under.
func (in *Inspector) jobState(ctx context.Context, q Queue, id job.ID) (job.Status, ownerSeen, *job.ID, error) {
	var owner ownerSeen
	missing := job.NotFound("no job %s in queue %s", id, q.Name)
	if id.Partition >= q.Partitions {
		return job.Status{}, owner, nil, missing
	}
	f, err := run(ctx, in.s, in.s.cmd, &in.s.scripts.state, in.s.shardOf(q, id.Partition), id.Partition, id.Entry.String())
	if err != nil {
		return job.Status{}, owner, nil, err
	}
	if f == nil {
		// Nothing there at all: the queue may have been deleted since it was looked up.
		in.s.forget(q.Name)
		if _, err := in.s.LookupQueue(ctx, q.Name); err != nil {
			return job.Status{}, owner, nil, err
		}
		return job.Status{}, owner, nil, missing
	}
	st := job.Status{ID: id.String(), Queue: q.Name, Partition: id.Partition}
	if f.fields != nil {
		entry := job.DecodeEntry(id.Entry, f.fields, id.Partition, q.Partitions)
		st.Type, st.Key = entry.Type, entry.Key
	}
	enqueued := id.Entry.Time()
	st.EnqueuedAt = &enqueued
	if next := f.requeued(id); next != nil {
		return job.Status{}, f.owner, next, nil
	}
	if !f.judge(&st, q, id.Entry) {
		return job.Status{}, f.owner, nil, missing
	}
	if st.State == job.Unknown {
		st.Error = "the server was restored or replaced after this id was given, and does not have it: nobody knows whether the job has run"
		if st.Deleted {
			st.Error = "somebody deleted it from its stream before it had ended"
			return st, f.owner, nil, job.UnknownJob("job %s in queue %s is unknown: %s", id, q.Name, st.Error)
		}
		return st, f.owner, nil, job.UnknownJob("job %s in queue %s is unknown: %s; submit it again under its idempotency key", id, q.Name, st.Error)
	}
	return st, f.owner, nil, nil
}

// facts are what the state script found.
type facts struct {
	owner    ownerSeen
	consumer string // the entry is pending for, "" if it is not
	retry    job.RetryRecord
	dead     string
	result   *job.Result
	fields   []string    // of the entry; nil: it is not in the stream
	last     job.EntryID // handed out
	top      job.EntryID // of the stream
	parked   bool
	gaps     []string // of the partition: pairs of ids
	deleted  []string // likewise
}

// readState takes nothing, where nothing is known of the partition.
func readState(v any) (*facts, bool) {
	if v == nil {
		return nil, true
	}
	r := listOf(v)
	f := &facts{owner: ownerSeen{inc: r.text()}, consumer: r.text(), retry: readRetry(r.text()), dead: r.text(), result: parseResult(r.text())}
	if f.fields = r.texts(); len(f.fields) == 0 {
		f.fields = nil
	}
	f.last, f.top, f.parked = r.id(), r.id(), r.flag()
	f.gaps, f.owner.standing, f.deleted = strings.Fields(r.text()), r.standing(), strings.Fields(r.text())
	return f, r.whole()
}

// parseResult reads what is kept of a job that has ended; nil: nothing readable is.
func parseResult(raw string) *job.Result {
	var r job.Result
	if raw == "" || json.Unmarshal([]byte(raw), &r) != nil {
		return nil
	}
	return &r
}

// requeued is the id a dead letter lives on under.
func (f *facts) requeued(self job.ID) *job.ID {
	if f.result == nil || f.result.RequeuedAs == "" || f.dead != "" {
		return nil
	}
	next, err := job.ParseID(f.result.RequeuedAs)
	if err != nil || next == self || next.Partition != self.Partition {
		return nil
	}
	return &next
}

// judge fills the state in; false means that there is no such job.
func (f *facts) judge(st *job.Status, q Queue, id job.EntryID) bool {
	switch {
	case f.dead != "":
		f.buried(st)
	case f.consumer != "":
		st.State, st.Attempts = job.Running, f.retry.Attempts+1
		if f.retry.Attempts > 0 {
			st.State, st.Attempts, st.Error = job.Retrying, f.retry.Attempts, f.retry.Error
		} else if f.consumer == reclaim {
			st.State, st.Attempts = job.Waiting, 0
		}
	case f.parked, f.fields != nil && f.last.Less(id):
		st.State, st.Attempts, st.Error = job.Waiting, f.retry.Attempts, f.retry.Error
	case f.result != nil:
		f.ended(st)
	case f.top.Less(id) || id.Time().Before(q.Created.Add(-skewAllowed)):
		return false
	case within(f.deleted, id):
		st.State, st.Deleted = job.Unknown, true
	case within(f.gaps, id):
		st.State = job.Unknown
	case f.last.Less(id):
		return false
	default:
		st.State, st.Attempts = job.Completed, 1
	}
	return true
}

// within reports whether an id is above the first of a pair and not above its second: of gaps, above what a
// new server had when its generation began, and not above what the one before it can have given.
func within(pairs []string, id job.EntryID) bool {
	for g := pairs; len(g) > 1; g = g[2:] {
		above, upTo := parseGap(g[0]), parseGap(g[1])
		if above.Less(id) && !upTo.Less(id) {
			return true
		}
	}
	return false
}

func parseGap(s string) job.EntryID {
	id, _ := job.ParseEntryID(s)
	return id
}

// reclaim is the consumer of entries that nobody holds: the next owner takes them.
const reclaim = "!"

func (f *facts) ended(st *job.Status) {
	r := f.result
	st.State, st.Attempts = job.Completed, max(r.Attempts, 1)
	if r.Removed {
		st.State, st.Attempts, st.Error = job.Dead, max(r.Attempts, 0), r.Error
	}
	if string(r.Result) != "null" {
		st.Result = r.Result
	}
	if r.Type != "" {
		st.Type, st.Key = r.Type, r.Key
	}
	st.FinishedAt = parseTime(r.FinishedAt)
}

func (f *facts) buried(st *job.Status) {
	st.State = job.Dead
	d, ok := parseDeadLetter(st.ID, f.dead)
	if !ok {
		st.Error = "its dead letter is not readable"
		return
	}
	st.Attempts, st.Error, st.FinishedAt = d.Attempts, d.Error, parseTime(d.DiedAt)
	if d.Type != "" {
		st.Type, st.Key = d.Type, d.Key
	}
}

func parseTime(s string) *time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return nil
	}
	t = t.UTC()
	return &t
}

// readRetry reads a retry record for people. One that is not readable counts as none, as it does for workers.
func readRetry(s string) job.RetryRecord {
	r, _ := job.ParseRetry(s)
	r.Error = strings.ToValidUTF8(r.Error, "\uFFFD")
	return r
}

// Waits between two looks at a job.
const (
	pollPause = 5 * time.Millisecond
	pollLimit = 500 * time.Millisecond
)

// WaitJob waits until the job has completed or is dead, but no longer than wait, and
// tells how it stands then; that the time ran out is no error. A server that is not
// reached is asked again until the time is over: only if it never answered is that an
// error. It ends with ctx.
func (in *Inspector) WaitJob(ctx context.Context, queue, id string, wait time.Duration) (job.Status, error) {
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	// A server that hangs must not hold the caller much longer than it wants to wait.
	patience, cancel := context.WithTimeout(ctx, wait+time.Second)
	defer cancel()
	var last job.Status
	known := false
	for pause := pollPause; ; pause = min(pause*3/2, pollLimit) {
		st, _, err := in.job(patience, queue, id)
		switch {
		case err == nil && st.State.Terminal():
			if st.Type == "" { // nothing is kept of a job without a result; what was seen is still true
				st.Type, st.Key = last.Type, last.Key
			}
			return st, nil
		case err == nil:
			last, known = st, true
		case ctx.Err() != nil:
			return last, errors.Join(ctx.Err(), err)
		case !IsUnreachable(err):
			return st, err
		}
		next := time.NewTimer(pause)
		select {
		case <-next.C:
			continue
		case <-deadline.C:
		case <-ctx.Done():
			err = errors.Join(ctx.Err(), err)
		}
		next.Stop()
		if known && ctx.Err() == nil {
			if err = in.putBehind(patience, &last); IsUnreachable(err) {
				err = nil // the last look is still what is known
			}
		}
		return last, err
	}
}

// queueForRead answers from memory if it can, and refuses what cannot be a name.
func (s *Store) queueForRead(ctx context.Context, name string) (Queue, error) {
	if err := job.CheckName("queue", name); err != nil {
		return Queue{}, err
	}
	return s.queue(ctx, name)
}

// lookup is for commands of people: it always asks the server.
func (s *Store) lookup(ctx context.Context, name string) (Queue, error) {
	if err := job.CheckName("queue", name); err != nil {
		return Queue{}, err
	}
	return s.LookupQueue(ctx, name)
}
