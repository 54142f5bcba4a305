package bench

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"ringmaster/consumergroup"
	"ringmaster/internal/service"
	"ringmaster/job"
)

// crowd are many members of one queue in one process. Each is a worker as it always is,
// with a subscription and a connection to read on; all else goes over the store's pool.
type crowd struct {
	r    *ringOf
	stop context.CancelFunc
	ctx  context.Context // of their lives
	all  sync.WaitGroup
}

// gather returns when so many members have joined.
func gather(ctx context.Context, r *ringOf, n int) (*crowd, error) {
	c := &crowd{r: r}
	c.ctx, c.stop = context.WithCancel(r.ended)
	slots := make(chan struct{}, 32) // joins at a time: more would overflow the server's queue of connections
	for i := range n {
		m := c.newMember(fmt.Sprintf("member-%d", i), 0)
		slots <- struct{}{}
		m.run()
		c.all.Go(func() {
			_ = m.served(c.ctx) // or the crowd ends
			<-slots
		})
	}
	for range cap(slots) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			c.close()
			return nil, fmt.Errorf("gather %d members: %w", n, context.Cause(ctx))
		}
	}
	return c, nil
}

// close ends all members at once.
func (c *crowd) close() {
	c.stop()
	c.all.Wait()
}

// member is one of a crowd. It is its worker's log, in which gates tell that they open.
type member struct {
	slog.Handler
	c      *crowd
	name   string
	wanted int // partitions to open until it counts as served
	opened atomic.Int32
	ready  chan struct{} // closed when it is a member and has opened so many
	once   sync.Once
	going  chan struct{} // closed: leave
	gone   chan struct{}
}

func (c *crowd) newMember(name string, wanted int) *member {
	return &member{Handler: slog.DiscardHandler, c: c, name: name, wanted: wanted,
		ready: make(chan struct{}), going: make(chan struct{}), gone: make(chan struct{})}
}

func (m *member) run() {
	cfg := consumergroup.Default()
	cfg.Queue, cfg.Name, cfg.Concurrency = queueName, m.name, 1
	w, err := consumergroup.New(cfg, consumergroup.Deps{Store: members{m.c.r}, Policy: service.Policy{MaxAttempts: 1}, Log: slog.New(m), NewID: uuid.NewString,
		Ready: func(string) { m.count(0) }})
	if err != nil {
		m.c.r.stop(fmt.Errorf("bench: %w", err))
		close(m.gone)
		return
	}
	m.c.all.Go(func() {
		defer close(m.gone)
		if err := w.Run(m.c.ctx, m.going); err != nil && m.c.ctx.Err() == nil {
			m.c.r.stop(err)
		}
	})
}

// served waits until it is a member and may run jobs of so many partitions as were wanted.
func (m *member) served(ctx context.Context) error {
	select {
	case <-m.ready:
		return nil
	case <-m.c.ctx.Done():
		return fmt.Errorf("wait for %s: %w", m.name, context.Cause(m.c.ctx))
	case <-ctx.Done():
		return fmt.Errorf("wait for %s, which has opened %d of %d partitions: %w", m.name, m.opened.Load(), m.wanted, context.Cause(ctx))
	}
}

// leave takes it out of the ring and waits for that.
func (m *member) leave() {
	close(m.going)
	<-m.gone
}

func (m *member) count(n int32) {
	if int(m.opened.Add(n)) >= m.wanted {
		m.once.Do(func() { close(m.ready) })
	}
}

// Enabled implements slog.Handler: gates tell at level debug.
func (m *member) Enabled(context.Context, slog.Level) bool { return m.wanted > 0 }

// WithAttrs implements slog.Handler.
func (m *member) WithAttrs([]slog.Attr) slog.Handler { return m }

// Handle implements slog.Handler: it counts the gates that open.
func (m *member) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "gate" {
		return nil
	}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "open" && a.Value.Bool() {
			m.count(1)
		}
		return true
	})
	return nil
}

// members share one store.
type members struct{ r *ringOf }

func (s members) Prepare(context.Context) (int, error) { return s.r.queue.Shards, nil }

func (s members) Member(info job.MemberInfo, ttl time.Duration) consumergroup.Member {
	return s.r.store.NewMember(s.r.queue, info, ttl)
}

func (s members) Reader(shard int, incarnation string) consumergroup.Reader {
	return s.r.store.NewReader(s.r.queue, shard, incarnation)
}
