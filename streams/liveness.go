package streams

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/failpoint"
	"ringmaster/job"
)

// Sign is what the server knows of a member's life at one moment.
type Sign struct {
	Subscribed bool // somebody holds its liveness channel
	// Where it is not subscribed: the name of its last heartbeat, another after each, and how
	// long the member itself takes to connect, as it has measured. Empty and 0: not known.
	Beat  string
	Reach time.Duration
}

// signPage is how many members are looked at in one step of the server.
const signPage = 128

// Signs asks which members hold their liveness channel; those that do not are looked at once
// more, with their last heartbeat. Of these, each for which ask is true is asked for a beat
// at once. Parallel to incs. It blocks for a round trip, and one for each 128 of those.
func (r *Ring) Signs(ctx context.Context, incs []string, ask func(inc string) bool) ([]Sign, error) {
	shard := r.s.shard(r.q, 0)
	channels := make([]string, len(incs))
	for i, inc := range incs {
		channels[i] = aliveKey(shard, inc)
	}
	node, err := r.s.node(ctx, shard) // a cluster's nodes count their own subscribers
	if err != nil {
		return nil, notSent("ask for subscriptions", err)
	}
	n, err := node.PubSubNumSub(ctx, channels...).Result()
	if err != nil {
		return nil, wrap("ask for subscriptions", err)
	}
	out := make([]Sign, len(incs))
	var asked, others []int
	for i, c := range channels {
		subscribers, told := n[c]
		if !told {
			return nil, badAnswer("ask for subscriptions", n)
		}
		switch out[i].Subscribed = subscribers > 0; {
		case out[i].Subscribed:
		case ask(incs[i]):
			asked = append(asked, i)
		default:
			others = append(others, i)
		}
	}
	for page := range slices.Chunk(append(asked, others...), signPage) {
		args := make([]any, 1, 1+len(page))
		args[0] = min(len(asked), len(page))
		asked = asked[min(len(asked), len(page)):]
		for _, i := range page {
			args = append(args, incs[i])
		}
		v, err := r.s.run(ctx, r.s.cmd, &r.s.scripts.doubt, shard, args...)
		if err != nil {
			return nil, err
		}
		l := list(v)
		if len(l) != 2*len(page) {
			return nil, badAnswer("look at members without a connection", v)
		}
		for k, i := range page {
			out[i] = sign(number(l[2*k]), text(l[2*k+1]))
		}
	}
	return out, nil
}

func sign(subscribers uint64, beat string) Sign {
	if subscribers > 0 {
		return Sign{Subscribed: true}
	}
	_, reach, _ := strings.Cut(beat, " ")
	ms, _ := strconv.ParseInt(reach, 10, 64) // unreadable: not known
	return Sign{Beat: beat, Reach: time.Duration(max(ms, 0)) * time.Millisecond}
}

// liveLink is what a member has to show that it lives: a subscription, and a connection for
// heartbeats alone, so that none waits behind other calls or on a connection of which the
// network has forgotten.
type liveLink struct {
	client redis.UniversalClient
	lost   func()

	mu    sync.Mutex
	dials samples // how long they took
	trips samples // of heartbeats, there and back
	stood bool    // the last heartbeat was answered: its connection stands
}

// samples are the last few of something measured.
type samples []time.Duration

func (s *samples) add(d time.Duration, most int) {
	if *s = append(*s, d); len(*s) > most {
		*s = (*s)[1:]
	}
}

// low is the smallest: a process that was busy measures too much.
func (s samples) low() time.Duration {
	if len(s) == 0 {
		return 0
	}
	return slices.Min(s)
}

func (s samples) median() time.Duration {
	if len(s) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(s))[len(s)/2]
}

// reach is how long it takes from the end of a connection until the server knows the next:
// the news of the end and a subscription are half a round trip each, the set-up of the
// connection one or two, after the dial.
func (l *liveLink) reach() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	dial, trip := l.dials.low(), l.trips.median()
	if trip == 0 {
		trip = dial
	}
	return dial + 3*trip
}

// Watch keeps a subscription to the incarnation's liveness channel, by which leaders see
// within milliseconds that a process is gone. It returns when the server has confirmed
// the subscription; stop ends it and waits for its goroutine. Subscribe before Join: a member
// that was never seen subscribed would be judged by its lease alone. From then on heartbeats
// have a connection of their own. lost is called, from other goroutines, when one of the two
// connections has ended: a heartbeat at once tells that the process has not.
func (m *Member) Watch(ctx context.Context, lost func()) (stop func(), err error) {
	l := &liveLink{lost: lost}
	if l.client, err = m.s.liveClient(l); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	sub, err := m.subscribe(ctx, l)
	if err != nil {
		cancel()
		_ = l.client.Close()
		return nil, err
	}
	m.live.Store(l)
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.keepSubscribed(ctx, l, sub)
	}()
	return func() {
		cancel()
		<-done
		m.live.CompareAndSwap(l, nil)
		_ = l.client.Close()
	}, nil
}

