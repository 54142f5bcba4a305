package streams

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// controlBound is about how many entries a control stream keeps. A subscriber that is
// further behind misses the oldest.
const controlBound = 10_000

// Publisher appends to a queue's control stream. Safe for concurrent use.
type Publisher struct {
	s   *Store
	key string
}

// NewPublisher prepares a publisher to the queue's control stream (that of its first shard).
func NewPublisher(s *Store, q Queue) *Publisher {
	return &Publisher{s: s, key: controlKey(s.shard(q, 0))}
}

// Publish appends one message and returns its id: every subscriber sees it, in the order
// of the ids. After ErrOutcomeUnknown it may have been appended, once.
func (p *Publisher) Publish(ctx context.Context, fields map[string]string) (string, error) {
	if len(fields) == 0 {
		return "", job.Invalid("a message has at least one field")
	}
	values := make([]any, 0, 2*len(fields))
	for k, v := range fields {
		values = append(values, k, v)
	}
	id, err := p.s.cmd.XAdd(ctx, &redis.XAddArgs{Stream: p.key, MaxLen: controlBound, Approx: true, Values: values}).Result()
	return id, wrap("publish", err)
}

// Where a subscriber may begin, apart from after an entry's id.
const (
	FromNow   = "$" // what is published after the first call of Start or Next
	FromStart = "0" // everything that is kept
)

// Subscriber follows a queue's control stream on a connection of its own. It belongs to
// one goroutine; only Close and Position may be called from others.
type Subscriber struct {
	s     *Store
	shard string
	from  string

	mu       sync.Mutex
	client   *redis.Client // nil: not connected
	position string        // id of the last message handed out; "" before Start
	closed   bool
}

// NewSubscriber prepares a subscriber that begins at FromNow, FromStart, or after the
// entry with the given id: what Position of an earlier one returned. It connects at the
// first Start or Next.
func NewSubscriber(s *Store, q Queue, from string) *Subscriber {
	return &Subscriber{s: s, shard: s.shard(q, 0), from: from}
}

// Pauses before another attempt to connect, and the longest one read blocks, which is
// how late the end of a context may be noticed.
const (
	resumePause = 20 * time.Millisecond
	resumeLimit = time.Second
	nextBlock   = time.Second
)

// Start fixes where the subscriber begins: what is published after it returned is seen.
// It is for FromNow; Next does it if the caller did not.
func (c *Subscriber) Start(ctx context.Context) error {
	if c.Position() != "" {
		return nil
	}
	from := c.from
	switch from {
	case FromStart:
		from = "0-0"
	case FromNow:
		rows, err := c.s.admin.XRevRangeN(ctx, controlKey(c.shard), "+", "-", 1).Result()
		if err != nil {
			return wrap("subscribe", err)
		}
		from = "0-0"
		if len(rows) > 0 {
			from = rows[0].ID
		}
	default:
		if _, ok := job.ParseEntryID(from); !ok {
			return job.Invalid("position %q: want %s, %s or the id of a message", from, FromStart, FromNow)
		}
	}
	c.moveTo(from)
	return nil
}

// Position is the id of the last message that Next returned, or where it begins. A new
// subscriber from there sees all later messages and no earlier one.
func (c *Subscriber) Position() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.position
}

func (c *Subscriber) moveTo(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.position = id
}

// ErrSubscriberClosed: Close was called.
var ErrSubscriberClosed = errors.New("subscriber is closed")

// Next waits for messages and returns them in order, each once. It waits out a server
// that is not reached, and goes on from its position. It ends with ctx, at most a second
// late, or at Close.
func (c *Subscriber) Next(ctx context.Context) ([]job.ControlEntry, error) {
	var last error
	for pause := resumePause; ; pause = min(2*pause, resumeLimit) {
		out, err := c.read(ctx)
		switch {
		case len(out) > 0:
			c.moveTo(out[len(out)-1].ID)
			return out, nil
		case err == nil:
			pause = resumePause / 2
			if ctx.Err() == nil {
				continue
			}
		case errors.Is(err, ErrSubscriberClosed) || errors.Is(err, job.ErrInvalid):
			return nil, err
		case !IsUnreachable(err) && !errors.Is(err, job.ErrUnavailable) && ctx.Err() == nil:
			return nil, err
		default:
			last = err
			c.hangUp()
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, errors.Join(context.Cause(ctx), last)
		}
	}
}

// read makes one blocking read; nothing and no error means that nothing came.
func (c *Subscriber) read(ctx context.Context) ([]job.ControlEntry, error) {
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	client, err := c.connected(ctx)
	if err != nil {
		return nil, err
	}
	block := min(nextBlock, c.s.opts.Timeout/2)
	if end, ok := ctx.Deadline(); ok {
		block = min(block, time.Until(end))
	}
	// A read is ended by its own block time, not by the context, which would cost the
	// connection. Less than 1 ms would be sent as 0: for ever.
	reply, err := client.XRead(context.WithoutCancel(ctx), &redis.XReadArgs{Streams: []string{controlKey(c.shard), c.Position()},
		Count: 1000, Block: max(block, time.Millisecond)}).Result()
	if errors.Is(err, redis.Nil) || len(reply) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.closed {
			return nil, ErrSubscriberClosed
		}
		return nil, wrap("read control stream", err)
	}
	return controlEntries(reply[0].Messages), nil
}

func controlEntries(messages []redis.XMessage) []job.ControlEntry {
	out := make([]job.ControlEntry, len(messages))
	for i, m := range messages {
		out[i] = job.ControlEntry{ID: m.ID, Fields: make(map[string]string, len(m.Values))}
		for k, v := range m.Values {
			out[i].Fields[k], _ = v.(string)
		}
	}
	return out
}

func (c *Subscriber) connected(ctx context.Context) (*redis.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrSubscriberClosed
	}
	if c.client != nil {
		return c.client, nil
	}
	client, err := c.s.dedicated(ctx, c.shard, nil, nil)
	if err != nil {
		return nil, wrap("connect subscriber", err)
	}
	c.client = client
	return client, nil
}

// hangUp drops a connection that failed; the next read makes another, to whoever holds
// the stream then.
func (c *Subscriber) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		_ = c.client.Close()
		c.client = nil
	}
}

// Close ends the connection and a Next in progress. It may be called again.
func (c *Subscriber) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.client == nil {
		return nil
	}
	client := c.client
	c.client = nil
	return client.Close()
}
