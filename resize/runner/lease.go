package runner

import (
	"context"
	"time"

	"ringmaster/internal/failpoint"
	"ringmaster/resize"
)

// KeepLease takes and renews the leadership on its own, so that nothing the leader does
// can make it late, until ctx ends. It counts the lease from before it asked.
func (r *Leader) KeepLease(ctx context.Context) {
	var term uint64
	var until time.Time
	for {
		if r.forgets.Swap(false) {
			term = 0 // a server that has gone back may give the same term out again
		}
		asked := r.host.Now()
		patience := r.cfg.Lease / 2
		if left := until.Sub(asked); term != 0 && left > 0 {
			patience = max(min(patience, left), r.cfg.Lease/20)
		}
		call, cancel := r.host.Within(ctx, patience)
		var got uint64
		var err error
		if r.givesUp.Load() {
			err = r.resign(call)
		}
		if err == nil {
			got, err = r.store.Lead(call, r.cfg.Lease, term)
		}
		cancel()
		if err == nil {
			until = asked.Add(r.cfg.Lease)
		} else if r.host.Now().After(until) {
			got = 0
		} else {
			got = term
		}
		if got != term {
			term = got
			if !r.host.Led(ctx, term) {
				return
			}
		}
		if !r.host.Sleep(ctx, r.renewal(r.host.Now(), term != 0, err == nil)) {
			return
		}
	}
}

func (r *Leader) leaseNews(ctx context.Context, term uint64) {
	if term == 0 {
		r.log.Info("stands by", "last_term", r.term)
		r.term = 0
		r.step(ctx, resize.LeaseLost{})
		return
	}
	r.term, r.repaired = term, time.Time{}
	r.forgets.Store(false)
	r.log.Info("leads", "term", term)
	failpoint.Hit(failpoint.D1)
	r.detector.LeaderChanged(r.host.Now())
	r.step(ctx, resize.LeaseWon{Now: r.now(), Term: term})
}

// StepDown gives the lease up as the process ends, if this leader has it.
func (r *Leader) StepDown(ctx context.Context) {
	if r.term != 0 {
		r.stepDown(ctx)
	}
}

// stepDown gives the lease up. If that is not answered, KeepLease asks again until it is: it would
// else renew what nobody makes use of.
func (r *Leader) stepDown(ctx context.Context) {
	r.term = 0
	r.givesUp.Store(true)
	r.forgets.Store(true)
	call, cancel := r.host.Within(ctx, r.cfg.Timeout)
	defer cancel()
	_ = r.resign(call)
}

// resign gives the lease up, if this dispatcher still has it. One that was told of a higher term
// would else renew its own for ever, and lead nothing: after a failover a shard may have seen a
// term that the first shard has forgotten, and only a new lease has a higher one.
func (r *Leader) resign(ctx context.Context) error {
	err := r.store.Resign(ctx)
	if err != nil {
		r.log.Debug("could not resign", "error", err)
		return err
	}
	r.givesUp.Store(false)
	return nil
}

// renewal is how long it is until the lease is asked for again: after a quarter of it, after up to
// half of it where the process leads hundreds of rings, at moments that all of them share, so that
// they are renewed together; at once, if that failed.
func (r *Leader) renewal(now time.Time, led, answered bool) time.Duration {
	switch {
	case led && !answered:
		return r.cfg.Lease / 20
	case !led:
		return r.cfg.Lease / 4
	}
	every := min(r.share(r.cfg.Lease/4, renewsEach), r.cfg.Lease/2)
	return every - now.Sub(r.cfg.Began)%every
}
