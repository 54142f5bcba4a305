package ringmaster

import (
	"context"
	"fmt"
	"log/slog"

	"ringmaster/configs"
	"ringmaster/internal/producing"
	"ringmaster/internal/service"
	"ringmaster/job"
	"ringmaster/streams"
)

// Client hands jobs in, asks about them and administers queues. Safe for concurrent use: one is
// enough for a process.
type Client struct {
	store     *streams.Store
	log       *slog.Logger
	url       string
	producers *producing.Set
}

// NewClient prepares a client; it does not connect yet. Close it.
func NewClient(cfg Config) (*Client, error) {
	service.GoRedisTo(cfg.Logger)
	s, url, err := openClient(cfg)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return &Client{store: s, log: cfg.log(), url: url, producers: producing.NewSet(s, configs.QueueSpec{})}, nil
}

func openClient(cfg Config) (s *streams.Store, url string, err error) {
	c, err := cfg.common(configs.DefaultCommon())
	if err != nil {
		return nil, "", err
	}
	if err := c.Check(); err != nil {
		return nil, "", err
	}
	if cfg.Redis == nil {
		url = streams.Redact(c.Redis)
	}
	s, err = service.OpenLike(cfg.Redis, c, "ringmaster-client")
	return s, url, err
}

// URL is the server's address, without a password: what the Config of a Worker and a Dispatcher
// takes where the server asks for none. With Config.Redis it is empty.
func (c *Client) URL() string { return c.url }

// Close sends what was handed in and ends the connections.
func (c *Client) Close() error {
	c.producers.Close()
	return c.store.Close()
}

// Queue is a queue by name. It need not exist: the first submission creates it, with 64
// partitions. It asks nothing of the server, and may be called again at any time.
func (c *Client) Queue(name string) *Queue { return &Queue{c: c, name: name} }

// QueueConfig is what is fixed about a queue when it is created.
type QueueConfig struct {
	Partitions int  // 1 to 4,096: at most so many workers share its work; 64
	Shards     int  // parts that a cluster may spread over its servers; 1
	Journal    bool // every end is recorded, so that `ringctl verify` can audit it; it only grows
}

// CreateQueue creates a queue, or finds it. Other counts than it has are an ErrConflict.
func (c *Client) CreateQueue(ctx context.Context, name string, q QueueConfig) (*Queue, error) {
	_, err := c.store.CreateQueue(ctx, streams.Queue{Name: name, Partitions: q.Partitions, Shards: q.Shards, Journal: q.Journal})
	if err != nil {
		return nil, err
	}
	return c.Queue(name), nil
}

// QueueInfo is a queue with its counts, which are read partition by partition, not at one moment.
type QueueInfo = job.QueueView

// Queues lists all queues with their counts.
func (c *Client) Queues(ctx context.Context) ([]QueueInfo, error) {
	return c.store.Inspect().QueueViews(ctx)
}

// WorkerInfo is one worker's membership in one queue.
type WorkerInfo = job.WorkerView

// Drain has a worker, by its name or incarnation, give its partitions away and leave its rings,
// as at a stop. It returns the incarnations that were asked to, and does not wait.
func (c *Client) Drain(ctx context.Context, worker string) ([]string, error) {
	return c.store.Drain(ctx, worker)
}
