package streams

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// pieces is a connection that gives what it has n bytes at a time.
type pieces struct {
	net.Conn
	left string
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.left == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.left)
	p.left = p.left[n:]
	return n, nil
}

const (
	tappedAck  = ":1\r\n"
	tappedRead = "*2\r\n*2\r\n$1\r\na\r\n*-1\r\n*2\r\n$6\r\n*9\r\n$3\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$0\r\n\r\n"
	tappedNext = "+PONG\r\n"
)

func TestTapTakesOneReplyHoweverItComes(t *testing.T) {
	all := tappedAck + tappedRead + tappedNext
	for n := 1; n <= len(all); n++ {
		c := &tap{Conn: &pieces{left: all, n: n}}
		c.arm(1)
		seen, err := io.ReadAll(c)
		if err != nil {
			t.Fatalf("%d bytes at a time: %v", n, err)
		}
		if got := string(c.disarm()); got != tappedRead {
			t.Errorf("%d bytes at a time: taken %q", n, got)
		}
		if want := tappedAck + instead + tappedNext; string(seen) != want {
			t.Errorf("%d bytes at a time: the client saw %q, want %q", n, seen, want)
		}
	}
}

func TestTapLetsThroughWhatNobodyAskedFor(t *testing.T) {
	c := &tap{Conn: &pieces{left: tappedRead, n: 7}}
	seen, err := io.ReadAll(c)
	if err != nil || string(seen) != tappedRead {
		t.Fatalf("the client saw %q, %v", seen, err)
	}
	if got := c.disarm(); got != nil {
		t.Fatalf("taken %q", got)
	}
}

func TestTapTellsWhatBroke(t *testing.T) {
	for reply, want := range map[string]error{
		tappedRead[:20]:                io.EOF,
		"HTTP/1.1 400 Bad Request\r\n": errForm,
		"*x\r\n":                       errForm,
		"*1\n":                         errForm,
		"$-2\r\n":                      errForm,
		"$1234567890123\r\n":           errForm,
	} {
		c := &tap{Conn: &pieces{left: reply, n: 5}}
		c.arm(0)
		if _, err := c.Read(make([]byte, 100)); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", reply, err, want)
		}
		if got := c.disarm(); got != nil {
			t.Errorf("%q: taken %q", reply, got)
		}
	}
}

func TestTapKeepsMemoryWithinBounds(t *testing.T) {
	big := "$" + "4194304" + "\r\n" + strings.Repeat("x", 4<<20) + "\r\n"
	c := &tap{Conn: &pieces{left: big + "$1\r\nx\r\n", n: 100_000}}
	c.arm(0)
	if _, err := c.Read(make([]byte, 10)); err != nil || len(c.disarm()) != len(big) {
		t.Fatalf("taken %d bytes, %v", len(c.taken), err)
	}
	c.arm(0)
	if cap(c.buf) > tapKept {
		t.Errorf("%d bytes are kept", cap(c.buf))
	}
}

// However a reply is cut, its end is found at the same place.
func FuzzTapFindsTheEnd(f *testing.F) {
	f.Add([]byte(tappedRead), 3)
	f.Add([]byte("%1\r\n+a\r\n:1\r\n"), 1)
	f.Add([]byte("-ERR no\r\n"), 4)
	f.Add([]byte("*2\r\n$-1\r\n_\r\n"), 2)
	f.Fuzz(func(t *testing.T, raw []byte, n int) {
		if n < 1 {
			return
		}
		whole := span{open: 1}
		ended, failed := whole.walk(raw)
		cut := span{open: 1}
		var cutEnded bool
		var cutFailed error
		for to := min(n, len(raw)); ; to = min(to+n, len(raw)) {
			if cutEnded, cutFailed = cut.walk(raw[:to:to]); cutEnded || cutFailed != nil || to == len(raw) {
				break
			}
		}
		if ended != cutEnded || (failed == nil) != (cutFailed == nil) || (ended && whole.at != cut.at) {
			t.Errorf("whole: %v %v at %d; cut: %v %v at %d", ended, failed, whole.at, cutEnded, cutFailed, cut.at)
		}
	})
}
