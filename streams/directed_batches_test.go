package streams

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ringmaster/job"
)

// TestRepeatedBatch: the answer of a large batch is lost, the producer sends it again,
// and it is in the stream once, under consecutive ids.
func TestRepeatedBatch(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		s, proxy := c.proxied()
		p := s.NewProducer(c.q)
		defer p.Close()
		if _, errs := p.Enqueue(c.ctx, job.Job{Type: "t", Key: "k"}); errs != nil {
			c.t.Fatal(errs)
		}
		jobs := make([]job.Job, maxBatch)
		for i := range jobs {
			jobs[i] = job.Job{Type: "t", Key: "k", Payload: []byte(fmt.Sprintf("%q", strings.Repeat("x", 2000)))}
		}
		rule := proxy.LoseReply(c.sha(&c.s.scripts.enqueue), 1)
		receipts, errs := p.Enqueue(c.ctx, jobs...)
		<-rule.Executed()
		if errs != nil {
			c.t.Fatal(errs)
		}
		rows, err := c.raw.XRange(c.ctx, c.stream(0), "-", "+").Result()
		must(c.t, err)
		if len(rows) != maxBatch+1 {
			c.t.Fatalf("%d entries", len(rows))
		}
		for i, r := range receipts {
			if r.ID != "0-"+rows[i+1].ID {
				c.t.Fatalf("job %d: receipt %s, entry %s", i, r.ID, rows[i+1].ID)
			}
		}
	})
}

// The script itself, with a clock that runs on between its calls.
func TestBatchScriptAnswersTheSameTwice(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		args := []any{"p1", "60000", c.q.Partitions, 0, "1", maxBatch}
		for range maxBatch {
			args = append(args, "t", "", strings.Repeat("x", 1000))
		}
		shard := c.s.shard(c.q, 0)
		call := func() string {
			return must1(run(c.ctx, c.s, c.s.cmd, &c.s.scripts.enqueue, shard, args...))(c.t).of(0)
		}
		first, again := call(), call()
		id, rest, _ := strings.Cut(first, " ")
		c.expect("answers", []string{rest, again}, []string{fmt.Sprint(maxBatch, 0), fmt.Sprint(id, " ", maxBatch, 1)})
		c.expect("entries", c.xlen(0), maxBatch)
		from, _ := job.ParseEntryID(id)
		rows, err := c.raw.XRange(c.ctx, c.stream(0), "-", "+").Result()
		must(c.t, err)
		for i, row := range rows {
			if want := (job.EntryID{Ms: from.Ms, Seq: from.Seq + uint64(i)}).String(); row.ID != want {
				c.t.Fatalf("entry %d: %s, want %s", i, row.ID, want)
			}
		}
		// A later batch makes the earlier one stale for good.
		args[4] = "2"
		call()
		args[4] = "1"
		if answer := call(); !strings.HasPrefix(answer, "STALE") {
			c.t.Errorf("an earlier sequence: %s", answer)
		}
		c.expect("entries", c.xlen(0), 2*maxBatch)
	})
}

// One call brings batches of several partitions: what one of them refuses concerns no other.
func TestOneBatchOfACallIsRefused(t *testing.T) {
	eachCrew(t, Queue{Partitions: 3}, func(c *crew) {
		p := c.s.NewProducer(c.q)
		defer p.Close()
		must(t, c.raw.Set(c.ctx, c.stream(1), "not a stream", 0).Err())
		jobs := make([]job.Job, 3*64) // unkeyed jobs go to the next partition after 64
		for i := range jobs {
			jobs[i] = job.Job{Type: "t"}
		}
		receipts, errs := p.Enqueue(c.ctx, jobs...)
		for i, r := range receipts {
			if refused := r.Partition == 1; refused != (errs[i] != nil) || refused == (r.ID != "") {
				t.Fatalf("job %d: %+v, %v", i, r, errs[i])
			}
			if errs[i] != nil && (!strings.Contains(errs[i].Error(), "WRONGTYPE") || errors.Is(errs[i], job.ErrOutcomeUnknown)) {
				t.Fatal(errs[i])
			}
		}
		c.expect("entries", []int64{c.xlen(0), c.xlen(2)}, []int64{64, 64})
	})
}

