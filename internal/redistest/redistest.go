// Package redistest gives tests a Redis: a real server as a child process, or
// the in-memory store.
package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ringmaster/internal/embedded"
)

// startTimeout is for a machine that is very busy; a start takes about 20 ms.
const startTimeout = 30 * time.Second

// portAttempts is how often another port is tried, when somebody took the
// chosen one between choosing and starting.
const portAttempts = 10

// Server is a redis-server child process on a loopback port of its own. Its
// methods fail the test on an error; they are for one goroutine at a time,
// except Addr and URL.
type Server struct {
	t    testing.TB
	bin  string
	dir  string
	port int
	args []string
	log  string

	mu    sync.Mutex
	child *child // nil when it is down
}

// child is one process. ended closes when it has been waited for.
type child struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// Real starts a redis-server that answers when Real returns, and ends it when
// the test ends. It persists nothing, in a directory of the test's own, unless
// extraArgs say otherwise (such as "--appendonly", "yes"). Where redis-server
// is not installed it fails the test: such tests are never skipped.
func Real(t testing.TB, extraArgs ...string) *Server {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not installed; `make test` installs it, or: apt-get install redis-server (brew install redis)")
	}
	dir := t.TempDir()
	s := &Server{t: t, bin: bin, dir: dir, args: extraArgs, log: filepath.Join(dir, "redis.log")}
	t.Cleanup(s.Kill)
	for range portAttempts {
		if s.port, err = freePort(); err != nil {
			t.Fatalf("choose a port: %v", err)
		}
		if err = s.start(); err == nil {
			return s
		}
	}
	t.Fatalf("redis-server did not start: %v", err)
	return nil
}

// Addr is host:port; it stays the same over Restart.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is the address as go-redis takes it.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// PID is the process id, 0 when it is down.
func (s *Server) PID() int {
	if c := s.running(); c != nil {
		return c.cmd.Process.Pid
	}
	return 0
}

// Kill ends it with SIGKILL and returns when it is gone. It does nothing when
// it is down already.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop ends it with SIGTERM, so that it saves what its configuration asks for,
// and returns when it is gone. It does nothing when it is down already.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Restart starts it again on the same port and directory, after a Stop if it
// still runs, and returns when it answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	if err := s.start(); err != nil {
		s.t.Fatalf("restart redis-server: %v", err)
	}
}

// Freeze stops the process in its tracks with SIGSTOP: connections stay open
// and nothing is answered until Thaw.
func (s *Server) Freeze() { s.t.Helper(); s.signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (s *Server) Thaw() { s.t.Helper(); s.signal(syscall.SIGCONT) }

func (s *Server) running() *child {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.child
}

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	c := s.running()
	if c == nil {
		s.t.Fatalf("%v: redis-server is down", sig)
		return
	}
	if err := c.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("%v to redis-server: %v", sig, err)
	}
}

func (s *Server) end(sig syscall.Signal) {
	s.t.Helper()
	s.mu.Lock()
	c := s.child
	s.child = nil
	s.mu.Unlock()
	if c == nil {
		return
	}
	// A frozen process would not see a SIGTERM before it is thawed.
	for _, sig := range []syscall.Signal{sig, syscall.SIGCONT} {
		if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			s.t.Errorf("%v to redis-server: %v", sig, err)
		}
	}
	select {
	case <-c.ended:
	case <-time.After(startTimeout):
		_ = c.cmd.Process.Kill()
		<-c.ended
		s.t.Errorf("redis-server did not end on %v\n%s", sig, s.tail())
	}
}

// start runs the process and waits until it answers as the very process that
// was started: somebody else's server on that port is an error.
func (s *Server) start() error {
	args := []string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir,
		"--logfile", s.log, "--save", "", "--appendonly", "no", "--daemonize", "no"}
	cmd := exec.Command(s.bin, append(args, s.args...)...)
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

	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	want := fmt.Sprintf("process_id:%d\r\n", cmd.Process.Pid)
	for {
		select {
		case <-c.ended:
			s.Kill()
			return fmt.Errorf("it ended at once on port %d\n%s", s.port, s.tail())
		case <-deadline.C:
			s.Kill()
			return fmt.Errorf("no answer on port %d\n%s", s.port, s.tail())
		case <-poll.C:
			if info, err := ask(s.Addr()); err == nil && strings.Contains(info, want) {
				return nil
			}
		}
	}
}

// ask gives INFO server. A server that still loads its data answers PING with
// an error, which counts as no answer.
func ask(addr string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, "PING\r\nINFO server\r\n"); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	pong, err := r.ReadString('\n')
	if err != nil || pong != "+PONG\r\n" {
		return "", fmt.Errorf("PING answered %q: %w", pong, err)
	}
	head, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.Trim(head, "$\r\n"))
	if err != nil {
		return "", fmt.Errorf("INFO answered %q", head)
	}
	info := make([]byte, n)
	_, err = io.ReadFull(r, info)
	return string(info), err
}

// tail is the end of the server's log, for failures.
func (s *Server) tail() string {
	data, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-2000):])
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// Mini starts an in-memory store that ends with the test.
func Mini(t testing.TB) *embedded.Store {
	t.Helper()
	s, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Each runs f as the subtests "real" and "miniredis", each on an empty store
// of its own; kind is the subtest's name.
func Each(t *testing.T, f func(t *testing.T, url, kind string)) {
	t.Helper()
	t.Run("real", func(t *testing.T) { f(t, Real(t).URL(), "real") })
	t.Run("miniredis", func(t *testing.T) { f(t, Mini(t).URL(), "miniredis") })
}
