package streams

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"ringmaster/job"
)

// Views only count, and search for a key: while a script does it nobody else is served, so it reads
// no more than some MiB, however large the jobs are that lie in its way.
func TestViewsOfLargeJobsReadLittleAtATime(t *testing.T) {
	const parts, each, size = 8, 24, 200 << 10
	c := realCrew(t, Queue{Partitions: parts}) // the in-memory store has no MONITOR
	a := c.give(c.join("a.1"))
	p := c.s.NewProducer(c.q)
	defer p.Close()
	payload := json.RawMessage(`"` + strings.Repeat("x", size) + `"`)
	var last job.ID
	for part := range parts {
		for n := range each {
			key := keyOf(t, part, parts, "k")
			if n == each-1 {
				key = keyOf(t, part, parts, "last")
			}
			receipts, errs := p.Enqueue(c.ctx, job.Job{Type: "t", Key: key, Payload: payload})
			if errs != nil {
				t.Fatal(errs)
			}
			last, _ = job.ParseID(receipts[0].ID)
			if n == each-2 {
				for len(a.read(part)) > 0 { // all but the last
					continue
				}
			}
		}
	}
	shown := c.monitor()
	v, err := c.s.Inspect().QueueView(c.ctx, "q")
	must(t, err)
	k, err := c.s.Inspect().Key(c.ctx, "q", keyOf(t, last.Partition, parts, "last"))
	must(t, err)
	if v.Waiting != parts || v.Pending != parts*(each-1) {
		t.Errorf("waiting %d, pending %d", v.Waiting, v.Pending)
	}
	if k.Head == nil || k.Head.ID != last.String() {
		t.Errorf("the key's job, behind larger ones, is not found: %+v", k)
	}
	most, now := 0, 0
	for _, m := range shown() {
		switch {
		case !m.lua:
			now = 0 // the next script
		case strings.HasPrefix(strings.ToLower(m.args[0]), "x") && strings.HasSuffix(strings.ToLower(m.args[0]), "range"):
			var n int
			_, err := fmt.Sscan(m.args[len(m.args)-1], &n)
			must(t, err)
			now += n
			most = max(most, now)
		}
	}
	if limit := 2*parts + 3*(1<<20)/size; most > limit || most == 0 {
		t.Errorf("a script asks for %d entries of %d KiB, want at most %d", most, size>>10, limit)
	}
}

// keyOf is a key of a partition that begins with a word.
func keyOf(t *testing.T, part, parts int, word string) string {
	t.Helper()
	for i := range 10_000 {
		if key := fmt.Sprint(word, i); job.PartitionOf(key, parts) == part {
			return key
		}
	}
	t.Fatal("no key")
	return ""
}
