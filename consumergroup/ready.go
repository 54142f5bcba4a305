package consumergroup

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"ringmaster/internal/pause"
	"ringmaster/job"
)

// awaitReady says "ready" once the incarnation owns what the plan gives it, and until then, after
// 2 s and every 30 s, why it does not. It ends with ctx, or when the worker leaves.
func (n *session) awaitReady(ctx context.Context) {
	began := time.Now()
	word := began.Add(job.FirstWord)
	for pauses := (pause.Doubling{First: 20 * time.Millisecond, Most: 500 * time.Millisecond}); pauses.Wait(ctx) && !n.leaving(); {
		call, cancel := context.WithTimeout(ctx, n.w.cfg.LeaseTTL)
		st, err := n.member.Stand(call)
		cancel()
		owned := n.owned()
		why, none := "", ""
		switch {
		case err != nil:
			why = "the server does not answer: " + err.Error()
		default:
			why = notReady(st, owned, time.Since(began))
		}
		if why == "" {
			if owned == 0 {
				none = "the plan gives it none: it stands by"
			}
			n.say(slog.LevelInfo, "ready", owned, none)
			if n.w.deps.Owns != nil {
				n.w.deps.Owns()
			}
			return
		}
		if !time.Now().Before(word) && ctx.Err() == nil {
			n.say(slog.LevelWarn, "not ready", owned, why)
			word = time.Now().Add(job.NextWord)
		}
	}
}

// tellStanding says, every 30 s, that partitions are not read since all that is held of them waits
// for its next attempt, or for others of its type.
func (s *shard) tellStanding(now time.Time) {
	s.tellInLine(now)
	if now.Sub(s.stands) < job.NextWord {
		return
	}
	s.w.mu.Lock()
	parts, jobs := s.lanes.Standing(now)
	s.w.mu.Unlock()
	if parts == 0 {
		return
	}
	s.stands = now
	s.w.deps.Log.Warn("partitions are not read: as many jobs as may be held wait for their next attempt, or for others of their type", "partitions", parts, "jobs", jobs)
}

// tellInLine says, every 30 s and at level debug, of which types jobs wait for others to end. The
// first shard tells it for all.
func (s *shard) tellInLine(now time.Time) {
	log := s.w.deps.Log
	if s.number != 0 || now.Sub(s.lined) < job.NextWord || !log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	s.w.mu.Lock()
	all := s.w.pool.InLine()
	s.w.mu.Unlock()
	for _, l := range all {
		s.lined = now
		log.Debug("jobs wait for others of their type", "type", l.Type, "concurrency", l.Most, "jobs", l.Waits)
	}
}

func (n *session) say(level slog.Level, what string, owned int, why string) {
	args := []any{"incarnation", n.inc, "partitions", owned, "concurrency", n.w.cfg.Concurrency}
	if why != "" {
		args = append(args, "why", why)
	}
	n.w.deps.Log.Log(context.Background(), level, what, args...)
}

// notReady is why a worker does not own what it should; "" if it does. One that a leader leaves
// without partitions for as long as a plan takes is not to have any.
func notReady(st job.Stand, owned int, waited time.Duration) string {
	switch {
	case st.Moves > 0 || st.Phase != 0:
		return fmt.Sprintf("a resize is under way: %d partitions have still to move", st.Moves)
	case owned < st.Planned:
		return fmt.Sprintf("the plan gives it %d partitions, and it has taken up %d", st.Planned, owned)
	case st.Planned > 0:
		return ""
	case st.Leader == "":
		return "no dispatcher leads the ring of this queue: start one"
	case waited < job.FirstWord:
		return "dispatcher " + st.Leader + " has not planned yet"
	}
	return ""
}

// owned is how many partitions the incarnation holds.
func (n *session) owned() int {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	owned := 0
	for _, s := range n.shards {
		owned += len(s.lanes.Tenures())
	}
	return owned
}

// running is how many jobs have not ended.
func (n *session) running() int {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.w.pool.Runs()
}

func (n *session) leaving() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.stopping.IsZero()
}
