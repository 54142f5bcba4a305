package faultproxy

import (
	"bufio"
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// echo answers each line with its name and the line, until the test ends.
func echo(t *testing.T, name string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			lines := bufio.NewScanner(conn) // one connection at a time
			for lines.Scan() {
				_, _ = conn.Write([]byte(name + " " + lines.Text() + "\n"))
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// say sends a line and returns the answer; "" if there is none.
func say(t *testing.T, conn net.Conn, line string) string {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = conn.Write([]byte(line + "\n"))
	answer, _ := bufio.NewReader(conn).ReadString('\n')
	return answer
}

func dial(t *testing.T, p *Pipe) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestPipe(t *testing.T) {
	p, err := NewPipe(t.Context(), "127.0.0.1:0", echo(t, "one"))
	if err != nil {
		t.Fatal(err)
	}
	other := echo(t, "two")
	t.Cleanup(p.Close) // before the targets end

	conn := dial(t, p)
	if got := say(t, conn, "a"); got != "one a\n" {
		t.Fatalf("answer %q", got)
	}
	p.Cut()
	if got := say(t, conn, "b"); got != "" {
		t.Fatalf("answer %q through a pipe that is cut", got)
	}
	if got := say(t, dial(t, p), "c"); got != "" {
		t.Fatalf("answer %q on a new connection through a pipe that is cut", got)
	}
	p.Mend()
	conn = dial(t, p)
	if got := say(t, conn, "d"); got != "one d\n" {
		t.Fatalf("answer %q after mending", got)
	}
	p.Retarget(other)
	if got := say(t, conn, "e"); got != "" {
		t.Fatalf("answer %q from the former target", got)
	}
	p.Delay(50 * time.Millisecond)
	conn, began := dial(t, p), time.Now()
	if got := say(t, conn, "f"); got != "two f\n" || time.Since(began) < 100*time.Millisecond {
		t.Fatalf("answer %q after %v, want two f after 100ms", got, time.Since(began))
	}
	p.Delay(0)
	conn = dial(t, p)
	if got := say(t, conn, "g"); got != "two g\n" {
		t.Fatalf("answer %q without a delay", got)
	}
	p.Silence()
	if _, err := conn.Write([]byte("h\n")); err != nil {
		t.Fatalf("write into silence: %v", err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read in silence: %v, want nothing until the deadline", err)
	}
	if got := say(t, dial(t, p), "i"); got != "" {
		t.Fatalf("answer %q on a new connection in silence", got)
	}
	p.Mend()
	if got := say(t, conn, "j"); got != "" {
		t.Fatalf("answer %q on a connection that was silent", got)
	}
	p.Close()
	if got := say(t, conn, "k"); got != "" {
		t.Fatalf("answer %q from a pipe that is closed", got)
	}
}
