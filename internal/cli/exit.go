package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"ringmaster/job"
	"ringmaster/streams"
)

// The exit codes of all three programs.
const (
	exitDone        = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitUnreachable = 5
	exitInterrupted = 130
)

// errFailed ends a program with exitFailure when all there is to say has been said.
var errFailed = errors.New("failed")

// failure is an errFailed that has something to say.
type failure struct{ text string }

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return errFailed }

func failed(format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...)}
}

// interrupted is the cause of a context that a signal has ended.
type interrupted struct{ signal os.Signal }

func (i *interrupted) Error() string { return "stopped by signal: " + i.signal.String() }

// stoppedBy is the signal that ended ctx, nil if none did.
func stoppedBy(ctx context.Context) os.Signal {
	var i *interrupted
	if errors.As(context.Cause(ctx), &i) {
		return i.signal
	}
	return nil
}

// usageError is a wrong command line.
type usageError struct{ text string }

func (u *usageError) Error() string { return u.text }
func (u *usageError) Unwrap() error { return job.ErrInvalid }

func usage(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// exitCode is the one place where errors become exit codes.
func exitCode(ctx context.Context, err error) int {
	switch {
	case err != nil && stoppedBy(ctx) != nil, stoppedBy(ctx) == os.Interrupt:
		return exitInterrupted
	case err == nil:
		return exitDone
	case errors.Is(err, errFailed):
		return exitFailure
	case errors.Is(err, job.ErrInvalid):
		return exitUsage
	case errors.Is(err, job.ErrNotFound):
		return exitNotFound
	case errors.Is(err, job.ErrConflict):
		return exitConflict
	case errors.Is(err, job.ErrUnconfirmed):
		return exitFailure // the server was reached, and did it; its copies are late
	case streams.IsUnreachable(err):
		return exitUnreachable
	default:
		return exitFailure
	}
}

// explain says on w why a program ends, unless it has been said or nobody asks.
func explain(ctx context.Context, w io.Writer, name string, err error) {
	//nolint:errorlint // an error that wraps errFailed has a text of its own to show
	if err == nil || err == errFailed || errors.Is(err, syscall.EPIPE) || stoppedBy(ctx) != nil {
		return
	}
	text := strings.ReplaceAll(err.Error(), "\n", "\n  ")
	_, _ = fmt.Fprintf(w, "%s: %s\n", name, text) // where stderr is gone, nobody reads it
}
