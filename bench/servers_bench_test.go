package bench

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/redistest"
)

// BenchmarkServers takes keyed jobs through a queue of four shards on one, two and four
// servers of a cluster. On a machine of few processors the jobs per second tell little; that
// the CPU per job stays as it is says that more processors would take more jobs.
func BenchmarkServers(b *testing.B) {
	const shards = 4
	keys := make([]string, shards)
	for i := range keys {
		keys[i] = fmt.Sprintf("rm:{%s/%d}:", queueName, i)
	}
	for _, n := range []int{1, 2, 4} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var urls []string
			var clients []*redis.Client
			for _, s := range redistest.Primaries(b, n, keys...) {
				c := s.Client()
				b.Cleanup(func() { _ = c.Close() })
				urls, clients = append(urls, s.URL()), append(clients, c)
			}
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			open := newQuota(outstanding)
			o := DefaultThroughput()
			r, err := startRing(ctx, ringSpec{url: strings.Join(urls, ","), redisMode: "cluster", shards: shards, partitions: o.Partitions,
				workers: 1, concurrency: o.Concurrency, handler: noop(open)})
			if err != nil {
				b.Fatal(err)
			}
			defer r.close()
			defer context.AfterFunc(r.ended, open.close)()
			before := used(b, clients)
			b.ResetTimer()
			if err := r.produce(ctx, b.N, open, payload(keyCount)); err != nil {
				b.Fatal(err)
			}
			if !open.take(outstanding) {
				b.Fatal(context.Cause(r.ended))
			}
			b.StopTimer()
			after := used(b, clients)
			busiest, server := 0.0, 0.0
			for i := range clients {
				u := after[i].since(before[i])
				busiest = max(busiest, u.server.Seconds()/u.took.Seconds())
				server += micros(u.server)
			}
			jobs := float64(b.N)
			b.ReportMetric(jobs/b.Elapsed().Seconds(), "jobs/s")
			b.ReportMetric(server/jobs, "server-µs/job")
			b.ReportMetric(micros(after[0].since(before[0]).client)/jobs, "client-µs/job")
			b.ReportMetric(busiest, "busiest-server-CPUs")
		})
	}
}

func used(b *testing.B, servers []*redis.Client) []usage {
	b.Helper()
	var out []usage
	for _, c := range servers {
		u, err := measure(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, u)
	}
	return out
}
