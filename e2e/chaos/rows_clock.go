package main

import (
	"context"
	"fmt"
	"time"
)

func clocks() RingSpec { return RingSpec{Name: "clock", Server: clockedServer} }

// clockRows step clocks.
func clockRows() []Row {
	return []Row{
		{Number: 62, Name: "the server's clock steps by 60 s, then by a day", Expect: "leases lapse once at most; every partition runs jobs within two leases and 5 s", Ring: clocks(), Run: clockSteps(time.Minute, 24*time.Hour)},
		{Number: 63, Name: "the server's clock steps back by 180 s while a worker is frozen; then a worker is killed", Expect: "both are found as always: nobody waits for the clock", Ring: clocks(), Run: clockGoesBack},
		{Number: 64, Name: "a worker's wall clock steps by an hour", Cannot: "a Go program reads its clock from the vDSO, where no preloaded library comes between, and the machine's own clock is not the test's to set. A worker's lease ends by the monotonic or the wall clock, whichever is first: a step forward by more than what is left of it makes the worker start nothing until the next heartbeat, half a second at most; a step back changes nothing, since the monotonic clock goes on (`consumergroup.TestALeaseEndsByEitherClock`)"},
	}
}

// stepped moves the server's clock and sees that it moved.
func stepped(ctx context.Context, r *Rig, d time.Duration) error {
	s, err := serverOf[*clocked](r)
	if err != nil {
		return err
	}
	raw := r.Raw()
	defer raw.Close()
	before, err := raw.Time(ctx).Result()
	if err != nil {
		return fmt.Errorf("ask for the time: %w", err)
	}
	if err := s.step(d); err != nil {
		return err
	}
	after, err := raw.Time(ctx).Result()
	if err != nil {
		return fmt.Errorf("ask for the time: %w", err)
	}
	if moved := after.Sub(before); (moved - d).Abs() > 5*time.Second {
		return notHit("the clock moved by %v", moved)
	}
	return nil
}

func clockSteps(steps ...time.Duration) func(context.Context, *Rig) error {
	return func(ctx context.Context, r *Rig) error {
		for _, d := range steps {
			before := r.pids()
			r.Pause(ctx, 300*time.Millisecond)
			if err := stepped(ctx, r, d); err != nil {
				return err
			}
			if err := sameProcesses(ctx, r, before, time.Now(), "server's clock stepped"); err != nil {
				return fmt.Errorf("after %v: %w", d, err)
			}
		}
		return nil
	}
}

func clockGoesBack(ctx context.Context, r *Rig) error {
	frozen, err := r.Worker(ctx)
	if err != nil {
		return err
	}
	inc := r.Incarnation(ctx, frozen)
	if err := r.Freeze(frozen); err != nil {
		return err
	}
	r.Pause(ctx, leaseTTL/2)
	at := time.Now()
	if err := stepped(ctx, r, -180*time.Second); err != nil {
		return err
	}
	if err := r.Without(ctx, inc, back); err != nil {
		return fmt.Errorf("a worker was frozen before the step: %w", err)
	}
	r.Metric("server's clock stepped", time.Since(at))
	if err := r.Thaw(frozen); err != nil {
		return err
	}
	if err := r.Settled(ctx, 15*time.Second); err != nil {
		return err
	}
	p, err := r.Worker(ctx, frozen)
	if err != nil {
		return err
	}
	at = time.Now()
	r.Kill(p)
	return recovered(ctx, r, "worker killed", at, leaseTTL+2*time.Second)
}
