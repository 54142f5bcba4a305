package streams

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"ringmaster/internal/redistest"
	"ringmaster/job"
)

const benchBatch = 500

// fill hands in a batch of jobs of 100 bytes.
func (c *crew) fill(p *Producer) {
	c.t.Helper()
	jobs := make([]job.Job, benchBatch)
	for i := range jobs {
		jobs[i] = job.Job{Type: "work", Key: fmt.Sprint("key-", i), Payload: json.RawMessage(strconv.Quote(strings.Repeat("x", 98)))}
	}
	if _, errs := p.Enqueue(context.Background(), jobs...); errs != nil {
		c.t.Fatal(errs)
	}
}

func benchCrew(b *testing.B, partitions int) (*crew, *hand, *Producer) {
	c := newCrew(b, redistest.Real(b).URL(), "real", Queue{Partitions: partitions})
	h := c.give(c.join("a.1"))
	p := c.s.NewProducer(c.q)
	b.Cleanup(p.Close)
	return c, h, p
}

func allOf(partitions int) []int {
	out := make([]int, partitions)
	for i := range out {
		out[i] = i
	}
	return out
}

// BenchmarkRead asks a real server for 500 jobs, and parses the reply.
func BenchmarkRead(b *testing.B) {
	for _, partitions := range []int{1, 64} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			c, h, p := benchCrew(b, partitions)
			c.fill(p)
			all, ctx := allOf(partitions), context.Background()
			b.ReportAllocs()
			for b.Loop() {
				batch, err := h.readers[0].Read(ctx, all, benchBatch, -1)
				got := 0
				for i := range batch.Jobs {
					got += len(batch.Jobs[i].Entries)
				}
				if err != nil || got != benchBatch {
					b.Fatalf("%d jobs: %v", got, err)
				}
				b.StopTimer()
				for i := range all { // the same jobs once more
					must(b, c.raw.XGroupSetID(ctx, c.stream(i), h.inc, "0").Err())
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchBatch, "ns/job")
		})
	}
}

// BenchmarkAck ends 500 jobs in one call of a real server.
func BenchmarkAck(b *testing.B) {
	for _, partitions := range []int{1, 64} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			c, h, p := benchCrew(b, partitions)
			all, ctx := allOf(partitions), context.Background()
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				c.fill(p)
				batches := h.readEnds(all)
				b.StartTimer()
				answers, err := h.member.Ack(ctx, 0, batches)
				must(b, err)
				for i := range answers {
					for k, a := range answers[i] {
						if a != job.ByOwner {
							b.Fatalf("end %d of partition %d: %c", k, batches[i].Partition, a)
						}
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchBatch, "ns/job")
		})
	}
}

// readEnds takes all that waits, and makes the ends of its runs.
func (h *hand) readEnds(parts []int) []job.PartitionAcks {
	h.t.Helper()
	read, err := h.readers[0].Read(context.Background(), parts, benchBatch, -1)
	must(h.t, err)
	out := make([]job.PartitionAcks, len(read.Jobs))
	for i, p := range read.Jobs {
		out[i] = job.PartitionAcks{Partition: p.Partition, Epoch: 1}
		for _, e := range p.Entries {
			out[i].Completions = append(out[i].Completions, job.Completion{Partition: p.Partition, Epoch: 1, ID: e.ID, Outcome: job.Done, Attempt: 1, Key: e.Key, Type: e.Type})
		}
	}
	return out
}
