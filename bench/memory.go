package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"ringmaster/consumergroup"
	"ringmaster/internal/handlers"
	"ringmaster/job"
)

// Memory is how it is measured what a worker holds of a long queue, and what the server
// keeps of jobs that have ended.
type Memory struct {
	Waiting    int // jobs that wait while all handlers are busy
	Jobs       int // that pass through the queue
	Passing    int // jobs that pass one that is stuck, in the same partition
	Partitions int
	Where
}

// DefaultMemory takes about 30 s.
func DefaultMemory() Memory {
	return Memory{Waiting: 100_000, Jobs: 500_000, Passing: 100_000, Partitions: job.DefaultParts}
}

// Kept is what was held. The worker's heap is that of this process, after a collection of
// garbage, above what it was before the jobs came.
type Kept struct {
	Waiting  int     `json:"waiting"`
	Held     int     `json:"held"`     // of these, in the worker
	Prefetch int     `json:"prefetch"` // the most it may hold
	HeapMB   float64 `json:"heap_mb"`
	Jobs     int     `json:"jobs"`
	BaseMB   float64 `json:"base_mb"`  // of the server, before the jobs
	AfterMB  float64 `json:"after_mb"` // and after
	Passed   int     `json:"passed"`   // the job that was stuck
	Entries  int     `json:"entries"`  // in its partition then
	StuckMB  float64 `json:"stuck_mb"` // the server's growth meanwhile
}

// RunMemory measures all three, each on a server of its own.
func RunMemory(ctx context.Context, o Memory) (Kept, error) {
	k := Kept{Waiting: o.Waiting, Jobs: o.Jobs, Passed: o.Passing, Prefetch: consumergroup.Default().Prefetch(o.Partitions)}
	for _, part := range []struct {
		name string
		run  func(ctx context.Context, url string, k *Kept) error
	}{{"waiting jobs", o.waiting}, {"jobs that pass", o.passing}, {"a stuck job", o.stuck}} {
		began := time.Now()
		if err := o.on(ctx, func(url string) error { return part.run(ctx, url, &k) }); err != nil {
			return k, fmt.Errorf("%s: %w", part.name, err)
		}
		o.tell("%s: %s", part.name, time.Since(began).Round(time.Millisecond))
	}
	return k, nil
}

// waiting fills the queue of a worker whose handlers are all busy.
func (o Memory) waiting(ctx context.Context, url string, k *Kept) error {
	open := make(chan struct{})
	busy := func(ctx context.Context, _ job.Delivery) (json.RawMessage, error) {
		select {
		case <-open:
		case <-ctx.Done():
		}
		return nil, nil
	}
	r, err := startRing(ctx, o.ring(url, o.Partitions, busy))
	if err != nil {
		return err
	}
	defer r.close()
	before := heap()
	if err := r.produce(ctx, o.Waiting, newQuota(o.Waiting), payload(keyCount)); err != nil {
		return err
	}
	// It has read all that it will when that is the same for a while.
	last, since := -1, time.Now()
	err = r.until("the worker reads no more", 50*time.Millisecond, func() (bool, error) {
		n, err := r.pending(ctx)
		if n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond, err
	})
	k.Held, k.HeapMB = last, round1(max(0, heap()-before))
	close(open)
	return err
}

func (o Memory) ring(url string, partitions int, handler handlers.Func) ringSpec {
	return ringSpec{url: url, partitions: partitions, workers: 1, concurrency: 16, handler: handler}
}

// passing compares the server's memory before and after many jobs.
func (o Memory) passing(ctx context.Context, url string, k *Kept) error {
	open := newQuota(outstanding)
	r, err := startRing(ctx, o.ring(url, o.Partitions, noop(open)))
	if err != nil {
		return err
	}
	defer r.close()
	defer context.AfterFunc(r.ended, open.close)()
	// The first jobs leave scripts, connections and buffers that stay.
	if err := r.pass(ctx, outstanding, open, payload(keyCount)); err != nil {
		return err
	}
	if k.BaseMB, err = serverMB(ctx, url); err != nil {
		return err
	}
	if err := r.pass(ctx, o.Jobs, open, payload(keyCount)); err != nil {
		return err
	}
	k.AfterMB, err = serverMB(ctx, url)
	return err
}

// pass moves so many jobs through the ring and waits for the end of all.
func (r *ringOf) pass(ctx context.Context, jobs int, open *quota, next func() job.Job) error {
	if err := r.produce(ctx, jobs, open, next); err != nil {
		return err
	}
	if !open.take(outstanding) {
		return fmt.Errorf("bench: %w", context.Cause(r.ended))
	}
	open.give(outstanding)
	return r.drained(ctx)
}

// stuck has one job stay while many pass it in its partition, which is the only one.
func (o Memory) stuck(ctx context.Context, url string, k *Kept) error {
	const stays = "stays"
	open := newQuota(outstanding)
	begun := make(chan struct{})
	pass := noop(open)
	handler := func(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
		if d.Key == stays {
			close(begun)
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		return pass(ctx, d)
	}
	r, err := startRing(ctx, o.ring(url, 1, handler))
	if err != nil {
		return err
	}
	defer r.close()
	defer context.AfterFunc(r.ended, open.close)()
	p := r.store.NewProducer(r.queue)
	err = enqueue(ctx, p, job.Job{Type: jobType, Key: stays})
	p.Close()
	if err != nil {
		return err
	}
	select {
	case <-begun:
	case <-r.ended.Done():
		return fmt.Errorf("bench: %w", context.Cause(r.ended))
	}
	before, err := serverMB(ctx, url)
	if err != nil {
		return err
	}
	if err := r.produce(ctx, o.Passing, open, payload(keyCount)); err != nil {
		return err
	}
	if err := r.until("all others have ended", 5*time.Millisecond, func() (bool, error) {
		v, err := r.store.Inspect().QueueView(ctx, queueName)
		return v.Pending == 1 && v.Waiting == 0, err
	}); err != nil {
		return err
	}
	after, err := serverMB(ctx, url)
	k.StuckMB = round1(max(0, after-before))
	if err != nil {
		return err
	}
	k.Entries, err = r.entries(ctx, url, 0)
	return err
}

// entries is the length of a partition's stream.
func (r *ringOf) entries(ctx context.Context, url string, partition int) (int, error) {
	c, err := rawClient(url)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	n, err := c.XLen(ctx, fmt.Sprintf("%s:{%s}:jobs:%d", r.spec.common().Namespace, queueName, partition)).Result()
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	return int(n), nil
}

// heap is what this process holds, in MB.
func heap() float64 {
	runtime.GC()
	runtime.GC() // what the first one found to be finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// serverMB is the server's data: without the buffers of connections, which come and go.
func serverMB(ctx context.Context, url string) (float64, error) {
	c, err := rawClient(url)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	info, err := c.Info(ctx, "memory").Result()
	if err != nil {
		return 0, fmt.Errorf("ask for the server's memory: %w", err)
	}
	used, err1 := field(info, "used_memory")
	clients, err2 := field(info, "mem_clients_normal")
	if err := firstOf([]error{err1, err2}); err != nil {
		return 0, err
	}
	return round2((used - clients) / (1 << 20)), nil
}

func field(info, name string) (float64, error) {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return strconv.ParseFloat(v, 64)
		}
	}
	return 0, fmt.Errorf("the server does not tell %s", name)
}
