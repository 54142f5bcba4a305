package faultproxy

import (
	"bytes"
	"sync"
	"time"
)

type kind int

const (
	loseReply kind = iota
	halfReply
	hold
	cut
	delay
	answer
)

// Rule applies to the next requests that contain its text anywhere, in the
// command, a key or an argument. The rule made first wins; a rule that was
// applied as often as it may is passed over. A transaction's or pipeline's
// commands are requests of their own.
type Rule struct {
	kind  kind
	match []byte
	delay time.Duration
	reply []byte
	left  int // guarded by Proxy.mu

	fired    chan struct{}
	executed chan struct{}
	released chan struct{}
	release  sync.Once
}

// LoseReply lets the server execute the request, then closes the connection to
// the client instead of giving it the reply.
func (p *Proxy) LoseReply(match string, times int) *Rule { return p.add(loseReply, match, times, 0) }

// HalveReply is LoseReply after half of the reply's bytes.
func (p *Proxy) HalveReply(match string, times int) *Rule {
	return p.add(halfReply, match, times, 0)
}

// Hold keeps the request back until Release, also when the client has gone
// away meanwhile: the server then executes it late. What follows on the same
// connection waits behind it.
func (p *Proxy) Hold(match string, times int) *Rule { return p.add(hold, match, times, 0) }

// Cut closes the connection and does not forward the request.
func (p *Proxy) Cut(match string, times int) *Rule { return p.add(cut, match, times, 0) }

// Delay forwards the request d later, with what follows on its connection.
func (p *Proxy) Delay(match string, times int, d time.Duration) *Rule {
	return p.add(delay, match, times, d)
}

// Answer gives the client this reply (RESP, such as ":1\r\n") instead of asking the server:
// it stands for a server that knows a command which the real one does not.
func (p *Proxy) Answer(match, reply string, times int) *Rule {
	r := p.add(answer, match, times, 0)
	r.reply = []byte(reply)
	return r
}

func (p *Proxy) add(k kind, match string, times int, d time.Duration) *Rule {
	r := &Rule{kind: k, match: []byte(match), delay: d, left: times,
		fired: make(chan struct{}, times), executed: make(chan struct{}, times), released: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, r)
	return r
}

// match uses up one application of the first rule that fits.
func (p *Proxy) match(req []byte) *Rule {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.rules {
		if r.left > 0 && bytes.Contains(req, r.match) {
			r.left--
			return r
		}
	}
	return nil
}

// Fired gives one value for each application: when the reply was lost (the
// server has executed it), or when the request was held, cut or began to wait.
func (r *Rule) Fired() <-chan struct{} { return r.fired }

// Executed gives one value for each request of this rule that the server has
// answered. After a Hold this is the proof of the late execution.
func (r *Rule) Executed() <-chan struct{} { return r.executed }

// Release lets through what a Hold keeps back, and all that it would hold
// later. Calling it again does nothing.
func (r *Rule) Release() { r.release.Do(func() { close(r.released) }) }
