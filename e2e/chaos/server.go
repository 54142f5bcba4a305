package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"ringmaster/internal/redisproc"
)

// always is the server's setting that loses nothing with its process or its power.
func always() []string { return []string{"--appendonly", "yes", "--appendfsync", "always"} }

// single is one redis-server.
type single struct{ *redisproc.Server }

func (s single) Close() { _ = s.Kill() } // nothing is left of a server that does not end

// plainServer starts one with an append-only file that is synced at every write.
func plainServer(ctx context.Context, dir string) (Server, error) {
	s, err := redisproc.Start(ctx, redisproc.Options{Dir: filepath.Join(dir, "redis"), Args: always()})
	if err != nil {
		return nil, err
	}
	return single{s}, nil
}

// powered is a server whose machine can lose its power.
type powered struct{ *redisproc.PowerCut }

func (p powered) Close() { _ = p.Kill() }

func poweredServer(ctx context.Context, dir string) (Server, error) {
	p, err := redisproc.StartPowerCut(ctx, redisproc.Options{Dir: filepath.Join(dir, "redis"), Args: always()})
	if err != nil {
		return nil, err
	}
	return powered{p}, nil
}

// clocked is a server whose clock can be set. Steps add up.
type clocked struct {
	single
	clock *redisproc.Clock
	off   time.Duration
}

func (c *clocked) step(d time.Duration) error {
	c.off += d
	return c.clock.Step(c.off)
}

func clockedServer(ctx context.Context, dir string) (Server, error) {
	clock, err := redisproc.NewClock(ctx, filepath.Join(dir, "clock"))
	if err != nil {
		return nil, err
	}
	s, err := redisproc.Start(ctx, clock.Options(redisproc.Options{Dir: filepath.Join(dir, "redis"), Args: always()}))
	if err != nil {
		return nil, err
	}
	return &clocked{single: single{s}, clock: clock}, nil
}

// onDisk is a server whose disk can be full.
type onDisk struct {
	single
	disk *redisproc.Disk
}

func (o onDisk) Close() {
	o.single.Close()
	_ = o.disk.Close() // the directory is left behind, as after a failed run
}

// diskBytes is room for what a row writes, and little enough to fill quickly.
const diskBytes = 64 << 20

func smallDiskServer(ctx context.Context, dir string) (Server, error) {
	d, err := redisproc.NewDisk(filepath.Join(dir, "disk"), diskBytes)
	if err != nil {
		return nil, err
	}
	s, err := redisproc.Start(ctx, redisproc.Options{Dir: d.Dir, Args: append(always(), "--auto-aof-rewrite-min-size", "4mb")})
	if err != nil {
		_ = d.Close()
		return nil, err
	}
	return onDisk{single{s}, d}, nil
}

// replicated starts a primary and n replicas, with more settings of all. Its URL follows
// the primary.
func replicated(n int, args ...string) func(context.Context, string) (Server, error) {
	return func(ctx context.Context, dir string) (Server, error) {
		g, err := redisproc.StartGroup(ctx, n, redisproc.Options{Dir: filepath.Join(dir, "redis"), Args: append(always(), args...)})
		if err != nil {
			return nil, err
		}
		return g, nil
	}
}

// serverOf is the ring's server as the row knows it.
func serverOf[S Server](r *Rig) (S, error) {
	s, ok := r.Server.(S)
	if !ok {
		return s, fmt.Errorf("the ring's server is a %T", r.Server)
	}
	return s, nil
}
