package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ringmaster/internal/failpoint"
)

// roleVariable makes this binary play a role instead of the tests.
const roleVariable = "RINGMASTER_CHAOS_ROLE"

// Proc is one process that plays a role.
type Proc struct {
	Role
	Started time.Time
	PID     int

	cmd    *exec.Cmd
	stdin  *os.File
	exited chan struct{}

	base map[bool]Stats // at the first quiet moment, leading or not
}

// launch starts a role. prefix, if any, is put before the command, to run it in another
// network namespace.
func launch(role Role, prefix ...string) (*Proc, error) {
	if err := os.MkdirAll(role.Points, 0o700); err != nil {
		return nil, fmt.Errorf("start %s: %w", role.Name, err)
	}
	raw, err := json.Marshal(role)
	if err != nil {
		return nil, fmt.Errorf("encode role: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	log, err := os.OpenFile(role.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role.Name, err)
	}
	defer log.Close()
	in, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role.Name, err)
	}
	defer in.Close()
	args := append(slices.Clone(prefix), self)
	p := &Proc{Role: role, stdin: out, exited: make(chan struct{}), base: map[bool]Stats{}, Started: time.Now()}
	p.cmd = exec.CommandContext(context.Background(), args[0], args[1:]...)
	p.cmd.Env = append(os.Environ(), roleVariable+"="+string(raw), failpoint.DirVariable+"="+role.Points)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = in, log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		_ = out.Close()
		return nil, fmt.Errorf("start %s: %w", role.Name, err)
	}
	p.PID = p.cmd.Process.Pid
	go func() { // ends with the process; Kill and Stop wait for it
		defer close(p.exited)
		_ = p.cmd.Wait() // how it ended: Killed, Exit
		_ = p.stdin.Close()
	}()
	return p, nil
}

// Tell writes a line to the role: "pause", "resume", "rate 100".
func (p *Proc) Tell(line string) { _, _ = p.stdin.WriteString(line + "\n") }

// Alive reports whether the process has not ended. A frozen one is alive.
func (p *Proc) Alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Frozen reports whether Freeze stopped it, or a point did, as the kernel tells.
func (p *Proc) Frozen() bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(raw, []byte(") "))
	return len(rest) > 0 && rest[0] == 'T'
}

// Signal sends a signal.
func (p *Proc) Signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%v to %s: %w", s, p.Name, err)
	}
	return nil
}

// end kills the process and waits until it is gone.
func (p *Proc) end() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.exited
}

// KilledBy is the signal that ended it, 0 if it lives or ended otherwise.
func (p *Proc) KilledBy() syscall.Signal {
	if p.Alive() {
		return 0
	}
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return ws.Signal()
	}
	return 0
}

// Arm makes the process act at its next hit of a point; see package failpoint.
func (p *Proc) Arm(point failpoint.Point, action string) error {
	tmp := filepath.Join(p.Points, "."+string(point))
	if err := os.WriteFile(tmp, []byte(action), 0o600); err != nil {
		return fmt.Errorf("arm %s: %w", point, err)
	}
	if err := os.Rename(tmp, filepath.Join(p.Points, string(point))); err != nil {
		return fmt.Errorf("arm %s: %w", point, err)
	}
	return nil
}

// Disarm takes a point back that was not hit.
func (p *Proc) Disarm(point failpoint.Point) {
	_ = os.Remove(filepath.Join(p.Points, string(point)))
	left, _ := filepath.Glob(filepath.Join(p.Points, string(point)+".taken.*"))
	for _, f := range left {
		_ = os.Remove(f)
	}
}

// logged reports whether its log has a text.
func (p *Proc) logged(text string) bool {
	raw, err := os.ReadFile(p.Log)
	return err == nil && bytes.Contains(raw, []byte(text))
}

// HitAt is when the process last acted at a point; zero: never since after.
func (p *Proc) HitAt(point failpoint.Point, after time.Time) time.Time {
	raw, err := os.ReadFile(filepath.Join(p.Points, failpoint.HitsFile))
	if err != nil {
		return time.Time{}
	}
	var last time.Time
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] != string(point) {
			continue
		}
		if ns, err := strconv.ParseInt(f[2], 10, 64); err == nil && time.Unix(0, ns).After(after) {
			last = time.Unix(0, ns)
		}
	}
	return last
}

// Stats are what a process uses, and what it says of itself.
type Stats struct {
	Goroutines int   `json:"goroutines"`
	Accepted   int64 `json:"accepted"` // producer: jobs the server has acknowledged
	Failed     int64 `json:"failed"`   // producer: jobs that were refused, or of which it never heard
	Paused     bool  `json:"paused"`   // producer: nothing is under way
	At         int64 `json:"at"`       // unix ns
	FDs        int   `json:"-"`        // without sockets
	Sockets    int   `json:"-"`
	RSS        int64 `json:"-"` // bytes
}

// Stats reads them. The process writes its own part four times a second.
func (p *Proc) Stats() Stats {
	var s Stats
	if raw, err := os.ReadFile(p.Stat); err == nil {
		_ = json.Unmarshal(raw, &s) // written whole, by rename
	}
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.PID))
	for _, fd := range fds {
		if what, _ := os.Readlink(fd); strings.HasPrefix(what, "socket:") {
			s.Sockets++
		} else {
			s.FDs++
		}
	}
	if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.PID)); err == nil {
		if f := strings.Fields(string(raw)); len(f) > 1 {
			pages, _ := strconv.ParseInt(f[1], 10, 64)
			s.RSS = pages * int64(os.Getpagesize())
		}
	}
	return s
}
