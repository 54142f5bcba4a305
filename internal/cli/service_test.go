package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"ringmaster/internal/redistest"
	"ringmaster/job"
)

// start runs a program in the background; the channel tells its exit code.
func start(ctx context.Context, program Program, out, errs io.Writer, env Env, args ...string) <-chan int {
	env.Args, env.Stdin, env.Stdout, env.Stderr = args, strings.NewReader(""), out, errs
	ended := make(chan int, 1)
	go func() { ended <- program(ctx, env) }()
	return ended
}

func TestDevRunsJobsUntilCtrlC(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "redis://" + free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := stopBy(t)
	out := newSeen()
	ended := start(ctx, Ringctl, out, io.Discard, Env{EmbeddedURL: url}, "dev", "--workers", "2", "--listen", "127.0.0.1:0")
	banner := out.await(t, "Ctrl-C stops it")
	for _, want := range []string{"http://127.0.0.1:", "JOBS ARE LOST", url, "echo, fail, sleep"} {
		if !strings.Contains(banner, want) {
			t.Errorf("the banner lacks %q:\n%s", want, banner)
		}
	}
	got := call(t, Ringctl, "", "submit", "new", "--type", "echo", "--key", "k", "--payload", "hi", "--wait", "-o", "json", "--redis", url)
	if got.code != exitDone || !strings.Contains(got.stdout, `"state":"completed","result":"hi"`) {
		t.Errorf("submit --wait: %+v", got)
	}
	wrong := call(t, Ringctl, "", "submit", "new", "--type", "fail", "--payload", "often", "--wait", "--redis", url)
	if wrong.code != exitFailure || !strings.Contains(wrong.stdout, " dead: fail: want a payload") || wrong.stderr != "" || strings.Count(wrong.stdout, "\n") != 1 {
		t.Errorf("submit --wait of a job that dies: %+v", wrong)
	}
	id, _, _ := strings.Cut(wrong.stdout, " ")
	if got := call(t, Ringctl, "", "job", "wait", "new", id, "--redis", url); got.code != exitFailure {
		t.Errorf("job wait of a dead job: %+v", got)
	}
	if got := call(t, Ringctl, "", "dead", "rm", "new", id, "--redis", url); got.code != exitDone || strings.TrimSpace(got.stdout) != id {
		t.Errorf("dead rm: %+v", got)
	}
	if got := call(t, Ringctl, "", "ring", "resize", "new", "--mode", "partition", "-o", "json", "--redis", url); got.code != exitDone || !regexp.MustCompile(`^\{"epoch":\d+\}\n$`).MatchString(got.stdout) {
		t.Errorf("ring resize: %+v", got)
	}
	if got := call(t, Ringctl, "", "workers", "ls", "new", "-o", "jsonl", "--redis", url); strings.Count(got.stdout, "\n") != 2 {
		t.Errorf("workers ls: %+v", got)
	}
	if got := call(t, Worker, "", "--check", "--name", "dev-1", "--redis", url); got.code != exitDone {
		t.Errorf("worker --check: %+v", got)
	}
	if got := call(t, Worker, "", "--check", "--redis", url); got.code != exitDone {
		t.Errorf("worker --check of this host: %+v", got)
	}
	if got := call(t, Worker, "", "--check", "--name", "stranger", "--redis", url); got.code != exitFailure || !strings.Contains(got.stderr, "stranger") {
		t.Errorf("worker --check of nobody: %+v", got)
	}
	taken := callEnv(t, Ringctl, Env{EmbeddedURL: url}, "dev")
	if taken.code != exitFailure || !strings.Contains(taken.stderr, "--redis") {
		t.Errorf("a second dev: %+v", taken)
	}
	stop(os.Interrupt)
	if code := <-ended; code != exitInterrupted {
		t.Errorf("exit %d after Ctrl-C", code)
	}
}