// A batch that was given up reaches the server after a later one: it adds nothing.
func TestGivenUpBatchIsNeverAdded(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		s, proxy := c.proxied()
		p := s.NewProducer(c.q)
		defer p.Close()
		first, errs := p.Enqueue(c.ctx, job.Job{Type: "t", Key: "k"})
		if errs != nil {
			c.t.Fatal(errs)
		}
		rule := proxy.Hold(c.sha(&c.s.scripts.enqueue), 1)
		ctx, cancel := context.WithCancel(c.ctx)
		defer cancel()
		ended := make(chan []error, 1)
		go func() {
			_, errs := p.Enqueue(ctx, job.Job{Type: "t", Key: "late"})
			ended <- errs
		}()
		<-rule.Fired()
		cancel()
		if errs := <-ended; errs == nil || !errors.Is(errs[0], job.ErrOutcomeUnknown) {
			c.t.Fatalf("the caller was told %v", errs)
		}
		later, errs := p.Enqueue(c.ctx, job.Job{Type: "t", Key: "k"})
		if errs != nil {
			c.t.Fatal(errs)
		}
		rule.Release()
		<-rule.Executed()
		rows, err := c.raw.XRange(c.ctx, c.stream(0), "-", "+").Result()
		must(c.t, err)
		var ids []string
		for _, row := range rows {
			ids = append(ids, "0-"+row.ID)
		}
		c.expect("entries", ids, []string{first[0].ID, later[0].ID})
	})
}

// A batch was executed, its answer was lost and nobody waits for it any more: the next one is not taken
// for its repeat, which would be answered with the ids of the first and never added.
func TestTheNextBatchIsNotTakenForAFailedOne(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		s, proxy := c.proxied()
		p := s.NewProducer(c.q)
		defer p.Close()
		seen := map[string]bool{}
		add := func() {
			receipts, errs := p.Enqueue(c.ctx, job.Job{Type: "t", Key: "k"})
			if errs != nil {
				c.t.Fatal(errs)
			}
			if seen[receipts[0].ID] {
				c.t.Errorf("%s was answered to two jobs", receipts[0].ID)
			}
			seen[receipts[0].ID] = true
		}
		add()
		rule := proxy.LoseReply(c.sha(&c.s.scripts.enqueue), 1)
		proxy.Refuse(true) // no repeat gets through
		ctx, cancel := context.WithCancel(c.ctx)
		defer cancel()
		ended := make(chan []error, 1)
		go func() {
			_, errs := p.Enqueue(ctx, job.Job{Type: "t", Key: "k"})
			ended <- errs
		}()
		<-rule.Executed()
		c.until("the attempt has failed", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			b := p.lanes[0].retry
			return b != nil && b.sent && !b.inFlight
		})
		cancel()
		if errs := <-ended; errs == nil || !errors.Is(errs[0], job.ErrOutcomeUnknown) {
			c.t.Fatalf("the caller was told %v", errs)
		}
		proxy.Refuse(false)
		add()
		add()
		c.expect("entries", c.xlen(0), 4)
	})
}

func TestIdempotencyKey(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		p := c.s.NewProducer(c.q)
		defer p.Close()
		j := job.Job{Type: "t", Key: "k", Payload: []byte("1"), IdempotencyKey: "x{y}:1"}
		one, errs := p.Enqueue(c.ctx, j)
		two, errs2 := p.Enqueue(c.ctx, j)
		if errs != nil || errs2 != nil || one[0].Duplicate || !two[0].Duplicate || one[0].ID != two[0].ID {
			c.t.Errorf("%v %v, then %v %v", one, errs, two, errs2)
		}
		j.Payload = []byte("2")
		if _, errs := p.Enqueue(c.ctx, j); errs == nil || !errors.Is(errs[0], job.ErrConflict) {
			c.t.Errorf("another job under the same key: %v", errs)
		}
		c.expect("entries", c.xlen(0), 1)
	})
}

