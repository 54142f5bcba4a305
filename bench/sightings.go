package bench

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"ringmaster/internal/handlers"
	"ringmaster/job"
	"ringmaster/streams"
)

// sightings are what was seen of resizes: ends of jobs, gates that opened, plans. It is
// also the workers' log, in which gates tell that they open.
type sightings struct {
	from, until time.Time // of the baseline

	mu     sync.Mutex
	ends   []end
	opened map[opening]time.Time
	plans  []plan
}

// end is when a job of a partition ended.
type end struct {
	partition int
	at        time.Time
}

// opening is the first opening of a gate in a tenure.
type opening struct {
	partition int
	epoch     uint64
}

// plan is one resize, by the server's clock, to the millisecond. That clock is taken for
// this machine's.
type plan struct {
	at   time.Time
	rest time.Time // nothing was left to move; zero: not seen
}

// handler works for so long, and notes when it ended.
func (s *sightings) handler(work time.Duration) handlers.Func {
	return func(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
		if err := wait(ctx, work); err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ends = append(s.ends, end{d.Partition, time.Now()})
		return nil, nil
	}
}

// follow reads the queue's control stream until stop is called.
func (s *sightings) follow(r *ringOf) (stop func()) {
	ctx, cancel := context.WithCancel(r.ended)
	sub := streams.NewSubscriber(r.store, r.queue, streams.FromNow)
	started := sub.Start(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil && started == nil {
			entries, err := sub.Next(ctx)
			if err != nil {
				return // the benchmark ends; else there are no plans, which is an error
			}
			for _, e := range entries {
				s.heard(e)
			}
		}
	}()
	return func() {
		cancel()
		_ = sub.Close()
		<-done
	}
}

func (s *sightings) heard(e job.ControlEntry) {
	id, ok := job.ParseEntryID(e.ID)
	if !ok || e.Fields["type"] != "sync" || e.Fields["name"] != "Master" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.Fields["phase"] {
	case "1":
		s.plans = append(s.plans, plan{at: id.Time()})
	case "3":
		if n := len(s.plans); n > 0 {
			s.plans[n-1].rest = id.Time()
		}
	}
}

// figures are the quantiles of everything seen.
func (s *sightings) figures() Resized {
	s.mu.Lock()
	defer s.mu.Unlock()
	byPartition := map[int][]time.Time{}
	for _, e := range s.ends {
		byPartition[e.partition] = append(byPartition[e.partition], e.at)
	}
	for _, at := range byPartition {
		slices.SortFunc(at, time.Time.Compare)
	}
	var out Resized
	var baseline, moved, unmoved, open []float64
	for _, at := range byPartition {
		baseline = append(baseline, within(at, s.from, s.until)...)
	}
	for i, p := range s.plans {
		if p.at.Before(s.until) || p.rest.IsZero() {
			continue
		}
		next := time.Now()
		if i+1 < len(s.plans) {
			next = s.plans[i+1].at
		}
		gained := s.gained(p.at, next)
		if len(gained) > 0 {
			out.Resizes++
		}
		for partition, at := range byPartition {
			if opened, ok := gained[partition]; ok {
				open = append(open, max(0, millis(opened.Sub(p.at))))
				moved = append(moved, overlapping(at, p.at, opened)...)
			} else if len(gained) > 0 {
				unmoved = append(unmoved, overlapping(at, p.at, p.rest)...)
			}
		}
	}
	out.Moves = len(open)
	out.Baseline, out.Moved, out.Unmoved = round1(quantile(baseline, 0.99)), round1(quantile(moved, 0.99)), round1(quantile(unmoved, 0.99))
	out.PlanToOpen = round1(median(open))
	return out
}

// gained are the partitions whose new owner opened them in a time.
func (s *sightings) gained(from, until time.Time) map[int]time.Time {
	out := map[int]time.Time{}
	for o, at := range s.opened {
		if !at.Before(from) && at.Before(until) {
			out[o.partition] = at
		}
	}
	return out
}

// within are the gaps, in ms, that lie in a time.
func within(at []time.Time, from, until time.Time) []float64 {
	var out []float64
	for i := 1; i < len(at); i++ {
		if !at[i-1].Before(from) && !at[i].After(until) {
			out = append(out, millis(at[i].Sub(at[i-1])))
		}
	}
	return out
}

// overlapping are the gaps, in ms, that have a part in a time.
func overlapping(at []time.Time, from, until time.Time) []float64 {
	var out []float64
	for i := 1; i < len(at); i++ {
		if !at[i].Before(from) && !at[i-1].After(until) {
			out = append(out, millis(at[i].Sub(at[i-1])))
		}
	}
	return out
}

// Enabled implements slog.Handler: gates tell at level debug.
func (s *sightings) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs implements slog.Handler.
func (s *sightings) WithAttrs([]slog.Attr) slog.Handler { return s }

// WithGroup implements slog.Handler.
func (s *sightings) WithGroup(string) slog.Handler { return s }

// Handle implements slog.Handler: it notes when the gate of a new tenure opens.
func (s *sightings) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "gate" {
		return nil
	}
	v := map[string]string{}
	r.Attrs(func(a slog.Attr) bool {
		v[a.Key] = a.Value.String()
		return true
	})
	partition, err := strconv.Atoi(v["partition"])
	epoch, err2 := strconv.ParseUint(v["epoch"], 10, 64)
	if err != nil || err2 != nil || v["open"] != "true" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := opening{partition, epoch}
	if _, known := s.opened[o]; !known {
		s.opened[o] = r.Time
	}
	return nil
}
