package consumergroup

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ringmaster/job"
)

// A type may have a limit of its own; one that leaves it every executor costs nothing.
func TestLimitsOfTypes(t *testing.T) {
	c := Default()
	limits, err := seats(c, map[string]int{"few": 2, "all": c.Concurrency, "more": c.Concurrency + 1})
	if err != nil || len(limits.Seats) != 1 || limits.Seats["few"] != 2 {
		t.Errorf("limits %v, %v", limits.Seats, err)
	}
	if limits, err := seats(c, nil); err != nil || limits.Seats != nil {
		t.Errorf("limits %v of none, %v", limits.Seats, err)
	}
	for _, n := range []int{0, -1} {
		if _, err := seats(c, map[string]int{"few": n}); !errors.Is(err, job.ErrInvalid) {
			t.Errorf("concurrency %d: %v", n, err)
		}
	}
}

// Every end of a handler gives its place of the type free, and what waits for one is told.
func TestHandlersOfALimitedType(t *testing.T) {
	var log strings.Builder
	b := newLimited(t, map[string]int{"few": 1}, nil)
	b.w.deps.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	returns := map[int]func() (json.RawMessage, error){
		1: func() (json.RawMessage, error) { return nil, nil },
		2: func() (json.RawMessage, error) { return nil, errors.New("no") },
		3: func() (json.RawMessage, error) { panic("no") },
		4: func() (json.RawMessage, error) { return json.RawMessage("{"), nil }, // a dead letter
	}
	var jobs []job.Entry
	for n := 1; n <= 5; n++ {
		e := entry(n, "")
		e.Type = "few"
		jobs = append(jobs, e)
	}
	b.w.deps.Handlers["few"] = func(_ context.Context, d job.Delivery) (json.RawMessage, error) { return returns[int(d.ID.Entry.Ms)]() }
	b.arrive(jobs...)
	for n := 1; n <= 4; n++ {
		it := b.mustStart(n)
		b.mustNotStart()
		b.s.lined = time.Time{}
		b.s.tellStanding(time.Now())
		b.run(it)
	}
	b.mustStart(5)
	if n := strings.Count(log.String(), `msg="jobs wait for others of their type" type=few concurrency=1`); n != 4 {
		t.Errorf("told %d times, want 4:\n%s", n, log.String())
	}
}
