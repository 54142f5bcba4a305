package streams

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// Feed follows the control streams of many queues on one connection, from now on. It is for who
// takes messages as hints: of a queue that nobody asks about for long, the newest are kept. In a
// cluster there is none: one read is answered by one server. Make it with NewFeed; Run reads, until
// its context ends.
type Feed struct {
	s *Store

	mu     sync.Mutex
	of     map[string]*FeedOf // by stream
	client *redis.Client      // nil: not connected
	long   bool               // a read is under way that may last
	young  time.Time          // when the last queue came
}

// FeedOf is the feed of one queue. It belongs to one goroutine.
type FeedOf struct {
	f     *Feed
	key   string
	after string // id of the last message that was read; empty: not known yet
	news  chan struct{}
	kept  []job.ControlEntry

	spoiled time.Time // when it could not be read, though the server answers
}

const (
	spoiledFor = 5 * time.Second       // for which such a stream is left out
	feedKept   = 256                   // messages of a queue that nobody has asked for
	feedYoung  = 2 * time.Second       // for which reads are short once a queue has come: others come with it
	feedShort  = 20 * time.Millisecond // and must not wait for a read that does not know them
)

// NewFeed is nil for a cluster.
func (s *Store) NewFeed() *Feed {
	if s.Clustered() {
		return nil
	}
	return &Feed{s: s, of: map[string]*FeedOf{}}
}

// Of begins to follow a queue: what is written after its first Next began is seen.
func (f *Feed) Of(q Queue) *FeedOf {
	return &FeedOf{f: f, key: controlKey(f.s.shard(q, 0)), news: make(chan struct{}, 1)}
}

// Next waits for messages, or for the end of ctx.
func (o *FeedOf) Next(ctx context.Context) ([]job.ControlEntry, error) {
	if err := o.begin(ctx); err != nil {
		return nil, err
	}
	for {
		o.f.mu.Lock()
		out := o.kept
		o.kept = nil
		o.f.mu.Unlock()
		if len(out) > 0 {
			return out, nil
		}
		select {
		case <-o.news:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// begin finds the end of the stream, and joins the reads.
func (o *FeedOf) begin(ctx context.Context) error {
	o.f.mu.Lock()
	begun := o.after != ""
	o.f.mu.Unlock()
	if begun {
		return nil
	}
	rows, err := o.f.s.admin.XRevRangeN(ctx, o.key, "+", "-", 1).Result()
	if err != nil {
		return wrap("subscribe", err)
	}
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	if o.after = "0-0"; len(rows) > 0 {
		o.after = rows[0].ID
	}
	o.f.of[o.key], o.f.young = o, time.Now()
	if o.f.long && o.f.client != nil {
		_ = o.f.client.Close() // the read that is under way does not know of it
		o.f.client = nil
	}
	return nil
}

// Close ends it.
func (o *FeedOf) Close() {
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	if o.f.of[o.key] == o {
		delete(o.f.of, o.key)
	}
}

// Run reads until ctx ends.
func (f *Feed) Run(ctx context.Context) {
	defer f.hangUp()
	defer context.AfterFunc(ctx, f.hangUp)()
	for pause := resumePause; ctx.Err() == nil; {
		err := f.read(ctx)
		if err == nil {
			pause = resumePause
			continue
		}
		if !IsUnreachable(err) {
			f.sort(ctx)
		}
		f.hangUp()
		rest(ctx, pause)
		pause = min(2*pause, resumeLimit)
	}
}

func (f *Feed) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.client != nil {
		_ = f.client.Close()
		f.client = nil
	}
}

// read makes one read of all streams.
func (f *Feed) read(ctx context.Context) error {
	client, err := f.connected(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	keys, ids := make([]string, 0, 2*len(f.of)), make([]string, 0, len(f.of))
	for key, o := range f.of {
		if time.Since(o.spoiled) < spoiledFor {
			continue
		}
		keys, ids = append(keys, key), append(ids, o.after)
	}
	block := min(nextBlock, f.s.opts.Timeout/2)
	f.long = time.Since(f.young) >= feedYoung
	if !f.long {
		block = feedShort
	}
	f.mu.Unlock()
	if len(keys) == 0 {
		rest(ctx, feedShort)
		return nil
	}
	// A read is ended by its own block time, not by the context, which would cost the connection.
	reply, err := client.XRead(context.WithoutCancel(ctx), &redis.XReadArgs{Streams: append(keys, ids...), Count: 1000, Block: block}).Result()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	if err != nil {
		return wrap("read control streams", err)
	}
	f.take(reply)
	return nil
}

// sort finds the streams that cannot be read, as where somebody has written another type there: they
// must not keep the others from being read.
func (f *Feed) sort(ctx context.Context) {
	f.mu.Lock()
	all := slices.Collect(maps.Values(f.of))
	f.mu.Unlock()
	p := f.s.admin.Pipeline()
	reads := make([]*redis.XStreamSliceCmd, len(all))
	for i, o := range all {
		reads[i] = p.XRead(ctx, &redis.XReadArgs{Streams: []string{o.key, "$"}, Count: 1, Block: -1})
	}
	_, _ = p.Exec(ctx) // each keeps its own error
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, o := range all {
		if err := reads[i].Err(); err != nil && !errors.Is(err, redis.Nil) {
			o.spoiled = time.Now()
		}
	}
}

func (f *Feed) take(reply []redis.XStream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range reply {
		o := f.of[s.Stream]
		if o == nil || len(s.Messages) == 0 {
			continue
		}
		o.after = s.Messages[len(s.Messages)-1].ID
		o.kept = append(o.kept, controlEntries(s.Messages)...)
		o.kept = slices.Delete(o.kept, 0, max(0, len(o.kept)-feedKept))
		select {
		case o.news <- struct{}{}:
		default:
		}
	}
}

func (f *Feed) connected(ctx context.Context) (*redis.Client, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.client != nil {
		return f.client, nil
	}
	client, err := f.s.dedicated(ctx, "", nil, nil)
	if err != nil {
		return nil, wrap("connect subscriber", err)
	}
	f.client = client
	return client, nil
}
