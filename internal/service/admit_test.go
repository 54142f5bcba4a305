package service

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"ringmaster/configs"
	"ringmaster/internal/handlers"
	"ringmaster/internal/redistest"
	"ringmaster/job"
)

// TestStrictRefusesAServerAtRisk: what is a warning else ends a dispatcher and a worker, as
// a durability that the server cannot confirm always does.
func TestStrictRefusesAServerAtRisk(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	common := configs.DefaultCommon()
	common.Redis = redistest.Real(t, "--maxmemory-policy", "allkeys-lru").URL()
	run := func(c configs.Common) map[string]error {
		d, w := configs.DefaultDispatcher(), configs.DefaultWorker()
		d.Common, d.Listen, w.Common, w.Queues, w.Builtin = c, "127.0.0.1:0", c, []string{"q"}, true
		return map[string]error{"dispatcher": RunDispatcher(ctx, d, Options{}), "worker": RunWorker(ctx, w, Options{Handlers: map[string]handlers.Func{}})}
	}
	strict, fsync := common, common
	strict.Strict, strict.Durability.Replicas = true, 1
	fsync.Durability.Fsync = true
	for what, err := range run(strict) {
		if !errors.Is(err, job.ErrInvalid) || !strings.Contains(err.Error(), "allkeys-lru") || !strings.Contains(err.Error(), "appendonly") || !strings.Contains(err.Error(), "0 replicas") {
			t.Errorf("%s, strict: %v", what, err)
		}
	}
	for what, err := range run(fsync) {
		if !errors.Is(err, job.ErrInvalid) || !strings.Contains(err.Error(), "appendonly is no") {
			t.Errorf("%s, fsync: %v", what, err)
		}
	}
}
