package cli

import (
	"context"
	"log/slog"
	"strconv"

	"github.com/spf13/cobra"

	"ringmaster/internal/doctor"
)

func (s *session) doctor() *cobra.Command {
	var apply bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Find what is wrong at the server and in all queues; --apply mends it", Args: exactArgs(0),
		Long: `doctor looks at the server's settings, version and clock, and in every queue at owner
records, consumer groups, plans, pending lists and leases, and lists what is wrong and
what to do. It also tells, as info, which keys wait and for what. A state of a queue must
last 8 s to be a finding.

With --apply it mends what can be mended, says what it did, and looks again: settings are
set at the running server; jobs that are held by nobody who could end them go to the
owner; and where no dispatcher leads, it leads until dead workers are evicted and their
partitions taken over. It moves no healthy partition. Dispatchers and workers may run.

Exit codes: 0 nothing is wrong, or all was mended; 1 something is wrong.`,
	}
	cmd.Flags().BoolVar(&apply, "apply", false, "mend what can be mended")
	cmd.RunE = s.connected(func(ctx context.Context, c *connection, _ []string) error {
		found, err := s.examine(ctx, c, apply)
		if err != nil {
			return err
		}
		header := []string{"SEVERITY", "QUEUE", "PARTITION", "CHECK", "STATE", "FINDING", "MEANING", "WHAT TO DO"}
		if err := list(c.out, found, header, findingRow); err != nil {
			return err
		}
		open := 0
		for _, f := range found {
			if f.Open() {
				open++
			}
		}
		if open > 0 {
			return failed("open findings: %d", open)
		}
		s.note("nothing is wrong")
		return nil
	})
	return cmd
}

func (s *session) examine(ctx context.Context, c *connection, apply bool) ([]doctor.Finding, error) {
	if c.Embedded() {
		s.note("the store in memory has no settings to look at, and keeps nothing when it ends")
	}
	if !apply {
		return doctor.Examine(ctx, c.Store, doctor.Default())
	}
	return doctor.Treat(ctx, c.Store, doctor.Default(), slog.New(slog.DiscardHandler))
}

func findingRow(f doctor.Finding) []string {
	partition, state, todo := "-", "open", f.Remedy
	if f.Partition != nil {
		partition = strconv.Itoa(*f.Partition)
	}
	switch {
	case f.Mended:
		state, todo = "mended", f.Done
	case f.Severity == doctor.SeverityInfo:
		state = "-"
	case f.Done != "":
		todo += " (" + f.Done + ")"
	}
	return []string{f.Severity, dash(f.Queue), partition, f.Check, state, f.Finding, f.Meaning, dash(todo)}
}
