package streams

import (
	"bytes"
	"context"
	"net"
	"sync"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"
)

// go-redis collects a raw reply in a slice that grows from nothing each time: for the
// reply to a read, hundreds of kilobytes, that takes longer than all that is done with it.
// So the reader's connection is tapped: the reply is taken off it in large pieces, into
// memory that is used again, and go-redis is told that it was "+". What it is good for, it
// goes on to do: it connects, writes, keeps the deadlines and sees what breaks.

// tap is a connection of which a reply can be taken. Its user has one command under way at
// a time; Close may come from elsewhere.
type tap struct {
	net.Conn
	armed bool
	pass  int    // replies that come before the one to take, for go-redis
	buf   []byte // what was read since it was armed
	taken []byte // the reply: part of buf
	rest  []byte // for go-redis to read

	since time.Time     // when tapSlow bytes of the reply were here
	from  int           // how many there were
	bytes int           // that came after these
	took  time.Duration // and how long they took
}

const (
	tapPiece = 64 << 10
	tapKept  = 4 << 20  // more memory is not kept for the next reply
	tapSlow  = 64 << 10 // shorter replies do not tell how fast the link is
)

// instead is what go-redis gets for the reply.
const instead = "+\r\n"

// arm has the reply after pass others taken.
func (t *tap) arm(pass int) {
	if cap(t.buf) > tapKept {
		t.buf = nil
	}
	t.armed, t.pass, t.buf, t.taken, t.from, t.bytes = true, pass, t.buf[:0], nil, 0, 0
}

// disarm returns the reply, nil if it did not come. It is good until the next arm.
func (t *tap) disarm() []byte {
	t.armed = false
	return t.taken
}

// Read implements net.Conn.
func (t *tap) Read(p []byte) (int, error) {
	if t.armed && len(t.rest) == 0 {
		if err := t.take(); err != nil {
			t.armed = false // where the reply begins is not known any more
			return 0, err
		}
	}
	if len(t.rest) > 0 {
		n := copy(p, t.rest)
		t.rest = t.rest[n:]
		return n, nil
	}
	return t.Conn.Read(p)
}

// take reads until the reply is whole.
func (t *tap) take() error {
	from := 0
	s := span{open: 1}
	for {
		for {
			whole, err := s.walk(t.buf)
			if err != nil {
				return err
			}
			if !whole {
				break
			}
			if t.pass == 0 {
				t.armed, t.taken = false, t.buf[from:s.at:s.at]
				t.clock()
				t.rest = append(append(append([]byte(nil), t.buf[:from]...), instead...), t.buf[s.at:]...)
				return nil
			}
			t.pass--
			from, s.open = s.at, 1
		}
		if cap(t.buf)-len(t.buf) < tapPiece {
			t.buf = append(make([]byte, 0, 2*cap(t.buf)+2*tapPiece), t.buf...)
		}
		n, err := t.Conn.Read(t.buf[len(t.buf):cap(t.buf)])
		t.buf = t.buf[:len(t.buf)+n]
		if t.from == 0 && len(t.buf) >= tapSlow {
			t.from, t.since = len(t.buf), time.Now()
		}
		if err != nil && n == 0 {
			return err
		}
	}
}

// clock tells how fast the reply came, once it is whole.
func (t *tap) clock() {
	if t.from > 0 {
		t.bytes, t.took = len(t.buf)-t.from, time.Since(t.since)
	}
}

// span finds the end of a reply (redis.io, "RESP protocol specification") that comes in pieces.
type span struct {
	at   int // up to here all is seen
	open int // values still to come
}

// walk goes on through b, which has all that came so far. It reports whether the end was reached.
func (s *span) walk(b []byte) (whole bool, err error) {
	for s.open > 0 {
		line := bytes.IndexByte(b[s.at:], '\n') + 1
		if line == 0 {
			return false, nil
		}
		next, more := s.at+line, 0
		switch kind := b[s.at]; kind {
		case '$', '!', '=', '*', '%', '~', '>':
			r := reply{rest: unsafe.String(&b[s.at], line)} // nobody writes to b meanwhile
			_, n := r.head()
			switch {
			case r.bad:
				return false, errForm
			case n < 0:
			case kind == '$', kind == '!', kind == '=':
				if next += n + 2; next > len(b) {
					return false, nil
				}
			case kind == '%':
				more = 2 * n
			default:
				more = n
			}
		case '+', '-', ':', '_', ',', '#', '(':
		default:
			return false, errForm
		}
		s.at = next
		s.open += more - 1
	}
	return true, nil
}

// taps wraps the connections that a client makes, and knows the latest.
type taps struct {
	mu     sync.Mutex
	latest *tap
}

// through has o's connections made as before, and tapped.
func (ts *taps) through(o *redis.Options) {
	dial := o.Dialer
	if dial == nil {
		dial = redis.NewDialer(o)
	}
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		t := &tap{Conn: c}
		ts.mu.Lock()
		ts.latest = t
		ts.mu.Unlock()
		return t, nil
	}
}

func (ts *taps) get() *tap {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.latest
}
