package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"ringmaster/bench"
	"ringmaster/internal/redisproc"
)

// concurrency is how many handlers may run at a time.
const concurrency = 64

// many is a batch, for systems that take jobs in batches.
const many = 500

// askers hand jobs in one by one, for systems that do not take batches.
const askers = 16

// system is a job system at work: its worker runs, and calls load.ran for each job.
type system struct {
	move  func(ctx context.Context, jobs int) error // returns when so many jobs have run
	close func()
}

// server is what a system keeps its jobs in.
type server struct {
	at   string // its address
	pid  int    // of its process; 0: on another machine
	stop func()
}

// peer is a contender. What open leaves behind when it fails ends with this program.
type peer struct {
	name   string
	module string // that the version is of; empty: this checkout
	note   string
	jobs   int // of one sample: a few seconds' worth on two cores
	serve  func(ctx context.Context) (server, error)
	open   func(ctx context.Context, at string) (system, error)
}

// sample is one run of a peer.
type sample struct {
	rate   float64 // jobs per second
	server float64 // µs of CPU per job
	client float64
	others float64 // CPUs that neither took
}

// warmup jobs go through a system before it is measured: its connections are there, its
// scripts are loaded, its partitions have an owner.
const warmup = 1000

func (p peer) sample(ctx context.Context, jobs int) (sample, error) {
	s, err := p.serve(ctx)
	if err != nil {
		return sample{}, fmt.Errorf("%s: start server: %w", p.name, err)
	}
	defer s.stop()
	sys, err := p.open(ctx, s.at)
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", p.name, err)
	}
	defer sys.close()
	if err := sys.move(ctx, warmup); err != nil {
		return sample{}, fmt.Errorf("%s: warm up: %w", p.name, err)
	}
	runtime.GC() // the garbage of the one before is not this one's
	own, busy, stolen := bench.CPU()
	served, began := processTree(s.pid), time.Now()
	if err := sys.move(ctx, jobs); err != nil {
		return sample{}, fmt.Errorf("%s: %w", p.name, err)
	}
	took := time.Since(began).Seconds()
	served = processTree(s.pid) - served
	own2, busy2, stolen2 := bench.CPU()
	own, busy, stolen = own2-own, busy2-busy, stolen2-stolen
	micros := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(jobs) }
	return sample{
		rate: float64(jobs) / took, server: micros(served), client: micros(own),
		others: max(0, (busy+stolen-own-served).Seconds()/took),
	}, nil
}

// redis starts a server that keeps nothing on disk.
func redis(ctx context.Context) (server, error) {
	dir, err := os.MkdirTemp("", "ringmaster-peers-")
	if err != nil {
		return server{}, err
	}
	s, err := redisproc.Start(ctx, redisproc.Options{Dir: dir})
	if err != nil {
		_ = os.RemoveAll(dir)
		return server{}, err
	}
	return server{at: s.Addr(), pid: s.PID(), stop: func() {
		_ = s.Kill()
		_ = os.RemoveAll(dir)
	}}, nil
}

// payload is a JSON string, for those that want JSON.
func payload() []byte {
	return []byte(strconv.Quote(strings.Repeat("x", bench.PayloadBytes-2)))
}

// bare is the loop one would write by hand; it counts for itself.
func bare(trim bool) func(context.Context, string) (system, error) {
	return func(_ context.Context, at string) (system, error) {
		return system{
			move:  func(ctx context.Context, jobs int) error { return bench.Bare(ctx, "redis://"+at, jobs, trim) },
			close: func() {},
		}, nil
	}
}
