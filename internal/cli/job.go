package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"ringmaster/internal/producing"
	"ringmaster/job"
)

// patience is how long the server may be silent while a job is waited for.
const patience = time.Minute

func (s *session) jobGet() *cobra.Command {
	return &cobra.Command{
		Use: "get QUEUE ID", Short: "Show a job", Args: exactArgs(2),
		RunE: s.connected(func(ctx context.Context, c *connection, args []string) error {
			status, err := c.Inspect().Job(ctx, args[0], args[1])
			if err != nil && !errors.Is(err, job.ErrUnknownJob) {
				return err
			}
			return errors.Join(c.out.status(status), err)
		}),
	}
}

func (s *session) jobWait() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "wait QUEUE ID", Short: "Wait until a job is done; exit 1 if it is dead", Args: exactArgs(2),
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "show the present state and exit 1 after this time; 0: wait as long as it takes")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if timeout < 0 {
			return usage("--timeout %s is negative", timeout)
		}
		return s.connected(func(ctx context.Context, c *connection, args []string) error {
			status, err := producing.Await(ctx, c.Store, args[0], args[1], s.waiting(timeout))
			if stoppedBy(ctx) != nil {
				s.note("job %s goes on; 'ringctl job wait %s %s' waits for it again", args[1], args[0], args[1])
			}
			if err != nil && !errors.Is(err, job.ErrUnknownJob) {
				return err
			}
			if err := errors.Join(c.out.status(status), err); err != nil {
				return err
			}
			if status.State != job.Completed {
				return errFailed
			}
			return nil
		})(cmd, args)
	}
	return cmd
}

// waiting is how ringctl waits for a job: for at most limit if that is not 0. It says on stderr what
// a job waits for that stands still.
func (s *session) waiting(limit time.Duration) producing.Waiting {
	return producing.Waiting{Limit: limit, Patience: patience, Tell: func(id, why string) { s.note("job %s waits: %s", id, why) }}
}

func (p printer) status(s job.Status) error {
	return p.object(s, func() [][]string {
		rows := [][]string{
			{"id", s.ID}, {"queue", s.Queue}, {"type", s.Type}, {"key", dash(s.Key)}, {"partition", number(s.Partition)},
			{"state", string(s.State)}, {"attempts", number(s.Attempts)}, {"result", dash(string(s.Result))},
			{"error", dash(s.Error)}, {"enqueued", when(s.EnqueuedAt)}, {"finished", when(s.FinishedAt)},
		}
		if s.Why != "" {
			rows = append(rows, []string{"why", s.Why})
		}
		return rows
	})
}

func (s *session) keyGet() *cobra.Command {
	return &cobra.Command{
		Use: "get QUEUE KEY", Short: "Show who owns a key, its first open job, and why that waits", Args: exactArgs(2),
		RunE: s.connected(func(ctx context.Context, c *connection, args []string) error {
			if err := job.CheckKey(args[1]); err != nil {
				return err
			}
			view, err := c.Inspect().Key(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			return c.out.object(view, func() [][]string { return keyRows(view) })
		}),
	}
}

func keyRows(k job.KeyView) [][]string {
	waiting := number(k.Waiting)
	if k.More {
		waiting += " or more"
	}
	rows := [][]string{
		{"queue", k.Queue}, {"key", k.Key}, {"partition", number(k.Partition)}, {"owner", k.Owner}, {"epoch", number(k.Epoch)},
	}
	if k.Head != nil {
		rows = append(rows, []string{"head", k.Head.ID}, []string{"type", k.Head.Type}, []string{"state", string(k.Head.State)},
			[]string{"attempts", number(k.Head.Attempts)}, []string{"error", dash(k.Head.Error)})
	}
	return append(rows, []string{"waiting behind it", waiting}, []string{"why", dash(k.Why)})
}
