package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"ringmaster/streams"
)

// watchClock warns of this machine's clock where it is away from the server's, once for each time
// that it begins to be. Nothing rests on it but what people compare: times in a log, and of jobs.
func watchClock(ctx context.Context, s *streams.Store, every time.Duration, log *slog.Logger) {
	if s.Embedded() {
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for away := false; ; {
		call, cancel := context.WithTimeout(ctx, 2*time.Second)
		ahead, err := s.ClockAhead(call)
		cancel()
		if err == nil {
			if ahead != 0 && !away {
				log.Warn("this machine's clock is "+distance(ahead)+" the server's: times of jobs are the server's, and fit nothing that this worker logs; keep both clocks with NTP", "redis", s.Address())
			}
			away = ahead != 0
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// distance is how far a clock is ahead of another, in words.
func distance(ahead time.Duration) string {
	way := "ahead of"
	if ahead < 0 {
		way = "behind"
	}
	return fmt.Sprintf("%.1f s %s", ahead.Abs().Seconds(), way)
}

// clocks tells of workers whose clocks were away from the server's when they joined.
func clocks(ctx context.Context, s *streams.Store) ([]Finding, error) {
	workers, err := s.Inspect().Workers(ctx, "")
	if err != nil {
		return nil, err
	}
	var who []string
	for _, w := range workers {
		if w.ClockAhead == 0 {
			continue
		}
		said := w.Name + " on " + w.Host + ": " + strings.TrimSuffix(distance(time.Duration(w.ClockAhead*float64(time.Second))), " of")
		if !slices.Contains(who, said) {
			who = append(who, said)
		}
	}
	if len(who) == 0 {
		return nil, nil
	}
	slices.Sort(who)
	return []Finding{{Severity: SeverityWarning, Check: "clock", Count: len(who), Finding: "clocks of workers are away from the server's: " + strings.Join(who, ", "),
		Meaning: "times of jobs are the server's, and fit nothing that these workers log", Remedy: "keep all clocks with NTP, and start these workers again"}}, nil
}
