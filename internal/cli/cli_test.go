package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringmaster/bench"
	"ringmaster/internal/demo"
	"ringmaster/internal/redistest"
	"ringmaster/internal/service"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMain lets the test's own binary be the demo's processes, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == demo.DispatcherCommand || os.Args[1] == demo.WorkerCommand) {
		os.Exit(Main(Ringctl, ""))
	}
	service.Quiet()
	os.Exit(m.Run())
}

type outcome struct {
	code           int
	stdout, stderr string
}

// call runs a program in this process.
func call(t *testing.T, program Program, stdin string, args ...string) outcome {
	t.Helper()
	return callEnv(t, program, Env{Stdin: strings.NewReader(stdin), EmbeddedURL: deadURL}, args...)
}

func callEnv(t *testing.T, program Program, env Env, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	env.Args, env.Stdout, env.Stderr = args, &out, &errs
	if env.Stdin == nil {
		env.Stdin = strings.NewReader("")
	}
	code := program(t.Context(), env)
	return outcome{code, out.String(), errs.String()}
}

// deadURL is an address where nothing listens: port 1 takes root and is not in use.
const deadURL = "redis://127.0.0.1:1"

func TestNothingAlikeIsNotSuggested(t *testing.T) {
	for _, args := range []string{"top", "queue pause", "job cancel", "submit q --delay 1s"} {
		if got := call(t, Ringctl, "", strings.Fields(args)...); got.code != exitUsage || strings.Contains(got.stderr, "did you mean") || !strings.Contains(got.stderr, "--help") {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

func TestVersionIsWhatTheBuildWasGiven(t *testing.T) {
	if got := callEnv(t, Worker, Env{Version: "v1.2.3"}, "--version"); got.code != exitDone || !strings.HasPrefix(got.stdout, "worker version v1.2.3 go") {
		t.Errorf("%+v", got)
	}
	if got := call(t, Worker, "", "--version"); got.code != exitDone || !strings.HasPrefix(got.stdout, "worker version (devel) go") {
		t.Errorf("%+v", got)
	}
}

func TestWrongUsageIsExitCode2AndSaysWhatIsMeant(t *testing.T) {
	cases := []struct {
		program Program
		args    string
		says    string
	}{
		{Ringctl, "", "a command is missing"},
		{Ringctl, "sumbit", `did you mean submit?`},
		{Ringctl, "queue", "a command is missing"},
		{Ringctl, "queue lst", `did you mean ls?`},
		{Ringctl, "job gte q 1-1-1", "did you mean get?"},
		{Ringctl, "help quue", "did you mean queue?"},
		{Ringctl, "completion bsh", "did you mean bash?"},
		{Ringctl, "queue ls --outptu json", "did you mean --output?"},
		{Ringctl, "queue ls -x", "unknown shorthand flag"},
		{Ringctl, "queue ls more", "want 0 argument(s), got 1: ringctl queue ls"},
		{Ringctl, "queue ls -o yaml", "want one of table|json|jsonl"},
		{Ringctl, "queue get", "want 1 argument(s)"},
		{Ringctl, "queue create q --partitions abc", "invalid"},
		{Ringctl, "queue create q --partitions 0", "between 1 and 4096"},
		{Ringctl, "queue create q --partitions=-1", "between 1 and 4096"},
		{Ringctl, "queue create q --partitions 4097", "between 1 and 4096"},
		{Ringctl, "queue create a/b", "want a letter or digit"},
		{Ringctl, "ring resize q --mode whole", "want key, partition, ring"},
		{Ringctl, "ring history q --limit 0", "want 1 or more"},
		{Ringctl, "dead requeue q", "at least 2"},
		{Ringctl, "submit q --key k", "--key needs --type"},
		{Ringctl, "submit q --idempotency-key k", "--idempotency-key needs --type"},
		{Ringctl, "submit q --type t --idempotency-key=", "--idempotency-key is empty"},
		{Ringctl, "submit q --type a/b", "type"},
		{Ringctl, "submit q --type t --payload \xff", "neither JSON nor UTF-8"},
		{Ringctl, "submit q --type t --key \xff", "UTF-8"},
		{Ringctl, "submit", "want 1 argument(s)"},
		{Ringctl, "job wait q 1-1-1 --timeout -1s", "negative"},
		{Ringctl, "config validate", "--config FILE"},
		{Ringctl, "config view --for redis", "dispatcher, worker or ringctl"},
		{Ringctl, "config view --config /does/not/exist", "/does/not/exist"},
		{Ringctl, "dev --workers 0", "1 to 100"},
		{Ringctl, "dev --workers=1000000000", "1 to 100"},
		{Ringctl, "dev --workers abc", "invalid"},
		{Ringctl, "demo --jobs 1", "--jobs"},
		{Ringctl, "demo --keys=-1", "--keys"},
		{Ringctl, "demo --dir /does/not/exist", "/does/not/exist"},
		{Ringctl, "demo-worker", "for ringctl alone"},
		{Ringctl, "queue ls --redis http://host", "redis://"},
		{Ringctl, "queue ls --redis redis://", "host"},
		{Ringctl, "queue ls --redis redis://h:0", "port"},
		{Ringctl, "queue ls --redis redis://h:70000", "port"},
		{Ringctl, "queue ls --redis redis://h/-1", "database"},
		{Ringctl, "queue ls --redis redis://user@h", "password"},
		{Worker, "", "no queue to serve"},
		{Worker, "--queue q", "no handler"},
		{Worker, "--queue q --builtin --concurrency 0", "concurrency"},
		{Worker, "--queue q --builtin extra", "takes no arguments"},
		{Worker, "--buildin", "did you mean --builtin?"},
		{Dispatcher, "serve", "takes no arguments"},
		{Dispatcher, "--listen nowhere", "host:port"},
		{Dispatcher, "--listen 0.0.0.0:7070", "token"},
		{Dispatcher, "--lisen :1", "did you mean --listen?"},
		{Dispatcher, "--check --listen 127.0.0.1:0", "no fixed port"},
	}
	for _, c := range cases {
		t.Run(c.args, func(t *testing.T) {
			got := call(t, c.program, "", strings.Fields(c.args)...)
			if got.code != exitUsage || got.stdout != "" || !strings.Contains(got.stderr, c.says) {
				t.Errorf("exit %d, want %d\nstdout %q\nstderr %q\nwant there %q", got.code, exitUsage, got.stdout, got.stderr, c.says)
			}
		})
	}
}

func TestWhatIsNotDeliveredIsUnknown(t *testing.T) {
	help := call(t, Ringctl, "", "--help").stdout
	for _, args := range []string{
		"job cancel q 1-1-1", "job logs q 1-1-1", "queue pause q", "queue resume q",
		"top", "submit q --type t --delay 10s",
	} {
		words := strings.Fields(args)
		got := call(t, Ringctl, "", words...)
		if got.code != exitUsage || !strings.Contains(got.stderr, "unknown") {
			t.Errorf("%s: exit %d, %q", args, got.code, got.stderr)
		}
		if strings.Contains(help, "\n  "+words[0]+" ") && len(words) < 3 && words[0] != "submit" {
			t.Errorf("%s is in help", words[0])
		}
	}
}

func TestHelpIsGolden(t *testing.T) {
	var all strings.Builder
	show := func(program Program, args ...string) {
		got := call(t, program, "", append(args, "--help")...)
		if got.code != exitDone || got.stderr != "" {
			t.Errorf("%v --help: exit %d, stderr %q", args, got.code, got.stderr)
		}
		fmt.Fprintf(&all, "### %s\n%s\n", strings.Join(args, " "), got.stdout)
	}
	show(Dispatcher)
	show(Worker)
	for _, args := range []string{
		"", "dev", "demo", "submit", "job", "job get", "job wait", "queue", "queue ls", "queue get", "queue create", "key get",
		"dead", "dead ls", "dead requeue", "dead rm", "ring", "ring get", "ring history", "ring resize", "workers", "workers ls",
		"workers drain", "verify", "doctor", "bench", "bench throughput", "bench latency", "bench recovery", "bench resize", "bench scale", "bench memory", "config", "config view", "config validate", "completion",
	} {
		show(Ringctl, strings.Fields(args)...)
	}
	golden := filepath.Join("testdata", "help.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(all.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := all.String(); got != string(want) {
		t.Errorf("help differs from %s (go test ./internal/cli -run Golden -update writes it):\n%s", golden, firstDifference(got, string(want)))
	}
	for _, name := range []string{demo.WorkerCommand, demo.DispatcherCommand, bench.WorkerCommand, "cancel", "pause", "--delay"} {
		if strings.Contains(all.String(), name) {
			t.Errorf("help speaks of %s", name)
		}
	}
	if got := call(t, Ringctl, "", "help", "queue", "ls"); got.code != exitDone || !strings.Contains(got.stdout, "ringctl queue ls") {
		t.Errorf("help queue ls: %+v", got)
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return fmt.Sprintf("line %d: got %q", i+1, g[i])
		}
	}
	return fmt.Sprintf("%d lines are missing at the end", len(w)-len(g))
}

func TestVersionAndCompletion(t *testing.T) {
	for name, program := range map[string]Program{"ringctl": Ringctl, "worker": Worker, "dispatcher": Dispatcher} {
		if got := call(t, program, "", "--version"); got.code != exitDone || !strings.HasPrefix(got.stdout, name+" version ") {
			t.Errorf("%s --version: %+v", name, got)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := call(t, Ringctl, "", "completion", shell); got.code != exitDone || !strings.Contains(got.stdout, "ringctl") {
			t.Errorf("completion %s: exit %d", shell, got.code)
		}
	}
}

func TestNoServer(t *testing.T) {
	secret := "redis://user:hunter2@127.0.0.1:1"
	for _, args := range [][]string{
		{"queue", "ls"}, {"queue", "get", "q"}, {"queue", "create", "q"}, {"job", "get", "q", "1-1-1"}, {"job", "wait", "q", "1-1-1"},
		{"submit", "q", "--type", "t"}, {"submit", "q"}, {"ring", "get", "q"}, {"ring", "history", "q"}, {"ring", "resize", "q"},
		{"workers", "ls"}, {"workers", "drain", "w"}, {"key", "get", "q", "k"}, {"dead", "ls", "q"}, {"dead", "rm", "q", "1-1-1"},
		{"demo"},
	} {
		got := call(t, Ringctl, "", append(args, "--redis", secret)...)
		if got.code != exitUnreachable || got.stdout != "" || !strings.Contains(got.stderr, "127.0.0.1:1") {
			t.Errorf("%v: %+v", args, got)
		}
		if strings.Contains(got.stderr, "hunter2") || strings.Contains(got.stderr, "add --redis") {
			t.Errorf("%v: %q", args, got.stderr)
		}
	}
	mem := redistest.Mini(t)
	got := callEnv(t, Ringctl, Env{EmbeddedURL: mem.URL(), Environ: []string{"RINGMASTER_REDIS=" + deadURL}}, "queue", "ls")
	if got.code != exitUnreachable || !strings.Contains(got.stderr, "add --redis "+mem.URL()) {
		t.Errorf("with a store in memory: %+v", got)
	}
	server := redistest.Real(t)
	got = callEnv(t, Ringctl, Env{EmbeddedURL: server.URL(), Environ: []string{"RINGMASTER_REDIS=" + deadURL}}, "queue", "ls")
	if strings.Contains(got.stderr, "add --redis") {
		t.Errorf("a server that is no store in memory: %q", got.stderr)
	}
}

func TestWorkerNamesTheStoreThatAnswers(t *testing.T) {
	mem := redistest.Mini(t)
	env := Env{EmbeddedURL: mem.URL(), Environ: []string{"RINGMASTER_REDIS=" + deadURL}}
	if got := callEnv(t, Worker, env, "--check"); got.code != exitFailure || !strings.Contains(got.stderr, "add --redis "+mem.URL()) {
		t.Errorf("--check: %+v", got)
	}
	ctx, stop := stopBy(t)
	errs := newSeen()
	ended := start(ctx, Worker, io.Discard, errs, env, "--queue", "q", "--builtin")
	errs.await(t, "add --redis "+mem.URL())
	stop(os.Interrupt)
	<-ended
}

func TestConfigCommands(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good.yaml", "queues: [files]\nhandlers:\n  - type: sum\n    exec: { command: [\"sha256sum\"] }\n")
	bad := file("bad.yaml", "queus: [files]\nconcurrency: many\n")
	if got := call(t, Ringctl, "", "config", "validate", "--config", good); got.code != exitDone || !strings.Contains(got.stdout, "good for worker") {
		t.Errorf("good file: %+v", got)
	}
	if got := call(t, Ringctl, "", "config", "validate", "--config", good, "-o", "json"); !strings.Contains(got.stdout, `"valid":true,"programs":["worker"]}`) {
		t.Errorf("good file as JSON: %+v", got)
	}
	got := call(t, Ringctl, "", "config", "validate", "--config", bad)
	if got.code != exitUsage || !strings.Contains(got.stderr, `"queues"`) || !strings.Contains(got.stderr, "concurrency") {
		t.Errorf("bad file: %+v", got)
	}
	if got := call(t, Worker, "", "--config", bad); got.code != exitUsage || !strings.Contains(got.stderr, "concurrency") || !strings.Contains(got.stderr, "queus") {
		t.Errorf("worker with a bad file: %+v", got)
	}
	env := Env{Environ: []string{"RINGMASTER_NAMESPACE=other", "RINGMASTER_REDIS_PASSWORD=hunter2", "RINGMASTER_WHATEVER=1"}}
	got = callEnv(t, Ringctl, env, "config", "view", "--sources", "--redis", "redis://h:1", "-o", "jsonl")
	for _, want := range []string{
		`{"key":"redis","value":"redis://h:1","source":"flag --redis"}`,
		`{"key":"namespace","value":"other","source":"environment RINGMASTER_NAMESPACE"}`,
		`{"key":"redis_mode","value":"standalone","source":"default"}`,
	} {
		if !slices.Contains(strings.Split(got.stdout, "\n"), want) {
			t.Errorf("view --sources lacks %s:\n%s", want, got.stdout)
		}
	}
	if strings.Contains(got.stdout+got.stderr, "hunter2") {
		t.Errorf("a secret is shown: %s%s", got.stdout, got.stderr)
	}
	got = callEnv(t, Ringctl, Env{}, "config", "view", "--for", "worker", "--config", good)
	if got.code != exitDone || !strings.Contains(got.stdout, "sum: exec sha256sum") {
		t.Errorf("view --for worker: %+v", got)
	}
}

// stopBy is a context that a signal may end.
func stopBy(t *testing.T) (context.Context, func(os.Signal)) {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	return ctx, func(sig os.Signal) { cancel(&interrupted{sig}) }
}

// seen is a writer from which tests wait for words.
type seen struct{ news chan string }

func newSeen() *seen { return &seen{news: make(chan string, 1000)} }

// Write implements io.Writer.
func (s *seen) Write(p []byte) (int, error) {
	s.news <- string(p)
	return len(p), nil
}

// await returns all that was written up to the first piece with word in it.
func (s *seen) await(t *testing.T, word string) string {
	t.Helper()
	var all strings.Builder
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		select {
		case piece := <-s.news:
			all.WriteString(piece)
			if strings.Contains(all.String(), word) {
				return all.String()
			}
		case <-limit.C:
			t.Fatalf("%q was not written:\n%s", word, all.String())
		}
	}
}
