package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringmaster/configs"
	"ringmaster/job"
)

func sh(script string, args ...string) Func {
	return Exec(configs.Exec{Command: append([]string{"sh", "-c", script, "sh"}, args...), Timeout: 20 * time.Second}, 1<<20)
}

func delivery(payload string) job.Delivery {
	return job.Delivery{
		ID:    job.ID{Partition: 7, Entry: job.EntryID{Ms: 1700000000000, Seq: 2}},
		Queue: "files", Type: "sha256", Key: "a b", Payload: json.RawMessage(payload),
		Partition: 7, Epoch: 3, Attempt: 4, Fence: job.NewFence(2, 3),
	}
}

func TestExec_Outcome(t *testing.T) {
	mib := "head -c 1048576 /dev/zero | tr '\\0' x"
	tests := map[string]struct {
		script, payload string
		result          string // as JSON; empty: none
		err             string // part of the error; empty: success
		dead            bool
	}{
		"string payload is bare text":   {script: "cat", payload: `"a \"q\" ü\n"`, result: `"a \"q\" ü"`},
		"other payload is JSON":         {script: "cat", payload: `{"a": [1, 2]}`, result: `{"a": [1, 2]}`},
		"no payload is empty input":     {script: "wc -c | tr -d ' '", result: `0`},
		"payload nobody reads":          {script: "echo ok", payload: `"` + strings.Repeat("x", 1<<19) + `"`, result: `"ok"`},
		"text":                          {script: "echo hello world", result: `"hello world"`},
		"one newline is removed":        {script: `printf 'a\n\n'`, result: `"a\n"`},
		"JSON stays JSON":               {script: `printf '[1,\n2]\n'`, result: "[1,\n2]"},
		"big number":                    {script: `echo 12345678901234567890`, result: `12345678901234567890`},
		"null is no result":             {script: "echo null"},
		"nothing":                       {script: ":"},
		"a newline alone":               {script: "echo"},
		"not UTF-8":                     {script: `printf 'a\377b'`, result: `"a` + "\uFFFD" + `b"`},
		"not UTF-8 within quotes":       {script: `printf '"\377"'`, result: `"\"` + "\uFFFD" + `\""`},
		"markup is not escaped":         {script: `echo '<a&b>'`, result: `"<a&b>"`},
		"stderr is no result":           {script: "echo no >&2; echo yes", result: `"yes"`},
		"largest output":                {script: mib + "; echo", result: `"` + strings.Repeat("x", 1<<20) + `"`},
		"one byte more":                 {script: mib + "; echo; echo", err: "larger than 1048576 bytes", dead: true},
		"endless output":                {script: "exec yes", err: "larger than 1048576 bytes", dead: true},
		"failure":                       {script: "echo out; echo one >&2; echo two >&2; exit 3", err: "exit status 3: one; two"},
		"failure says the last lines":   {script: "seq 9 >&2; exit 1", err: "exit status 1: 7; 8; 9"},
		"terminal codes do not pass":    {script: `printf 'a\033[31mb\r\n' >&2; exit 1`, err: "exit status 1: a [31mb"},
		"65 is dead at once":            {script: "echo bad input >&2; exit 65", err: "exit status 65: bad input", dead: true},
		"killed":                        {script: "kill -9 $$", err: "signal: killed"},
		"no shell expands the argument": {script: `printf %s "$1"`, result: `"$HOME *"`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := sh(tc.script, "$HOME *")(t.Context(), delivery(tc.payload))
			if (err != nil) != (tc.err != "") || (err != nil && !strings.Contains(err.Error(), tc.err)) {
				t.Fatalf("error = %v, want one with %q", err, tc.err)
			}
			if string(got) != tc.result {
				t.Errorf("result = %.200q, want %.200q", got, tc.result)
			}
			if dead, _ := job.Verdict(err); dead != tc.dead {
				t.Errorf("dead = %v, want %v", dead, tc.dead)
			}
		})
	}
}

func TestExec_LongErrorIsCut(t *testing.T) {
	_, err := sh("head -c 100000 /dev/zero | tr '\\0' y >&2; exit 1")(t.Context(), delivery(""))
	if err == nil || len(err.Error()) > 700 || !strings.HasSuffix(err.Error(), "yyy") {
		t.Errorf("error of %d bytes: %.100v", len(err.Error()), err)
	}
}

func TestExec_MissingCommandIsAFailedAttempt(t *testing.T) {
	_, err := Exec(configs.Exec{Command: []string{"/no/such/command"}}, 1<<20)(t.Context(), delivery(""))
	if err == nil || !strings.Contains(err.Error(), "start command") {
		t.Fatalf("error = %v", err)
	}
	if dead, _ := job.Verdict(err); dead {
		t.Error("dead: another worker may have the command")
	}
}

