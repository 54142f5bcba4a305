package consumergroup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ringmaster/consumergroup/driver"
	"ringmaster/internal/pause"
	"ringmaster/job"
	"ringmaster/resize"
)

// session is the life of one incarnation.
type session struct {
	w      *Worker
	inc    string
	member Member
	shards []*shard
	work   context.Context // of handlers; ends when the incarnation is lost or the drain is over
	end    context.CancelCauseFunc
	soon   chan struct{} // capacity 1: a heartbeat is wanted at once

	stirred chan struct{} // capacity 1: a shard rests no more

	mu       sync.Mutex
	stopping time.Time // when leaving began; zero: not
	asked    bool      // somebody asked this worker to drain
}

// drain is asked for by a control message: the worker leaves as it does on a signal.
func (n *session) drain() {
	n.mu.Lock()
	first := !n.asked
	n.asked = true
	n.mu.Unlock()
	if first {
		n.w.deps.Log.Info("asked to drain", "incarnation", n.inc)
		n.w.stopOnce.Do(func() { close(n.w.drained) })
	}
}

// alone reports whether a leaving worker may hand partitions to nobody: no leader has
// planned without it for a while.
func (n *session) alone() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.stopping.IsZero() && time.Since(n.stopping) > time.Second
}

// newSession joins the ring as a new incarnation. It tries until ctx ends.
func (w *Worker) newSession(ctx context.Context) (*session, func(), error) {
	inc := w.cfg.Name + "." + w.deps.NewID()
	info := job.MemberInfo{Incarnation: inc, State: "up", Weight: w.cfg.Weight, Name: w.cfg.Name, Host: w.cfg.Host, PID: w.cfg.PID, Slots: w.cfg.Concurrency, DrainMs: w.cfg.DrainTimeout.Milliseconds()}
	pauses := pause.Doubling{First: 20 * time.Millisecond, Most: time.Second}
	told, word := false, time.Time{}
	for {
		n := &session{w: w, inc: inc, soon: make(chan struct{}, 1)}
		unwatch, err := n.join(ctx, info)
		if err == nil {
			if told {
				w.deps.Log.Info("server answers")
			}
			return n, unwatch, nil
		}
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		if !job.Waitable(err) && !errors.Is(err, job.ErrNotFound) && !errors.Is(err, job.ErrConflict) {
			return nil, nil, fmt.Errorf("join queue %s: %w", w.cfg.Queue, err)
		}
		if now := time.Now(); !now.Before(word) && job.Waitable(err) {
			w.deps.Log.Warn("waiting for the server", "error", err)
			told, word = true, now.Add(job.NextWord)
		}
		if errors.Is(err, job.ErrConflict) {
			// An unanswered join was executed after all: never reuse an incarnation.
			inc = w.cfg.Name + "." + w.deps.NewID()
			info.Incarnation = inc
		}
		if !pauses.Wait(ctx) {
			return nil, nil, context.Cause(ctx)
		}
	}
}

func (n *session) join(ctx context.Context, info job.MemberInfo) (func(), error) {
	w := n.w
	count, err := w.deps.Store.Prepare(ctx)
	if err != nil {
		return nil, err
	}
	n.member, n.stirred = w.deps.Store.Member(info, w.cfg.LeaseTTL), make(chan struct{}, 1)
	unwatch, err := n.member.Watch(ctx, n.beatSoon)
	if err != nil {
		return nil, err
	}
	sent := time.Now()
	joined, err := n.member.Join(ctx)
	if err != nil {
		unwatch()
		return nil, err
	}
	w.renewLease(sent)
	n.work, n.end = context.WithCancelCause(context.WithoutCancel(ctx))
	for i := range count {
		n.shards = append(n.shards, n.newShard(i, joined[i]))
	}
	return unwatch, nil
}

