package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ringmaster/configs"
	"ringmaster/internal/handlers"
	"ringmaster/job"
)

// commandInput is what the command of doCommand is given: more than a pipe holds.
const commandInput = 1 << 20

// countsLate begins to read when it is told to, in a process that has left the group, so that nobody
// kills it with the worker, and adds a line with the number of bytes that it read to their end.
const countsLate = `
exec 3<&0
setsid sh -c '
	echo begun >>"$1.begun"
	until [ -e "$1.go" ]; do sleep 0.02; done
	n=$(wc -c <&3)
	echo $n >>"$1.counts"
' sh "$1" &
wait
`

// command runs countsLate on a large payload.
func (h *handler) command(ctx context.Context, w Work) error {
	payload, err := json.Marshal(strings.Repeat("x", commandInput))
	if err != nil {
		return err
	}
	run := handlers.Exec(configs.Exec{Command: []string{"sh", "-c", countsLate, "sh", commandFile(h.role.Dir, w.Mark)}}, job.DefaultResultBytes)
	_, err = run(ctx, job.Delivery{Payload: payload})
	return err
}

func commandFile(dir, mark string) string { return filepath.Join(dir, "command-"+mark) }

// commandOutlives kills a worker whose command has not read its payload, and lets it read.
func commandOutlives(ctx context.Context, r *Rig) error {
	p, err := r.Worker(ctx)
	if err != nil {
		return err
	}
	key, err := r.KeyOf(ctx, p)
	if err != nil {
		return err
	}
	mark := r.mark(doCommand)
	file := commandFile(r.Dir, mark)
	id, err := r.Submit(ctx, Work{Do: doCommand, Mark: mark}, key)
	if err != nil {
		return err
	}
	if r.Until(ctx, "the command runs", 5*time.Second, func() bool { return lines(file+".begun") == 1 }) != nil {
		return notHit("the command does not run")
	}
	r.Kill(p)
	if err := os.WriteFile(file+".go", nil, 0o600); err != nil {
		return err
	}
	if err := joins(ctx, r); err != nil {
		return err
	}
	if err := r.Completed(ctx, id, leaseTTL+12*time.Second); err != nil {
		return err
	}
	if r.Until(ctx, "both commands have read", 5*time.Second, func() bool { return lines(file+".counts") == 2 }) != nil {
		return notHit("the command did not outlive its worker")
	}
	raw, err := os.ReadFile(file + ".counts")
	if err != nil {
		return err
	}
	for _, n := range strings.Fields(string(raw)) {
		if n != strconv.Itoa(commandInput) {
			return fmt.Errorf("a command read %s bytes to the end of its input, want %d", n, commandInput)
		}
	}
	return nil
}

func lines(file string) int {
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	return strings.Count(string(raw), "\n")
}
