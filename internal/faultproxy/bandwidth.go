package faultproxy

import (
	"io"
	"net"
	"sync"
	"time"
)

// bandwidth is what one direction of the link carries, all connections together. They take
// turns, a piece at a time.
type bandwidth struct {
	mu   sync.Mutex
	rate int // bytes a second; 0: without bound
	free time.Time
}

const (
	linkPiece = 16 << 10
	lateBy    = 50 * time.Millisecond
)

// Limit has the link carry so many bytes a second from now on, in each direction: requests and
// replies of all connections share it. 0 ends it. What was sent and has no room waits. Connections
// that are made from then on hold little more than is under way.
func (p *Proxy) Limit(bytesPerSecond int) {
	for _, b := range []*bandwidth{&p.up, &p.down} {
		b.mu.Lock()
		b.rate, b.free = bytesPerSecond, time.Now()
		b.mu.Unlock()
	}
}

// Carried is how many bytes have gone to clients.
func (p *Proxy) Carried() int64 { return p.carried.Load() }

// pass waits until n bytes have gone over the link, and reports false if stop ends first.
func (b *bandwidth) pass(n int, stop <-chan struct{}) bool {
	b.mu.Lock()
	if b.rate == 0 {
		b.mu.Unlock()
		return true
	}
	now := time.Now()
	// On a busy machine a timer is late: what it cost is made up for.
	if late := now.Add(-lateBy); b.free.Before(late) {
		b.free = late
	}
	b.free = b.free.Add(time.Duration(n) * time.Second / time.Duration(b.rate))
	wait := b.free.Sub(now)
	b.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	}
}

// shorten keeps the operating system from holding much of what a slow link carries.
func (b *bandwidth) shorten(conn net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if tcp, ok := conn.(*net.TCPConn); ok && b.rate > 0 {
		_ = tcp.SetReadBuffer(4 * linkPiece)
		_ = tcp.SetWriteBuffer(4 * linkPiece)
	}
}

// slowly reads what a client sends at the link's speed.
type slowly struct {
	from io.Reader
	p    *Proxy
}

func (s slowly) Read(b []byte) (int, error) {
	n, err := s.from.Read(b[:min(len(b), linkPiece)])
	if n > 0 && !s.p.up.pass(n, s.p.stop) {
		return 0, net.ErrClosed
	}
	return n, err
}

// give sends a reply to the client at the link's speed.
func (p *Proxy) give(client net.Conn, reply []byte) {
	for len(reply) > 0 {
		n := min(len(reply), linkPiece)
		if !p.down.pass(n, p.stop) {
			return
		}
		if _, err := client.Write(reply[:n]); err != nil {
			return // the client may be gone
		}
		p.carried.Add(int64(n))
		reply = reply[n:]
	}
}
