package consumergroup

import (
	"context"
	"errors"
	"time"

	"ringmaster/job"
)

// beatSoon has a heartbeat sent at once: somebody may think that this worker is dead.
func (n *session) beatSoon() {
	select {
	case n.soon <- struct{}{}:
	default:
	}
}

// errDeaf: a reader has had no answer for long, so it obeys no message either.
var errDeaf = errors.New("a reader has had no answer for two leases: no heartbeat is sent")

// heartbeat renews the lease, unless a reader is deaf: a worker whose reader hangs, or
// whose reader's connection alone is cut off, would otherwise keep partitions that it does
// not read.
func (n *session) heartbeat(ctx context.Context, now time.Time, rested bool) ([]job.Beat, error) {
	for _, s := range n.shards {
		if s.driver.DeafFor(now, s.reader.Received()) > 2*n.w.cfg.LeaseTTL {
			return nil, errDeaf
		}
	}
	call, cancel := context.WithTimeout(ctx, n.w.cfg.LeaseTTL/2)
	defer cancel()
	if rested {
		return n.member.Renew(call)
	}
	return n.member.Heartbeat(call)
}

// atRest reports whether nothing runs here and no shard waits for anything: only then may
// heartbeats be as rare as the lease allows, and say no more than that the lease goes on.
func (n *session) atRest() bool {
	if n.leaving() {
		return false
	}
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	for _, s := range n.shards {
		if !s.driver.Rests() {
			return false
		}
	}
	return n.w.pool.Runs() == 0
}

// untilDue waits for the next heartbeat. It reports whether that is one of a session at rest: then
// it is due a third of a lease after the last, at a moment that all sessions of the process share,
// so that they go together. What stirs meanwhile brings back the set pace.
func (n *session) untilDue(ctx context.Context, last time.Time) (rested bool) {
	for {
		rested = n.atRest()
		wait := n.w.cfg.Heartbeat - time.Since(last)
		if rested {
			wait = n.w.cfg.together(time.Now())
			if time.Since(last) >= max(n.w.cfg.LeaseTTL/3, n.w.cfg.Heartbeat) {
				wait = 0 // the moment has just passed
			}
		}
		timer := time.NewTimer(max(wait, 0))
		select {
		case <-timer.C:
			return rested && n.atRest()
		case <-n.stirred:
			timer.Stop()
		case <-n.soon:
			timer.Stop()
			return false
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// together is how long it is until the sessions at rest of this process beat: every third of a
// lease, another moment than that of most processes.
func (c Config) together(now time.Time) time.Duration {
	every := max(c.LeaseTTL/3, c.Heartbeat)
	own := every / 97 * time.Duration(c.PID%97)
	return every - time.Duration((now.UnixNano()+int64(own))%int64(every))
}
