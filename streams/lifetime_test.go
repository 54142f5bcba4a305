package streams

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ringmaster/job"
)

// lifetimes are those of the table in docs/wire.md, by the first part of a key: between half of it
// and all of it is left. 0: for as long as there is something in it.
var lifetimes = map[string]time.Duration{
	"jobs": 0, "owner": 0, "plan": 0, "ring": 0, "moves": 0, "members": 0, "change": 0, "calls": 0, "deaths": 0, "beats": 0, "control": 0,
	"gaps": 0, "confirm": 0, "retry": 0, "parked": 0, "dead": 0, "journal": 0,
	"leader": time.Minute, "alive": time.Minute, "control:": 10 * time.Minute, "acks": time.Hour, "replied": time.Hour,
	"result": job.ResultTTL, "producer": job.IdempotencyTTL, "idem": job.IdempotencyTTL,
}

// What every script leaves behind ends by itself, unless it has to stay: a record that never expires
// fills the memory, and one without a lifetime of its own may be gone before it is needed.
func TestKeysLiveAsLongAsDocumented(t *testing.T) {
	eachCrew(t, Queue{Name: "q", Partitions: 3, Shards: 3, Journal: true}, func(c *crew) {
		exercise(c)
		c.join("c.1")
		seen := map[string]bool{}
		for sh := range c.q.Shards {
			prefix := c.s.shard(c.q, sh)
			for _, key := range must1(c.raw.Keys(c.ctx, prefix+"*").Result())(c.t) {
				name, rest, _ := strings.Cut(strings.TrimPrefix(key, prefix), ":")
				if name == "control" && rest != "" {
					name = "control:"
				}
				want, known := lifetimes[name]
				left := must1(c.raw.PTTL(c.ctx, key).Result())(c.t)
				switch seen[name] = true; {
				case !known:
					c.t.Errorf("%s: no lifetime is documented", key)
				case want == 0 && left >= 0:
					c.t.Errorf("%s ends in %v, and has to stay", key, left)
				case want > 0 && (left < want/2 || left > want):
					c.t.Errorf("%s: %v left of %v", key, left, want)
				}
			}
		}
		for name, want := range lifetimes {
			if want > 0 && !seen[name] {
				c.t.Errorf("no key %s was left", name)
			}
		}
	})
}

// A repeat may be what begins the memory in the job's shard: the reservation in the idempotency key's
// own does not end before it.
func TestARepeatRenewsTheReservation(t *testing.T) {
	eachCrew(t, Queue{Partitions: 7, Shards: 3}, func(c *crew) {
		p := c.s.NewProducer(c.q)
		defer p.Close()
		j := job.Job{Type: "t", Key: c.keysOfShards()[1]}
		home := 1
		for i := 0; home%3 == 1; i++ {
			j.IdempotencyKey = fmt.Sprint("i", i)
			home = job.PartitionOf(j.IdempotencyKey, 7)
		}
		if _, errs := p.Enqueue(c.ctx, j); errs != nil {
			c.t.Fatal(errs)
		}
		reservation := c.key(home, "idem:"+j.IdempotencyKey)
		must(c.t, c.raw.PExpire(c.ctx, reservation, time.Minute).Err())
		if r, errs := p.Enqueue(c.ctx, j); errs != nil || !r[0].Duplicate {
			c.t.Errorf("a repeat: %v, %v", r, errs)
		}
		if left := c.raw.PTTL(c.ctx, reservation).Val(); left < job.IdempotencyTTL-time.Minute {
			c.t.Errorf("the reservation ends in %v", left)
		}
	})
}
