package service

import (
	"errors"
	"strings"
	"testing"

	"ringmaster/internal/doctor"
	"ringmaster/internal/redistest"
	"ringmaster/job"
)

// A server that answers and refuses writes is not ready, and the doctor names its state.
func TestAServerThatRefusesWritesIsNotReady(t *testing.T) {
	t.Parallel()
	r := newScene(t, redistest.Real(t, "--appendonly", "yes").URL(), 2)
	ready := &api{Store: r.store}
	r.must(ready.Ready(r.ctx))
	r.must(r.raw.ConfigSet(r.ctx, "maxmemory", "1").Err())
	if err := ready.Ready(r.ctx); !errors.Is(err, job.ErrFull) {
		t.Errorf("full: %v", err)
	}
	r.must(r.raw.ConfigSet(r.ctx, "maxmemory", "0").Err())
	r.must(r.raw.Do(r.ctx, "REPLICAOF", "127.0.0.1", "1").Err())
	if err := ready.Ready(r.ctx); !errors.Is(err, job.ErrUnavailable) || !strings.Contains(err.Error(), "this server is a replica") {
		t.Errorf("a replica: %v", err)
	}
	found, err := doctor.Examine(r.ctx, r.store, doctor.Config{})
	r.must(err)
	if len(found) == 0 || found[0].Check != "role" || found[0].Severity != doctor.SeverityError {
		t.Errorf("%+v", found)
	}
}
