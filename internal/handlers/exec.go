package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ringmaster/configs"
	"ringmaster/job"
)

// killGrace is how long a command may go on after SIGTERM. It is short: a job that was
// taken away should not run on beside its successor.
const killGrace = time.Second

// exitDead is the exit status for input that will never be right (EX_DATAERR of sysexits).
const exitDead = 65

// Exec returns a function that runs the command for each attempt, without a shell.
//
// A payload that is a JSON string is the command's standard input as bare text, any
// other as JSON; no payload is empty input. It is whole before the command starts, and on
// Linux the command is killed with its worker, and where there is a shell (sh) the rest of its
// process group is too. The command inherits the environment but for this program's secrets, and finds the job in
// RINGMASTER_JOB_ID, _JOB_KEY, _JOB_TYPE, _QUEUE, _PARTITION, _ATTEMPT and _FENCE. Standard
// output is the result.
//
// Exit status 0 completes the job, 65 sends it to the dead letters, all else is a failed
// attempt whose error ends with the last lines of standard error. When the context or
// the timeout ends, and when the output grows too large, the command's process group
// gets SIGTERM and one second later SIGKILL. What the command leaves running in its
// group when it exits is killed. A key with a NUL byte cannot be passed on: dead letters.
//
// An output of more than limit bytes, less one trailing newline, sends the job to the dead
// letters.
func Exec(cfg configs.Exec, limit int) Func {
	return withTimeout(command{cfg.Command, limit, killGrace, &guard{}}.run, cfg.Timeout)
}

type command struct {
	argv  []string
	limit int // bytes of output
	grace time.Duration
	guard *guard
}

func (c command) run(parent context.Context, d job.Delivery) (json.RawMessage, error) {
	if strings.ContainsRune(d.Key, 0) {
		return nil, job.Skip(errors.New("the key holds a NUL byte, which no environment variable can"))
	}
	input, err := standardInput(d.Payload)
	if err != nil {
		return nil, job.Skip(err)
	}
	stdin, err := wholeInput(input)
	if err != nil {
		return nil, fmt.Errorf("keep the payload for the command: %w", err)
	}
	defer stdin.Close()
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	stdout := &capped{limit: c.limit + 1, full: func() { cancel(errFull) }} // + the newline that does not count
	stderr := &tail{}

	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Stdin = stdin
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Env = environment(os.Environ(), d)
	cmd.SysProcAttr = groupAttr()
	cmd.Cancel = func() error { return signalGroup(cmd, syscall.SIGTERM) }
	cmd.WaitDelay = c.grace // then Wait kills the leader and closes pipes that others hold open
	c.guard.ready()
	// The kernel ends the command with the thread that started it: that one is to last.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("start command: %w", err)
	}
	release := c.guard.watch(cmd.Process.Pid)
	defer release()
	err = cmd.Wait()
	// The leader is gone, its group may not be. The number of a group with members is
	// not given to another.
	_ = signalGroup(cmd, syscall.SIGKILL)
	return c.verdict(ctx, err, stdout, stderr)
}

func (c command) verdict(ctx context.Context, err error, stdout *capped, stderr *tail) (json.RawMessage, error) {
	var exit *exec.ExitError
	switch {
	case stdout.over:
		return nil, with(tooLarge(c.limit), stderr.buf)
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // the latter: exit 0, but a child held a pipe
		return result(stdout.buf.Bytes(), c.limit)
	case ctx.Err() != nil:
		return nil, with(context.Cause(ctx), stderr.buf)
	case errors.As(err, &exit) && exit.ExitCode() == exitDead:
		return nil, job.Skip(with(err, stderr.buf))
	default:
		return nil, with(err, stderr.buf)
	}
}

func signalGroup(cmd *exec.Cmd, signal syscall.Signal) error {
	err := syscall.Kill(-cmd.Process.Pid, signal)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// wholeInput is a file without a name that holds the input, to be read from its start. A
// pipe would end where the worker dies, and the command take what it got for all.
func wholeInput(input []byte) (*os.File, error) {
	f, err := namelessFile()
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(input); err != nil {
		_ = f.Close()
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// unlinkedFile is a temporary file whose name is gone already.
func unlinkedFile() (*os.File, error) {
	f, err := os.CreateTemp("", "ringmaster-payload-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func standardInput(payload json.RawMessage) ([]byte, error) {
	if trimmed := bytes.TrimSpace(payload); len(trimmed) == 0 || trimmed[0] != '"' {
		return payload, nil
	}
	var text string
	if err := json.Unmarshal(payload, &text); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	return []byte(text), nil
}

// environment is what the command inherits, without secrets, and the job.
func environment(inherited []string, d job.Delivery) []string {
	env := make([]string, 0, len(inherited)+7)
	for _, entry := range inherited {
		name, value, _ := strings.Cut(entry, "=")
		switch name {
		case "RINGMASTER_TOKEN", "RINGMASTER_REDIS_PASSWORD", "RINGMASTER_SENTINEL_PASSWORD":
			continue
		case "RINGMASTER_REDIS":
			if strings.Contains(value, "@") { // a password may stand before it
				continue
			}
		}
		env = append(env, entry)
	}
	return append(env,
		"RINGMASTER_JOB_ID="+d.ID.String(),
		"RINGMASTER_JOB_KEY="+d.Key,
		"RINGMASTER_JOB_TYPE="+d.Type,
		"RINGMASTER_QUEUE="+d.Queue,
		"RINGMASTER_PARTITION="+strconv.Itoa(d.Partition),
		"RINGMASTER_ATTEMPT="+strconv.Itoa(d.Attempt),
		"RINGMASTER_FENCE="+strconv.FormatUint(uint64(d.Fence), 10),
	)
}