// live runs the incarnation until it is evicted (driver.ErrEvicted), has left (nil), or ctx,
// which ends everything at once, is over. stop begins a graceful leave.
func (n *session) live(ctx context.Context, stop <-chan struct{}) error {
	intake, endIntake := context.WithCancelCause(ctx)
	defer endIntake(nil)
	acks, endAcks := context.WithCancel(ctx)
	defer endAcks()
	errs := make(chan error, len(n.shards)+2)
	var readers, others sync.WaitGroup
	for _, s := range n.shards {
		readers.Go(func() { errs <- s.run(intake) })
		others.Go(func() { s.driver.RunAcks(acks) })
		others.Go(func() { s.runPoker(acks) })
	}
	others.Go(func() { n.awaitReady(intake) })
	others.Go(func() {
		if err := n.beat(acks); err != nil {
			errs <- err
		}
	})
	var err error
	select {
	case err = <-errs:
	case <-stop:
		err = n.leave(ctx, errs)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if errors.Is(err, driver.ErrEvicted) {
		n.w.endLease() // the readers may take their time
	}
	// The order matters. Readers first: nothing new starts. Then the handlers' contexts:
	// what they return now is refused or unknown. Acks last: they may still be answered.
	endIntake(driver.ErrEvicted)
	for _, s := range n.shards {
		_ = s.reader.Close()
	}
	readers.Wait()
	n.abandonAll(err)
	endAcks()
	others.Wait()
	n.forgetEnds()
	return err
}

// forgetEnds lets go of ends that will not be answered any more.
func (n *session) forgetEnds() {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	for _, s := range n.shards {
		s.lanes.Stop()
	}
}

// abandonAll forgets what the incarnation held; its runs are told.
func (n *session) abandonAll(err error) {
	cause := job.ErrLost
	if err == nil {
		cause = job.ErrStopping
	}
	n.end(cause)
	w := n.w
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range n.shards {
		s.lanes.AbandonAll()
	}
}

// beat renews the lease until ctx ends. It returns driver.ErrEvicted if the store says so.
func (n *session) beat(ctx context.Context) error {
	w := n.w
	expired, rested := false, false
	again := time.Duration(0) // the pause after a heartbeat that failed
	for {
		// What was wanted before is answered by this one.
		select {
		case <-n.soon:
			rested = false
		default:
		}
		// The lease counts from before the heartbeat was sent: the server's count can only
		// begin later.
		sent := time.Now()
		beats, err := n.heartbeat(ctx, sent, rested && again == 0)
		if err == nil {
			for i, b := range beats {
				if b.Fenced {
					w.endLease()
					return driver.ErrEvicted
				}
				n.shards[i].driver.Beaten(b)
			}
			w.renewLease(sent)
			for _, s := range n.shards {
				if expired {
					s.driver.Post(resize.LeaseRenewed{})
				}
			}
			expired = false
		} else if !expired && !w.leaseValidNow() {
			expired = true
			w.deps.Log.Warn("lease is over by this worker's own clock: no job starts until a heartbeat gets through", "error", err)
			for _, s := range n.shards {
				s.driver.Post(resize.LeaseExpired{})
			}
		}
		if err == nil {
			again = 0
		} else {
			again = min(max(2*again, w.cfg.Heartbeat/10), w.cfg.Heartbeat)
			if !pause.For(ctx, again) {
				return nil
			}
			continue // a leader waits for a sign of life
		}
		if rested = n.untilDue(ctx, sent); ctx.Err() != nil {
			return nil
		}
	}
}

// notDead tells a store that has evicted this incarnation that its process lives: what it held
// was not held by a worker that crashed.
func (n *session) notDead(ctx context.Context) {
	call, cancel := context.WithTimeout(ctx, n.w.cfg.Heartbeat)
	defer cancel()
	_, _ = n.member.Heartbeat(call) // it takes nothing from who joins anew if this is not answered
}

// leave gives everything up gracefully: running jobs finish, or go back when the drain
// timeout is near.
func (n *session) leave(ctx context.Context, errs <-chan error) error {
	w := n.w
	n.mu.Lock()
	n.stopping = time.Now()
	n.mu.Unlock()
	w.deps.Log.Info("leaving", "incarnation", n.inc, "running", n.running(), "drain_timeout", w.cfg.DrainTimeout)
	for _, s := range n.shards {
		s.driver.Post(resize.StopAsked{})
	}
	deadline := time.NewTimer(w.cfg.DrainTimeout)
	defer deadline.Stop()
	warn := time.NewTimer(w.cfg.DrainTimeout - w.cfg.grace())
	defer warn.Stop()
	call, cancel := context.WithTimeout(ctx, min(w.cfg.LeaseTTL, w.cfg.DrainTimeout))
	if err := n.member.Leaving(call); err != nil {
		w.deps.Log.Warn("could not announce the leave", "error", err)
	}
	cancel()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	nudge := time.Now()
	for !n.empty() {
		select {
		case <-poll.C:
			if time.Since(nudge) > 300*time.Millisecond {
				nudge = time.Now()
				for _, s := range n.shards {
					s.driver.Post(resize.StopAsked{})
				}
			}
		case <-warn.C:
			n.end(job.ErrStopping)
		case <-deadline.C:
			w.deps.Log.Warn("drain timeout: what still runs will run again elsewhere")
			return n.left(ctx)
		case err := <-errs:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return n.left(ctx)
}

func (n *session) left(ctx context.Context) error {
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.w.cfg.LeaseTTL)
	defer cancel()
	if err := n.member.Left(call); err != nil {
		n.w.deps.Log.Warn("could not sign off: the lease will end by itself", "error", err)
	}
	return nil
}

// empty reports whether nothing is owned, runs, or waits for an answer.
func (n *session) empty() bool {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	for _, s := range n.shards {
		if !s.driver.Empty() {
			return false
		}
	}
	return n.w.pool.Runs() == 0
}
