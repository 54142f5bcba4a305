package consumergroup

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
)

// dated reads a record as the store's time of the next attempt, in ms.
type dated struct{ plainPolicy }

func (dated) Before(record string, _ time.Time) lanes.Prior {
	ms, _ := strconv.ParseInt(record, 10, 64)
	return lanes.Prior{Attempts: 1, NotBefore: time.UnixMilli(ms)}
}

// TestAnotherWorkersRetryWaitsByTheStoresClock: what a former owner left behind is due by the
// store's clock, whatever this machine's says.
func TestAnotherWorkersRetryWaitsByTheStoresClock(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"this machine is behind": time.Hour, "this machine is ahead": -time.Hour, "both agree": 0} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.w.deps.Policy = dated{}
			now := time.Now()
			b.fake.clock, b.fake.clockAt = now.Add(ahead), now
			e := entry(1, "k")
			e.Retry = strconv.FormatInt(now.Add(ahead+time.Minute).UnixMilli(), 10)
			b.arrive(e)
			if it := b.start(); it != nil {
				t.Error("the job started before it was due")
			}
			b.w.mu.Lock()
			defer b.w.mu.Unlock()
			b.w.pool.Ring(now.Add(2 * time.Minute))
			if it := b.w.pool.Next(now.Add(2 * time.Minute)); it == nil {
				t.Error("the job did not start once it was due")
			}
		})
	}
}

// TestEndsAreDatedByTheStoresClock: an id says when its job was handed in, by the store's
// clock, and nothing ends before that.
func TestEndsAreDatedByTheStoresClock(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		ahead time.Duration // the store's clock
		told  bool
		want  time.Duration
	}{
		"the store is ahead":      {time.Hour, true, time.Hour},
		"the store is behind":     {-time.Hour, true, -time.Hour},
		"nothing is known of it":  {0, false, 0},
		"its answer took a while": {-time.Minute, true, 0}, // the id is of now
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			if c.told {
				b.fake.clock, b.fake.clockAt = now.Add(c.ahead), now
			}
			e := entry(int(now.Add(c.want).UnixMilli()), "k")
			b.arrive(e)
			it := b.start()
			it.Attempt = 2
			done, err := b.w.completed(it, json.RawMessage("1"))
			if err != nil {
				t.Fatal(err)
			}
			var kept job.Result
			var letter job.DeadLetter
			if err := json.Unmarshal([]byte(done.Data), &kept); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(b.w.dead(it, 1, "x").Data), &letter); err != nil {
				t.Fatal(err)
			}
			for what, text := range map[string]string{"a result": kept.FinishedAt, "a dead letter": letter.DiedAt} {
				at, err := time.Parse(time.RFC3339, text)
				if late := at.Sub(e.ID.Time()); err != nil || late < 0 || late > 10*time.Second {
					t.Errorf("%s is dated %s, %v after the job was handed in", what, text, late)
				}
			}
		})
	}
}

// TestAFailedAttemptIsDueByThisWorkersOwnClock: whoever failed it knows how long it waits.
func TestAFailedAttemptIsDueByThisWorkersOwnClock(t *testing.T) {
	b := newBench(t, nil)
	now := time.Now()
	b.fake.clock, b.fake.clockAt = now.Add(24*time.Hour), now
	prior := b.s.Before("wait", now)
	if wait := prior.NotBefore.Sub(now); wait != time.Hour {
		t.Errorf("waits %v, want 1h", wait)
	}
	if strings.Contains(prior.NotBefore.String(), "m=") == false {
		t.Error("a step of this machine's clock moves the next attempt")
	}
}
