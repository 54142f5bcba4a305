package streams

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// A time-out is for silence. go-redis sets one deadline for a whole request and one for a whole
// reply: what takes longer over a slow link is given up, asked for again, and given up again,
// for ever. So a deadline moves on here as long as bytes do. What the operating system has
// taken to send is not seen to move: see job.SlowestLink.

const (
	patientPiece = 64 << 10
	silenceSlack = 10 * time.Millisecond // a deadline is set before it is noted
)

// patient is a connection whose deadlines are for silence. Its user has one reader and one
// writer at a time.
type patient struct {
	net.Conn
	silence  time.Duration
	reads    bool           // something came since the read deadline was set
	writes   bool           // something was sent since the write deadline was set
	endless  bool           // there is no read deadline
	sent     atomic.Int64   // bytes, since something last came
	run      int            // bytes that came since the read deadline was set
	received *atomic.Uint64 // bytes of large replies; may be nil

	asked    time.Time      // when the read deadline was set
	silences *atomic.Uint64 // how many connections of the store were given up in silence
	heard    atomic.Uint64  // of these, before something last came, or it was made
}

// socket is a patient connection of which go-redis can see, before each use, whether it may be used.
type socket struct {
	*patient
	raw syscall.Conn // nil: TLS, which tells nothing
}

// A network may forget connections, as a NAT does, and tell nobody. A pool that was forgotten would
// cost a time-out for each of its connections, one after the other. So where one has brought nothing
// until it was given up, those are not used again that have brought nothing since.
var errDoubtful = errors.New("another connection was given up in silence since this one was heard")

// SyscallConn implements syscall.Conn.
func (s socket) SyscallConn() (syscall.RawConn, error) {
	switch {
	case s.heard.Load() < s.silences.Load():
		return nil, errDoubtful
	case s.raw == nil:
		return unseen{}, nil
	}
	return s.raw.SyscallConn()
}

// unseen is a connection of which nothing is known.
type unseen struct{}

// Control implements syscall.RawConn.
func (unseen) Control(func(uintptr)) error { return nil }

// Read implements syscall.RawConn.
func (unseen) Read(func(uintptr) bool) error { return nil }

// Write implements syscall.RawConn.
func (unseen) Write(func(uintptr) bool) error { return nil }

// Read implements net.Conn.
func (c *patient) Read(b []byte) (int, error) {
	if c.reads && !c.endless {
		if err := c.Conn.SetReadDeadline(time.Now().Add(c.silence)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) && n == 0 && time.Since(c.asked) >= c.silence-silenceSlack {
		c.silences.Add(1)
	}
	if n > 0 {
		c.reads = true
		c.sent.Store(0)
		c.heard.Store(c.silences.Load())
		// A short reply is no progress: a connection that is made again and again brings many.
		if c.run += n; c.run > patientPiece && c.received != nil {
			c.received.Add(uint64(n))
		}
	}
	return n, err
}

// Write implements net.Conn.
func (c *patient) Write(b []byte) (int, error) {
	for total := 0; ; {
		if c.writes {
			if err := c.Conn.SetWriteDeadline(time.Now().Add(c.silence)); err != nil {
				return total, err
			}
		}
		n, err := c.Conn.Write(b[total:min(len(b), total+patientPiece)])
		total += n
		c.writes = true
		c.sent.Add(int64(n))
		if err != nil || total == len(b) {
			return total, err
		}
	}
}

// SetReadDeadline implements net.Conn.
func (c *patient) SetReadDeadline(t time.Time) error {
	c.reads, c.run, c.endless, c.asked = false, 0, t.IsZero(), time.Now()
	if sent := c.sent.Load(); sent > patientPiece && !c.endless {
		t = t.Add(job.OnItsWay(int(sent)))
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *patient) SetWriteDeadline(t time.Time) error {
	c.writes = false
	return c.Conn.SetWriteDeadline(t)
}

// patiently makes the connections of a client patient.
func patiently(uo *redis.UniversalOptions, o Options) {
	dial := o.dial
	if dial == nil {
		dial = uo.Dialer // of a caller's own client
	}
	if dial == nil && uo.TLSConfig != nil {
		dial = tlsDialer(uo.TLSConfig, o.Timeout)
	} else if dial == nil {
		dial = redis.NewDialer(&redis.Options{DialTimeout: o.Timeout})
	}
	uo.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		switch {
		case err == nil:
		case neverSent(err):
			return nil, err
		default: // a caller's own dialer may say what it likes: no command was sent
			return nil, dialError(err)
		}
		p := &patient{Conn: c, silence: o.Timeout, received: o.received, silences: o.silences}
		p.heard.Store(o.silences.Load())
		raw, _ := c.(syscall.Conn)
		return socket{p, raw}, nil
	}
}

// newClient makes one client. go-redis writes to the list of addresses it is given: each has its own.
func newClient(mode string, uo redis.UniversalOptions) redis.UniversalClient {
	uo.Addrs = slices.Clone(uo.Addrs)
	switch mode {
	case "cluster":
		return redis.NewClusterClient(uo.Cluster())
	case "sentinel":
		return redis.NewFailoverClient(uo.Failover())
	default:
		return redis.NewClient(uo.Simple())
	}
}
