package lanes

import (
	"fmt"
	"testing"

	"ringmaster/job"
)

// BenchmarkLanes takes 1,000 jobs through a worker without a store and without
// goroutines: they arrive, each starts and ends, the answers come back. With fewer keys
// than jobs, an answer lets the next of its key start. ns/job is the figure to look at.
func BenchmarkLanes(b *testing.B) {
	const jobs = 1000
	for _, keys := range []int{0, 10, 1000} {
		name := fmt.Sprintf("keys=%d", keys)
		if keys == 0 {
			name = "unkeyed"
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			w := newBench(b, func(c *Limits) { c.ParkBeyond = jobs })
			entries := make([]job.Entry, jobs)
			for i := range entries {
				entries[i] = entry(i+1, "")
				if keys > 0 {
					entries[i].Key = fmt.Sprint("k", i%keys)
				}
			}
			for b.Loop() {
				w.arrive(entries...)
				for i := range entries {
					entries[i].ID.Ms += jobs
				}
				w.runAll(jobs)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/jobs, "ns/job")
		})
	}
}

// runAll ends so many jobs, all that may start before each answer.
func (b *bench) runAll(jobs int) {
	for jobs > 0 {
		n := 0
		for it := b.p.Next(b.now); it != nil; it = b.p.Next(b.now) {
			b.finish(it)
			n++
		}
		if n == 0 {
			b.t.Fatalf("%d jobs cannot start", jobs)
		}
		b.answer(job.ByOwner)
		jobs -= n
	}
}
