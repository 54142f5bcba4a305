package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"ringmaster/internal/reexec"
)

const (
	// readyTimeout is for a machine that is very busy; a start takes about 0.1 s.
	readyTimeout = 10 * time.Second
	// stopTimeout is how long a process may take to leave in good order.
	stopTimeout = 10 * time.Second
)

// child is a process of the demo: a dispatcher or a worker.
type child struct {
	name   string
	kind   string // the command
	ledger string // of a worker
	log    string // file with what it logs
	cmd    *exec.Cmd
	stdin  io.Closer     // open as long as this process lives
	ready  chan struct{} // closed when it says that it is ready
	ended  chan struct{} // closed when it has been waited for

	mu       sync.Mutex
	identity string // a worker's incarnation; a dispatcher's name, if it tells it
	err      error  // how it ended
	asked    bool   // it was told to end
}

// crew starts the demo's processes and ends them all.
type crew struct {
	binary  string
	dir     string // for ledgers and logs
	base    spec
	mu      sync.Mutex
	all     []*child
	started map[string]int // by kind
	stray   chan *child    // the first process that ended without being told to
}

func newCrew(binary, dir string, base spec) *crew {
	return &crew{binary: binary, dir: dir, base: base, started: map[string]int{}, stray: make(chan *child, 1)}
}

// start starts a process and waits until it is ready.
func (c *crew) start(ctx context.Context, kind, name string) (*child, error) {
	ch, err := c.launch(kind, name)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(readyTimeout)
	defer timer.Stop()
	select {
	case <-ch.ready:
		return ch, nil
	case <-ch.ended:
		return nil, fmt.Errorf("%s ended before it was ready: %w\n%s", name, ch.how(), ch.tail())
	case <-timer.C:
		return nil, fmt.Errorf("%s was not ready after %s\n%s", name, readyTimeout, ch.tail())
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (c *crew) launch(kind, name string) (*child, error) {
	ch := &child{name: name, kind: kind, log: filepath.Join(c.dir, name+".log"), ready: make(chan struct{}), ended: make(chan struct{})}
	s := c.base
	s.Name = name
	if kind == WorkerCommand {
		ch.ledger = filepath.Join(c.dir, name+".ledger")
		s.Ledger = ch.ledger
	}
	first, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode the settings of %s: %w", name, err)
	}
	log, err := os.OpenFile(ch.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { _ = log.Close() }() // the process has its own
	ch.cmd = exec.Command(c.binary, kind)
	ch.cmd.Env = []string{"HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.Getenv("TMPDIR")}
	ch.cmd.Stderr = log
	ch.cmd.SysProcAttr = reexec.Group() // Ctrl-C at the terminal is for this process alone
	stdin, err1 := ch.cmd.StdinPipe()
	stdout, err2 := ch.cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := ch.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	ch.stdin = stdin
	c.mu.Lock()
	c.all = append(c.all, ch)
	c.started[kind]++
	c.mu.Unlock()
	go ch.follow(stdout, c.stray) // ends with the process; end waits for it
	if _, err := stdin.Write(append(first, '\n')); err != nil {
		return nil, fmt.Errorf("start %s: %w\n%s", name, err, ch.tail())
	}
	return ch, nil
}

// follow reads what the process tells, then waits for its end.
func (ch *child) follow(stdout io.Reader, stray chan<- *child) {
	defer close(ch.ended)
	ready := sync.OnceFunc(func() { close(ch.ready) })
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		word, what, _ := strings.Cut(lines.Text(), " ")
		if word == "ready" {
			ch.mu.Lock()
			ch.identity = what
			ch.mu.Unlock()
		}
		if word == "ready" || (word == "listening" && ch.kind == DispatcherCommand) {
			ready()
		}
	}
	err := ch.cmd.Wait()
	ch.mu.Lock()
	ch.err = err
	asked := ch.asked
	ch.mu.Unlock()
	if !asked {
		select {
		case stray <- ch:
		default: // another one was the first
		}
	}
}

func (ch *child) who() string {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.identity
}

// how it ended; call it when it has been waited for.
func (ch *child) how() error {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.err == nil {
		return errors.New("exit status 0")
	}
	return ch.err
}

// signal sends sig; a process that has ended is no error.
func (ch *child) signal(sig syscall.Signal) {
	if sig == syscall.SIGKILL || sig == syscall.SIGTERM {
		ch.mu.Lock()
		ch.asked = true
		ch.mu.Unlock()
	}
	_ = ch.cmd.Process.Signal(sig) // it fails only when there is nothing left to signal
}

// kill ends it at once and returns when it has been waited for.
func (ch *child) kill() {
	ch.signal(syscall.SIGKILL)
	<-ch.ended
}

// leave asks it to stop in good order and waits for that.
func (ch *child) leave(ctx context.Context) error {
	ch.signal(syscall.SIGTERM)
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-ch.ended:
	case <-timer.C:
		return fmt.Errorf("%s did not stop within %s of SIGTERM\n%s", ch.name, stopTimeout, ch.tail())
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.err != nil {
		return fmt.Errorf("%s: SIGTERM: %w\n%s", ch.name, ch.err, ch.tail())
	}
	return nil
}

// tail is the end of its log.
func (ch *child) tail() string {
	b, err := os.ReadFile(ch.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[max(0, len(b)-1500):]))
}

// of lists the processes of a kind that have not been told to end.
func (c *crew) of(kind string) []*child {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*child
	for _, ch := range c.all {
		ch.mu.Lock()
		asked := ch.asked
		ch.mu.Unlock()
		if ch.kind == kind && !asked {
			out = append(out, ch)
		}
	}
	return out
}

func (c *crew) count(kind string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.started[kind]
}

// watch returns an error that names a process which ended without being told to, or nil
// when ctx ends.
func (c *crew) watch(ctx context.Context) error {
	select {
	case ch := <-c.stray:
		return fmt.Errorf("%s ended without being told to: %w\n%s", ch.name, ch.how(), ch.tail())
	case <-ctx.Done():
		return nil
	}
}

// end kills what still runs and waits for all.
func (c *crew) end() {
	c.mu.Lock()
	all := c.all
	c.mu.Unlock()
	for _, ch := range all {
		ch.signal(syscall.SIGKILL)
	}
	for _, ch := range all {
		<-ch.ended
		_ = ch.stdin.Close() // the process has gone
	}
}
