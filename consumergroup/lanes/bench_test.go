package lanes

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"ringmaster/job"
	"ringmaster/resize"
)

const idleLanes = 4 << 10

// bench is a pool with one shard and one open partition: a test does the steps of reader,
// executors and acker itself, in the order it wants.
type bench struct {
	t      testing.TB
	p      *Pool
	s      *Shard
	ten    *Tenure
	now    time.Time
	ends   []ended
	events []resize.ParticipantEvent
	wakes  int
	quiets int
	alarms int
}

type ended struct {
	it *Item
	c  job.Completion
}

func (b *bench) End(it *Item, c job.Completion)  { b.ends = append(b.ends, ended{it, c}) }
func (b *bench) Broken(*Item) job.Completion     { return job.Completion{Outcome: job.Buried} }
func (b *bench) Tell(ev resize.ParticipantEvent) { b.events = append(b.events, ev) }
func (b *bench) Wake()                           { b.wakes++ }
func (b *bench) Ready()                          {}
func (b *bench) Quiet()                          { b.quiets++ }
func (b *bench) Alarm()                          { b.alarms++ }

func newBench(t testing.TB, tune func(*Limits)) *bench {
	t.Helper()
	limits := Limits{Window: 256, ReadBudget: 1024, HeldBytes: 64 << 20, ParkBeyond: 16, IdleLanes: idleLanes}
	if tune != nil {
		tune(&limits)
	}
	b := &bench{t: t, now: time.Unix(1000, 0)}
	b.p = NewPool(limits, b)
	b.s = NewShard(b.p, b)
	b.ten, _ = b.s.Claim(0, 1, true)
	b.ten.gate, b.ten.reading = true, true
	return b
}

// Before reads "wait" as an attempt that failed and whose next is an hour away, "apart"
// as a suspect that is held apart for a second.
func (b *bench) Before(record string, _ time.Time) Prior {
	p := Prior{Attempts: 1}
	switch record {
	case "wait":
		p.NotBefore = b.now.Add(time.Hour)
	case "apart":
		p.Suspect, p.Apart = true, time.Second
	}
	return p
}

func eid(n int) job.EntryID { return job.EntryID{Ms: uint64(n), Seq: 0} }

func entry(n int, key string) job.Entry {
	return job.Entry{ID: eid(n), Type: "t", Key: key, Payload: json.RawMessage("null")}
}

func waitingEntry(n int, key string) job.Entry {
	e := entry(n, key)
	e.Retry = "wait"
	return e
}

func (b *bench) arrive(es ...job.Entry) { b.s.Arrive(0, es, b.now) }

// mustStart takes the next job and says which it has to be.
func (b *bench) mustStart(n int) *Item {
	b.t.Helper()
	it := b.p.Next(b.now)
	if it == nil || it.Entry.ID != eid(n) {
		b.t.Fatalf("started %v, want job %d", describe(it), n)
	}
	return it
}

func (b *bench) mustNotStart() {
	b.t.Helper()
	if it := b.p.Next(b.now); it != nil {
		b.t.Fatalf("started %v, want nothing", describe(it))
	}
}

func describe(it *Item) string {
	if it == nil {
		return "nothing"
	}
	return fmt.Sprintf("job %d of key %q", it.Entry.ID.Ms, it.Entry.Key)
}

// finish ends a run that succeeded, without an answer yet.
func (b *bench) finish(it *Item) { b.p.Finished(it, job.Completion{Outcome: job.Done}) }

// fail ends a run with a failed attempt that is not answered yet.
func (b *bench) fail(it *Item) {
	prior := b.Before("wait", b.now)
	it.Prior = &prior
	b.p.Finished(it, job.Completion{Outcome: job.Failed, Data: "wait"})
}

// send sends all ends that wait, and returns them.
func (b *bench) send() []ended {
	batch := b.ends
	b.ends = nil
	for _, e := range batch {
		b.s.Sent([]*Item{e.it})
	}
	return batch
}

// reply gives one answer to ends that were sent.
func (b *bench) reply(batch []ended, a job.Answer) {
	for _, e := range batch {
		if b.s.Answered(e.it, &e.c, a, b.now) {
			b.events = append(b.events, resize.PartitionFenced{Part: e.it.Tenure.Partition, Epoch: e.it.Tenure.Epoch})
		}
	}
	if len(batch) > 0 {
		b.s.Settled(b.ten, len(batch), b.now)
	}
}

// answer gives one answer to all ends that wait, and returns them.
func (b *bench) answer(a job.Answer) []ended {
	batch := b.send()
	b.reply(batch, a)
	return batch
}

func (b *bench) complete(it *Item) { b.finish(it); b.answer(job.ByOwner) }

// toRead are the partitions that are read, in one way or the other.
func (b *bench) toRead() []int {
	parts, _, _ := b.s.ToRead(b.now)
	for _, ask := range b.s.Skims() {
		parts = append(parts, ask.Tenure.Partition)
	}
	return parts
}

// used are the lanes that hold something.
func (b *bench) used() int {
	n := 0
	for _, l := range b.ten.lanes {
		if !l.empty() {
			n++
		}
	}
	return n
}

func ids(es []ended) string {
	var out []string
	for _, e := range es {
		out = append(out, fmt.Sprintf("%c%d", e.c.Outcome, e.c.ID.Ms))
	}
	return strings.Join(out, " ")
}

// filler has so many more jobs arrive with each call, every other one of a key of its own.
func (b *bench) filler(of func(n int, key string) job.Entry) func(count int) {
	n := 0
	return func(count int) {
		for range count {
			n++
			key := ""
			if n%2 == 0 {
				key = fmt.Sprint("k", n)
			}
			b.arrive(of(n, key))
		}
	}
}
