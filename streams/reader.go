package streams

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/failpoint"
	"ringmaster/job"
)

// Reader is the one connection on which an incarnation reads a shard: its control
// stream and its partitions, and gives partitions up. All its calls are in one
// sequence, so a release can never be overtaken by an older read of its own.
// Not safe for concurrent use, except Close, Received and Clock.
type Reader struct {
	s      *Store
	q      Queue
	shard  string
	number int // of the shard
	inc    string
	inbox  string
	client *redis.Client
	conn   *redis.Conn
	connID int64
	tap    *tap     // of conn; nil: it has none
	server string   // the process that answers; "": it does not tell
	seen   []string // control messages to acknowledge with the next read
	doomed []int64  // connections to that process that were given up and are not known to be ended

	fields  []string          // of one entry, used again for the next
	entries []job.Entry       // of one read, used again for the next
	types   map[string]string // of jobs, as they are
	page    int               // entries of the next page of the own pending list
	quota   int               // bytes of the next pages of claims
	speed   int               // of the last answer, bytes a second; 0: it was too small to tell

	received atomic.Uint64 // bytes
	clock    atomic.Pointer[clockReading]

	mu     sync.Mutex // guards client and conn against Close
	closed bool
}

// NewReader prepares a reader. It connects at the first call of Reset.
func (s *Store) NewReader(q Queue, shard int, incarnation string) *Reader {
	prefix := s.shard(q, shard)
	return &Reader{s: s, q: q, shard: prefix, number: shard, inc: incarnation, inbox: inboxKey(prefix, incarnation), page: firstPage, quota: firstClaim}
}

// Reset connects, or connects anew after a call whose outcome is unknown. The old
// connection is ended at the server, so that a read that was given up is not executed
// later. ErrKillRefused if the server does not let us.
func (r *Reader) Reset(ctx context.Context) error {
	if err := r.s.CheckDurability(ctx); err != nil {
		return err
	}
	var tapped taps
	client, err := r.s.dedicated(ctx, r.shard, &tapped, &r.received)
	if err != nil {
		return wrap("connect reader", err)
	}
	conn := client.Conn()
	id, err := conn.ClientID(ctx).Result()
	if err != nil && executed(err) {
		id, err = 0, nil // the server numbers no connections
	}
	var server string
	if err == nil {
		server, err = r.s.renew(ctx, conn, r.shard)
	}
	if err != nil {
		_ = client.Close()
		return wrap("connect reader", err)
	}
	r.tap = tapped.get()
	old, oldID := r.swap(client, conn, id)
	before := r.server
	r.server = server
	if old == nil {
		return nil
	}
	_ = old.Close()
	if before != server {
		// What was sent to the process before is not executed by this one, whose connections
		// have numbers of their own.
		r.doomed = r.doomed[:0]
		return nil
	}
	r.doomed = append(r.doomed, oldID)
	return r.endDoomed(ctx)
}

// endDoomed ends every connection that was given up. One whose end is not certain stays
// in the list, for the next Reset.
func (r *Reader) endDoomed(ctx context.Context) error {
	for len(r.doomed) > 0 {
		id := r.doomed[0]
		if id == 0 {
			return job.ErrKillRefused
		}
		if err := r.conn.ClientKillByFilter(ctx, "ID", strconv.FormatInt(id, 10)).Err(); err != nil {
			if executed(err) || redis.HasErrorPrefix(err, "NOPERM") {
				return fmt.Errorf("%w: %w", job.ErrKillRefused, err)
			}
			return wrap("end old connection", err)
		}
		r.doomed = r.doomed[1:]
	}
	return nil
}

// swap installs the new connection and returns the old client and the id of its connection.
func (r *Reader) swap(client *redis.Client, conn *redis.Conn, id int64) (*redis.Client, int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, oldID := r.client, r.connID
	r.client, r.conn, r.connID = client, conn, id
	if r.closed {
		_ = client.Close()
	}
	return old, oldID
}

