// Package cli has the commands of the three programs. It reads what was typed, calls
// the packages that do the work, prints what they answer and turns errors into exit
// codes.
package cli

import (
	"cmp"
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"ringmaster/embedded"
	"ringmaster/internal/service"
)

// Env is all that a program takes from its surroundings.
type Env struct {
	Args    []string // without the program's own name
	Environ []string // as os.Environ returns it
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Second  <-chan struct{} // closed when the user asks for the second time to stop; may be nil
	Version string          // that the build was given; empty: what Go knows of it

	// EmbeddedURL is where a store in memory is looked for when nothing answers
	// elsewhere, and where dev starts one. Empty: redis://127.0.0.1:6390.
	EmbeddedURL string
}

const defaultEmbeddedURL = "redis://" + embedded.DefaultAddr

func (e Env) embeddedURL() string {
	if e.EmbeddedURL != "" {
		return e.EmbeddedURL
	}
	return defaultEmbeddedURL
}

// Program is one of Dispatcher, Worker and Ringctl. It runs until it is done or ctx
// ends, and returns the process's exit code.
type Program func(ctx context.Context, env Env) int

// secondGrace is what a program gets after the second signal to end its children and
// its log lines.
const secondGrace = 300 * time.Millisecond

// Main runs a program with the process's arguments, files and signals; version may be empty. The first
// SIGINT or SIGTERM ends its context; a second one ends the process at once.
func Main(run Program, version string) int {
	service.Quiet()
	if os.Getenv("GOGC") == "" {
		// What lives is small beside what passes through: collected at Go's default of 100 a
		// busy worker spends a tenth of its time on it, to save some 10 MB.
		debug.SetGCPercent(400)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	second := make(chan struct{})
	done := make(chan int, 1)
	go func() { // ends with run, whose result Main waits for
		done <- run(ctx, Env{
			Args: os.Args[1:], Environ: os.Environ(),
			Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Second: second, Version: version,
		})
	}()
	select {
	case code := <-done:
		return code
	case sig := <-signals:
		cancel(&interrupted{sig})
	}
	select {
	case code := <-done:
		return code
	case <-signals:
		close(second)
	}
	select {
	case <-done:
	case <-time.After(secondGrace):
	}
	return exitInterrupted
}

// version is what the build was given, the module's version, or what Go knows of the commit.
func (e Env) version() string {
	v, goVersion := e.Version, "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		v, goVersion = cmp.Or(v, info.Main.Version), info.GoVersion
	}
	return cmp.Or(v, "(devel)") + " " + goVersion
}
