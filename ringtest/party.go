package ringtest

import (
	"bytes"
	"context"
	"net"
	"slices"
	"sync"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"ringmaster/embedded"
	"ringmaster/internal/memconn"
)

// party is whoever has connections of its own: a worker, a dispatcher, the clients.
type party struct {
	name  string
	store *embedded.Store
	redis *redis.Client // whose options the library takes

	mu     sync.Mutex
	conns  []*memconn.Conn
	dead   bool
	frozen bool     // the network delivers nothing
	lose   []string // texts of requests whose answers are to be lost
}

func newParty(name string, store *embedded.Store) *party {
	p := &party{name: name, store: store}
	p.redis = redis.NewClient(&redis.Options{Addr: "memory:6379", Dialer: p.dial, PoolSize: poolSize, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
	return p
}

// poolSize is more than ever wait at once. A caller that waits for a connection gets a timer which
// go-redis keeps for the process, and one that was made in a bubble must not be used in the next.
const poolSize = 1024

// dial connects to the store, or fails at once: who dials may hold a lock, and in a bubble no time
// passes while somebody else waits for that.
func (p *party) dial(context.Context, string, string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.dead:
		return nil, &net.OpError{Op: "dial", Net: "memory", Err: syscall.ECONNREFUSED}
	case p.frozen:
		return nil, &net.OpError{Op: "dial", Net: "memory", Err: syscall.ENETUNREACH}
	}
	client, server := memconn.Pair()
	w := &wire{p: p, client: client}
	client.OnWrite(w.asks)
	server.OnWrite(w.answers)
	if err := p.store.Serve(server); err != nil {
		return nil, err
	}
	p.conns = append(slices.DeleteFunc(p.conns, (*memconn.Conn).Ended), client)
	return client, nil
}

// kill ends the connections for good.
func (p *party) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead, p.frozen = true, false
	for _, c := range p.conns {
		c.Cut()
		c.Hold(false)
	}
}

func (p *party) killed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// freeze has the network deliver nothing more.
func (p *party) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return
	}
	p.frozen = true
	for _, c := range p.conns {
		c.Hold(true)
	}
}

// thaw has it deliver again, what was held first.
func (p *party) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = false
	for _, c := range p.conns {
		c.Hold(false)
	}
}

func (p *party) loseAnswer(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose = append(p.lose, text)
}

// unlost are the texts that no request had yet.
func (p *party) unlost() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lose)
}

// wire is one connection of a party, as the network sees it.
type wire struct {
	p      *party
	client *memconn.Conn
	loses  string // text of the request whose answer is to be lost; "": none. Guarded by p.mu
}

// asks sees a request.
func (w *wire) asks(request []byte) bool {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	for i, text := range w.p.lose {
		if bytes.Contains(request, []byte(text)) {
			w.p.lose = slices.Delete(w.p.lose, i, i+1)
			w.loses = text
			break
		}
	}
	return true
}

// answers sees an answer. One that is to be lost takes the connection with it: its request has been
// executed.
func (w *wire) answers(answer []byte) bool {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	if w.loses == "" {
		return true
	}
	if bytes.HasPrefix(answer, []byte("-NOSCRIPT")) { // nothing was executed: it will be asked again
		w.p.lose = append(w.p.lose, w.loses)
		w.loses = ""
		return true
	}
	w.loses = ""
	w.client.Cut()
	return false
}