// subscribe makes a subscription that the server has confirmed.
func (m *Member) subscribe(ctx context.Context, l *liveLink) (*redis.PubSub, error) {
	channels := make([]string, m.q.Shards)
	for sh := range m.q.Shards {
		channels[sh] = aliveKey(m.s.shard(m.q, sh), m.info.Incarnation)
	}
	sub := l.client.Subscribe(ctx, channels...)
	for range channels {
		if _, err := sub.ReceiveTimeout(ctx, m.s.opts.Timeout); err != nil {
			_ = sub.Close()
			return nil, wrap("subscribe to liveness channel", err)
		}
	}
	return sub, nil
}

// keepSubscribed holds the subscription until ctx ends, and makes another when it must.
func (m *Member) keepSubscribed(ctx context.Context, l *liveLink, sub *redis.PubSub) {
	for {
		m.listen(ctx, sub)
		_ = sub.Close()
		for pause := resumePause; ; pause = min(2*pause, againLimit) {
			if ctx.Err() != nil {
				return
			}
			var err error
			if sub, err = m.subscribe(ctx, l); err == nil {
				break
			}
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
		}
	}
}

// listen returns when the subscription is to be made anew: a ping has had no answer, or
// go-redis, which connects and subscribes again once, has failed to. Nobody ever publishes.
func (m *Member) listen(ctx context.Context, sub *redis.PubSub) {
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })()
	failed, quiet := false, false
	for {
		_, err := sub.ReceiveTimeout(ctx, m.ttl/3)
		var late net.Error
		switch {
		case err == nil:
			failed, quiet = false, false
		case errors.As(err, &late) && late.Timeout() && !quiet:
			if quiet = true; sub.Ping(ctx) != nil {
				return
			}
		case quiet || failed || ctx.Err() != nil:
			return
		default:
			failed = true
		}
	}
}

// nextBeat is a heartbeat's name and the worker's reach.
func (m *Member) nextBeat() string {
	var reach time.Duration
	if l := m.live.Load(); l != nil {
		reach = l.reach()
	}
	return strconv.FormatUint(m.beats.Add(1), 10) + " " + strconv.FormatInt(int64((reach+time.Millisecond-1)/time.Millisecond), 10)
}

// Heartbeat renews the lease in every shard; Fenced in any answer means the incarnation
// was evicted. It goes over a connection of its own from Watch on. If there is no answer on
// it for a quarter of the lease, or it has broken, another is made and the same is sent once
// more: a network that has forgotten the connection costs no lease.
func (m *Member) Heartbeat(ctx context.Context) ([]job.Beat, error) {
	l := m.live.Load()
	if l == nil {
		return m.beat(ctx, m.s.vital)
	}
	if l.standing() {
		call, cancel := context.WithTimeout(ctx, m.ttl/4)
		out, err := m.beatOn(call, l)
		cancel()
		if err == nil || ctx.Err() != nil || !IsUnreachable(err) {
			return out, err
		}
	}
	return m.beatOn(ctx, l)
}

// beatOn sends a heartbeat over the link, and measures it where no connection had to be made.
func (m *Member) beatOn(ctx context.Context, l *liveLink) ([]job.Beat, error) {
	stood, sent := l.standing(), time.Now()
	out, err := m.beat(ctx, l.client)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stood = err == nil; err == nil && stood {
		l.trips.add(time.Since(sent), tripsKept)
	}
	return out, err
}

func (m *Member) beat(ctx context.Context, c redis.UniversalClient) ([]job.Beat, error) {
	number := m.nextBeat()
	calls := make([]*call, m.q.Shards)
	for sh := range calls {
		calls[sh] = &call{shard: m.s.shard(m.q, sh), args: []any{m.info.Incarnation, m.ttl.Milliseconds(), m.inboxTTL(), m.alive(), number}}
	}
	failpoint.Hit(failpoint.W12)
	m.s.runAll(ctx, c, &m.s.scripts.heartbeat, calls)
	out := make([]job.Beat, len(calls))
	for sh, k := range calls {
		if k.err != nil {
			return nil, k.err
		}
		out[sh] = beat(list(k.value))
	}
	return out, nil
}

const (
	// againLimit is the longest pause before a member subscribes again: well within the second
	// that a leader gives to workers that lost their connections together.
	againLimit = 250 * time.Millisecond

	tripsKept = 7
	dialsKept = 3
	// liveConns is not how many connections there are, which is one besides the subscription:
	// go-redis waits a second after so many dials that failed.
	liveConns = 64
)

// liveClient makes the connections of a member's link, which watches them.
func (s *Store) liveClient(l *liveLink) (redis.UniversalClient, error) {
	uo, err := universal(s.opts)
	if err != nil {
		return nil, err
	}
	uo.PoolSize, uo.MaxIdleConns = liveConns, 1
	dial := uo.Dialer
	if dial == nil {
		dial = redis.NewDialer(&redis.Options{DialTimeout: uo.DialTimeout, TLSConfig: uo.TLSConfig})
	}
	uo.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		began := time.Now()
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.dials.add(time.Since(began), dialsKept)
		return &liveConn{c, l.lost}, nil
	}
	return newClient(s.opts.Mode, *uo), nil
}

func (l *liveLink) standing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stood
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