// Close ends the connection; a call in progress fails soon.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.client == nil {
		return nil
	}
	return r.client.Close()
}

// Received is how many bytes of large replies have come so far: where it rises, one is on its
// way.
func (r *Reader) Received() uint64 { return r.received.Load() }

// dedicated is a client of one connection to the node that holds the shard. tapped, if not
// nil, gets the connection, unless Sentinel is asked where to connect. received, if not nil,
// counts what comes.
func (s *Store) dedicated(ctx context.Context, shard string, tapped *taps, received *atomic.Uint64) (*redis.Client, error) {
	o := s.opts
	o.received = received
	uo, err := universal(o)
	if err != nil {
		return nil, err
	}
	uo.PoolSize = 1
	uo.MinIdleConns = 0
	switch c := s.cmd.(type) {
	case *redis.ClusterClient:
		c.ReloadState(ctx) // the map may be from before a failover; the next try sees the new one
		node, err := s.node(ctx, shard)
		if err != nil {
			return nil, err
		}
		uo.Addrs = []string{node.Options().Addr}
	default:
		if s.opts.Mode == "sentinel" {
			return redis.NewFailoverClient(uo.Failover()), nil
		}
	}
	simple := uo.Simple()
	if tapped != nil {
		tapped.through(simple)
	}
	return redis.NewClient(simple), nil
}

// Read waits up to block for messages and jobs: at most count of each partition. It
// returns an empty batch when the time is over. The batch's memory is used again by the next
// call of Read or Claim; what its entries refer to is not. ErrGroupGone means that a partition, or
// the control stream, is no longer the caller's. ErrOutcomeUnknown means that jobs may
// have been handed out, now or later: Reset, then History of every partition.
// Block is at most half the store's timeout, at least 1 ms (0 would wait for ever, and
// go-redis sends less than 1 ms as 0); a negative block does not wait. Cancelling ctx
// does not end a blocked read: write to the control stream, or Close.
func (r *Reader) Read(ctx context.Context, parts []int, count int, block time.Duration) (job.ReadBatch, error) {
	return r.readBatch(r.doRead(ctx, r.readArgs(parts, count, block)))
}

func (r *Reader) readArgs(parts []int, count int, block time.Duration) []any {
	args := make([]any, 0, 12+2*len(parts))
	args = append(args, "XREADGROUP", "GROUP", r.inc, r.inc, "COUNT", count)
	if block >= 0 {
		args = append(args, "BLOCK", max(min(block, r.s.opts.Timeout/2).Milliseconds(), 1))
	}
	args = append(args, "STREAMS", r.inbox)
	for _, p := range parts {
		args = append(args, jobsKey(r.shard, p))
	}
	for range len(parts) + 1 {
		args = append(args, ">")
	}
	return args
}

// readBatch is what a read brought.
func (r *Reader) readBatch(raw []byte, err error) (job.ReadBatch, error) {
	var batch job.ReadBatch
	if err == nil {
		batch, err = r.batch(raw)
	}
	if err := r.readError("read", err); err != nil {
		return job.ReadBatch{}, err
	}
	if len(batch.Jobs) > 0 {
		failpoint.Hit(failpoint.W1)
	}
	batch.Speed, r.speed = r.speed, 0
	return batch, nil
}

func (r *Reader) readError(doing string, err error) error {
	switch {
	case errors.Is(err, redis.Nil):
		return nil
	case noGroup(err):
		return fmt.Errorf("%s: %w: %w", doing, job.ErrGroupGone, err)
	default:
		return wrap(doing, err)
	}
}

// A page of the own pending list is small at first: nobody knows how large its jobs are.
const (
	firstPage   = 8
	historyPage = 1000
	bytesOfPage = 512 << 10
)

// nextPage is how many entries the next page has, after one of n of so many bytes.
func nextPage(n, bytes int) int {
	if bytes > bytesOfPage {
		return max(n/2, 1)
	}
	if bytes > bytesOfPage/2 {
		return n
	}
	return min(2*n, historyPage)
}

