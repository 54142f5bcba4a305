package service

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// TestSentinelsWithAPassword: real sentinels want a password, another than their server's or the same.
// A wrong one at either is told.
func TestSentinelsWithAPassword(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sentinels, server, givenToSentinels, given, told string }{
		"of their own":        {"guard", "secret", "guard", "secret", ""},
		"the same":            {"secret", "secret", "secret", "secret", ""},
		"wrong for sentinels": {"guard", "secret", "secret", "secret", "sentinel"},
		"wrong for server":    {"guard", "secret", "guard", "guard", "redis_password_file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			primary := redistest.Real(t, "--repl-diskless-sync-delay", "0")
			var own []string
			if c.server != "" {
				own = []string{"--masterauth", c.server}
				admin := primary.Client()
				err := admin.ConfigSet(t.Context(), "requirepass", c.server).Err()
				_ = admin.Close()
				if err != nil {
					t.Fatal(err)
				}
			}
			redistest.Replica(t, primary, own...)
			addrs := redistest.GuardedSentinels(t, primary, c.sentinels, c.server)
			dir := t.TempDir()
			environ := []string{"RINGMASTER_REDIS=redis://" + addrs[0] + "?master_name=main," + strings.Join(addrs[1:], ","), "RINGMASTER_REDIS_MODE=sentinel"}
			if c.given != "" {
				environ = append(environ, "RINGMASTER_REDIS_PASSWORD_FILE="+written(t, filepath.Join(dir, "redis"), c.given))
			}
			if c.givenToSentinels != "" {
				environ = append(environ, "RINGMASTER_SENTINEL_PASSWORD_FILE="+written(t, filepath.Join(dir, "sentinel"), c.givenToSentinels))
			}
			s := opened(t, environ...)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := s.CreateQueue(ctx, streams.Queue{Name: "q"})
			if c.told == "" {
				if err != nil {
					t.Fatal(err)
				}
				p := s.NewProducer(streams.Queue{Name: "q", Partitions: job.DefaultParts, Shards: 1})
				defer p.Close()
				if _, errs := p.Enqueue(ctx, job.Job{Type: "t"}); errs != nil {
					t.Error(errs)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.told) {
				t.Errorf("told %v, want %q in it", err, c.told)
			}
		})
	}
}
