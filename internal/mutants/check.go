package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// result is how a check ended.
type result struct {
	passed  bool
	test    string        // the test that failed, or the check itself if none is named
	took    time.Duration // building and running
	ran     time.Duration // running alone, where the go tool says it
	timeout bool
	output  string
}

// errNotBuilt: the check says nothing about behaviour.
var errNotBuilt = errors.New("does not compile")

// errNoTests: a check that runs nothing cannot fail.
var errNoTests = errors.New("runs no test: was it renamed?")

var (
	notBuilt = regexp.MustCompile(`(?m)^# \S+|\[(build|setup) failed\]`)
	failure  = regexp.MustCompile(`(?m)^\s*--- FAIL: (Test\w+(?:/\S+)?)`)
	running  = regexp.MustCompile(`(?m)^running tests:\n\s*(Test\w+(?:/\S+)?)`)
	passing  = regexp.MustCompile(`(?m)^ok\s+\S+\s+([0-9.]+)s`)
	paniced  = regexp.MustCompile(`(?m)^\S+\.(Test\w+)`)
)

// runCheck runs a command of the go tool in dir. overlay, if set, is a file that names
// what replaces files of the tree (go help build, -overlay); what the command builds
// itself sees it too.
func runCheck(ctx context.Context, dir, check, overlay string, limit time.Duration) (result, error) {
	args := strings.Fields(check)[1:]
	if args[0] == "test" {
		args = append([]string{"test", "-vet=off", "-count=1", "-ldflags=-w", "-timeout=" + limit.String()}, args[1:]...)
	}
	flags := os.Getenv("GOFLAGS")
	if overlay != "" {
		flags += " -overlay=" + overlay
	}
	// Building is not counted, so the limit of the whole is a longer one.
	ctx, cancel := context.WithTimeout(ctx, limit+3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.WaitDelay = dir, 5*time.Second
	cmd.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(flags))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	err := cmd.Run()
	r := result{passed: err == nil, took: time.Since(began), output: out.String()}
	var exit *exec.ExitError
	switch {
	case err == nil && strings.Contains(r.output, "no tests to run"):
		return r, errNoTests
	case err == nil:
		r.ran = r.took
		if m := passing.FindStringSubmatch(r.output); m != nil {
			if d, err := time.ParseDuration(m[1] + "s"); err == nil {
				r.ran = d
			}
		}
		return r, nil
	case ctx.Err() != nil:
		return r, fmt.Errorf("%s: %w", check, context.Cause(ctx))
	case !errors.As(err, &exit):
		return r, fmt.Errorf("%s: %w", check, err)
	case notBuilt.MatchString(r.output):
		return r, errNotBuilt
	}
	r.timeout = strings.Contains(r.output, "panic: test timed out after")
	r.test = nameOf(check, r.output)
	return r, nil
}

// nameOf finds which test failed: the one that was running, or the most deeply nested of
// the first that is reported.
func nameOf(check, output string) string {
	for _, form := range []*regexp.Regexp{running, failure, paniced} {
		if all := form.FindAllStringSubmatch(output, -1); all != nil {
			name := all[0][1]
			for _, m := range all[1:] {
				if strings.HasPrefix(m[1], name+"/") {
					name = m[1]
				}
			}
			return name
		}
	}
	return check
}
