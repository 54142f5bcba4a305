package main

import (
	"context"
	"fmt"
	"time"

	"ringmaster/internal/failpoint"
)

// serverRows are the faults of the server.
func serverRows() []Row {
	rows := []Row{
		{Number: 36, Name: "server killed, back after 2 s; the file synced at every write", Expect: "nothing acknowledged is lost; jobs run within a lease and 5 s, in the same processes", Run: serverDies("always", 2*time.Second)},
		{Number: 37, Name: "server killed, back after 2 s; the file synced every second", Expect: "as 36: the system keeps what a process wrote", Run: serverDies("everysec", 2*time.Second)},
		{Number: 41, Name: "server restarts at each moment of a resize (D2 to D7)", Expect: "the resize goes on; nothing acknowledged is lost", Ring: barrier(), Run: serverDiesInResize},
		{Number: 42, Name: "server down for long (30 s, 10 min in a release)", Expect: "as 36; no process grows meanwhile", Run: serverAway},
		{Number: 43, Name: "server frozen for 3 s, then for 10 s", Expect: "no job starts after a lease without an answer; then as 36", Run: serverFreezes},
	}
	for _, more := range [][]Row{powerRows(), failoverRows(), clockRows(), handRows(), lostRows(), clusterRows()} {
		rows = append(rows, more...)
	}
	return rows
}

// back is how long it may take until jobs run, once the server answers: leases get a
// grace of one TTL after a restart.
const back = 2*leaseTTL + 5*time.Second

func serverDies(fsync string, down time.Duration) func(context.Context, *Rig) error {
	return func(ctx context.Context, r *Rig) error {
		s, err := serverOf[single](r)
		if err != nil {
			return err
		}
		if err := r.config(ctx, "appendfsync", fsync); err != nil {
			return err
		}
		r.Pause(ctx, 500*time.Millisecond)
		before := r.pids()
		if err := s.Kill(); err != nil {
			return err
		}
		r.Wait(ctx, down)
		at := time.Now()
		// The setting of the command line holds again.
		if err := s.Restart(ctx); err != nil {
			return err
		}
		return sameProcesses(ctx, r, before, at, "server restarted")
	}
}

// sameProcesses waits until jobs run again, without any process having ended.
func sameProcesses(ctx context.Context, r *Rig, before map[int]bool, at time.Time, metric string) error {
	if err := recovered(ctx, r, metric, at, back); err != nil {
		return err
	}
	for pid := range before {
		if !r.pids()[pid] {
			return fmt.Errorf("process %d ended", pid)
		}
	}
	return nil
}

// pids are the processes that live.
func (r *Rig) pids() map[int]bool {
	out := map[int]bool{}
	for _, p := range r.procs {
		if p.Alive() {
			out[p.PID] = true
		}
	}
	return out
}

// config changes a setting of the server.
func (r *Rig) config(ctx context.Context, name, value string) error {
	raw := r.Raw()
	defer raw.Close()
	if err := raw.ConfigSet(ctx, name, value).Err(); err != nil {
		return fmt.Errorf("set %s to %s: %w", name, value, err)
	}
	return nil
}

// serverDiesInResize stops the leader at a moment of a resize and restarts the server
// there.
func serverDiesInResize(ctx context.Context, r *Rig) error {
	s, err := serverOf[single](r)
	if err != nil {
		return err
	}
	for _, moment := range []struct {
		point failpoint.Point
		start trigger
	}{{failpoint.D2, joins}, {failpoint.D3, joins}, {failpoint.D4, leavesOthersBusy}, {failpoint.D5, joinsSlowly}, {failpoint.D6, dies}, {failpoint.D7, dies}} {
		leader, err := r.Leader(ctx)
		if err != nil {
			return err
		}
		since := time.Now()
		if err := leader.Arm(moment.point, "stop"); err != nil {
			return err
		}
		if err := moment.start(ctx, r); err != nil {
			return err
		}
		if _, err := r.Hit(ctx, leader, moment.point, since, 8*time.Second); err != nil {
			return err
		}
		if err := s.Kill(); err != nil {
			return err
		}
		at := time.Now()
		if err := s.Restart(ctx); err != nil {
			return err
		}
		if err := r.Thaw(leader); err != nil {
			return err
		}
		if err := recovered(ctx, r, "", at, back+leaderLease); err != nil {
			return fmt.Errorf("at %s: %w", moment.point, err)
		}
		if err := r.Restore(ctx); err != nil {
			return fmt.Errorf("after %s: %w", moment.point, err)
		}
	}
	return nil
}

func serverAway(ctx context.Context, r *Rig) error {
	s, err := serverOf[single](r)
	if err != nil {
		return err
	}
	before, memory := r.pids(), r.memory()
	if err := s.Kill(); err != nil {
		return err
	}
	// A row may take 3 minutes, except in a release.
	r.Wait(ctx, time.Duration(r.Scale(10, 30, 150))*time.Second)
	for pid, rss := range r.memory() {
		if was, ok := memory[pid]; ok && rss > was+mostGrowth {
			return fmt.Errorf("process %d grew from %d to %d bytes while the server was away", pid, was, rss)
		}
	}
	at := time.Now()
	if err := s.Restart(ctx); err != nil {
		return err
	}
	return sameProcesses(ctx, r, before, at, "server restarted")
}

// mostGrowth of a process that has nothing to do.
const mostGrowth = 32 << 20

// memory is what each process has, in bytes.
func (r *Rig) memory() map[int]int64 {
	out := map[int]int64{}
	for _, p := range r.procs {
		if p.Alive() {
			out[p.PID] = p.Stats().RSS
		}
	}
	return out
}

func serverFreezes(ctx context.Context, r *Rig) error {
	s, err := serverOf[single](r)
	if err != nil {
		return err
	}
	before := r.pids()
	for _, long := range []time.Duration{leaseTTL, 10 * time.Second} {
		began := time.Now()
		if err := s.Freeze(); err != nil {
			return err
		}
		r.Wait(ctx, long)
		at := time.Now()
		for _, p := range r.Live(worker) {
			// Jobs that were read before may start until the lease is over.
			if last := r.lastStart(p); last.Sub(began) > leaseTTL && last.Before(at) {
				return fmt.Errorf("%s started a job %v after the last answer", p.Name, last.Sub(began))
			}
		}
		if err := s.Thaw(); err != nil {
			return err
		}
		if err := sameProcesses(ctx, r, before, at, "server frozen"); err != nil {
			return err
		}
	}
	return nil
}
