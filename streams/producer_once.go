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
	a, err := once(ctx, p, &p.s.scripts.enqueueOnce, partition, partition, j.IdempotencyKey, digest, memory, e[0], e[1], e[2], "", p.q.Partitions)
	if err != nil {
		return job.Receipt{}, err
	}
	return job.Receipt{ID: a.id.String(), Partition: a.id.Partition, Duplicate: a.known}, nil
}

// onceAnswer is the job that an idempotency key stands for, and whether it was there already.
type onceAnswer struct {
	id    job.ID
	known bool
}

func readOnce(v any) (onceAnswer, bool) {
	r := listOf(v)
	id, err := job.ParseID(r.text())
	a := onceAnswer{id, r.flag()}
	return a, r.whole() && err == nil
}

// reserve keeps an idempotency key for one job. While it is not known to be kept nothing is added.
func (p *Producer) reserve(ctx context.Context, home int, args ...any) error {
	_, err := once(ctx, p, &p.s.scripts.reserve, home, args...)
	if errors.Is(err, job.ErrOutcomeUnknown) {
		//nolint:errorlint // told, not wrapped: what is unknown is the reservation, and the job was not added
		return fmt.Errorf("reserve idempotency key: %w: %v", job.ErrUnavailable, err)
	}
	return err
}

// once runs a script in a partition's shard. Records that are gone are made again, once.
func once[A any](ctx context.Context, p *Producer, sc *script[A], partition int, args ...any) (A, error) {
	shard := p.s.shardOf(p.q, partition)
	if err := p.s.meet(ctx, shard); err != nil {
		var none A
		return none, err
	}
	a, err := runConfirmed(ctx, p.s, sc, shard, args...)
	if errors.Is(err, job.ErrNotFound) {
		if err = p.recreate(ctx); err == nil {
			a, err = runConfirmed(ctx, p.s, sc, shard, args...)
		}
	}
	return a, err
}
