package streams

import (
	"context"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// DeleteQueue removes a queue with everything it holds. Workers that still serve it find
// themselves fenced; producers make it anew if they go on. ErrNotFound: no such queue.
func (s *Store) DeleteQueue(ctx context.Context, queue string) error {
	q, err := s.lookup(ctx, queue)
	if err != nil {
		return err
	}
	// First the name, so that no dispatcher mends what is being removed.
	if err := s.cmd.HDel(ctx, s.keys.queues(), q.Name).Err(); err != nil {
		return wrap("delete queue", err)
	}
	s.forget(q.Name)
	for sh := range q.Shards {
		if err := s.deleteShard(ctx, s.shard(q, sh)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) deleteShard(ctx context.Context, prefix string) error {
	node, err := s.dedicated(ctx, prefix, nil, nil)
	if err != nil {
		return wrap("delete queue", err)
	}
	defer func() { _ = node.Close() }()
	pattern := escapeGlob(prefix) + "*"
	for cursor := uint64(0); ; {
		keys, next, err := node.Scan(ctx, cursor, pattern, 500).Result()
		if err != nil {
			return wrap("delete queue", err)
		}
		if len(keys) > 0 {
			if err := node.Unlink(ctx, keys...).Err(); err != nil {
				return wrap("delete queue", err)
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `^`, `\^`)

func escapeGlob(s string) string { return globEscaper.Replace(s) }

// JournalEntry is one end of a job, written in the same step that ended it.
type JournalEntry struct {
	ID      string // of the journal's entry: the next call's after
	JobID   string
	Key     string
	Type    string
	Outcome job.Outcome
	Attempt int
	Worker  string // incarnation
	Epoch   uint64 // of the partition
}

// Journal reads at most n entries of a partition's journal, after the one with id after
// ("" begins). An empty page is the end. ErrConflict: the queue keeps no journal.
func (in *Inspector) Journal(ctx context.Context, queue string, partition int, after string, n int) ([]JournalEntry, error) {
	q, err := in.s.queueForRead(ctx, queue)
	if err != nil {
		return nil, err
	}
	if !q.Journal {
		return nil, job.Conflict("queue %s keeps no journal: create one with 'ringctl queue create NAME --journal'", queue)
	}
	if partition < 0 || partition >= q.Partitions || n < 1 {
		return nil, job.Invalid("partition %d, %d entries: want a partition below %d and at least one entry", partition, n, q.Partitions)
	}
	from := "-"
	if after != "" {
		id, ok := job.ParseEntryID(after)
		if !ok {
			return nil, job.Invalid("journal position %q: want an entry's id", after)
		}
		from = "(" + id.String()
	}
	rows, err := in.s.admin.XRangeN(ctx, journalKey(in.s.shardOf(q, partition), partition), from, "+", int64(n)).Result()
	if err != nil {
		return nil, wrap("read journal", err)
	}
	out := make([]JournalEntry, len(rows))
	for i, row := range rows {
		out[i] = journalEntry(row)
	}
	return out, nil
}

func journalEntry(row redis.XMessage) JournalEntry {
	get := func(name string) string { v, _ := row.Values[name].(string); return v }
	e := JournalEntry{ID: row.ID, JobID: get("id"), Key: get("key"), Type: get("type"), Worker: get("worker"), Epoch: recorded(get("epoch"))}
	if o := get("outcome"); len(o) == 1 {
		e.Outcome = job.Outcome(o[0])
	}
	e.Attempt, _ = strconv.Atoi(get("attempt"))
	return e
}
