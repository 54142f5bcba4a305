package streams

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ringmaster/job"
)

// TestAFailedAttemptWaitsByTheServersClock: who failed it says for how long, by the owner and under a permit.
func TestAFailedAttemptWaitsByTheServersClock(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		ids := c.add(3, "")
		a.read(0)
		fails := func(id job.EntryID, record string) job.Completion {
			return job.Completion{ID: id, Outcome: job.Failed, Attempt: 1, Data: record}
		}
		due := func(id job.EntryID) (time.Duration, string) {
			text, err := c.raw.HGet(c.ctx, retryKey(c.s.shardOf(c.q, 0), 0), id.String()).Result()
			must(c.t, err)
			r, err := job.ParseRetry(text)
			must(c.t, err)
			return r.NotBefore.Sub(c.raw.Time(c.ctx).Val()), r.Error
		}
		const said = "two\nlines|+7|\x00" // an error may hold any byte
		c.expect("by the owner", a.ack(0, 1, fails(ids[0], "1|+60000|0||"+said)), "O")
		c.expect("an older worker's", a.ack(0, 1, fails(ids[2], "1|99|0||+1|x")), "O")
		a.handTo(b, 0, 1, ids[1])
		c.expect("under a permit", a.ack(0, 1, fails(ids[1], "1|+60000|1/h@5||"+said)), "D")
		for _, id := range ids[:2] {
			if wait, why := due(id); wait > time.Minute || wait < 50*time.Second || why != said {
				t.Errorf("job %s is due in %v after %q, want a minute", id, wait, why)
			}
		}
		c.expect("a time is left alone", c.raw.HGet(c.ctx, retryKey(c.s.shardOf(c.q, 0), 0), ids[2].String()).Val(), "1|99|0||+1|x")
	})
}

// TestAnswersTellTheServersClock: each that brings jobs with a past.
func TestAnswersTellTheServersClock(t *testing.T) {
	eachCrew(t, Queue{}, func(c *crew) {
		a, b := c.give(c.join("a.1")), c.join("b.1")
		ids := c.add(3, "k")
		a.read(0)
		c.record(0, ids[0], "1|5|0||e")
		c.expect("parked", a.ack(0, 1, park(ids[2], "k")), "O")
		a.handTo(b, 0, 1)
		r := b.readers[0]
		for _, ask := range []struct {
			what string
			of   func() error
		}{
			{"a claim", func() error { b.claimAll(0, 2, 10); return nil }},
			{"jobs that were aside", func() error {
				_, err := unpark(c.ctx, r, job.Tenure{Partition: 0, Epoch: 2}, "k", 1)
				return err
			}},
			{"the own pending list", func() error { _, err := r.History(c.ctx, 0); return err }},
		} {
			r.clock.Store(nil)
			must(c.t, ask.of())
			server, at := r.Clock()
			if now := c.raw.Time(c.ctx).Val(); at.IsZero() || now.Sub(server) > 10*time.Second || server.After(now) {
				t.Errorf("%s: the clock said %v, at %v; it is %v", ask.what, server, at, now)
			}
		}
	})
}

func TestHowFarAClockIsAhead(t *testing.T) {
	asked := time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		server, trip, want time.Duration
	}{
		{0, 0, 0}, {time.Second, 0, 0}, {-time.Second, 0, 0},
		{-time.Hour, 0, time.Hour}, {time.Hour, 0, -time.Hour},
		{5 * time.Second, 10 * time.Second, 0},                                // half way
		{9 * time.Second, 10 * time.Second, 0},                                // the answer alone took the time
		{-2 * time.Second, 4 * time.Second, 4 * time.Second},                  // before it was asked
		{time.Hour + time.Second, 2 * time.Second, -time.Hour},                // by the middle
		{time.Second + time.Millisecond, time.Duration(0), -1001 * 1_000_000}, // just more than may be
	} {
		if got := aheadOf(asked.Add(c.server), asked, asked.Add(c.trip)); got != c.want {
			t.Errorf("server %v after the question, which took %v: %v ahead, want %v", c.server, c.trip, got, c.want)
		}
	}
	for ahead, want := range map[time.Duration]string{time.Minute: "60.0 s behind this", -time.Minute: "60.0 s ahead of this", 0: "[]"} {
		if got := fmt.Sprint(clockRisk(ahead)); !strings.Contains(got, want) {
			t.Errorf("%v ahead: %s, want %q", ahead, got, want)
		}
	}
}
