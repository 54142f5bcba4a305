package streams

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/redistest"
	"ringmaster/job"
)

// refusing is a server with a queue that then begins to refuse writes.
func refusing(t *testing.T, how func(ctx context.Context, raw *redis.Client, dir string)) (*Store, *Producer) {
	t.Helper()
	server := redistest.Real(t, "--appendonly", "yes")
	s := openStore(t, server.URL())
	must(t, s.Ping(t.Context()))
	q, err := s.CreateQueue(t.Context(), Queue{Name: "q", Partitions: 2})
	must(t, err)
	p := s.NewProducer(q)
	t.Cleanup(p.Close)
	if _, errs := p.Enqueue(t.Context(), job.Job{Type: "t"}); errs != nil {
		t.Fatal(errs)
	}
	must(t, s.Writable(t.Context()))
	raw := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = raw.Close() })
	how(t.Context(), raw, raw.ConfigGet(t.Context(), "dir").Val()["dir"])
	return s, p
}

func TestAServerThatRefusesWritesIsTold(t *testing.T) {
	for name, row := range map[string]struct {
		how  func(ctx context.Context, raw *redis.Client, dir string)
		risk string
		says string // of the submission's error
	}{
		"a replica": {func(ctx context.Context, raw *redis.Client, _ string) {
			must(t, raw.ReplicaOf(ctx, "127.0.0.1", "1").Err())
		}, "role", "this server is a replica, and takes no writes"},
		"full memory": {func(ctx context.Context, raw *redis.Client, _ string) {
			must(t, raw.ConfigSet(ctx, "maxmemory", "1mb").Err())
			must(t, raw.ConfigSet(ctx, "maxmemory", "1").Err())
		}, "memory", "server out of memory"},
		"too few replicas": {func(ctx context.Context, raw *redis.Client, _ string) {
			must(t, raw.ConfigSet(ctx, "min-replicas-to-write", "1").Err())
		}, "min-replicas-to-write", "fewer replicas are connected"},
		"a disk that fails": {func(ctx context.Context, raw *redis.Client, dir string) {
			must(t, raw.ConfigSet(ctx, "save", "900 1").Err())
			must(t, os.RemoveAll(dir))
			_ = raw.BgSave(ctx).Err() // it fails at once, or in the background
			for !strings.Contains(raw.Info(ctx, "persistence").Val(), "rdb_last_bgsave_status:err") {
				if ctx.Err() != nil {
					t.Fatal("the snapshot does not fail")
				}
			}
		}, "snapshot", "cannot write to its disk"},
	} {
		t.Run(name, func(t *testing.T) {
			s, p := refusing(t, row.how)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, errs := p.Enqueue(ctx, job.Job{Type: "t"})
			if errs == nil || !strings.Contains(errs[0].Error(), row.says) || strings.Contains(errs[0].Error(), "cannot reach") {
				t.Errorf("a submission: %v", errs)
			}
			if errs != nil && errors.Is(errs[0], job.ErrOutcomeUnknown) || time.Since(began) > 8*time.Second {
				t.Errorf("after %v: %v", time.Since(began), errs)
			}
			if err := s.Writable(ctx); err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("a try: %v", err)
			}
			risks, err := s.Inspect().Risks(ctx)
			must(t, err)
			found := false
			for _, r := range risks {
				found = found || r.Name == row.risk && r.Grave && r.State && r.Remedy != ""
			}
			if !found {
				t.Errorf("no risk %s in %+v", row.risk, risks)
			}
			if w := s.Inspect().Warnings(ctx); len(w) > 0 {
				t.Errorf("taken for a setting, which strict mode refuses: %v", w)
			}
		})
	}
}

func TestMemoryThatIsNearlyFull(t *testing.T) {
	for _, row := range []struct{ info, want string }{
		{"used_memory:100\r\nmaxmemory:0\r\n", ""},
		{"used_memory:89\r\nmaxmemory:100\r\n", ""},
		{"used_memory:90\r\nmaxmemory:100\r\n", "nearly full"},
		{"used_memory:100\r\nmaxmemory:100\r\n", "full"},
	} {
		got := ""
		for _, r := range stateRisks(row.info, 0) {
			got += r.Value
		}
		if got != row.want {
			t.Errorf("%q: %q, want %q", row.info, got, row.want)
		}
	}
}
