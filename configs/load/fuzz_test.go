package load

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"ringmaster/job"
)

// FuzzFile: what a file makes of the settings is within the limits, or is refused with
// the file's name; a secret is not repeated.
func FuzzFile(f *testing.F) {
	for _, s := range []string{
		"", " ", "\ufeffredis: redis://127.0.0.1:1\n", "queues: [a]\r\nconcurrency: 4\r\n", "\tqueues: [a]\n", "queues: [a]\nqueues: [b]\n",
		"nosuch: 1\n", "- a\n", "a: &x [*x]\n", "lease_ttl: 5\n", "lease_ttl: -5s\n", "lease_ttl: 0s\n", "lease_ttl: 1y\n", "lease_ttl: 9999999h\n",
		"lease_ttl: 1s\nheartbeat: 500ms\n", "partitions: 0\n", "partitions: 65536\n", "concurrency: abc\n", "concurrency: 1e9\n",
		"redis: redis://u:hunter2hunter2@h:70000/99\n", "redis_password: hunter2hunter2\n", "handlers: 1\n", "handlers:\n  - type: t\n",
		"queues: [files]\nhandlers:\n  - type: t\n    exec: { command: [\"true\"], timeout: 30s }\n  - type: u\n    http: { url: \"http://h/x\" }\n",
		"handlers:\n  - type: t\n    exec: { command: [] }\n", "a: b\n---\nc: d\n", "token: hunter2hunter2\n", "{", "\x00", "durability: x\n",
	} {
		f.Add(s)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content string) {
		file, err := os.CreateTemp(dir, "*.yaml")
		if err != nil {
			t.Fatal(err)
		}
		path := file.Name()
		_ = file.Close()
		defer func() { _ = os.Remove(path) }()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		w, _, err := Worker(nil, path, nil)
		judge(t, path, content, err)
		if err == nil {
			if w.LeaseTTL < 3*w.Heartbeat || w.Concurrency < 1 || w.DrainTimeout < 0 || w.DrainTimeout > 1000*time.Hour {
				t.Fatalf("taken: %+v", w)
			}
			for _, q := range w.Queues {
				if !job.ValidName(q) {
					t.Fatalf("queue %q is taken", q)
				}
			}
			for _, h := range w.Handlers {
				if !job.ValidName(h.Type) || (h.Exec == nil) == (h.HTTP == nil) {
					t.Fatalf("handler %+v is taken", h)
				}
			}
		}
		_, _, err = Dispatcher(nil, path, nil)
		judge(t, path, content, err)
	})
}

func judge(t *testing.T, path, content string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if !errors.Is(err, job.ErrInvalid) {
		t.Fatalf("an error of no kind: %v", err)
	}
	if strings.Contains(err.Error(), "hunter2hunter2") && strings.Contains(content, "redis: redis://u:hunter2hunter2@") {
		t.Fatalf("the password is shown: %v", err)
	}
	if !strings.Contains(err.Error(), path) && !strings.Contains(err.Error(), "give --") {
		t.Fatalf("the error names neither the file nor what to give: %v", err)
	}
}
