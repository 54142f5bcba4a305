package streams

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// clockReading is what a server's clock said, and when that was heard.
type clockReading struct{ server, at time.Time }

// noteClock takes what an answer says of the server's clock.
func (r *Reader) noteClock(ms uint64) {
	if ms > 0 {
		r.clock.Store(&clockReading{time.UnixMilli(int64(ms)).UTC(), time.Now()})
	}
}

// Clock is what the shard's server's clock said, to the millisecond, at a moment of this machine's:
// that of the last answer to Claim, Unpark or History that told it, so it is behind by the answer's
// way, if anything. Zero times before the first. Safe for concurrent use; it does not block.
func (r *Reader) Clock() (server, at time.Time) {
	if c := r.clock.Load(); c != nil {
		return c.server, c.at
	}
	return time.Time{}, time.Time{}
}

// now is what a server's clock says, or this machine's where it cannot be asked.
func (s *Store) now(ctx context.Context) time.Time {
	now, err := s.cmd.Time(ctx).Result()
	if err != nil {
		now = time.Now()
	}
	return now.UTC()
}

const maxSkew = time.Second // between a server's clock and ours

// ClockAhead is how far this machine's clock is ahead of a server's, less than 0 where it is
// behind; 0 if that is less than a second more than the question took. It blocks for a round trip.
func (s *Store) ClockAhead(ctx context.Context) (time.Duration, error) { return clockAhead(ctx, s.cmd) }

// clock answers TIME.
type clock interface {
	Time(ctx context.Context) *redis.TimeCmd
}

func clockAhead(ctx context.Context, c clock) (time.Duration, error) {
	asked := time.Now()
	server, err := c.Time(ctx).Result()
	if err != nil {
		return 0, wrap("ask for the server's time", err)
	}
	return aheadOf(server, asked, time.Now()), nil
}

// aheadOf allows for the time that the question took.
func aheadOf(server, asked, answered time.Time) time.Duration {
	half := answered.Sub(asked) / 2
	ahead := asked.Add(half).Sub(server)
	if ahead.Abs() <= maxSkew+half {
		return 0
	}
	return ahead
}