func TestExec_Environment(t *testing.T) {
	t.Setenv("RINGMASTER_TOKEN", "canary1")
	t.Setenv("RINGMASTER_REDIS_PASSWORD", "canary2")
	t.Setenv("RINGMASTER_REDIS", "redis://:canary3@h")
	t.Setenv("RINGMASTER_JOB_ID", "stale")
	t.Setenv("RINGMASTER_NAMESPACE", "kept")
	got, err := sh("env | grep ^RINGMASTER_ | sort")(t.Context(), delivery(""))
	if err != nil {
		t.Fatal(err)
	}
	var text string
	if err := json.Unmarshal(got, &text); err != nil {
		t.Fatal(err)
	}
	want := `RINGMASTER_ATTEMPT=4
RINGMASTER_FENCE=8589934595
RINGMASTER_JOB_ID=7-1700000000000-2
RINGMASTER_JOB_KEY=a b
RINGMASTER_JOB_TYPE=sha256
RINGMASTER_NAMESPACE=kept
RINGMASTER_PARTITION=7
RINGMASTER_QUEUE=files`
	if text != want {
		t.Errorf("environment:\n%s\nwant:\n%s", text, want)
	}
}

func TestExec_KeyWithNULIsDead(t *testing.T) {
	d := delivery("")
	d.Key = "a\x00b"
	_, err := sh("echo")(t.Context(), d)
	if dead, _ := job.Verdict(err); !dead {
		t.Errorf("error = %v, want a dead letter", err)
	}
}

// start runs a script that opens the named pipe $1 for writing, and returns when it has.
// The pipe's end comes when the last process that holds it has died.
func start(ctx context.Context, t *testing.T, script string) (pipe *os.File, outcome <-chan error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		c := command{[]string{"sh", "-c", script, "sh", path}, 1 << 20, 20 * time.Millisecond, &guard{}}
		_, err := c.run(ctx, delivery(""))
		ended <- err
	}()
	pipe, err := os.Open(path) // waits for a writer
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pipe.Close() })
	if err := pipe.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return pipe, ended
}

// TestExec_StopKillsTheGroup ends the context while a grandchild runs, whatever it and
// its parent do about SIGTERM.
func TestExec_StopKillsTheGroup(t *testing.T) {
	tests := map[string]string{
		"both obey":            `exec 9>"$1"; sleep 300 & echo ready >&9; wait`,
		"both ignore SIGTERM":  `trap "" TERM; exec 9>"$1"; sleep 300 & echo ready >&9; wait`,
		"grandchild ignores":   `exec 9>"$1"; (trap "" TERM; echo ready >&9; sleep 300; sleep 300) & wait`,
		"parent exits 0":       `trap "exit 0" TERM; exec 9>"$1"; sleep 300 & echo ready >&9; wait`,
		"parent exits with 65": `trap "exit 65" TERM; exec 9>"$1"; sleep 300 & echo ready >&9; wait`,
	}
	for name, script := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			pipe, outcome := start(ctx, t, script)
			if _, err := pipe.Read(make([]byte, 6)); err != nil {
				t.Fatal(err)
			}
			cancel(job.ErrMoved)
			err := <-outcome
			if !errors.Is(err, job.ErrMoved) {
				t.Errorf("error = %v, want why the context ended", err)
			}
			if dead, _ := job.Verdict(err); dead {
				t.Error("dead: an interrupted attempt says nothing about the job")
			}
			if _, err := io.ReadAll(pipe); err != nil {
				t.Errorf("a process still holds the pipe: %v", err)
			}
		})
	}
}

func TestExec_Timeout(t *testing.T) {
	f := Exec(configs.Exec{Command: []string{"sh", "-c", "echo working >&2; exec sleep 300"}, Timeout: 50 * time.Millisecond}, 1<<20)
	_, err := f(t.Context(), delivery(""))
	if !errors.Is(err, job.ErrTimeout) || !strings.Contains(err.Error(), "50ms") {
		t.Errorf("error = %v, want a timeout of 50ms", err)
	}
}

func TestExec_LeftoverChildrenDoNotOutliveTheJob(t *testing.T) {
	pipe, outcome := start(t.Context(), t, `exec 9>"$1"; sleep 300 & echo done`)
	if err := <-outcome; err != nil {
		t.Errorf("error = %v: the command exited with 0", err)
	}
	if _, err := io.ReadAll(pipe); err != nil {
		t.Errorf("the child lives: %v", err)
	}
}

func TestExec_EndedContextStartsNothing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(job.ErrStopping)
	if _, err := sh("echo")(ctx, delivery("")); !errors.Is(err, job.ErrStopping) {
		t.Errorf("error = %v, want ErrStopping", err)
	}
}
