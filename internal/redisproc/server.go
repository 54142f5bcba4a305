// Package redisproc runs redis-servers as child processes on loopback ports: alone, or a
// primary with replicas; with the faults that a test cannot wait for, such as a power cut
// or a clock that jumps. Package redistest gives them to tests.
package redisproc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// startTimeout is for a machine that is very busy; a start takes about 20 ms.
const startTimeout = 30 * time.Second

// portAttempts is how often another port is tried, when somebody took the
// chosen one between choosing and starting.
const portAttempts = 10

// Options say how a server is started.
type Options struct {
	Dir  string   // where its files are; made if it is missing
	Args []string // after the defaults, which persist nothing: "--appendonly", "yes"
	Env  []string // besides that of this process
}

// Server is a redis-server on a port of its own. Its methods are safe for concurrent use,
// but Restart is for one goroutine at a time.
type Server struct {
	opts Options
	bin  string
	port int

	mu    sync.Mutex
	child *child // the last one that was started
}

// child is one process. ended closes when it has been waited for.
type child struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// ErrNotInstalled says that there is no redis-server on this machine.
var ErrNotInstalled = errors.New("redis-server is not installed; `make test` installs it, or: apt-get install redis-server (brew install redis)")

// Binary is the program that is started: the one that RINGMASTER_TEST_REDIS_SERVER names by
// its path, a redis-server or one that is compatible with it, or else redis-server.
func Binary() string {
	if path := os.Getenv("RINGMASTER_TEST_REDIS_SERVER"); path != "" {
		return path
	}
	return "redis-server"
}

// Start starts a server and returns when it answers. Kill or Stop ends it; it also ends
// with this process.
func Start(ctx context.Context, o Options) (*Server, error) {
	bin, err := exec.LookPath(Binary())
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNotInstalled, err)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the server's directory: %w", err)
	}
	s := &Server{opts: o, bin: bin}
	for range portAttempts {
		if s.port, err = freePort(ctx); err != nil {
			return nil, err
		}
		if err = s.start(ctx); err == nil {
			return s, nil
		}
	}
	return nil, err
}

// Addr is host:port; it stays the same over Restart.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is the address as go-redis takes it.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Dir is where its files are.
func (s *Server) Dir() string { return s.opts.Dir }

// Client is a plain client that repeats nothing. The caller closes it.
func (s *Server) Client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.Addr(), MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
}

// PID is the process id, 0 when it is down.
func (s *Server) PID() int {
	if c := s.running(); c != nil {
		return c.cmd.Process.Pid
	}
	return 0
}

// ExitCode is that of the last process, -1 if it runs or a signal ended it.
func (s *Server) ExitCode() int {
	s.mu.Lock()
	c := s.child
	s.mu.Unlock()
	select {
	case <-c.ended:
		return c.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}

// Kill ends it with SIGKILL and returns when it is gone. It does nothing when
// it is down already.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

// Stop ends it with SIGTERM, so that it saves what its configuration asks for,
// and returns when it is gone. It does nothing when it is down already.
func (s *Server) Stop() error { return s.end(syscall.SIGTERM) }

// Restart starts it again on the same port and directory, after a Stop if it
// still runs, and returns when it answers and has loaded its data. args come
// after those of its options, from now on.
func (s *Server) Restart(ctx context.Context, args ...string) error {
	if err := s.Stop(); err != nil {
		return err
	}
	s.opts.Args = append(slices.Clip(s.opts.Args), args...)
	if err := s.start(ctx); err != nil {
		return fmt.Errorf("restart redis-server: %w", err)
	}
	return nil
}

// Freeze stops the process in its tracks with SIGSTOP: connections stay open
// and nothing is answered until Thaw.
func (s *Server) Freeze() error { return s.signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (s *Server) Thaw() error { return s.signal(syscall.SIGCONT) }

// Log is the end of the server's log.
func (s *Server) Log() string {
	data, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-2000):])
}

func (s *Server) logFile() string { return filepath.Join(s.opts.Dir, "redis.log") }

// running is nil when it is down.
func (s *Server) running() *child {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		return nil
	}
	select {
	case <-s.child.ended:
		return nil
	default:
		return s.child
	}
}

func (s *Server) signal(sig syscall.Signal) error {
	c := s.running()
	if c == nil {
		return fmt.Errorf("%v: redis-server is down", sig)
	}
	if err := c.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("%v to redis-server: %w", sig, err)
	}
	return nil
}

func (s *Server) end(sig syscall.Signal) error {
	c := s.running()
	if c == nil {
		return nil
	}
	// A frozen process would not see a SIGTERM before it is thawed.
	for _, sig := range []syscall.Signal{sig, syscall.SIGCONT} {
		if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("%v to redis-server: %w", sig, err)
		}
	}
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case <-c.ended:
		return nil
	case <-timer.C:
		_ = c.cmd.Process.Kill()
		<-c.ended
		return fmt.Errorf("redis-server did not end on %v\n%s", sig, s.Log())
	}
}

// start runs the process and waits until it answers as the very process that
// was started: somebody else's server on that port is an error.
func (s *Server) start(ctx context.Context) error {
	args := []string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.opts.Dir,
		"--logfile", s.logFile(), "--save", "", "--appendonly", "no", "--daemonize", "no"}
	// It ends by Kill or Stop, not with the context of its start.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.bin, append(args, s.opts.Args...)...)
	cmd.Env = append(os.Environ(), s.opts.Env...)
	cmd.SysProcAttr = diesWithParent()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run %s: %w", s.bin, err)
	}
	c := &child{cmd: cmd, ended: make(chan struct{})}
	go func() { // ends with the process; end waits for it
		defer close(c.ended)
		_ = cmd.Wait() // how it ended is told by its log
	}()
	s.mu.Lock()
	s.child = c
	s.mu.Unlock()
	if err := s.answers(ctx, c); err != nil {
		return errors.Join(err, s.Kill())
	}
	return nil
}

func (s *Server) answers(ctx context.Context, c *child) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client := s.Client()
	defer func() { _ = client.Close() }()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	want := fmt.Sprintf("process_id:%d\r\n", c.cmd.Process.Pid)
	for {
		select {
		case <-c.ended:
			return fmt.Errorf("it ended at once on port %d\n%s", s.port, s.Log())
		case <-ctx.Done():
			return fmt.Errorf("no answer on port %d: %w\n%s", s.port, context.Cause(ctx), s.Log())
		case <-poll.C:
		}
		if !listens(ctx, s.Addr()) {
			continue // the client would log each failure to connect
		}
		// INFO is answered while the data is loaded, PING is not. A full disk is an
		// answer: MISCONF.
		pong := client.Ping(ctx).Err()
		if pong != nil && !redis.HasErrorPrefix(pong, "MISCONF") {
			continue
		}
		if info, err := client.Info(ctx, "server").Result(); err == nil && strings.Contains(info, want) {
			return nil
		}
	}
}

func listens(ctx context.Context, addr string) bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("choose a port: %w", err)
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
