package streams

import (
	"context"

	"ringmaster/job"
)

// mostKept is how many jobs Entries reads.
const mostKept = 100_000

// Entries are the jobs of a queue with all that they were handed in with: those that have an entry,
// which goes some time after the job's end. It is for tests, and blocks the server for as long as it
// reads a partition; OpenJobs is for audits. ErrTooLarge if there are more than 100,000.
func (in *Inspector) Entries(ctx context.Context, queue string) (map[job.ID]job.Entry, error) {
	q, err := in.s.lookup(ctx, queue)
	if err != nil {
		return nil, err
	}
	found := map[job.ID]job.Entry{}
	for p := range q.Partitions {
		rows, err := in.s.admin.Do(ctx, "XRANGE", jobsKey(in.s.shardOf(q, p), p), "-", "+", "COUNT", mostKept+1-len(found)).Slice()
		if err != nil {
			return nil, wrap("read the jobs of "+queue, err)
		}
		all, ok := readRows(rows)
		if !ok {
			return nil, badAnswer("read the jobs of "+queue, rows)
		}
		for _, e := range decode(all, nil, p, q.Partitions) {
			found[job.ID{Partition: p, Entry: e.ID}] = e
		}
		if len(found) > mostKept {
			return nil, job.TooLarge("queue %s has more than %d entries", queue, mostKept)
		}
	}
	return found, nil
}
