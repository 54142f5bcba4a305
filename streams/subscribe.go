package streams

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Watch keeps a subscription to the incarnation's liveness channel, by which leaders see
// within milliseconds that a process is gone. It returns when the server has confirmed
// the subscription; stop ends it, and waits for the goroutines of the last one. Subscribe before
// Join: a member that was never seen subscribed would be judged by its lease alone. From then on
// heartbeats have a connection of their own. lost is called, from other goroutines, when one of
// the two connections has ended: a heartbeat at once tells that the process has not.
func (m *Member) Watch(ctx context.Context, lost func()) (stop func(), err error) {
	h, err := m.s.joinHeart(m, lost)
	if err != nil {
		return nil, err
	}
	leave, err := h.subscribe(ctx, m)
	if err != nil {
		m.s.leaveHeart(h, m)
		return nil, err
	}
	m.heart.Store(h)
	return func() {
		leave()
		m.heart.CompareAndSwap(h, nil)
		m.s.leaveHeart(h, m)
	}, nil
}

// subscribe subscribes to a member's channels. A server of its own has one connection for those of
// all members; in a cluster each member's are at the server that counts its subscribers.
func (h *heart) subscribe(ctx context.Context, m *Member) (leave func(), err error) {
	channels := make([]string, m.q.Shards)
	for sh := range channels {
		channels[sh] = aliveKey(m.s.shard(m.q, sh), m.info.Incarnation)
	}
	l := h.sub
	if l == nil {
		l = newListener(h.client, h.s.opts.Timeout)
	}
	if err := l.add(ctx, channels, m.ttl/3); err != nil {
		if l != h.sub {
			l.close()
		}
		return nil, err
	}
	if l != h.sub {
		return l.close, nil
	}
	return func() { l.remove(channels) }, nil
}

// listener holds subscriptions on one connection, and makes them anew when it must. Nobody ever
// publishes: that they are held is what they say.
type listener struct {
	client  redis.UniversalClient
	timeout time.Duration
	ctx     context.Context
	end     context.CancelFunc
	all     sync.WaitGroup

	mu    sync.Mutex
	wants map[string]chan struct{} // channel -> closed when the server has confirmed it
	sub   *redis.PubSub            // nil: none was asked for yet
	quiet time.Duration            // after which the connection is asked whether it stands
}

func newListener(client redis.UniversalClient, timeout time.Duration) *listener {
	l := &listener{client: client, timeout: timeout, wants: map[string]chan struct{}{}}
	l.ctx, l.end = context.WithCancel(context.Background())
	return l
}

// add subscribes to channels, and waits until the server has confirmed them.
func (l *listener) add(ctx context.Context, channels []string, quiet time.Duration) error {
	waits := make([]chan struct{}, len(channels))
	l.mu.Lock()
	for i, c := range channels {
		waits[i] = make(chan struct{})
		l.wants[c] = waits[i]
	}
	if l.quiet = quiet; l.sub == nil {
		l.sub = l.client.Subscribe(l.ctx)
		l.all.Go(l.keep)
	}
	sub := l.sub
	l.mu.Unlock()
	call, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	err := sub.Subscribe(call, channels...)
	for i := 0; err == nil && i < len(waits); i++ {
		select {
		case <-waits[i]:
		case <-call.Done():
			err = context.Cause(call)
		}
	}
	if err != nil {
		l.remove(channels)
		return wrap("subscribe to liveness channel", err)
	}
	return nil
}

// remove ends subscriptions.
func (l *listener) remove(channels []string) {
	l.mu.Lock()
	for _, c := range channels {
		delete(l.wants, c)
	}
	sub := l.sub
	l.mu.Unlock()
	call, cancel := context.WithTimeout(l.ctx, l.timeout)
	defer cancel()
	_ = sub.Unsubscribe(call, channels...) // of a connection that has ended nothing is held
}

// close ends all subscriptions, and waits for the goroutine.
func (l *listener) close() {
	l.end()
	l.mu.Lock()
	if l.sub != nil {
		_ = l.sub.Close()
	}
	l.mu.Unlock()
	l.all.Wait()
}

// keep holds the subscriptions until the listener is closed.
func (l *listener) keep() {
	for {
		l.listen()
		for pause := resumePause; ; pause = min(2*pause, againLimit) {
			if l.ctx.Err() != nil {
				return
			}
			if l.renew() {
				break
			}
			rest(l.ctx, pause)
		}
	}
}

// renew makes another connection with all subscriptions.
func (l *listener) renew() bool {
	l.mu.Lock()
	channels := slices.Collect(maps.Keys(l.wants))
	_ = l.sub.Close()
	sub := l.client.Subscribe(l.ctx)
	l.sub = sub
	l.mu.Unlock()
	call, cancel := context.WithTimeout(l.ctx, l.timeout)
	defer cancel()
	return len(channels) == 0 || sub.Subscribe(call, channels...) == nil
}

// listen returns when the connection is to be made anew: a ping has had no answer, or
// go-redis, which connects and subscribes again once, has failed to.
func (l *listener) listen() {
	l.mu.Lock()
	sub, patience := l.sub, l.quiet
	l.mu.Unlock()
	defer context.AfterFunc(l.ctx, func() { _ = sub.Close() })()
	failed, quiet := false, false
	for {
		got, err := sub.ReceiveTimeout(l.ctx, patience)
		var late net.Error
		switch {
		case err == nil:
			failed, quiet = false, false
			l.confirm(got)
		case errors.As(err, &late) && late.Timeout() && !quiet:
			if quiet = true; sub.Ping(l.ctx) != nil {
				return
			}
		case quiet || failed || l.ctx.Err() != nil:
			return
		default:
			failed = true
		}
	}
}

// confirm lets go on who waits for a subscription.
func (l *listener) confirm(got any) {
	s, ok := got.(*redis.Subscription)
	if !ok || s.Kind != "subscribe" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if wait, ok := l.wants[s.Channel]; ok {
		select {
		case <-wait:
		default:
			close(wait)
		}
	}
}

// liveConn tells when the connection has ended.
type liveConn struct {
	net.Conn
	ended func()
}

// Read implements net.Conn.
func (c *liveConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	var late net.Error
	if err != nil && (!errors.As(err, &late) || !late.Timeout()) {
		c.ended()
	}
	return n, err
}
