package streams

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// The control streams of all queues are read on one connection. A queue that comes later is
// followed at once, and one whose stream somebody has spoiled keeps no other from being read.
func TestOneFeedFollowsAllQueues(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		f := c.s.NewFeed()
		ctx, cancel := context.WithCancel(c.ctx)
		var running sync.WaitGroup
		running.Go(func() { f.Run(ctx) })
		defer running.Wait()
		defer cancel()
		var all []*FeedOf
		follow := func() *FeedOf {
			c.t.Helper()
			q := must1(c.s.CreateQueue(c.ctx, Queue{Name: fmt.Sprintf("f%d", len(all)), Partitions: 1}))(c.t)
			must1(NewPublisher(c.s, q).Publish(c.ctx, map[string]string{"type": "before"}))(c.t)
			o := f.Of(q)
			must(c.t, o.begin(c.ctx))
			all = append(all, o)
			return o
		}
		say := func(o *FeedOf, word string) {
			c.t.Helper()
			must(c.t, c.raw.Do(c.ctx, "XADD", o.key, "*", "type", word).Err())
		}
		hears := func(o *FeedOf, words ...string) {
			c.t.Helper()
			for len(words) > 0 {
				got, err := o.Next(c.ctx)
				must(c.t, err)
				for _, e := range got {
					c.expect("message", e.Fields["type"], words[0])
					words = words[1:]
				}
			}
		}
		first, second := follow(), follow()
		say(first, "a")
		say(second, "b")
		hears(second, "b")
		hears(first, "a")
		f.mu.Lock()
		f.young = time.Time{} // as if no queue had come for long
		f.mu.Unlock()
		for long := false; !long && c.ctx.Err() == nil; {
			f.mu.Lock()
			long = f.long
			f.mu.Unlock()
		}
		began := time.Now()
		third := follow()
		say(third, "c")
		hears(third, "c")
		if took := time.Since(began); took > nextBlock/2 {
			c.t.Errorf("a queue that came while a read was under way was heard after %v", took)
		}
		must(c.t, c.raw.Del(c.ctx, second.key).Err())
		must(c.t, c.raw.Set(c.ctx, second.key, "x", 0).Err())
		say(first, "d")
		hears(first, "d")
		say(third, "e")
		hears(third, "e")
		for i := range 2 * feedKept {
			say(first, fmt.Sprint(i))
		}
		say(first, "last")
		for last := ""; last != "last"; {
			got, err := first.Next(c.ctx)
			must(c.t, err)
			if len(got) > feedKept {
				c.t.Errorf("%d messages were kept", len(got))
			}
			last = got[len(got)-1].Fields["type"]
		}
		first.Close()
	})
}
