package faultproxy

import (
	"math/rand/v2"
	"time"
)

// Noise is what happens at random to every request, and to those that came together with
// it, as in a pipeline.
type Noise struct {
	Min, Max time.Duration // how long it is kept back, with what follows on its connection
	Reset    float64       // how likely its connection is closed instead
}

// weather is what is done to all traffic. Guarded by Proxy.mu.
type weather struct {
	noise             Noise
	rnd               *rand.Rand
	resets            int
	requests, replies chan struct{} // nil: they pass; else closed when they pass again
}

// Disturb delays and resets requests at random from now on; the zero Noise ends it.
func (p *Proxy) Disturb(n Noise, seed uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.weather.noise, p.weather.rnd = n, rand.New(rand.NewPCG(seed, 3))
}

// Resets is how many connections Disturb has closed.
func (p *Proxy) Resets() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.weather.resets
}

// Silence holds back all requests, all replies or both, as a network that loses packets
// does: connections stay, and what was held comes late when it is called with false.
func (p *Proxy) Silence(requests, replies bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.weather.requests = gate(p.weather.requests, requests)
	p.weather.replies = gate(p.weather.replies, replies)
}

// Forget has nothing arrive any more on the connections that there are, and nobody told of it, as a NAT
// does that has forgotten them: each side keeps its own until it ends it. New ones work. It returns how
// many there were.
func (p *Proxy) Forget() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for l := range p.links {
		if !l.forgotten.Swap(true) {
			n++
		}
	}
	return n
}

func gate(now chan struct{}, shut bool) chan struct{} {
	if !shut {
		if now != nil {
			close(now)
		}
		return nil
	}
	if now == nil {
		now = make(chan struct{})
	}
	return now
}

// through waits until a request may pass, and reports whether it may at all.
func (l *link) through(burst bool) bool {
	p := l.proxy
	p.mu.Lock()
	w := &p.weather
	var late time.Duration
	cut := false
	if n := w.noise; n != (Noise{}) && !burst {
		late = n.Min + time.Duration(w.rnd.Float64()*float64(n.Max-n.Min))
		if cut = w.rnd.Float64() < n.Reset; cut {
			w.resets++
		}
	}
	shut := w.requests
	p.mu.Unlock()
	if cut {
		l.cut()
		return false
	}
	if late > 0 {
		timer := time.NewTimer(late)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.stop:
			return false
		}
	}
	return p.wait(shut)
}

// wait returns when shut is nil or closed, with true, or when the proxy ends.
func (p *Proxy) wait(shut chan struct{}) bool {
	if shut == nil {
		return true
	}
	select {
	case <-shut:
		return true
	case <-p.stop:
		return false
	}
}
