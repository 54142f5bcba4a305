package streams

import (
	"errors"
	"fmt"
	"testing"

	"ringmaster/job"
)

// keysOfShards are keys of jobs, one for each shard.
func (c *crew) keysOfShards() []string {
	keys := make([]string, c.q.Shards)
	for i, left := 0, c.q.Shards; left > 0; i++ {
		k := fmt.Sprint("k", i)
		if sh := job.PartitionOf(k, c.q.Partitions) % c.q.Shards; keys[sh] == "" {
			keys[sh] = k
			left--
		}
	}
	return keys
}

func (c *crew) entries() (n int64) {
	for p := range c.q.Partitions {
		n += c.xlen(p)
	}
	return n
}

// An idempotency key stands for one job of the queue, in whatever shard that is.
func TestAnIdempotencyKeyIsForOneJobOfAllShards(t *testing.T) {
	eachCrew(t, Queue{Partitions: 7, Shards: 3}, func(c *crew) {
		p := c.s.NewProducer(c.q)
		defer p.Close()
		keys := append(c.keysOfShards(), "") // and none
		for first, key := range keys {
			j := job.Job{Type: "t", Key: key, Payload: []byte("1"), IdempotencyKey: fmt.Sprint("i", first)}
			before := c.entries()
			one, errs := p.Enqueue(c.ctx, j)
			if errs != nil || one[0].Duplicate {
				c.t.Fatalf("%v, %v", one, errs)
			}
			for _, other := range keys {
				x := j
				x.Key = other
				x.Payload = []byte("2")
				if _, errs := p.Enqueue(c.ctx, x); errs == nil || !errors.Is(errs[0], job.ErrConflict) {
					c.t.Errorf("key %q under the idempotency key of a job of %q: %v", other, key, errs)
				}
			}
			again := c.s.NewProducer(c.q)
			two, errs := again.Enqueue(c.ctx, j)
			again.Close()
			if errs != nil || !two[0].Duplicate || two[0].ID != one[0].ID {
				c.t.Errorf("a repeat: %v, %v after %v", two, errs, one)
			}
			c.expect("entries", c.entries()-before, 1)
		}
	})
}

// A producer that dies between the reservation and the job, or hears no answer to either: a repeat adds
// the job once, and nothing else is taken for it.
func TestAReservedIdempotencyKeyIsTakenUp(t *testing.T) {
	eachCrew(t, Queue{Partitions: 7, Shards: 3}, func(c *crew) {
		s, proxy := c.proxied()
		key := c.keysOfShards()[1]
		j := job.Job{Type: "t", Key: key, Payload: []byte("1")}
		var elsewhere []string // of other shards than the key's
		for i := 0; len(elsewhere) < 2; i++ {
			if x := fmt.Sprint("i", i); job.PartitionOf(x, 7)%3 != 1 {
				elsewhere = append(elsewhere, x)
			}
		}
		j.IdempotencyKey = elsewhere[0]
		send := func(j job.Job) (job.Receipt, error) {
			p := s.NewProducer(c.q)
			defer p.Close()
			r, errs := p.Enqueue(c.ctx, j)
			if errs != nil {
				return job.Receipt{}, errs[0]
			}
			return r[0], nil
		}
		other := j
		other.IdempotencyKey, other.Payload = elsewhere[1], []byte("3")
		must1(send(other))(c.t) // so that the server knows the scripts
		before := c.entries()
		rule := proxy.LoseReply(c.sha(&c.s.scripts.reserve), 1)
		if _, err := send(j); !errors.Is(err, job.ErrUnavailable) || errors.Is(err, job.ErrOutcomeUnknown) {
			c.t.Errorf("reservation without an answer: %v", err)
		}
		<-rule.Executed()
		c.expect("added", c.entries()-before, 0)
		other = j
		other.Payload = []byte("2")
		if _, err := send(other); !errors.Is(err, job.ErrConflict) {
			c.t.Errorf("another job after the reservation: %v", err)
		}
		rule = proxy.LoseReply(c.sha(&c.s.scripts.enqueueOnce), 1)
		if _, err := send(j); !errors.Is(err, job.ErrOutcomeUnknown) {
			c.t.Errorf("job without an answer: %v", err)
		}
		<-rule.Executed()
		r := must1(send(j))(c.t)
		c.expect("duplicate", r.Duplicate, true)
		c.expect("added", c.entries()-before, 1)
	})
}

// The memory of a job without a key is in its partition: whoever sends it, and however often, sends it there.
func TestAJobWithoutAKeyIsAddedOncePerIdempotencyKey(t *testing.T) {
	eachCrew(t, Queue{Partitions: 7, Shards: 3}, func(c *crew) {
		for i := range 5 {
			j := job.Job{Type: "t", IdempotencyKey: fmt.Sprint("i", i)}
			for n := range 4 {
				p := c.s.NewProducer(c.q)
				r, errs := p.Enqueue(c.ctx, j)
				p.Close()
				if errs != nil || r[0].Duplicate != (n > 0) {
					c.t.Errorf("sent %d times before: %+v, %v", n, r, errs)
				}
			}
		}
		c.expect("entries", c.entries(), 5)
	})
}