func TestServicesStopInGoodOrder(t *testing.T) {
	url := redistest.Real(t).URL()
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		ctx, stop := stopBy(t)
		log := newSeen()
		dispatcher := start(ctx, Dispatcher, io.Discard, log, Env{}, "--redis", url, "--listen", "127.0.0.1:0")
		address := regexp.MustCompile(`listening addr=(\S+)`).FindStringSubmatch(log.await(t, "listening addr="))
		if address == nil {
			t.Fatal("no address")
		}
		if got := call(t, Dispatcher, "", "--check", "--listen", strings.TrimSpace(address[1])); got.code != exitDone {
			t.Errorf("dispatcher --check: %+v", got)
		}
		taken := call(t, Dispatcher, "", "--redis", url, "--listen", strings.TrimSpace(address[1]))
		if taken.code != exitFailure || !strings.Contains(taken.stderr, "--listen") {
			t.Errorf("taken port: %+v", taken)
		}
		workerLog := newSeen()
		worker := start(ctx, Worker, io.Discard, workerLog, Env{}, "--redis", url, "--queue", "q", "--builtin", "--name", "w1", "--log-format", "json")
		if line := workerLog.await(t, `"ready"`); !strings.Contains(line, `"incarnation":"w1.`) {
			t.Errorf("ready line %s", line)
		}
		stop(signal)
		for name, ended := range map[string]<-chan int{"dispatcher": dispatcher, "worker": worker} {
			if code := <-ended; code != exitDone {
				t.Errorf("%s: exit %d after %v", name, code, signal)
			}
		}
	}
}

func TestDispatcherCheck(t *testing.T) {
	status := http.StatusServiceUnavailable
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			status = http.StatusTeapot
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "redis is away\x1b")
	}))
	addr := strings.TrimPrefix(srv.URL, "http://")
	got := call(t, Dispatcher, "", "--check", "--listen", addr)
	if got.code != exitFailure || !strings.Contains(got.stderr, "503") || !strings.Contains(got.stderr, `redis is away\x1b`) {
		t.Errorf("not ready: %+v", got)
	}
	status = http.StatusOK
	_, port, _ := net.SplitHostPort(addr)
	for _, listen := range []string{addr, ":" + port, "0.0.0.0:" + port} {
		env := Env{Environ: []string{"RINGMASTER_TOKEN=0123456789abcdef"}}
		if got := callEnv(t, Dispatcher, env, "--check", "--listen", listen); got.code != exitDone {
			t.Errorf("ready at %s: %+v", listen, got)
		}
	}
	srv.Close()
	if got := call(t, Dispatcher, "", "--check", "--listen", addr); got.code != exitFailure {
		t.Errorf("nobody there: %+v", got)
	}
}

func TestAlive(t *testing.T) {
	workers := []job.WorkerView{
		{Name: "a", Host: "h1", State: "up", LeaseSeconds: 1},
		{Name: "b", Host: "h2", State: "up"},
		{Name: "c", Host: "h3", State: "leaving", LeaseSeconds: 1},
	}
	for _, c := range []struct {
		name, host string
		want       bool
	}{{"a", "other", true}, {"b", "h1", false}, {"c", "h3", false}, {"d", "h1", false}, {"", "h1", true}, {"", "h2", false}, {"", "h3", false}} {
		if got := alive(workers, c.name, c.host); got != c.want {
			t.Errorf("alive(%q, %q) = %v", c.name, c.host, got)
		}
	}
}

// demoOf30Files starts a demo that would take seconds, and waits until its ring stands.
func demoOf30Files(ctx context.Context, t *testing.T, url string) (errs *seen, ended <-chan int, leftBehind func()) {
	t.Helper()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	dir := t.TempDir()
	for i := range 30 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	errs = newSeen()
	ended = start(ctx, Ringctl, io.Discard, errs, Env{Environ: []string{"RINGMASTER_REDIS=" + deadURL}}, "demo", "--dir", dir, "--jobs", "500", "--redis", url)
	errs.await(t, "partitions are owned")
	return errs, ended, func() {
		left, err := os.ReadDir(tmp)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		if got := call(t, Ringctl, "", "queue", "ls", "-o", "json", "--redis", url); got.stdout != "[]\n" {
			t.Errorf("queues left behind: %s", got.stdout)
		}
	}
}

func TestDemoThatIsInterruptedLeavesNothing(t *testing.T) {
	ctx, stop := stopBy(t)
	_, ended, leftBehind := demoOf30Files(ctx, t, redistest.Real(t).URL())
	stop(os.Interrupt)
	if code := <-ended; code != exitInterrupted {
		t.Errorf("exit %d", code)
	}
	leftBehind()
}

func TestDemoNamesAWorkerThatSomebodyElseKilled(t *testing.T) {
	url := redistest.Real(t).URL()
	errs, ended, leftBehind := demoOf30Files(t.Context(), t, url)
	var workers []job.WorkerView
	if got := call(t, Ringctl, "", "workers", "ls", "-o", "json", "--redis", url); json.Unmarshal([]byte(got.stdout), &workers) != nil || len(workers) < 3 {
		t.Fatalf("workers: %+v", got)
	}
	if err := syscall.Kill(workers[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	errs.await(t, workers[0].Name+" ended without being told to: signal: killed")
	if code := <-ended; code != exitFailure {
		t.Errorf("exit %d", code)
	}
	leftBehind()
}