// A server that forgets its scripts, between calls and in the midst of a pipeline: every
// call is executed once.
func TestScriptFlush(t *testing.T) {
	eachCrew(t, Queue{Partitions: 3, Shards: 3}, func(c *crew) {
		s, proxy := c.proxied()
		a := c.joinVia(s, "a.1")
		flush := func() { must(c.t, c.raw.ScriptFlush(c.ctx).Err()) }
		flush()
		must(c.t, c.plan("key", a.inc))
		flush()
		for p := range 3 {
			must(c.t, c.steal(p, "-", 0, a.inc))
			c.expect("owner", c.owner(p), "a.1 1")
		}
		p := s.NewProducer(c.q)
		defer p.Close()
		jobs := make([]job.Job, 3*64) // unkeyed jobs go to the next partition after 64
		for i := range jobs {
			jobs[i] = job.Job{Type: "t"}
		}
		for round := int64(1); round < 4; round++ {
			// The server knows the script again.
			if _, err := run(c.ctx, s, s.cmd, &s.scripts.enqueue, s.shard(c.q, 0), "x", 1000, c.q.Partitions, 99, 1, 0); !errors.Is(err, job.ErrNotFound) {
				c.t.Fatal(err)
			}
			rule := proxy.Hold(fmt.Sprintf("rm:{q/%d}:", round-1), 1)
			ended := make(chan []error, 1)
			go func() {
				_, errs := p.Enqueue(c.ctx, jobs...)
				ended <- errs
			}()
			<-rule.Fired() // some of the pipeline may be executed, the rest waits
			flush()
			rule.Release()
			if errs := <-ended; errs != nil {
				c.t.Fatal(errs)
			}
			for n := range 3 {
				c.expect("entries", c.xlen(n), 64*round)
			}
		}
		flush()
		beats := must1(a.member.Heartbeat(c.ctx))(c.t)
		c.expect("heartbeats", len(beats), 3)
		flush()
		ids := a.read(1)
		c.expect("ack", a.ack(1, 1, kept(ids[0])), "O")
	})
}

// The largest jobs do not make one script call of unbounded size.
func TestBatchesAreBoundedInBytes(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		p := c.s.NewProducer(c.q)
		defer p.Close()
		payload := []byte(`"` + strings.Repeat("x", job.MaxPayloadBytes-2) + `"`)
		jobs := slices.Repeat([]job.Job{{Type: "t", Key: "k", Payload: payload}}, 6)
		receipts, errs := p.Enqueue(c.ctx, jobs...)
		if errs != nil {
			c.t.Fatal(errs)
		}
		c.expect("entries", c.xlen(0), 6)
		for i := range receipts[1:] {
			a, b := must1(job.ParseID(receipts[i].ID))(c.t), must1(job.ParseID(receipts[i+1].ID))(c.t)
			if !a.Entry.Less(b.Entry) {
				c.t.Errorf("out of order: %v", receipts)
			}
		}
		p.mu.Lock()
		seq := p.lanes[0].seq
		p.mu.Unlock()
		c.expect("batches", seq, 2)
	})
}

// A queue whose records cannot be made again does not keep a producer busy for ever.
func TestRecordsGoneAndNotToBeMade(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		p := c.s.NewProducer(c.q)
		defer p.Close()
		must(c.t, c.raw.FlushAll(c.ctx).Err())
		must(c.t, c.raw.Set(c.ctx, c.stream(0), "x", 0).Err())
		ctx, cancel := context.WithTimeout(c.ctx, 20*time.Second)
		defer cancel()
		_, errs := p.Enqueue(ctx, job.Job{Type: "t", Key: "k"})
		if errs == nil || ctx.Err() != nil || !errors.Is(errs[0], job.ErrNotFound) {
			c.t.Errorf("enqueue: %v", errs)
		}
	})
}
