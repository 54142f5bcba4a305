package embedded

import (
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/alicebob/miniredis/v2/server"
)

// announce is a command that every connection sends first, on its own: the
// server tells hooks the peer but not its connection, and this joins the two.
const announce = "RINGMASTER.ANNOUNCE"

// client is one connection. killed closes when no further command of it may
// start; gone closes when its last command has ended.
type client struct {
	id     int
	conn   net.Conn
	peer   *server.Peer // guarded by registry.mu; nil until announced
	killed chan struct{}
	gone   chan struct{}
}

// registry numbers the connections and can end each of them.
type registry struct {
	wake func() // makes blocked commands notice that their peer is closed

	mu     sync.Mutex
	lastID int
	byID   map[int]*client
	byPeer map[*server.Peer]*client
}

func newRegistry(wake func()) *registry {
	return &registry{wake: wake, byID: map[int]*client{}, byPeer: map[*server.Peer]*client{}}
}

// add gives the connection a number and returns what the server shall read.
func (r *registry) add(conn net.Conn) net.Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastID++
	c := &client{id: r.lastID, conn: conn, killed: make(chan struct{}), gone: make(chan struct{})}
	r.byID[c.id] = c
	id := strconv.Itoa(c.id)
	hello := fmt.Sprintf("*2\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(announce), announce, len(id), id)
	return &announcedConn{Conn: conn, hello: []byte(hello)}
}

// announced ties the peer to its connection, as its first command. It reports
// whether it did: no client can claim a number, since its own came first.
func (r *registry) announced(arg string, peer *server.Peer) bool {
	id, err := strconv.Atoi(arg)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.byID[id]
	if !ok || c.peer != nil || r.byPeer[peer] != nil {
		return false
	}
	c.peer = peer
	r.byPeer[peer] = c
	peer.OnDisconnect(func() { r.lost(c) })
	return true
}

// lost is called once per connection, after its last command.
func (r *registry) lost(c *client) {
	r.mu.Lock()
	delete(r.byID, c.id)
	delete(r.byPeer, c.peer)
	r.mu.Unlock()
	close(c.gone)
}

func (r *registry) get(peer *server.Peer) *client {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byPeer[peer]
}

// kill ends the connection with that number. When it returns, no command of
// that connection runs or will run. It answers false for an unknown number.
// by, which may be nil, is who asks: it stops waiting when it is killed itself,
// so that two which kill each other do not wait for ever.
func (r *registry) kill(id int, by *client) bool {
	r.mu.Lock()
	victim, ok := r.byID[id]
	if !ok {
		r.mu.Unlock()
		return false
	}
	select {
	case <-victim.killed:
	default:
		close(victim.killed)
	}
	peer := victim.peer
	r.mu.Unlock()

	if peer != nil {
		peer.Close()
	}
	_ = victim.conn.Close() // the client may have closed it already
	r.wake()
	if by == nil {
		<-victim.gone
		return true
	}
	select {
	case <-victim.gone:
	case <-by.killed:
	}
	return true
}

// killAll ends every connection and waits for all of them.
func (r *registry) killAll() {
	r.mu.Lock()
	ids := make([]int, 0, len(r.byID))
	for id := range r.byID {
		ids = append(ids, id)
	}
	r.mu.Unlock()
	for _, id := range ids {
		r.kill(id, nil)
	}
}

// isKilled reports whether no further command of this client may start.
func (c *client) isKilled() bool {
	select {
	case <-c.killed:
		return true
	default:
		return false
	}
}

// announcedConn puts the announcement before what the client sends.
type announcedConn struct {
	net.Conn
	hello []byte
}

// Read is called by one goroutine of the server only.
func (c *announcedConn) Read(p []byte) (int, error) {
	if len(c.hello) > 0 {
		n := copy(p, c.hello)
		c.hello = c.hello[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}
