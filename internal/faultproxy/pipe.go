package faultproxy

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// Pipe is a TCP proxy that forwards bytes as they are, so that it can carry replication
// too, to a target that can be changed: an address that follows the primary. All methods
// are safe for concurrent use.
type Pipe struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	target string
	delay  time.Duration
	cut    bool
	quiet  *quiet // of the connections that are open
	closed bool
	conns  map[net.Conn]struct{}
}

// NewPipe starts a pipe at addr ("host:0": any free port) to target, as host:port. Close
// ends it.
func NewPipe(ctx context.Context, addr, target string) (*Pipe, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	p := &Pipe{listener: l, target: target, quiet: newQuiet(), conns: map[net.Conn]struct{}{}}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where clients connect, as host:port.
func (p *Pipe) Addr() string { return p.listener.Addr().String() }

// URL is Addr as go-redis takes it.
func (p *Pipe) URL() string { return "redis://" + p.Addr() }

// Cut closes all connections and every new one at once, until Mend.
func (p *Pipe) Cut() { p.set(func() { p.cut = true }) }

// Silence leaves all connections open and lets nothing arrive on them any more, not even
// that one side has ended, as a network does that has come apart. New ones are closed at
// once. It lasts until Mend, or whatever else closes the connections.
func (p *Pipe) Silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.cut {
		p.cut = true
		close(p.quiet.begun)
	}
}

// quiet is the silence that some connections share.
type quiet struct{ begun, over chan struct{} }

func newQuiet() *quiet { return &quiet{make(chan struct{}), make(chan struct{})} }

// Mend closes all connections and lets new ones through again.
func (p *Pipe) Mend() { p.set(func() { p.cut = false }) }

// Retarget closes all connections; new ones go to another target.
func (p *Pipe) Retarget(target string) { p.set(func() { p.target = target }) }

// Delay closes all connections; on new ones each piece arrives d later, in both directions.
func (p *Pipe) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

func (p *Pipe) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.quiet.over)
	p.quiet = newQuiet()
	for c := range p.conns {
		_ = c.Close()
	}
}

// Close ends all connections and waits for the pipe's goroutines. Calling it again does
// nothing.
func (p *Pipe) Close() {
	p.set(func() { p.closed = true })
	_ = p.listener.Close()
	p.wg.Wait()
}

func (p *Pipe) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		if p.cut || p.closed {
			_ = client.Close()
		} else {
			p.conns[client] = struct{}{}
			target, delay, q := p.target, p.delay, p.quiet
			p.wg.Go(func() { p.serve(client, target, delay, q) })
		}
		p.mu.Unlock()
	}
}

func (p *Pipe) serve(client net.Conn, target string, delay time.Duration, q *quiet) {
	defer p.forget(client)
	server, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		return
	}
	p.mu.Lock()
	if _, ok := p.conns[client]; ok {
		p.conns[server] = struct{}{}
	}
	p.mu.Unlock()
	defer p.forget(server)
	var both sync.WaitGroup
	one := func(to, from net.Conn) {
		both.Go(func() {
			carry(swallower{to, q.begun}, from, delay)
			select {
			case <-q.begun:
				<-q.over
			default:
			}
			// What one side said last still arrives; then both are closed.
			_ = to.Close()
			_ = from.Close()
		})
	}
	one(server, client)
	one(client, server)
	both.Wait()
}

func (p *Pipe) forget(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

// swallower takes what is written and, once it is silent, passes nothing on.
type swallower struct {
	to     net.Conn
	silent <-chan struct{}
}

func (s swallower) Write(b []byte) (int, error) {
	select {
	case <-s.silent:
		return len(b), nil
	default:
		return s.to.Write(b)
	}
}

// piece is what was read at a time.
type piece struct {
	data []byte
	due  time.Time
}

// carry copies until one side ends.
func carry(to io.Writer, from io.Reader, delay time.Duration) {
	if delay == 0 {
		_, _ = io.Copy(to, from) // how it ended does not matter
		return
	}
	pieces := make(chan piece, 1024)
	var writer sync.WaitGroup
	writer.Go(func() {
		for p := range pieces {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.data) // the reader sees the end
		}
	})
	for {
		buf := make([]byte, 16<<10)
		n, err := from.Read(buf)
		if n > 0 {
			pieces <- piece{buf[:n], time.Now().Add(delay)}
		}
		if err != nil {
			break
		}
	}
	close(pieces)
	writer.Wait()
}
