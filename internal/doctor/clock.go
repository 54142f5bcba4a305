package doctor

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"ringmaster/streams"
)

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
		way := "ahead"
		if w.ClockAhead < 0 {
			way = "behind"
		}
		said := fmt.Sprintf("%s on %s: %.1f s %s", w.Name, w.Host, math.Abs(w.ClockAhead), way)
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
