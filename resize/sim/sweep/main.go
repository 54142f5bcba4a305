// Command sweep runs the simulator over a range of seeds. Its last line is
// {"first","seeds","violations","per_second"}, per second and core; it exits 1 on
// violations.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"ringmaster/resize/sim"
)

func main() {
	first := flag.Uint64("first", 1, "first seed")
	seeds := flag.Uint64("seeds", 20_000, "how many seeds")
	trace := flag.Bool("trace", false, "print the trace of each schedule; for one seed")
	bug := flag.String("bug", "none", "put a bug in on purpose, by its name")
	limited := flag.Int("limited", 0, "so many jobs of one of two types run at a time in a worker; 0: as many as of all")
	stop := flag.Bool("stop", false, "stop at the first violation")
	workers := flag.Int("p", runtime.GOMAXPROCS(0), "schedules at a time")
	flag.Parse()
	debug.SetGCPercent(400) // many small worlds, each soon forgotten
	s := sweep{first: *first, end: *first + *seeds, trace: *trace, limited: *limited, stop: *stop, faults: map[string]int{}, out: os.Stdout, schedule: sim.Run}
	for _, b := range append(sim.Bugs(), sim.NoBug) {
		if b.String() == *bug {
			s.bug, s.known = b, true
		}
	}
	if !s.known {
		fmt.Fprintf(os.Stderr, "no bug is called %q\n", *bug)
		os.Exit(2)
	}
	if !s.run(*workers) {
		os.Exit(1)
	}
}

type sweep struct {
	first, end uint64
	trace      bool
	limited    int
	stop       bool
	bug        sim.Bug
	known      bool
	out        io.Writer
	schedule   func(sim.Options) sim.Result // runs one: sim.Run

	next       atomic.Uint64
	mu         sync.Mutex
	violations int
	steps      int
	done       int
	faults     map[string]int
}

// run shares the seeds among workers, and reports whether nothing was found.
func (s *sweep) run(workers int) bool {
	began := time.Now()
	s.next.Store(s.first)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for seed := s.next.Add(1) - 1; seed < s.end; seed = s.next.Add(1) - 1 {
				if !s.one(seed) && s.stop {
					s.next.Store(s.end)
				}
			}
		})
	}
	all.Wait()
	took := cpuTime(began)
	if s.done > 1 {
		_, _ = fmt.Fprintf(s.out, "%d steps a schedule; faults: %v\n", s.steps/s.done, s.faults)
	}
	line, err := json.Marshal(struct {
		First      uint64 `json:"first"`
		Seeds      int    `json:"seeds"`
		Violations int    `json:"violations"`
		PerSecond  int    `json:"per_second"`
	}{s.first, s.done, s.violations, int(float64(s.done) / took.Seconds())})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return false
	}
	_, _ = fmt.Fprintln(s.out, string(line))
	return s.violations == 0
}

// simulate runs one schedule; a panic in it is an error of its seed, so that the others are
// run and the last line is printed.
func (s *sweep) simulate(o sim.Options) (r sim.Result) {
	defer func() {
		if p := recover(); p != nil {
			r.Err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return s.schedule(o)
}

func (s *sweep) one(seed uint64) bool {
	o := sim.Options{Seed: seed, Bug: s.bug, Trace: s.trace, Limited: s.limited}
	r := s.simulate(o)
	if r.Err == nil && seed%100 == 0 {
		if again := s.simulate(o); again.Hash != r.Hash {
			r.Err = fmt.Errorf("the same seed gave two different logs")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done++
	s.steps += r.Steps
	for name, n := range r.Counts() {
		s.faults[name] += n
	}
	if s.trace {
		_, _ = fmt.Fprint(s.out, r.Trace)
	}
	if r.Err == nil {
		return true
	}
	s.violations++
	limited := ""
	if s.limited > 0 {
		limited = fmt.Sprint(" LIMITED=", s.limited)
	}
	_, _ = fmt.Fprintf(s.out, "seed %d: %v\n", seed, r.Err)
	if s.violations == 1 && s.bug == sim.NoBug {
		_, _ = fmt.Fprintf(s.out, "  replay: make sim FIRST=%d SEEDS=1 TRACE=1%s\n  keep:   a line in resize/sim/testdata/seeds\n", seed, limited)
	}
	return false
}
