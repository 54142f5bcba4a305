package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// accepted counts the jobs that producers were told are in.
func (r *Rig) accepted() int64 {
	var n int64
	for _, p := range r.procs {
		if p.Kind == producer {
			n += p.Stats().Accepted
		}
	}
	return n
}

// meter measures the flow of jobs.
type meter struct {
	at time.Time
	n  int64
}

// Flow checks that jobs flow at half of the wanted rate at least: a fault without load
// shows nothing.
func (r *Rig) Flow(ctx context.Context) error {
	best := 0.0
	err := r.Until(ctx, "traffic", 20*time.Second, func() bool {
		now := time.Now()
		if r.flow.at.IsZero() || now.Sub(r.flow.at) > 3*time.Second {
			r.flow = meter{now, r.accepted()}
			return false
		}
		if now.Sub(r.flow.at) < 700*time.Millisecond {
			return false
		}
		n := r.accepted()
		rate := float64(n-r.flow.n) / now.Sub(r.flow.at).Seconds()
		r.flow = meter{}
		best = max(best, rate)
		return rate >= float64(r.Spec.Rate)/2
	})
	if err != nil {
		return fmt.Errorf("%w: at most %.0f jobs per second of %d", errNoTraffic, best, r.Spec.Rate)
	}
	return nil
}

var errNoTraffic = errors.New("too little traffic")
