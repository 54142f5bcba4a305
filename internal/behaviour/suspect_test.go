package behaviour

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"ringmaster/consumergroup"
	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// A job runs long, and so does a suspect that was in three workers when they died; neither
// listens to its context. The other keys are served meanwhile: they wait for a moment at a time.
func TestASuspectThatListensToNothingHoldsUpNobodyForLong(t *testing.T) {
	r, rs := newRig(t, redistest.Real(t).URL(), streams.Queue{Partitions: 1, Journal: true}), &runs{}
	r.lead()
	deaf, end := make(chan string, 9), make(chan struct{})
	handlers := func(name string) map[string]consumergroup.Handler {
		return map[string]consumergroup.Handler{"deaf": rs.by(name, func(_ context.Context, d job.Delivery, _ int) (json.RawMessage, error) {
			deaf <- d.ID.String()
			<-end
			return nil, nil
		})}
	}
	defer close(end)
	one := r.start(spec{name: "w1", h: handlers("w1"), t: rs.by("w1", nil)})
	receive(r, one.ready, "worker w1")
	ids := r.sendJobs(job.Job{Type: "deaf", Key: "long"}, job.Job{Type: "deaf", Key: "suspect"})
	for range ids {
		receive(r, deaf, "a run")
	}
	_, entry, _ := strings.Cut(ids[1], "-")
	ago := func(seconds int) time.Time { return time.Now().Add(-time.Duration(seconds) * time.Second) }
	record := job.RetryRecord{Crashes: 3, Deaths: []job.Death{{At: ago(90), Runs: job.UnknownRuns}, {At: ago(60)}, {At: ago(30)}}}.String()
	if err := r.raw.HSet(r.ctx, r.key("retry:0"), entry, record).Err(); err != nil {
		t.Fatal(err)
	}
	one.kill()
	two := r.start(spec{name: "w2", h: handlers("w2"), t: rs.by("w2", nil), tune: func(c *consumergroup.Config) { c.Concurrency = 16 }})
	receive(r, two.ready, "worker w2")
	began, last, worst := time.Now(), time.Now(), time.Duration(0)
	sent, served, both := 0, 0, 0
	for time.Since(began) < 15*time.Second {
		for ; sent < served+64; sent++ {
			r.sendFrom(fmt.Sprint("k", sent%64), sent, 1)
		}
		if n := rs.done(); n > served {
			served, last = n, time.Now()
		}
		worst = max(worst, time.Since(last))
		if len(deaf) > 0 {
			<-deaf
			both++
		}
	}
	// A pause of a second before its start, four beside it since two deaths came late.
	if limit := 7 * time.Second; worst > limit || both != 2 {
		t.Errorf("no job ended for %v, want %v at most; %d of 2 run that do not listen", worst, limit, both)
	}
	t.Logf("no job ended for %v at most; %d did", worst, served)
}
