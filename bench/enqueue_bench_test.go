package bench

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/redistest"
	"ringmaster/internal/service"
	"ringmaster/job"
	"ringmaster/streams"
)

// singles is how many goroutines hand single jobs in.
const singles = 64

// BenchmarkEnqueue adds jobs that nobody takes, in batches and one by one from 64
// goroutines, beside the same with bare XADD: pipelines of 500, and one by one. An op is
// one job. The figure to look at is jobs/s.
func BenchmarkEnqueue(b *testing.B) {
	for _, way := range []struct {
		name string
		ours bool
		add  int // jobs of one call; 1: from many goroutines
	}{{"batches/bare", false, rawBatch}, {"batches/ours", true, submitBatch}, {"singles/bare", false, 1}, {"singles/ours", true, 1}} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			add := bareAdder(b)
			if way.ours {
				add = ourAdder(b)
			}
			b.ResetTimer()
			if way.add > 1 {
				for left := b.N; left > 0; left -= way.add {
					add(min(left, way.add))
				}
			} else {
				each(b.N, func() { add(1) })
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
		})
	}
}

// each does something n times, from many goroutines.
func each(n int, do func()) {
	var all sync.WaitGroup
	var taken atomic.Int64
	for range singles {
		all.Go(func() {
			for taken.Add(1) <= int64(n) {
				do()
			}
		})
	}
	all.Wait()
}

func bareAdder(b *testing.B) func(n int) {
	o, err := redis.ParseURL(redistest.Real(b).URL())
	if err != nil {
		b.Fatal(err)
	}
	o.MaxRetries, o.PoolSize, o.Protocol = -1, singles, 2
	c := redis.NewClient(o)
	b.Cleanup(func() { _ = c.Close() })
	args := []any{"XADD", rawStream, "*", "p", strings.Repeat("x", payloadBytes)}
	return func(n int) {
		p := c.Pipeline()
		for range n {
			p.Do(b.Context(), args...)
		}
		if _, err := p.Exec(b.Context()); err != nil {
			b.Error(err)
		}
	}
}

func ourAdder(b *testing.B) func(n int) {
	spec := ringSpec{url: redistest.Real(b).URL(), partitions: job.DefaultParts}
	s, err := service.Open(spec.common(), "ringmaster-bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	q, err := s.CreateQueue(b.Context(), streams.Queue{Name: queueName, Partitions: spec.partitions})
	if err != nil {
		b.Fatal(err)
	}
	p := s.NewProducer(q)
	b.Cleanup(p.Close)
	var mu sync.Mutex
	next := payload(keyCount)
	return func(n int) {
		jobs := make([]job.Job, n)
		mu.Lock()
		for i := range jobs {
			jobs[i] = next()
		}
		mu.Unlock()
		if _, errs := p.Enqueue(b.Context(), jobs...); errs != nil {
			b.Error(firstOf(errs))
		}
	}
}

// BenchmarkJobs takes jobs from a producer through a ring of one worker to a handler that
// does nothing. An op is one job; its allocations are those of all parties.
func BenchmarkJobs(b *testing.B) {
	for name, keys := range map[string]int{"unkeyed": 0, "keyed": keyCount} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			open := newQuota(outstanding)
			o := DefaultThroughput()
			r, err := startRing(ctx, ringSpec{url: redistest.Real(b).URL(), partitions: o.Partitions, workers: 1, concurrency: o.Concurrency, handler: noop(open)})
			if err != nil {
				b.Fatal(err)
			}
			defer r.close()
			defer context.AfterFunc(r.ended, open.close)()
			load := payload(keys)
			b.ResetTimer()
			if err := r.produce(ctx, b.N, open, load); err != nil {
				b.Fatal(err)
			}
			if !open.take(outstanding) {
				b.Fatal(context.Cause(r.ended))
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
		})
	}
}
