//go:build failpoints

package failpoint

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Enabled reports whether the program was built with the tag.
const Enabled = true

// armed are the points this process has claimed and lets pass for a while.
type armed struct {
	dir  string
	mu   sync.Mutex
	left map[Point]int // hits to let pass
	what map[Point]string
}

// process is the state of this process; nil without a directory.
var process = sync.OnceValue(func() *armed {
	dir := os.Getenv(DirVariable)
	if dir == "" {
		return nil
	}
	return &armed{dir: dir, left: map[Point]int{}, what: map[Point]string{}}
})

// Hit does what the point's file says, if there is one. It blocks for a sleep.
func Hit(p Point) { hit(process(), p) }

// hit reports whether the connection is to be cut.
func hit(a *armed, p Point) (cut bool) {
	if a == nil || p == "" {
		return false
	}
	action, ok := a.due(p)
	if !ok {
		return false
	}
	a.note(p, action)
	verb, arg, _ := strings.Cut(action, " ")
	switch verb {
	case "kill":
		suicide(syscall.SIGKILL)
	case "stop":
		suicide(syscall.SIGSTOP)
	case "sleep":
		if d, err := time.ParseDuration(arg); err == nil {
			time.Sleep(d)
		}
	case "cut":
		return true
	}
	return false
}

// suicide returns only from a SIGSTOP, when the process is continued.
func suicide(s syscall.Signal) {
	_ = syscall.Kill(os.Getpid(), s) // one's own process can be signalled
	if s == syscall.SIGKILL {
		select {}
	}
	// The signal takes effect when this thread next returns from the kernel.
	time.Sleep(time.Millisecond)
}

// due claims the point's file and reports what to do now.
func (a *armed) due(p Point) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if what, ok := a.what[p]; ok {
		return a.count(p, what)
	}
	mine := filepath.Join(a.dir, fmt.Sprintf("%s.taken.%d", p, os.Getpid()))
	if os.Rename(filepath.Join(a.dir, string(p)), mine) != nil {
		return "", false
	}
	raw, err := os.ReadFile(mine)
	if err != nil {
		return "", false
	}
	what := strings.TrimSpace(string(raw))
	if rest, ok := strings.CutPrefix(what, "after "); ok {
		n, action, _ := strings.Cut(rest, " ")
		left, err := strconv.Atoi(n)
		if err != nil {
			return "", false
		}
		a.left[p], what = left, action
	}
	a.what[p] = what
	return a.count(p, what)
}

func (a *armed) count(p Point, what string) (string, bool) {
	if a.left[p] > 0 {
		a.left[p]--
		return "", false
	}
	delete(a.left, p)
	delete(a.what, p)
	return what, true
}

// note writes one whole line: it is there when the process is gone.
func (a *armed) note(p Point, action string) {
	f, err := os.OpenFile(filepath.Join(a.dir, HitsFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = fmt.Fprintf(f, "%s %s %d\n", p, strings.ReplaceAll(action, " ", "_"), time.Now().UnixNano())
}

// Dialer makes plain TCP connections that hit a point when a request was written that
// contains the text of marks. nil without a directory.
func Dialer(marks map[string]Sent) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return dialer(process(), marks)
}

func dialer(a *armed, marks map[string]Sent) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if a == nil {
		return nil
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 5 * time.Minute}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &conn{Conn: c, a: a, marks: marks}, nil
	}
}

type conn struct {
	net.Conn
	a     *armed
	marks map[string]Sent
}

// Write hits the points of the request that b contains.
func (c *conn) Write(b []byte) (int, error) {
	for text, s := range c.marks {
		if !bytes.Contains(b, []byte(text)) {
			continue
		}
		done := 0
		if s.Half != "" {
			n, err := c.Conn.Write(b[:len(b)/2])
			if done = n; err != nil {
				return done, err
			}
			if hit(c.a, s.Half) {
				return done, c.cut()
			}
		}
		n, err := c.Conn.Write(b[done:])
		if done += n; err != nil {
			return done, err
		}
		if hit(c.a, s.Whole) {
			// The request is on its way; what comes back is never read.
			_ = c.cut()
		}
		return done, nil
	}
	return c.Conn.Write(b)
}

func (c *conn) cut() error {
	_ = c.Conn.Close()
	return net.ErrClosed
}
