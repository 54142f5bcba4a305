package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// check is a command of the form "go test ./package -run expression", with more flags
// that the package's tests know themselves.
type check struct {
	text string
	pkg  string   // ./package
	args []string // of the test program
}

func parseCheck(text string) (check, error) {
	c := check{text: text}
	words := strings.Fields(text)
	if len(words) < 3 || words[0] != "go" || words[1] != "test" || !strings.HasPrefix(words[2], "./") {
		return c, fmt.Errorf("check %q: want go test ./package [-run expression]", text)
	}
	c.pkg = words[2]
	for _, w := range words[3:] {
		if w == "-run" || w == "-short" {
			w = "-test." + w[1:]
		}
		c.args = append(c.args, w)
	}
	return c, nil
}

// errNotBuilt: nothing can be said about behaviour.
var errNotBuilt = errors.New("does not compile")

// errNoTests: a check that runs nothing cannot fail.
var errNoTests = errors.New("runs no test: was it renamed?")

// build compiles the tests of a package into a program.
// The second result is the processor time that it took.
func (t *tree) build(ctx context.Context, pkg string) (string, time.Duration, error) {
	program := filepath.Join(t.bin, strings.ReplaceAll(strings.TrimPrefix(pkg, "./"), "/", "-")+".test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-ldflags=-w", "-o", program, pkg)
	cmd.Dir, cmd.Env = t.dir, t.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", 0, fmt.Errorf("%w: %w\n%s", errNotBuilt, err, out)
	}
	if _, err := os.Stat(program); err != nil {
		return "", 0, fmt.Errorf("%s: %w", pkg, errNoTests) // it has no test files
	}
	return program, cpu(cmd), nil
}

// cpu is the processor time of a command that has ended, and of all that it waited for.
func cpu(cmd *exec.Cmd) time.Duration {
	if cmd.ProcessState == nil {
		return 0
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// tree is the project, with some files replaced or none.
type tree struct {
	dir     string
	bin     string // for programs built from it
	overlay string // a file that names what replaces files of dir (go help build, -overlay), or ""
}

// env makes the go tool see the replaced files, also where a test itself calls it.
func (t *tree) env() []string {
	flags := os.Getenv("GOFLAGS")
	if t.overlay != "" {
		flags += " -overlay=" + t.overlay
	}
	return append(os.Environ(), "GOFLAGS="+strings.TrimSpace(flags))
}

// result is how a check ended.
type result struct {
	passed bool
	test   string // the test that failed; the check itself if none is named
	took   time.Duration
	cpu    time.Duration
	output string
}

var (
	failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (Test\w+(?:/\S+)?)`)
	running = regexp.MustCompile(`(?m)^\s*running tests:\n\s*(Test\w+(?:/\S+)?)`)
	paniced = regexp.MustCompile(`(?m)^\S+\.(Test\w+)`)
)

// run runs a check's program. A test that takes longer than limit fails.
func (t *tree) run(ctx context.Context, program string, c check, limit time.Duration) (result, error) {
	args := append([]string{"-test.timeout=" + limit.String(), "-test.count=1"}, c.args...)
	ctx, cancel := context.WithTimeout(ctx, limit+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = filepath.Join(t.dir, c.pkg), t.env(), 5*time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	err := cmd.Run()
	r := result{passed: err == nil, took: time.Since(began), cpu: cpu(cmd), output: out.String()}
	var exit *exec.ExitError
	switch {
	case err == nil && strings.Contains(r.output, "no tests to run"):
		return r, errNoTests
	case err == nil:
		return r, nil
	case ctx.Err() != nil:
		return r, context.Cause(ctx)
	case !errors.As(err, &exit):
		return r, err
	}
	r.test = nameOf(c.text, r.output)
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
