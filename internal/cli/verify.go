package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ringmaster/internal/doctor"
)

func (s *session) verify() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify QUEUE", Short: "Audit a queue's journal; exit 1 if anything is wrong", Args: exactArgs(1),
		Long: `verify reads the journal of a queue that was created with --journal, and its streams, and
counts jobs that were lost, that ended twice, that ended before an earlier job of their
key, and those that are still open. It also compares owner records, consumer groups,
pending lists and liveness; what does not fit, and lasts, is told on stderr, and is exit
code 1 unless it is only that nobody is there to mend it. The queue may be at work
meanwhile. Exit code 4: the queue keeps no journal.`,
	}
	cmd.RunE = s.connected(func(ctx context.Context, c *connection, args []string) error {
		result, err := doctor.Verify(ctx, c.Store, args[0])
		if err != nil {
			return err
		}
		for _, example := range result.Examples {
			s.note("%s", example)
		}
		if c.Embedded() {
			s.note("the store in memory does not count the jobs it was given: lost jobs cannot be found there")
		}
		found, led, err := doctor.Inconsistencies(ctx, c.Store, args[0], doctor.Default().Patience)
		if err != nil {
			return err
		}
		damaged := 0
		for _, f := range doctor.Causes(found) {
			s.note("%s: %s: %s", f.Check, f.What, f.Meaning)
			if f.Damage(led) {
				damaged++
			}
		}
		err = c.out.object(result, func() [][]string {
			return [][]string{
				{"lost", number(result.Lost)}, {"completed twice", number(result.CompletedTwice)},
				{"out of order", number(result.OutOfOrder)}, {"open", number(result.Open)},
			}
		})
		switch {
		case err != nil:
			return err
		case result.Lost+result.CompletedTwice+result.OutOfOrder == 0 && !result.Good():
			return failed("queue %s: %d partitions count fewer jobs than are known, see above: whether some were lost cannot be told", args[0], result.Uncounted)
		case !result.Good():
			return failed("queue %s: the journal shows %d lost, %d completed twice, %d out of order", args[0], result.Lost, result.CompletedTwice, result.OutOfOrder)
		case damaged > 0:
			return failed("queue %s: its records do not fit each other, see above; 'ringctl doctor' tells what to do", args[0])
		}
		return nil
	})
	return cmd
}

// note says something beside the result.
func (s *session) note(format string, args ...any) {
	_, _ = fmt.Fprintf(s.env.Stderr, "%s\n", plain(fmt.Sprintf(format, args...))) // where stderr is gone, nobody reads it
}
