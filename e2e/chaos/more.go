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

// Scale is how much of something a row does, by tier.
func (r *Rig) Scale(pr, nightly, release int) int {
	switch r.run.tier {
	case "pr":
		return pr
	case "nightly":
		return nightly
	}
	return release
}

// failed counts submissions that producers were told are not in, or not known to be.
func (r *Rig) failed() int64 {
	var n int64
	for _, p := range r.procs {
		if p.Kind == producer {
			n += p.Stats().Failed
		}
	}
	return n
}

// leads reports whether a dispatcher is the leader that the view names.
func (p *Proc) leads(v job.RingView) bool {
	return p.Kind == dispatcher && strings.Contains(v.Leader, fmt.Sprintf("-%d.", p.PID))
}

// termsOnce checks in the dispatchers' logs that no two of them led under one term.
func (r *Rig) termsOnce() error {
	seen := map[string]string{}
	for _, p := range r.procs {
		if p.Kind != dispatcher {
			continue
		}
		raw, err := os.ReadFile(p.Log)
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		for line := range strings.Lines(string(raw)) {
			_, term, ok := strings.Cut(line, "msg=leads ")
			if !ok {
				continue
			}
			_, term, _ = strings.Cut(term, "term=")
			term, _, _ = strings.Cut(strings.TrimSpace(term), " ")
			if other := seen[term]; other != "" {
				return fmt.Errorf("term %s was given to %s and to %s", term, other, p.Name)
			}
			seen[term] = p.Name
		}
	}
	if len(seen) == 0 {
		return notHit("no log says who led")
	}
	return nil
}

// byHand adds one job with redis-cli's means.
func (r *Rig) byHand(ctx context.Context, raw *redis.Client, mark string) error {
	w := Work{Token: mark, Mark: mark}
	r.book.invoked(w.Token, mark)
	j := jobOf(w, mark)
	stream := fmt.Sprintf("rm:{%s}:jobs:%d", queueName, job.PartitionOf(mark, r.Queue.Partitions))
	return xadd(ctx, raw, stream, map[string]any{"type": j.Type, "key": mark, "payload": string(j.Payload), "later": "1"})
}

func xadd(ctx context.Context, raw *redis.Client, stream string, fields map[string]any) error {
	if err := raw.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: fields}).Err(); err != nil {
		return fmt.Errorf("write to %s: %w", stream, err)
	}
	return nil
}