// History reads the entries that are pending for the caller itself in one partition:
// what it was handed, whether it knows of it or not. Entries whose message is gone are
// left out.
func (r *Reader) History(ctx context.Context, p int) ([]job.Entry, error) {
	var out []job.Entry
	after := job.EntryID{}
	for {
		count, before := r.page, r.received.Load()
		reply, err := r.conn.Do(ctx, "XREADGROUP", "GROUP", r.inc, r.inc, "COUNT", count, "STREAMS", jobsKey(r.shard, p), after.String()).Slice()
		if err = r.readError("read own pending list", err); err != nil {
			return nil, err
		}
		rows, ok := readStream(reply)
		if !ok {
			return nil, badAnswer("read own pending list", reply)
		}
		if len(rows) == 0 || !after.Less(rows[len(rows)-1].id) {
			return out, nil
		}
		// A page of nothing but deleted messages is not the last one.
		if page := decode(rows, nil, p, r.q.Partitions); len(page) > 0 {
			if err := r.addRetries(ctx, p, page); err != nil {
				return nil, err
			}
			out = append(out, page...)
		}
		r.page = nextPage(count, int(r.received.Load()-before))
		if len(rows) < count {
			return out, nil
		}
		after = rows[len(rows)-1].id
	}
}

// readStream reads what XREADGROUP answers of one stream; of none it is nothing.
func readStream(streams []any) ([]row, bool) {
	r := items{rest: streams}
	if !r.more() {
		return nil, true
	}
	stream := r.list()
	_, rows := stream.text(), stream.entries()
	return rows, stream.whole() && r.whole()
}

func (r *Reader) addRetries(ctx context.Context, p int, page []job.Entry) error {
	ids := make([]string, len(page))
	for i := range page {
		ids[i] = page[i].ID.String()
	}
	both := r.conn.Pipeline()
	found, now := both.HMGet(ctx, retryKey(r.shard, p), ids...), both.Time(ctx)
	_, failed := both.Exec(ctx)
	records, err := found.Result()
	if err = cmp.Or(err, now.Err()); err == nil && len(records) == 0 {
		err = failed // see Store.pipe
	}
	if err != nil {
		return wrap("read retry records", err)
	}
	r.noteClock(uint64(now.Val().UnixMilli()))
	for i, rec := range records {
		page[i].Retry, _ = rec.(string)
	}
	return nil
}

// AckControl acknowledges messages of the control stream, together with the next Read.
// Nothing rests on it: a message is a hint, and the stream is bounded.
func (r *Reader) AckControl(_ context.Context, ids []string) error {
	r.seen = append(r.seen, ids...)
	return nil
}

// doRead sends a read, and before it in the same round trip what AckControl was told. An
// error reply is in the answer too. The answer is good until the next read.
func (r *Reader) doRead(ctx context.Context, args []any) ([]byte, error) {
	r.forget()
	cmd := redis.NewRawCmd(ctx, args...)
	var failed error
	if r.tap != nil {
		r.tap.arm(min(len(r.seen), 1))
	}
	if len(r.seen) == 0 {
		_ = r.conn.Process(ctx, cmd)
	} else {
		p := r.conn.Pipeline()
		p.XAck(ctx, r.inbox, r.inc, r.seen...)
		_ = p.Process(ctx, cmd) // queues it
		r.seen = r.seen[:0]
		_, failed = p.Exec(ctx)
	}
	raw, err := cmd.Result()
	if err == nil && failed != nil && raw == nil {
		return nil, unsent("read", failed) // see Store.pipe
	}
	if r.tap == nil {
		return raw, err
	}
	raw = r.tap.disarm()
	if r.tap.bytes > 0 {
		r.noteSpeed(r.tap.bytes, r.tap.took)
	}
	return raw, err
}
