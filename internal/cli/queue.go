package cli

import (
	"context"

	"github.com/spf13/cobra"

	"ringmaster/job"
	"ringmaster/streams"
)

func (s *session) queueLs() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List queues", Args: exactArgs(0),
		RunE: s.connected(func(ctx context.Context, c *connection, _ []string) error {
			views, err := c.Inspect().QueueViews(ctx)
			if err != nil {
				return err
			}
			header := []string{"QUEUE", "PARTITIONS", "OWNED", "WORKERS", "WAITING", "PENDING", "PARKED", "DEAD"}
			return list(c.out, views, header, func(q job.QueueView) []string {
				return []string{q.Queue, number(q.Partitions), number(q.Owned), number(q.Members), number(q.Waiting), number(q.Pending), number(q.Parked), number(q.Dead)}
			})
		}),
	}
}

func (s *session) queueGet() *cobra.Command {
	return &cobra.Command{
		Use: "get QUEUE", Short: "Show a queue", Args: exactArgs(1),
		RunE: s.connected(func(ctx context.Context, c *connection, args []string) error {
			return c.showQueue(ctx, args[0])
		}),
	}
}

func (c *connection) showQueue(ctx context.Context, name string) error {
	q, err := c.Inspect().QueueView(ctx, name)
	if err != nil {
		return err
	}
	return c.out.object(q, func() [][]string {
		journal := "no"
		if q.Journal {
			journal = "yes"
		}
		return [][]string{
			{"queue", q.Queue}, {"partitions", number(q.Partitions)}, {"shards", number(q.Shards)}, {"journal", journal},
			{"created", when(&q.Created)}, {"leader", dash(q.Leader)}, {"workers", number(q.Members)},
			{"owned partitions", number(q.Owned)}, {"ring epoch", number(q.Epoch)}, {"phase", number(q.Phase)},
			{"waiting", number(q.Waiting)}, {"pending", number(q.Pending)}, {"draining", number(q.Draining)},
			{"parked", number(q.Parked)}, {"dead", number(q.Dead)},
		}
	})
}

func (s *session) queueCreate() *cobra.Command {
	var partitions, shards int
	var journal bool
	cmd := &cobra.Command{
		Use: "create QUEUE", Short: "Create a queue", Args: exactArgs(1),
		Long: `create makes a queue, or finds that it is there as wanted. The numbers of partitions
and shards of a queue cannot be changed: asking for others than it has is exit code 4.`,
	}
	cmd.Flags().IntVar(&partitions, "partitions", job.DefaultParts, "number of partitions, 1 to 4096")
	cmd.Flags().IntVar(&shards, "shards", 1, "parts of the queue that a Redis Cluster may hold on different servers; partition p is in part p mod shards")
	cmd.Flags().BoolVar(&journal, "journal", false, "record every completion, so that the queue can be audited")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		want := streams.Queue{Name: args[0], Journal: journal}
		check := streams.Queue{Name: args[0], Partitions: partitions, Shards: shards}
		if err := check.Validate(); err != nil {
			return err
		}
		if cmd.Flags().Changed("partitions") {
			want.Partitions = partitions
		}
		if cmd.Flags().Changed("shards") {
			want.Shards = shards
		}
		return s.connected(func(ctx context.Context, c *connection, args []string) error {
			if _, err := c.CreateQueue(ctx, want); err != nil {
				return err
			}
			return c.showQueue(ctx, args[0])
		})(cmd, args)
	}
	return cmd
}

func (s *session) deadLs() *cobra.Command {
	var limit int
	cmd := &cobra.Command{Use: "ls QUEUE", Short: "List dead letters", Args: exactArgs(1)}
	cmd.Flags().IntVar(&limit, "limit", 100, "list at most so many")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if limit < 1 {
			return usage("--limit %d: want 1 or more", limit)
		}
		return s.connected(func(ctx context.Context, c *connection, args []string) error {
			letters, more, err := c.dead(ctx, args[0], limit)
			if err != nil {
				return err
			}
			if more > 0 {
				s.note("these are %d of %d dead letters; --limit %d lists all", limit, more, more)
			}
			header := []string{"ID", "TYPE", "KEY", "ATTEMPTS", "DIED", "ERROR"}
			return list(c.out, letters, header, func(d job.DeadLetter) []string {
				return []string{d.ID, dash(d.Type), dash(short(d.Key, 40)), number(d.Attempts), d.DiedAt, short(d.Error, 80)}
			})
		})(cmd, args)
	}
	return cmd
}

// dead lists dead letters, and tells how many there are where that is more than limit.
func (c *connection) dead(ctx context.Context, queue string, limit int) (letters []job.DeadLetter, all int, err error) {
	if letters, err = c.Inspect().DeadLetters(ctx, queue, limit+1); err != nil || len(letters) <= limit {
		return letters, 0, err
	}
	view, err := c.Inspect().QueueView(ctx, queue)
	return letters[:limit], max(view.Dead, limit+1), err
}

func (s *session) deadRequeue() *cobra.Command {
	return &cobra.Command{
		Use: "requeue QUEUE ID...", Short: "Run dead letters again, as new jobs", Args: minArgs(2),
		RunE: s.connected(func(ctx context.Context, c *connection, args []string) error {
			return s.each(args[1:], func(id string) error {
				receipt, err := c.RequeueDead(ctx, args[0], id)
				if err != nil {
					return err
				}
				if c.out.format == "table" {
					return c.out.line(receipt.ID)
				}
				return c.out.encode(requeued{id, receipt.ID, receipt.Partition, receipt.Duplicate})
			})
		}),
	}
}

// requeued is what the HTTP API answers for a dead letter, too.
type requeued struct {
	ID        string `json:"id"`
	NewID     string `json:"new_id"`
	Partition int    `json:"partition"`
	Duplicate bool   `json:"duplicate"`
}

func (s *session) deadRm() *cobra.Command {
	return &cobra.Command{
		Use: "rm QUEUE ID...", Short: "Remove dead letters for good", Args: minArgs(2),
		RunE: s.connected(func(ctx context.Context, c *connection, args []string) error {
			return s.each(args[1:], func(id string) error {
				if err := c.RemoveDead(ctx, args[0], id); err != nil {
					return err
				}
				if c.out.format == "table" {
					return c.out.line(id)
				}
				return c.out.encode(map[string]string{"removed": id})
			})
		}),
	}
}
