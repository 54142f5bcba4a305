package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/failpoint"
	"ringmaster/job"
)

// StartArmed starts a process that acts at its first hit of a point.
func (r *Rig) StartArmed(kind string, point failpoint.Point, action string) (*Proc, error) {
	var failed error
	p, err := r.Start(kind, func(role *Role) {
		if failed = os.MkdirAll(role.Points, 0o700); failed == nil {
			failed = os.WriteFile(filepath.Join(role.Points, string(point)), []byte(action), 0o600)
		}
	})
	if err == nil && failed != nil {
		err = fmt.Errorf("arm %s: %w", point, failed)
	}
	return p, err
}

// Raw is a plain client of the ring's server, as redis-cli is. The caller closes it.
func (r *Rig) Raw() *redis.Client {
	o, err := redis.ParseURL(r.url)
	if err != nil {
		panic(err) // the server's own URL
	}
	o.MaxRetries = -1
	return redis.NewClient(o)
}

// KeyOf is a key, never used before, of a partition that a worker owns.
func (r *Rig) KeyOf(ctx context.Context, p *Proc) (string, error) {
	mine := map[int]bool{}
	for _, part := range r.View(ctx).Partitions {
		if name, _, _ := strings.Cut(part.Owner, "."); name == p.Name {
			mine[part.Partition] = true
		}
	}
	if len(mine) == 0 {
		return "", notHit("%s owns nothing", p.Name)
	}
	for {
		r.tasks++
		key := fmt.Sprintf("own-%d", r.tasks)
		if mine[job.PartitionOf(key, r.Queue.Partitions)] {
			return key, nil
		}
	}
}

// Flows waits until a job that was handed in now is completed in every partition, and
// returns how long that took.
func (r *Rig) Flows(ctx context.Context, limit time.Duration) (time.Duration, error) {
	began := time.Now()
	need := r.Queue.Partitions
	var ids []string
	for seen := map[int]bool{}; len(ids) < need; {
		r.tasks++
		key := fmt.Sprintf("probe-%d", r.tasks)
		if part := job.PartitionOf(key, need); !seen[part] {
			seen[part] = true
			id, err := r.Submit(ctx, Work{}, key)
			if err != nil {
				return time.Since(began), err
			}
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		if err := r.Completed(ctx, id, limit-time.Since(began)); err != nil {
			return time.Since(began), err
		}
	}
	return time.Since(began), nil
}

// Starts is how often a job with this mark was started.
func (r *Rig) Starts(mark string) int {
	info, err := os.Stat(filepath.Join(r.Dir, "mark-"+mark))
	if err != nil {
		return 0
	}
	return int(info.Size())
}
