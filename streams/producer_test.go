package streams

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ringmaster/job"
)

// What arrives while a round trip is under way goes with the next one. On the real
// server alone: the in-memory store counts no calls.
func TestConcurrentCallsShareBatches(t *testing.T) {
	c := realCrew(t, Queue{})
	s, proxy := c.proxied()
	p := s.NewProducer(c.q)
	defer p.Close()
	if _, errs := p.Enqueue(c.ctx, job.Job{Type: "t", Key: "k"}); errs != nil {
		t.Fatal(errs)
	}
	must(t, c.raw.ConfigResetStat(c.ctx).Err())
	rule := proxy.Hold(c.sha(&c.s.scripts.enqueue), 1)
	var wg sync.WaitGroup
	failed := make(chan []error, 64)
	for range 64 {
		wg.Go(func() {
			if _, errs := p.Enqueue(c.ctx, job.Job{Type: "t", Key: "k"}); errs != nil {
				failed <- errs
			}
		})
	}
	<-rule.Fired()
	for waiting := 0; waiting < 64 && c.ctx.Err() == nil; { // all have handed in
		p.mu.Lock()
		l := p.lanes[0]
		waiting = len(l.queue) + len(l.retry.jobs)
		p.mu.Unlock()
	}
	rule.Release()
	wg.Wait()
	select {
	case errs := <-failed:
		t.Fatal(errs)
	default:
	}
	c.expect("entries", c.xlen(0), 65)
	info := must1(c.raw.Info(c.ctx, "commandstats").Result())(t)
	m := regexp.MustCompile(`cmdstat_evalsha:calls=(\d+)`).FindStringSubmatch(info)
	if m == nil {
		t.Fatal(info)
	}
	if n, _ := strconv.Atoi(m[1]); n > 3 {
		t.Errorf("%d script calls for 64 jobs", n)
	}
}

// Each caller's jobs of a key are in the stream in the caller's order, whoever else
// enqueues beside it.
func TestOrderOfAKeyAcrossConcurrentCallers(t *testing.T) {
	eachCrew(t, Queue{Partitions: 2}, func(c *crew) {
		p := c.s.NewProducer(c.q)
		defer p.Close()
		var wg sync.WaitGroup
		failed := make(chan []error, 8)
		for w := range 8 {
			wg.Go(func() {
				key := "k" + strconv.Itoa(w%4)
				for first := 0; first < 40; first += 10 {
					var jobs []job.Job
					for i := range 10 {
						jobs = append(jobs, job.Job{Type: "t" + strconv.Itoa(w), Key: key, Payload: []byte(strconv.Itoa(first + i))})
					}
					if _, errs := p.Enqueue(c.ctx, jobs...); errs != nil {
						failed <- errs
						return
					}
				}
			})
		}
		wg.Wait()
		select {
		case errs := <-failed:
			c.t.Fatal(errs)
		default:
		}
		next := map[string]int{}
		for part := range 2 {
			rows, err := c.raw.XRange(c.ctx, c.stream(part), "-", "+").Result()
			must(c.t, err)
			for _, row := range rows {
				who := row.Values["type"].(string)
				if row.Values["payload"] != strconv.Itoa(next[who]) {
					c.t.Fatalf("%s: job %v where %d was due", who, row.Values["payload"], next[who])
				}
				next[who]++
			}
		}
		c.expect("jobs of each", next, map[string]int{"t0": 40, "t1": 40, "t2": 40, "t3": 40, "t4": 40, "t5": 40, "t6": 40, "t7": 40})
	})
}

func TestUnkeyedJobsAreSpread(t *testing.T) {
	eachCrew(t, Queue{Partitions: 4}, func(c *crew) {
		p := c.s.NewProducer(c.q)
		defer p.Close()
		for range 8 {
			if _, errs := p.Enqueue(c.ctx, job.Job{Type: "t"}); errs != nil {
				c.t.Fatal(errs)
			}
		}
		if _, errs := p.Enqueue(c.ctx, make([]job.Job, 0)...); errs != nil {
			c.t.Errorf("nothing at all: %v", errs)
		}
		for part := range 4 {
			c.expect("entries of partition "+strconv.Itoa(part), c.xlen(part), 2)
		}
	})
}

func TestInvalidJobsDoNotHoldUpOthers(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		p := c.s.NewProducer(c.q)
		defer p.Close()
		receipts, errs := p.Enqueue(c.ctx, job.Job{Type: "t"}, job.Job{Type: "no name"}, job.Job{Type: "t", Payload: []byte("2")})
		if len(errs) != 3 || errs[0] != nil || !errors.Is(errs[1], job.ErrInvalid) || errs[2] != nil || receipts[0].ID == "" || receipts[2].ID == "" {
			c.t.Errorf("%v %v", receipts, errs)
		}
		c.expect("entries", c.xlen(0), 2)
	})
}

