// Package memconn makes connections that never leave the process: a buffer in each direction, with
// deadlines. A program in a bubble of testing/synctest can wait on one, which it cannot on a socket;
// unlike those of net.Pipe they take what is written without a reader, so that two sides which both
// write first do not wait for each other.
//
// A direction can be held, as by a network that delivers nothing for a while, and cut, as by one
// that has lost the connection.
package memconn

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Pair makes a connection and returns its two sides. Nothing runs for it; a side's timers end when it
// is closed.
func Pair() (client, server *Conn) {
	up, down := newStream(), newStream()
	return &Conn{in: down, out: up, name: "client"}, &Conn{in: up, out: down, name: "server"}
}

// Conn is one side. All methods are safe for concurrent use. A Write never blocks: the buffer grows.
// A Read blocks until there is something, or the deadline is over, or the other side has closed and
// all that it wrote was read (io.EOF).
type Conn struct {
	in, out *stream
	name    string

	mu      sync.Mutex
	written func([]byte) bool // see OnWrite
}

// OnWrite has f asked before each write of this side; what f answers false for is lost on the way,
// and counts as written. f may call the methods of both sides. nil: nobody is asked.
func (c *Conn) OnWrite(f func([]byte) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = f
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	ask := c.written
	c.mu.Unlock()
	if err := c.out.writable(); err != nil {
		return 0, c.failed("write", err)
	}
	if ask != nil && !ask(p) {
		return len(p), nil
	}
	if err := c.out.write(p); err != nil {
		return 0, c.failed("write", err)
	}
	return len(p), nil
}

// Close implements net.Conn. The other side can still read what was written before.
func (c *Conn) Close() error {
	c.in.abandon()
	c.out.finish()
	return nil
}

// Cut ends the connection for both sides at once: what was not read yet is lost.
func (c *Conn) Cut() {
	c.in.cut()
	c.out.cut()
}

// Hold stops both directions, or lets them go on: meanwhile nothing that was written arrives, neither
// does a Close. Writes, deadlines and the own Close work as ever.
func (c *Conn) Hold(held bool) {
	c.in.hold(held)
	c.out.hold(held)
}

// Ended reports whether this side was closed, or the connection cut.
func (c *Conn) Ended() bool { return c.in.left() }

// SyscallConn implements syscall.Conn as far as go-redis uses it, which asks before each use of a
// connection whether it stands. There is no descriptor: what it answers calls nobody back.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if c.in.over() {
		return nil, io.EOF
	}
	return stands{}, nil
}

type stands struct{}

// Control implements syscall.RawConn.
func (stands) Control(func(uintptr)) error { return nil }

// Read implements syscall.RawConn.
func (stands) Read(func(uintptr) bool) error { return nil }

// Write implements syscall.RawConn.
func (stands) Write(func(uintptr) bool) error { return nil }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return addr(c.name) }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr {
	if c.name == "client" {
		return addr("server")
	}
	return addr("client")
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.readUntil(t)
	c.out.writeUntil(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.readUntil(t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.writeUntil(t)
	return nil
}

func (c *Conn) failed(doing string, err error) error {
	return &net.OpError{Op: doing, Net: "memory", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

type addr string

func (a addr) Network() string { return "memory" }
func (a addr) String() string  { return string(a) }

// stream is one direction.
type stream struct {
	mu      sync.Mutex
	news    *sync.Cond
	buf     []byte
	held    bool      // nothing arrives
	ended   bool      // the writer has closed
	unread  bool      // the reader has closed
	broken  bool      // cut
	readBy  time.Time // deadlines; zero: none
	writeBy time.Time
	expires *time.Timer
}

func newStream() *stream {
	s := &stream{}
	s.news = sync.NewCond(&s.mu)
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.unread:
			return 0, net.ErrClosed
		case !s.readBy.IsZero() && !time.Now().Before(s.readBy):
			return 0, os.ErrDeadlineExceeded
		case s.held:
		case s.broken:
			return 0, syscall.ECONNRESET
		case len(s.buf) > 0:
			n := copy(p, s.buf)
			s.buf = s.buf[n:]
			return n, nil
		case s.ended:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		s.news.Wait()
	}
}

func (s *stream) writable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return net.ErrClosed
	case !s.writeBy.IsZero() && !time.Now().Before(s.writeBy):
		return os.ErrDeadlineExceeded
	case (s.unread || s.broken) && !s.held:
		return syscall.EPIPE
	}
	return nil
}

func (s *stream) write(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return net.ErrClosed
	}
	if !s.unread && !s.broken {
		s.buf = append(s.buf, p...)
		s.news.Broadcast()
	}
	return nil
}

func (s *stream) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.news.Broadcast()
}

func (s *stream) finish() { s.change(func() { s.ended = true }) }

func (s *stream) cut() { s.change(func() { s.broken, s.buf = true, nil }) }

func (s *stream) hold(held bool) { s.change(func() { s.held = held }) }

func (s *stream) abandon() {
	s.change(func() {
		s.unread, s.buf = true, nil
		s.stopTimer()
	})
}

// over reports whether there is nothing more to read, now or later.
func (s *stream) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unread || !s.held && (s.broken || s.ended && len(s.buf) == 0)
}

// left reports whether the reader has closed, or the connection was cut.
func (s *stream) left() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unread || s.broken
}

func (s *stream) writeUntil(t time.Time) { s.change(func() { s.writeBy = t }) }

// readUntil has the reader woken when its time is over.
func (s *stream) readUntil(t time.Time) {
	s.change(func() {
		s.stopTimer()
		if s.readBy = t; t.IsZero() || s.unread {
			return
		}
		if left := time.Until(t); left > 0 {
			s.expires = time.AfterFunc(left, func() { s.change(func() {}) })
		}
	})
}

func (s *stream) stopTimer() {
	if s.expires != nil {
		s.expires.Stop()
		s.expires = nil
	}
}
