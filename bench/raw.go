package bench

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// The bare loop: what one would write by hand, as fast as go-redis makes it. One stream,
// one producer with pipelines of XADD, one reader, which acknowledges and deletes what it
// has read before it reads on. No fence, no order per key, no repeat after a lost answer.

const (
	rawBatch  = 500
	rawStream = "raw"
	rawGroup  = "g"
)

// rawTrim is whether the loop removes what is acknowledged with XTRIM MINID, which only a
// single reader in stream order can do, or with XDEL.
type rawTrim bool

// rawClient repeats nothing, and has one connection for each side.
func rawClient(url string) (*redis.Client, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("bare loop: %w", err)
	}
	o.MaxRetries, o.PoolSize, o.Protocol = -1, 2, 2
	o.ReadTimeout = 30 * time.Second
	return redis.NewClient(o), nil
}

// runRaw moves so many jobs through the loop.
func runRaw(ctx context.Context, url string, jobs int, trim rawTrim) error {
	c, err := rawClient(url)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.XGroupCreateMkStream(ctx, rawStream, rawGroup, "0").Err(); err != nil {
		return fmt.Errorf("bare loop: %w", err)
	}
	open := newQuota(outstanding)
	defer context.AfterFunc(ctx, open.close)()
	produced := make(chan error, 1)
	go func() { produced <- rawProduce(ctx, c, jobs, open) }()
	err = rawConsume(ctx, c, jobs, trim, open)
	if err != nil {
		open.close()
	}
	if first := <-produced; first != nil {
		return first
	}
	return err
}

func rawProduce(ctx context.Context, c *redis.Client, jobs int, open *quota) error {
	add := []any{"XADD", rawStream, "*", "p", strings.Repeat("x", payloadBytes)}
	for jobs > 0 {
		n := min(jobs, rawBatch)
		if !open.take(n) {
			return nil // the reader has failed
		}
		p := c.Pipeline()
		for range n {
			p.Do(ctx, add...)
		}
		if _, err := p.Exec(ctx); err != nil {
			open.close()
			return fmt.Errorf("bare loop: add: %w", err)
		}
		jobs -= n
	}
	return nil
}

func rawConsume(ctx context.Context, c *redis.Client, jobs int, trim rawTrim, open *quota) error {
	read := []any{"XREADGROUP", "GROUP", rawGroup, "c", "COUNT", rawBatch, "BLOCK", 5000, "STREAMS", rawStream, ">"}
	ack := make([]any, 0, 3+rawBatch)
	del := make([]any, 0, 2+rawBatch)
	for jobs > 0 {
		reply, err := c.Do(ctx, read...).Slice()
		if err != nil {
			return fmt.Errorf("bare loop: read: %w", err)
		}
		rows, _ := reply[0].([]any)[1].([]any)
		ack, del = append(ack[:0], "XACK", rawStream, rawGroup), append(del[:0], "XDEL", rawStream)
		for _, row := range rows {
			id := row.([]any)[0]
			ack, del = append(ack, id), append(del, id)
		}
		p := c.Pipeline()
		p.Do(ctx, ack...)
		if trim {
			// The last one stays: its successor's id is not known. The end of the stream is the loop's.
			p.Do(ctx, "XTRIM", rawStream, "MINID", "~", ack[len(ack)-1])
		} else {
			p.Do(ctx, del...)
		}
		if _, err := p.Exec(ctx); err != nil {
			return fmt.Errorf("bare loop: ack: %w", err)
		}
		open.give(len(rows))
		jobs -= len(rows)
	}
	return nil
}
