package handlers

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringmaster/job"
)

// workerDir, if set, makes this binary a worker that runs one command, in that directory.
const workerDir = "RINGMASTER_TEST_EXEC_WORKER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(workerDir); dir != "" {
		worker(dir)
		os.Exit(1) // it was to be killed
	}
	os.Exit(m.Run())
}

// slowReader begins to read when it is told to, in a process that nobody kills, since it has left
// the group. The command itself only holds a pipe open.
const slowReader = `
exec 3<&0 4>"$1/alive"
setsid sh -c '
	exec 4>&-
	: >"$1/begun"
	until [ -e "$1/go" ]; do sleep 0.02; done
	wc -c <&3 >"$1/count.part"
	mv "$1/count.part" "$1/count"
' sh "$1" &
wait
`

// starter holds a pipe open, and starts another process that does.
const starter = `
exec 4>"$1/alive"
sleep 300 &
: >"$1/started"
wait
`

// worker says that a command has begun when it is watched over, or else the command itself says so.
func worker(dir string) {
	script, g := slowReader, &guard{}
	if _, err := os.Stat(filepath.Join(dir, "starter")); err == nil {
		script = starter
		go announce(g, dir)
	}
	d := delivery(`"` + strings.Repeat("x", job.MaxPayloadBytes-2) + `"`)
	_, _ = command{[]string{"sh", "-c", script, "sh", dir}, job.DefaultResultBytes, killGrace, g}.run(context.Background(), d)
}

func announce(g *guard, dir string) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for watched := false; !watched; <-tick.C {
		g.mu.Lock()
		_, err := os.Stat(filepath.Join(dir, "started"))
		watched = len(g.groups) == 1 && err == nil
		g.mu.Unlock()
	}
	_ = os.WriteFile(filepath.Join(dir, "begun"), nil, 0o600)
}

// TestExec_TheInputIsWholeWhenTheWorkerIsKilled: a command that goes on after its worker was
// killed does not take a part of the payload for all of it.
func TestExec_TheInputIsWholeWhenTheWorkerIsKilled(t *testing.T) {
	dir := t.TempDir()
	alive := killedWorker(t, dir)
	if runtime.GOOS == "linux" {
		if _, err := io.ReadAll(alive); err != nil { // until the command is gone
			t.Error(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want := strconv.Itoa(job.MaxPayloadBytes - 2)
	if got := strings.TrimSpace(content(t, filepath.Join(dir, "count"))); got != want {
		t.Errorf("the command read %s bytes to the end of its input, want %s", got, want)
	}
}

// TestExec_WhatTheCommandStartedEndsWithTheWorker: it would run on beside the job's next run.
func TestExec_WhatTheCommandStartedEndsWithTheWorker(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "starter"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	alive := killedWorker(t, dir)
	if err := alive.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(alive); err != nil {
		t.Errorf("it lives on: %v", err)
	}
}

// killedWorker starts a worker, kills it while its command runs, and returns a pipe that is open as
// long as somebody of the command's lives.
func killedWorker(t *testing.T, dir string) (alive *os.File) {
	t.Helper()
	fifo := filepath.Join(dir, "alive")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), workerDir+"="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if alive, err = os.Open(fifo); err != nil { // waits for the command
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = alive.Close() })
	content(t, filepath.Join(dir, "begun"))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	return alive
}

// content waits for a file.
func content(t *testing.T, name string) string {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 4000 {
		if raw, err := os.ReadFile(name); err == nil {
			return string(raw)
		}
		<-tick.C
	}
	t.Fatalf("waited in vain for %s", filepath.Base(name))
	return ""
}
