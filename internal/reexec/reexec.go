// Package reexec is what a program and the processes that it starts of itself agree on, by
// its own binary and a hidden command: how they get their settings, and that they end with it.
package reexec

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"

	"ringmaster/job"
)

// errNoParent ends a process whose parent has gone.
var errNoParent = errors.New("the parent has gone")

// Settings reads what the parent wrote as the first line of a process's standard input, so
// that no password is in the list of processes. The context it returns ends with that
// input, which the parent holds open as long as it lives, or by cancel, which the caller
// calls. It blocks until the line is there; an ErrInvalid says that there is none.
func Settings(ctx context.Context, in io.Reader, spec any) (_ context.Context, cancel func(), _ error) {
	lines := bufio.NewReader(in)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return nil, nil, job.Invalid("this command is for ringctl alone, which starts itself by it")
	}
	if err := json.Unmarshal(first, spec); err != nil {
		return nil, nil, job.Invalid("this command is for ringctl alone, which starts itself by it: %v", err)
	}
	ctx, end := context.WithCancelCause(ctx)
	// Ends with the input: not waited for, since a terminal's would outlive the command.
	go func() {
		_, _ = io.Copy(io.Discard, lines)
		end(errNoParent)
	}()
	return ctx, func() { end(nil) }, nil
}
