package streams

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"ringmaster/job"
)

// enqueueOnce adds a job with an idempotency key. A script sees one shard, and jobs under one
// idempotency key may belong to any: so the key is first reserved for this job in the shard that the
// key itself belongs to, unless that is the job's own. Whatever breaks off in between, a repeat finds the
// reservation and goes on to the job's shard, which remembers too.
func (p *Producer) enqueueOnce(ctx context.Context, j job.Job, partition int) (job.Receipt, error) {
	e := encode(&j)
	sum := sha256.Sum256([]byte(e[0] + "\x00" + e[1] + "\x00" + e[2]))
	digest, memory := hex.EncodeToString(sum[:16]), job.IdempotencyTTL.Milliseconds()
	home := job.PartitionOf(j.IdempotencyKey, p.q.Partitions)
	if home%p.q.Shards != partition%p.q.Shards {
		if err := p.reserve(ctx, home, j.IdempotencyKey, digest, memory, p.q.Partitions); err != nil {
			return job.Receipt{}, err
		}
	}
	v, err := p.once(ctx, &p.s.scripts.enqueueOnce, partition, partition, j.IdempotencyKey, digest, memory, e[0], e[1], e[2], "", p.q.Partitions)
	if err != nil {
		return job.Receipt{}, err
	}
	l := list(v)
	id, err := job.ParseID(text(at(l, 0)))
	if err != nil {
		return job.Receipt{}, badAnswer("enqueue once", v)
	}
	return job.Receipt{ID: id.String(), Partition: id.Partition, Duplicate: text(at(l, 1)) == "1"}, nil
}

// reserve keeps an idempotency key for one job. While it is not known to be kept nothing is added.
func (p *Producer) reserve(ctx context.Context, home int, args ...any) error {
	_, err := p.once(ctx, &p.s.scripts.reserve, home, args...)
	if errors.Is(err, job.ErrOutcomeUnknown) {
		//nolint:errorlint // told, not wrapped: what is unknown is the reservation, and the job was not added
		return fmt.Errorf("reserve idempotency key: %w: %v", job.ErrUnavailable, err)
	}
	return err
}

// once runs a script in a partition's shard. Records that are gone are made again, once.
func (p *Producer) once(ctx context.Context, sc *script, partition int, args ...any) (any, error) {
	shard := p.s.shardOf(p.q, partition)
	if err := p.s.meet(ctx, shard); err != nil {
		return nil, err
	}
	v, err := p.s.runConfirmed(ctx, sc, shard, args...)
	if errors.Is(err, job.ErrNotFound) {
		if err = p.recreate(ctx); err == nil {
			v, err = p.s.runConfirmed(ctx, sc, shard, args...)
		}
	}
	return v, err
}
