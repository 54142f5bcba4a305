package service

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"ringmaster/configs"
	"ringmaster/internal/pause"
	"ringmaster/job"
	"ringmaster/streams"
)

// admit refuses a server that cannot confirm writes as configured and, in strict mode, one
// that puts jobs at risk.
func admit(ctx context.Context, s *streams.Store, c configs.Common) error {
	if err := s.CheckDurability(ctx); errors.Is(err, job.ErrInvalid) {
		return err
	}
	if !c.Strict {
		return nil
	}
	if risks := s.Inspect().Warnings(ctx); len(risks) > 0 {
		return job.Invalid("strict: the server puts jobs at risk:\n%s", strings.Join(risks, "\n"))
	}
	return nil
}

// watchRisks logs which settings of the server put jobs at risk, and says so again when
// one changes under way: an eviction policy can be set at a running server.
func watchRisks(ctx context.Context, s *streams.Store, every time.Duration, log *slog.Logger) {
	watch := s.Inspect().NewRiskWatch()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		for _, r := range watch.Look(ctx) {
			log.Warn(r.String())
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// watchServer says, time and again, that the server does not answer, or refuses what a submission needs.
func watchServer(ctx context.Context, s *streams.Store, every time.Duration, log *slog.Logger) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for bad := false; ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		call, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := s.Writable(call)
		cancel()
		switch {
		case ctx.Err() != nil:
		case err != nil:
			log.Warn("the server does not take what a submission needs", "redis", s.Address(), "error", err)
		case bad:
			log.Warn("the server takes submissions again", "redis", s.Address())
		}
		bad = err != nil
	}
}

// waitFor waits until the server answers, and says so. It reports false if ctx ended.
func waitFor(ctx context.Context, s *streams.Store, log *slog.Logger) bool {
	told, word := false, time.Time{}
	again := pause.Doubling{First: 50 * time.Millisecond, Most: time.Second}
	for {
		call, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := s.Ping(call)
		cancel()
		if err == nil {
			if told {
				log.Warn("server answers now", "redis", s.Address())
			}
			return true
		}
		if now := time.Now(); !now.Before(word) && ctx.Err() == nil {
			log.Warn("waiting for the server", "redis", s.Address(), "error", err)
			told, word = true, now.Add(job.NextWord)
		}
		if !again.Wait(ctx) {
			return false
		}
	}
}
