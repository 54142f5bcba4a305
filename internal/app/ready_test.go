package app

import (
	"context"
	"errors"
	"strings"
	"testing"

	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// A server that answers and refuses writes is not ready, and the doctor names its state.
func TestAServerThatRefusesWritesIsNotReady(t *testing.T) {
	r := newRig(t, redistest.Real(t, "--appendonly", "yes").URL(), streams.Queue{Partitions: 2})
	ready := &api{Store: r.store}
	r.must(ready.Ready(r.ctx))
	r.must(r.raw.ConfigSet(r.ctx, "maxmemory", "1").Err())
	if err := ready.Ready(r.ctx); !errors.Is(err, job.ErrFull) {
		t.Errorf("full: %v", err)
	}
	r.must(r.raw.ConfigSet(r.ctx, "maxmemory", "0").Err())
	r.must(r.raw.(interface {
		Do(ctx context.Context, args ...any) *redisCmd
	}).Do(r.ctx, "REPLICAOF", "127.0.0.1", "1").Err())
	if err := ready.Ready(r.ctx); !errors.Is(err, job.ErrUnavailable) || !strings.Contains(err.Error(), "this server is a replica") {
		t.Errorf("a replica: %v", err)
	}
	found, err := Examine(r.ctx, r.store, quickDoctor())
	r.must(err)
	if len(found) == 0 || found[0].Check != "role" || found[0].Severity != SeverityError {
		t.Errorf("%+v", found)
	}
}