// A server that is not reached: nothing was added, and the caller is told so and why.
func TestContextEndsWhileTheServerIsDown(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		s, proxy := c.proxied()
		proxy.Refuse(true)
		p := s.NewProducer(c.q)
		ctx, cancel := context.WithCancel(c.ctx)
		ended := make(chan []error, 1)
		go func() {
			_, errs := p.Enqueue(ctx, job.Job{Type: "t", Key: "k"})
			ended <- errs
		}()
		for c.ctx.Err() == nil { // until the first attempt has failed
			p.mu.Lock()
			failed := p.failure != nil && !p.lanes[0].retry.inFlight
			p.mu.Unlock()
			if failed {
				break
			}
		}
		cancel()
		errs := <-ended
		if errs == nil || !errors.Is(errs[0], context.Canceled) || !errors.Is(errs[0], job.ErrUnavailable) || errors.Is(errs[0], job.ErrOutcomeUnknown) {
			c.t.Errorf("%v", errs)
		}
		proxy.Refuse(false)
		if _, errs := p.Enqueue(c.ctx, job.Job{Type: "t", Key: "k"}); errs != nil {
			c.t.Fatal(errs)
		}
		p.Close()
		c.expect("entries", c.xlen(0), 1)
	})
}

func TestContextEndsBeforeAnything(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		p := c.s.NewProducer(c.q)
		ctx, cancel := context.WithCancel(c.ctx)
		cancel()
		_, errs := p.Enqueue(ctx, job.Job{Type: "t", Key: "k"})
		if errs == nil || !errors.Is(errs[0], job.ErrUnavailable) || !errors.Is(errs[0], context.Canceled) {
			c.t.Errorf("%v", errs)
		}
		p.Close()
		c.expect("entries", c.xlen(0), 0)
		if _, errs := p.Enqueue(c.ctx, job.Job{Type: "t"}); errs == nil || !errors.Is(errs[0], ErrClosed) {
			c.t.Errorf("after Close: %v", errs)
		}
		p.Close()
	})
}

// Close sends what was handed in before.
func TestCloseSendsWhatWaits(t *testing.T) {
	eachCrew(t, Queue{Partitions: 2}, func(c *crew) {
		p := c.s.NewProducer(c.q)
		var wg sync.WaitGroup
		added := make(chan int, 20)
		for i := range 20 {
			wg.Go(func() {
				if _, errs := p.Enqueue(c.ctx, job.Job{Type: "t", Key: fmt.Sprint(i)}); errs == nil {
					added <- 1
				} else if !errors.Is(errs[0], ErrClosed) {
					c.t.Errorf("%v", errs)
				}
			})
		}
		p.Close()
		wg.Wait()
		c.expect("entries", c.xlen(0)+c.xlen(1), len(added))
	})
}

// Close gives up on a server that does not answer, and every caller is told.
func TestCloseGivesUp(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		s, proxy := c.proxied()
		p := s.NewProducer(c.q)
		must(c.t, s.Ping(c.ctx))
		proxy.Refuse(true)
		proxy.CutAll()
		ended := make(chan []error, 1)
		go func() {
			_, errs := p.Enqueue(c.ctx, job.Job{Type: "t", Key: "k"}, job.Job{Type: "t", Key: "l"})
			ended <- errs
		}()
		for seen := false; !seen && c.ctx.Err() == nil; {
			p.mu.Lock()
			seen = p.lanes[0] != nil
			p.mu.Unlock()
		}
		began := time.Now()
		p.Close()
		if took := time.Since(began); took > 10*time.Second {
			c.t.Errorf("Close took %v", took)
		}
		if errs := <-ended; len(errs) != 2 || errs[0] == nil || errs[1] == nil {
			c.t.Errorf("%v", errs)
		}
	})
}

// FLUSHALL, or a new server at the same address: the queue is made again, with its counts.
func TestQueueRecordsAreMadeAgain(t *testing.T) {
	eachCrew(t, Queue{Partitions: 5, Shards: 2}, func(c *crew) {
		p := c.s.NewProducer(c.q)
		defer p.Close()
		for _, idem := range []string{"", "i"} {
			must(c.t, c.raw.FlushAll(c.ctx).Err())
			receipts, errs := p.Enqueue(c.ctx, job.Job{Type: "t", Key: "k", IdempotencyKey: idem})
			if errs != nil {
				c.t.Fatal(errs)
			}
			c.expect("entries", c.xlen(receipts[0].Partition), 1)
			q := must1(c.s.LookupQueue(c.ctx, "q"))(c.t)
			c.expect("counts", []int{q.Partitions, q.Shards}, "[5 2]")
			c.expect("owners", c.raw.HLen(c.ctx, c.s.shard(c.q, 0)+"owner").Val()+c.raw.HLen(c.ctx, c.s.shard(c.q, 1)+"owner").Val(), 5)
		}
	})
}

