package archtest

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func TestTheTreeKeepsTheRules(t *testing.T) {
	problems, err := check(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

// TestEachRuleFinds shows that every rule can fail.
func TestEachRuleFinds(t *testing.T) {
	tests := []struct {
		name, file, src, want string
	}{
		{"leaf imports ours", "ring/a.go", `import "ringmaster/job"`, "ring may import []"},
		{"root package", "job/a.go", `import "ringmaster"`, "job may import []"},
		{"peers", "dispatch/a.go", `import "ringmaster/streams"`, "small interface"},
		{"runner is not resize", "consumergroup/a.go", `import "ringmaster/resize/runner"`, "small interface"},
		{"the doctor needs no program", "internal/doctor/a.go", `import "ringmaster/internal/service"`, "join the two in wiring"},
		{"cmd", "internal/x/a.go", `import "ringmaster/cmd/worker"`, "nothing imports"},
		{"clock", "resize/a.go", `import "time"`, "is pure"},
		{"log/slog", "resize/a.go", `import "log/slog"`, "is pure"},
		{"sync/atomic", "ring/a.go", `import "sync/atomic"`, "is pure"},
		{"rand v2 is chance too", "ring/a.go", `import "math/rand/v2"`, "is pure"},
		{"a clock is asked", "consumergroup/lanes/a.go", `import "time"; func f() { _ = time.Now() }`, "time.Now"},
		{"given times, and no lock", "consumergroup/lanes/a.go", `import "sync"`, "is pure"},
		{"a driver asks a clock", "consumergroup/driver/a.go", `import "time"; func f() { time.Sleep(1) }`, "time.Sleep"},
		{"a driver has a timer", "consumergroup/driver/a.go", `import "context"; func f(c context.Context) { context.WithTimeout(c, 1) }`, "context.WithTimeout"},
		{"a driver has a lock", "consumergroup/driver/a.go", `import "sync"`, "small interface"},
		{"a driver has a log", "consumergroup/driver/a.go", `import "log/slog"`, "small interface"},
		{"a driver starts a goroutine", "consumergroup/driver/a.go", `func f() { go f() }`, "a go statement"},
		{"a driver knows no worker", "consumergroup/driver/a.go", `import "ringmaster/consumergroup"`, "consumergroup/driver may import"},
		{"rand v1", "internal/x/a_test.go", `import "math/rand"`, "math/rand/v2"},
		{"viper", "internal/x/a.go", `import "github.com/spf13/viper"`, "only [configs/load] may"},
		{"viper beside its package", "configs/a.go", `import "github.com/spf13/viper"`, "only [configs/load] may"},
		{"miniredis", "internal/service/a.go", `import "github.com/alicebob/miniredis/v2"`, "only [embedded] may"},
		{"go-redis", "recovery/a.go", `import "github.com/redis/go-redis/v9"`, "only [. streams "},
		{"new package", "planner/a.go", ``, "add it to the table imports"},
		{"vague name", "internal/util/a.go", ``, "the name says nothing"},
		{"long file", "job/a.go", strings.Repeat("\n", 400), "401 lines"},
		{"sleep", "job/a_test.go", `import "time"; func f() { time.Sleep(1) }`, "time.Sleep in a test"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			problems := checkSource(t, tt.file, tt.src)
			if len(problems) != 1 || !strings.Contains(problems[0], tt.want) || !strings.Contains(problems[0], tt.file[:3]) {
				t.Fatalf("found %q, want one with %q", problems, tt.want)
			}
		})
	}
}

func TestAllowed(t *testing.T) {
	tests := []struct{ name, file, src string }{
		{"table", "dispatch/a.go", `import "ringmaster/job"`},
		{"wiring", "cmd/worker/a.go", `import ("ringmaster/streams"; "ringmaster/resize/runner")`},
		{"given times", "consumergroup/lanes/a.go", `import "time"; func f(t time.Time) time.Time { return t.Add(time.Second) }`},
		{"a driver passes contexts on", "consumergroup/driver/a.go", `import ("context"; "time"); func f(context.Context, time.Duration) error { return nil }`},
		{"root package", "a.go", `import "ringmaster/streams"`},
		{"test files import anything", "recovery/a_test.go", `import ("ringmaster/streams"; "github.com/redis/go-redis/v9")`},
		{"similar names", "ring/a.go", `import ("strings"; "netlib.example/x")`},
		{"sleep in a bubble", "job/a_test.go", `func f(t T) { synctest.Test(t, func(t T) { time.Sleep(1) }) }`},
		{"sleep in a ring's bubble", "job/a_test.go", `func f(t T) { ringtest.Run(t, func(t T, r R) { time.Sleep(1) }) }`},
		{"other sources", "testdata/x/a.go", `import "math/rand"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if problems := checkSource(t, tt.file, tt.src); len(problems) != 0 {
				t.Fatalf("found %q", problems)
			}
		})
	}
}

func checkSource(t *testing.T, file, src string) []string {
	t.Helper()
	problems, err := check(fstest.MapFS{file: {Data: []byte("package a\n" + src)}})
	if err != nil {
		t.Fatal(err)
	}
	return problems
}
