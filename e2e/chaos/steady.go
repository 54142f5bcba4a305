package main

import (
	"context"
	"fmt"
	"time"
)

// steadySample is how often memory is looked at under load without faults.
const steadySample = 5 * time.Second

// still lets jobs flow without faults, and watches the memory in use by processes that live
// as long as it takes: under faults most are too young for a slope to say
// anything, and what waits to be collected grows for minutes in one that makes little.
func (u *Run) still(ctx context.Context) {
	spec := RingSpec{Name: "steady", Workers: 4, Dispatchers: 2, Partitions: 64, Role: func(r *Role) { r.Collect = true }}
	u.now = spec.Name
	r, err := newRig(ctx, u, spec, u.seed*1000+990)
	if err != nil {
		u.failed(ctx, "start", err)
		return
	}
	defer u.end(ctx, r)
	if err = r.Quiet(ctx); err == nil {
		err = r.Flow(ctx)
	}
	for until := time.Now().Add(u.steady); err == nil && time.Now().Before(until) && ctx.Err() == nil; {
		r.Pause(ctx, steadySample)
		for _, p := range r.procs {
			if p.Alive() {
				u.memory(p, p.Kind+", steady load", p.Stats())
			}
		}
	}
	if err == nil {
		err = r.Quiet(ctx)
	}
	if err != nil && ctx.Err() == nil {
		u.anomaly("steady load", fmt.Sprint(err))
	}
}