// Nobody listens: nothing was sent, and the text says what is wrong.
func TestNobodyListens(t *testing.T) {
	s, err := Open(Options{URL: "redis://127.0.0.1:1", Timeout: time.Second})
	must(t, err)
	defer func() { _ = s.Close() }()
	p := s.NewProducer(Queue{Name: "q", Partitions: 1, Shards: 1})
	defer p.Close()
	for _, j := range []job.Job{{Type: "t"}, {Type: "t", IdempotencyKey: "i"}} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, errs := p.Enqueue(ctx, j)
		cancel()
		if len(errs) != 1 || !errors.Is(errs[0], job.ErrUnavailable) || errors.Is(errs[0], job.ErrOutcomeUnknown) || !strings.Contains(errs[0].Error(), "refused") {
			t.Errorf("%v", errs)
		}
	}
}

// A queue that was made anew with another count: no key goes to a wrong partition.
func TestRecountedQueueTakesNothingFromAnOldProducer(t *testing.T) {
	eachCrew(t, Queue{Partitions: 4}, func(c *crew) {
		p := c.s.NewProducer(c.q)
		defer p.Close()
		must(c.t, c.raw.FlushAll(c.ctx).Err())
		c.s.forget("q")
		must1(c.s.CreateQueue(c.ctx, Queue{Name: "q", Partitions: 8}))(c.t)
		for _, j := range []job.Job{{Type: "t", Key: "k"}, {Type: "t", Key: "k", IdempotencyKey: "i"}} {
			if _, errs := p.Enqueue(c.ctx, j); len(errs) != 1 || !errors.Is(errs[0], ErrRecounted) {
				c.t.Errorf("%+v: %v", j, errs)
			}
		}
		for n := range 8 {
			c.expect("entries", c.xlen(n), 0)
		}
	})
}

// Jobs of one key keep their order though some have an idempotency key.
func TestMixedCallKeepsItsOrder(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		p := c.s.NewProducer(c.q)
		defer p.Close()
		var jobs []job.Job
		for n := range 6 {
			j := job.Job{Type: "t", Key: "k", Payload: []byte(strconv.Itoa(n))}
			if n%2 == 1 {
				j.IdempotencyKey = fmt.Sprint("i", n)
			}
			jobs = append(jobs, j)
		}
		receipts, errs := p.Enqueue(c.ctx, jobs...)
		if errs != nil {
			c.t.Fatal(errs)
		}
		last := job.ID{}
		for i, r := range receipts {
			id := must1(job.ParseID(r.ID))(c.t)
			if !last.Entry.Less(id.Entry) {
				c.t.Fatalf("job %d: %s after %s", i, id, last)
			}
			last = id
		}
	})
}

// A batch that was executed while its answer was lost, and whose repeats never got
// through: perhaps added, and indeed it was.
func TestContextEndsAfterALostAnswer(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		s, proxy := c.proxied()
		p := s.NewProducer(c.q)
		if _, errs := p.Enqueue(c.ctx, job.Job{Type: "t", Key: "k"}); errs != nil {
			c.t.Fatal(errs)
		}
		proxy.LoseReply(c.sha(&c.s.scripts.enqueue), 1)
		proxy.Refuse(true)
		ctx, cancel := context.WithCancel(c.ctx)
		ended := make(chan []error, 1)
		go func() {
			_, errs := p.Enqueue(ctx, job.Job{Type: "t", Key: "k"})
			ended <- errs
		}()
		for failed := false; !failed && c.ctx.Err() == nil; {
			p.mu.Lock()
			b := p.lanes[0].retry
			failed = b != nil && !b.inFlight && p.failure != nil
			p.mu.Unlock()
		}
		cancel()
		if errs := <-ended; errs == nil || !errors.Is(errs[0], job.ErrOutcomeUnknown) {
			c.t.Errorf("%v", errs)
		}
		c.expect("entries", c.xlen(0), 2)
		proxy.Refuse(false)
		p.Close()
	})
}

// Producers that add one job each do not all begin with the same partition.
func TestProducersBeginAnywhere(t *testing.T) {
	eachCrew(t, Queue{Partitions: 64}, func(c *crew) {
		seen := map[int]bool{}
		for range 20 {
			p := c.s.NewProducer(c.q)
			receipts, errs := p.Enqueue(c.ctx, job.Job{Type: "t"})
			p.Close()
			if errs != nil {
				c.t.Fatal(errs)
			}
			seen[receipts[0].Partition] = true
		}
		if len(seen) < 4 {
			c.t.Errorf("20 jobs in %d of 64 partitions", len(seen))
		}
	})
}
