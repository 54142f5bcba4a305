package main

import (
	"context"
	"syscall"
	"time"

	"ringmaster/internal/failpoint"
)

// Kill ends a process with SIGKILL and waits until it is gone.
func (r *Rig) Kill(p *Proc) {
	if p.Alive() {
		r.run.count(&r.run.kills)
	}
	p.end()
	r.book.fault("kill", p)
}

// Freeze and Thaw are SIGSTOP and SIGCONT.
func (r *Rig) Freeze(p *Proc) error {
	r.book.fault("freeze", p)
	return p.Signal(syscall.SIGSTOP)
}

// Thaw lets a frozen process go on.
func (r *Rig) Thaw(p *Proc) error {
	r.book.fault("thaw", p)
	return p.Signal(syscall.SIGCONT)
}

// Term asks a process to end gracefully.
func (r *Rig) Term(p *Proc) error {
	r.book.fault("term", p)
	return p.Signal(syscall.SIGTERM)
}

// Ended waits for the end of a process.
func (r *Rig) Ended(ctx context.Context, p *Proc, limit time.Duration) error {
	return r.Until(ctx, p.Name+" ends", limit, func() bool { return !p.Alive() })
}

// Hit waits until a process acted at a point, after the given time. It takes the point
// back and returns ErrNotHit if that does not happen.
func (r *Rig) Hit(ctx context.Context, p *Proc, point failpoint.Point, after time.Time, limit time.Duration) (time.Time, error) {
	var at time.Time
	err := r.Until(ctx, "", limit, func() bool {
		at = p.HitAt(point, after)
		return !at.IsZero()
	})
	if err != nil {
		p.Disarm(point)
		return at, notHit("%s at %s: %w", p.Name, point, err)
	}
	r.run.hit(point)
	r.book.fault("point "+string(point), p)
	return at, nil
}

// KilledAt arms a point with "kill" (or "after n kill") and waits for the process's death
// there. It returns the time of the hit.
func (r *Rig) KilledAt(ctx context.Context, p *Proc, point failpoint.Point, action string, limit time.Duration) (time.Time, error) {
	since := time.Now()
	if err := p.Arm(point, action); err != nil {
		return since, err
	}
	return r.diedAt(ctx, p, point, since, limit)
}

func (r *Rig) diedAt(ctx context.Context, p *Proc, point failpoint.Point, since time.Time, limit time.Duration) (time.Time, error) {
	at, err := r.Hit(ctx, p, point, since, limit)
	if err != nil {
		return at, err
	}
	if err := r.Ended(ctx, p, 5*time.Second); err != nil {
		return at, err
	}
	if s := p.KilledBy(); s != syscall.SIGKILL {
		return at, notHit("%s ended by %v at %s", p.Name, s, point)
	}
	r.run.count(&r.run.kills)
	return at, nil
}
