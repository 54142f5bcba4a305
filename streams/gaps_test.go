package streams

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// What is noted of a partition does not grow with the number of its servers. Beyond the bound
// the oldest gaps become one, and nothing that was lost is told as completed. Servers are told
// apart by what a connection says of them: here by made-up names.
func TestGapsAreBounded(t *testing.T) {
	c := realCrew(t, Queue{Partitions: 2})
	h := c.give(c.join("w1.a"))
	var lost []job.EntryID
	for n := range 40 {
		if err := c.raw.XAdd(c.ctx, &redis.XAddArgs{Stream: c.stream(0), Values: []any{"type", "t"}}).Err(); err != nil {
			t.Fatal(err)
		}
		ids := c.raw.XRevRangeN(c.ctx, c.stream(0), "+", "-", 1).Val()
		last, _ := job.ParseEntryID(ids[0].ID)
		lost = append(lost, job.EntryID{Ms: last.Ms, Seq: last.Seq + 1})
		_, err := run(c.ctx, c.s, c.s.cmd, &c.s.scripts.renew, c.s.shard(c.q, 0), fmt.Sprint("server", n), 0)
		must(t, err)
	}
	gaps := c.raw.HGetAll(c.ctx, c.key(0, "gaps")).Val()
	if n := len(strings.Fields(gaps["0"])); n != 64 {
		t.Errorf("%d ids in the gaps of a partition at work, want 64", n)
	}
	if n := len(strings.Fields(gaps["1"])); n != 2 {
		t.Errorf("%d ids in the gaps of an idle partition, want 2: %q", n, gaps["1"])
	}
	for range 40 {
		for _, id := range h.read(0) {
			h.ack(0, 40*1000+1, done(id))
		}
	}
	for i, id := range lost {
		if st, err := c.s.Inspect().Job(c.ctx, c.q.Name, job.ID{Partition: 0, Entry: id}.String()); !errors.Is(err, job.ErrUnknownJob) {
			t.Errorf("id %s of generation %d: %q, %v; want unknown", id, i, st.State, err)
		}
	}
}

// A stream that somebody deleted is made again; the jobs it had are not told as completed.
func TestADeletedStreamIsAGap(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		h := c.give(c.join("w1.a"))
		gone := c.add(1, "k")[0]
		h.read(0)
		must(t, c.raw.Del(c.ctx, c.stream(0)).Err())
		_, err := h.member.Heal(c.ctx, []int{0})
		must(t, err)
		next := c.add(1, "k")[0]
		c.expect("the next job", h.read(0), []job.EntryID{next})
		h.ack(0, 1, done(next))
		if st, err := c.s.Inspect().Job(c.ctx, c.q.Name, job.ID{Entry: gone}.String()); !errors.Is(err, job.ErrUnknownJob) {
			t.Errorf("job %s is %q, %v; want unknown", gone, st.State, err)
		}
	})
}

// A new queue has given no id. Should the server's clock go back, ids go on from its creation all
// the same: one before it would be among those that an earlier server may have given, and unknown.
func TestIDsOfANewStreamGoOnFromItsCreation(t *testing.T) {
	c := realCrew(t, Queue{}) // the in-memory store knows no XSETID
	for _, what := range []string{"created", "made again"} {
		gap := strings.Fields(c.raw.HGet(c.ctx, c.key(0, "gaps"), "0").Val())
		info, err := c.raw.XInfoStream(c.ctx, c.stream(0)).Result()
		must(t, err)
		if len(gap) == 0 || info.LastGeneratedID != gap[len(gap)-1] {
			t.Errorf("%s: ids go on from %s, the gap is %v", what, info.LastGeneratedID, gap)
		}
		must(t, c.raw.Del(c.ctx, c.stream(0)).Err())
		must1(c.s.CreateQueue(c.ctx, c.q))(t)
	}
}
