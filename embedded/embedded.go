// Package embedded runs an in-memory store that speaks the Redis protocol
// inside this process, for development, demonstrations and tests:
//
//	store, err := embedded.Start("127.0.0.1:0")
//	defer store.Close()
//	client, err := ringmaster.NewClient(ringmaster.Config{URL: store.URL()})
//
// Clients, workers and dispatchers use it as they use a Redis server, from this
// process and from others of this machine. Nothing is written to disk:
// everything is lost with Close, or when the process ends.
//
// It is a package of its own so that a program which has a Redis server does
// not carry a store about.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"

	"ringmaster/internal/memconn"
)

// expiryInterval is how often the TTLs run down. The store's own clock mode
// walks every key at every command; one walk per interval is far cheaper.
const expiryInterval = 200 * time.Millisecond

// DefaultAddr is where the programs start a store, and look for one that runs.
const DefaultAddr = "127.0.0.1:6390"

// wakeKey never exists. Deleting it wakes the commands that are blocked.
const wakeKey = "\x00ringmaster:wake"

// Store is a running in-memory store. All methods are safe for concurrent use.
type Store struct {
	mini     *miniredis.Miniredis
	listener net.Listener // nil: there is none
	clients  *registry
	ttls     countdown
	serving  sync.Mutex // held while a connection is taken, or stop is closed
	stop     chan struct{}
	wg       sync.WaitGroup
	closing  sync.Once
}

// Start listens on addr: "127.0.0.1:0" takes a free port, DefaultAddr is the one
// where the programs look. It returns when the store answers, and serves until
// Close.
//
// The host must be a loopback address or "localhost": the store has no
// authentication, and some malformed commands would end the whole process. A
// port that is taken gives an error for which errors.Is(err,
// syscall.EADDRINUSE) holds.
//
// Commands and scripts are atomic, as in a Redis, and each sees the effects of
// those before it. TTLs are exact to about 200 ms. A few commands differ:
// XPENDING and XINFO are approximate, WAIT confirms nothing. Scripts are slow,
// some 2,500 a second in all, so it measures nothing.
func Start(addr string) (*Store, error) { return start(addr, time.Now) }

// start is Start with another clock.
func start(addr string, now func() time.Time) (*Store, error) {
	if err := checkLoopback(addr); err != nil {
		return nil, fmt.Errorf("embedded store: %w", err)
	}
	listener, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("embedded store: %s is taken by another process: %w", addr, err)
	}
	if err != nil {
		return nil, fmt.Errorf("embedded store: %w", err)
	}
	s, err := unheard(now)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s.listener = listener
	s.wg.Go(s.accept)
	s.wg.Go(s.expire)
	return s, nil
}

// New starts a store without an address: Dial and Serve alone connect to it. It uses no socket and
// has no goroutine but those of its connections, and no clock but package time's: in a bubble of
// testing/synctest it lives in the bubble's time. TTLs run down with its commands. It serves until
// Close.
func New() (*Store, error) { return unheard(time.Now) }

func unheard(now func() time.Time) (*Store, error) {
	mini := miniredis.NewMiniRedis()
	// A first in-memory connection starts the server without a listener of its
	// own: accepting here is what ties every peer to its connection.
	first, err := mini.Dial()
	if err != nil {
		return nil, fmt.Errorf("embedded store: start: %w", err)
	}
	if err := first.Close(); err != nil {
		return nil, fmt.Errorf("embedded store: start: %w", err)
	}
	s := &Store{mini: mini, stop: make(chan struct{}), ttls: countdown{now: now, last: now()}}
	s.clients = newRegistry(s.wake)
	mini.Server().SetPreHook(s.before)
	return s, nil
}

// Addr is the address it listens on, as host:port; "" for a store of New.
func (s *Store) Addr() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// URL is the address as ringmaster.Config, go-redis and every --redis flag take it; "" for a store of
// New.
func (s *Store) URL() string {
	if s.listener == nil {
		return ""
	}
	return "redis://" + s.Addr()
}

// Dial connects within the process, whatever network and address are: it is the Dialer of go-redis's
// options. A write to the connection never waits for the store to read. After Close it fails. In a
// bubble of testing/synctest turn MaintNotificationsConfig of the options off: go-redis asks a name
// server otherwise.
func (s *Store) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, &net.OpError{Op: "dial", Net: "memory", Err: err}
	}
	client, server := memconn.Pair()
	if err := s.Serve(server); err != nil {
		return nil, err
	}
	return client, nil
}

// Serve answers on a connection of the caller's making until one of the two sides ends it, or the
// store is closed. It returns at once; the store closes the connection. After Close it refuses.
func (s *Store) Serve(conn net.Conn) error {
	s.serving.Lock()
	defer s.serving.Unlock()
	select {
	case <-s.stop:
		return &net.OpError{Op: "dial", Net: "memory", Err: errClosed}
	default:
	}
	s.mini.Server().ServeConn(s.clients.add(conn))
	return nil
}

var errClosed = errors.New("the store in memory is closed")

// Close ends every connection, also those with a blocked command, and returns
// when all goroutines of the store have ended. Calling it again does nothing.
func (s *Store) Close() {
	s.closing.Do(func() {
		s.serving.Lock()
		close(s.stop)
		s.serving.Unlock()
		if s.listener != nil {
			// Nothing useful can be done about a listener that does not close.
			_ = s.listener.Close()
		}
		s.wg.Wait()
		s.clients.killAll()
		s.mini.Close() // only now: its INFO fails while it closes
	})
}

func (s *Store) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			select {
			case <-s.stop:
				return
			case <-time.After(5 * time.Millisecond): // out of file descriptors
				continue
			}
		}
		if s.Serve(conn) != nil {
			_ = conn.Close() // it came too late
		}
	}
}

func (s *Store) expire() {
	ticker := time.NewTicker(expiryInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			s.runDown()
		}
	}
}

// countdown is how far the TTLs have run down.
type countdown struct {
	now  func() time.Time
	mu   sync.Mutex
	last time.Time
}

// runDown takes the time that has passed off every TTL. The store knows no deadlines, so a TTL
// that is set must not meet time that passed before: on a busy machine the ticker comes seconds
// late, and a lease that was renewed just then would be over at once. So each command sees to
// it first, where it is due.
func (s *Store) runDown() {
	c := &s.ttls
	c.mu.Lock()
	defer c.mu.Unlock()
	if passed := c.now().Sub(c.last); passed >= expiryInterval {
		s.mini.FastForward(passed)
		c.last = c.last.Add(passed)
	}
}

// wake makes every blocked command look again whether its client is still there.
func (s *Store) wake() { s.mini.Del(wakeKey) }

func checkLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address %q: %w", addr, err)
	}
	if host == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("address %q: only a loopback address is allowed, such as 127.0.0.1", addr)
}
