package service

import (
	"context"
	"fmt"
	"log/slog"
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
