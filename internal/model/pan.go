package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// result is what a search came to.
type result struct {
	search
	states    float64
	errors    int
	truncated bool   // not every state was looked at
	coverage  string // of a bitstate search: hash factor, as pan prints it
	violation string // the first error
	cpu, wall time.Duration
}

var (
	reErrors   = regexp.MustCompile(`errors: (\d+)`)
	reStates   = regexp.MustCompile(`(?m)^\s*([0-9.e+]+) states, stored`)
	reHash     = regexp.MustCompile(`hash factor: [0-9.e+]+`)
	reFirst    = regexp.MustCompile(`(?m)^pan:1: (.*)$`)
	incomplete = []string{"Search not completed", "max search depth too small", "memory limit", "MEMLIM", "out of memory", "Interrupted"}
)

// parse reads the report of a pan. A report without figures is an error.
func parse(out string) (result, error) {
	var r result
	e, s := reErrors.FindStringSubmatch(out), reStates.FindStringSubmatch(out)
	if e == nil || s == nil {
		return r, fmt.Errorf("the search printed no result: %s", tail(out))
	}
	var err error
	if r.errors, err = strconv.Atoi(e[1]); err != nil {
		return r, fmt.Errorf("read the number of errors: %w", err)
	}
	if r.states, err = strconv.ParseFloat(s[1], 64); err != nil {
		return r, fmt.Errorf("read the number of states: %w", err)
	}
	for _, text := range incomplete {
		r.truncated = r.truncated || strings.Contains(out, text)
	}
	r.coverage = reHash.FindString(out)
	if m := reFirst.FindStringSubmatch(out); m != nil {
		r.violation = m[1]
	}
	return r, nil
}

func tail(out string) string {
	out = strings.TrimSpace(out)
	return out[max(0, len(out)-400):]
}

// run has spin write a search program, compiles it, and runs it until it is done or ctx
// ends. It is interrupted then and still reports what it saw.
func (s search) run(ctx context.Context, model, dir string) (result, error) {
	at := filepath.Join(dir, strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, s.name))
	if err := os.MkdirAll(at, 0o755); err != nil {
		return result{}, fmt.Errorf("make a directory for the search: %w", err)
	}
	if err := call(ctx, at, "spin", append(append([]string{}, s.defines()...), "-a", model)...); err != nil {
		return result{}, err
	}
	flags := []string{"-O2", "-w", "-DSAFETY", "-DNOREDUCE", "-DVECTORSZ=512", fmt.Sprintf("-DMEMLIM=%d", memoryEach)}
	args := []string{"-E", fmt.Sprintf("-m%d", max(s.depth, 20000))}
	if s.bitstate {
		flags, args = append(flags, "-DBITSTATE"), append(args, "-w33")
	} else {
		flags = append(flags, "-DCOLLAPSE")
	}
	if err := call(ctx, at, "gcc", append(flags, "-o", "pan", "pan.c")...); err != nil {
		return result{}, err
	}
	return s.pan(ctx, at, args)
}

func (s search) pan(ctx context.Context, at string, args []string) (result, error) {
	if s.bitstate {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, bitTime)
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, "./pan", args...)
	cmd.Dir = at
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	start := time.Now()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && ctx.Err() == nil {
		return result{}, fmt.Errorf("search: %w", err)
	}
	r, err := parse(string(out))
	if err != nil {
		return r, err
	}
	r.search, r.wall = s, time.Since(start)
	r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	r.truncated = r.truncated || ctx.Err() != nil
	return r, nil
}

func call(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, tail(string(out)))
	}
	return nil
}
