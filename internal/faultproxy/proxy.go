// Package faultproxy is a TCP proxy for tests that stands in front of Redis
// and loses, holds, cuts or delays chosen requests.
package faultproxy

import (
	"bufio"
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy forwards RESP requests and replies. All methods are safe for
// concurrent use.
type Proxy struct {
	target   string
	listener net.Listener
	stop     chan struct{}
	wg       sync.WaitGroup
	up, down bandwidth
	carried  atomic.Int64

	mu      sync.Mutex
	refuse  bool
	rules   []*Rule
	weather weather
	links   map[*link]struct{}
	stopped bool
}

// New starts a proxy on a free loopback port in front of target, as host:port.
// It ends with the test, which waits for all its goroutines.
func New(t testing.TB, target string) *Proxy {
	t.Helper()
	p, err := Start("127.0.0.1:0", target)
	if err != nil {
		t.Fatalf("fault proxy: %v", err)
	}
	t.Cleanup(p.Close)
	return p
}

// Start starts a proxy at addr ("host:0": any free port), outside of a test. Close ends it.
func Start(addr, target string) (*Proxy, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, listener: l, stop: make(chan struct{}), links: map[*link]struct{}{}}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where clients connect, as host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// URL is Addr as go-redis takes it.
func (p *Proxy) URL() string { return "redis://" + p.Addr() }

// Refuse ends every new connection at once, until it is called with false.
// Connections that exist are left alone.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// CutAll closes every connection on both sides. Requests that a rule holds are
// still delivered when they are released.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.cut()
	}
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.up.shorten(conn)
		p.mu.Lock()
		if p.refuse || p.stopped {
			_ = conn.Close()
		} else {
			l := &link{proxy: p, client: conn}
			p.links[l] = struct{}{}
			p.wg.Go(l.serve)
		}
		p.mu.Unlock()
	}
}

// Close ends all connections and waits for the proxy's goroutines. Calling it again does
// nothing.
func (p *Proxy) Close() {
	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		p.wg.Wait()
		return
	}
	p.stopped = true
	for l := range p.links {
		l.cut()
	}
	p.mu.Unlock()
	close(p.stop)
	_ = p.listener.Close()
	p.wg.Wait()
}

// link is one client connection and its connection to the server.
type link struct {
	proxy  *Proxy
	client net.Conn

	mu      sync.Mutex
	server  net.Conn // nil until dialled
	holding bool     // a request waits here: the server side must stay open
	severed bool
	waiting []*Rule // one per request that awaits its reply; nil without a rule

	forgotten atomic.Bool // nothing arrives any more, at either side
}

// cut closes the client's side, and the server's unless a request is held.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.severed = true
	_ = l.client.Close()
	if l.server != nil && !l.holding {
		_ = l.server.Close()
	}
}

func (l *link) serve() {
	defer func() {
		l.proxy.mu.Lock()
		delete(l.proxy.links, l)
		l.proxy.mu.Unlock()
	}()
	defer l.cut()
	server, err := net.Dial("tcp", l.proxy.target)
	if err != nil {
		return
	}
	l.mu.Lock()
	l.server = server
	severed := l.severed
	l.mu.Unlock()
	if severed {
		_ = server.Close()
		return
	}
	var replies sync.WaitGroup
	replies.Go(l.replies)
	l.requests()
	// The server reads what was forwarded, then sees the end, as with a client
	// that went away. If the link is forgotten it sees nothing.
	if !l.forgotten.Load() {
		_ = server.(*net.TCPConn).CloseWrite()
	}
	replies.Wait()
	_ = server.Close()
}

// requests forwards requests one at a time until the client ends or is cut.
func (l *link) requests() {
	r := bufio.NewReader(slowly{l.client, l.proxy})
	for {
		burst := r.Buffered() > 0 // came together with the one before
		req, err := readMessage(r)
		if err != nil {
			return
		}
		if !l.through(burst) {
			return
		}
		if l.forgotten.Load() {
			continue
		}
		rule := l.proxy.match(req)
		if rule != nil && !l.apply(rule) {
			return
		}
		l.mu.Lock()
		if !repliesByPush(req) {
			l.waiting = append(l.waiting, rule)
		}
		l.mu.Unlock()
		if rule != nil && rule.kind == answer {
			req = []byte("*1\r\n$4\r\nPING\r\n") // keeps its place among the replies
		}
		_, err = l.server.Write(req)
		if rule != nil && rule.kind == hold {
			l.letGo()
		}
		if err != nil {
			return
		}
	}
}

// apply does what the rule asks before the request is forwarded, and reports
// whether it is to be forwarded at all.
func (l *link) apply(rule *Rule) bool {
	switch rule.kind {
	case loseReply, halfReply, answer: // their turn comes with the reply
	case cut:
		l.cut()
		rule.fired <- struct{}{}
		return false
	case delay:
		rule.fired <- struct{}{}
		timer := time.NewTimer(rule.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.proxy.stop:
			return false
		}
	case hold:
		l.mu.Lock()
		l.holding = true
		l.mu.Unlock()
		rule.fired <- struct{}{}
		select {
		case <-rule.released:
		case <-l.proxy.stop:
			l.letGo()
			return false
		}
	}
	return true
}

// letGo ends holding. The server side of a link that was cut meanwhile ends
// with the requests; its replies are still read until then.
func (l *link) letGo() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holding = false
}

// replies forwards whole replies until the server ends. It goes on reading
// when the client is gone: a reply is the proof that a request was executed.
func (l *link) replies() {
	defer func() {
		if !l.forgotten.Load() {
			_ = l.client.Close()
		}
	}()
	r := bufio.NewReader(l.server)
	for {
		reply, err := readMessage(r)
		if err != nil {
			return
		}
		if l.forgotten.Load() {
			continue
		}
		var rule *Rule
		l.mu.Lock()
		if reply[0] != '>' && len(l.waiting) > 0 {
			rule, l.waiting = l.waiting[0], l.waiting[1:]
		}
		l.mu.Unlock()
		l.proxy.mu.Lock()
		shut := l.proxy.weather.replies
		l.proxy.mu.Unlock()
		if !l.proxy.wait(shut) {
			return
		}
		if rule != nil && rule.kind == answer {
			reply = rule.reply
		}
		switch {
		case rule != nil && rule.kind == halfReply:
			_, _ = l.client.Write(reply[:len(reply)/2])
			fallthrough
		case rule != nil && rule.kind == loseReply:
			_ = l.client.Close()
			rule.fired <- struct{}{}
		default:
			l.proxy.give(l.client, reply)
		}
		if rule != nil {
			rule.executed <- struct{}{}
		}
	}
}

// repliesByPush tells the commands whose replies cannot be counted.
func repliesByPush(req []byte) bool {
	return bytes.Contains(bytes.ToLower(req[:min(len(req), 30)]), []byte("subscribe"))
}
