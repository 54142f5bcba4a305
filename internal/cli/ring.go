package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ringmaster/job"
	"ringmaster/streams"
)

// resizeTimeout outlasts a change of leader.
const resizeTimeout = 15 * time.Second

func (s *session) ringGet() *cobra.Command {
	return &cobra.Command{
		Use: "get QUEUE", Short: "Show a queue's workers and who owns which partition", Args: exactArgs(1),
		RunE: s.connected(func(ctx context.Context, c *connection, args []string) error {
			ring, err := c.Inspect().RingView(ctx, args[0])
			if err != nil {
				return err
			}
			return c.out.object(ring, func() [][]string { return ringRows(ring) })
		}),
	}
}

func ringRows(r job.RingView) [][]string {
	rows := [][]string{
		{"queue", r.Queue}, {"epoch", number(r.Epoch)}, {"phase", number(r.Phase)}, {"mode", dash(r.Mode)}, {"leader", dash(r.Leader)},
		{""}, {"WORKER", "STATE", "WEIGHT", "INCARNATION"},
	}
	for _, m := range r.Members {
		rows = append(rows, []string{m.Name, m.State, number(m.Weight), m.Incarnation})
	}
	rows = append(rows, []string{""}, []string{"PARTITION", "OWNER", "EPOCH", "PENDING", "DRAINING"})
	for _, p := range r.Partitions {
		rows = append(rows, []string{number(p.Partition), p.Owner, number(p.Epoch), number(p.Pending), number(p.Draining)})
	}
	return rows
}

func (s *session) ringHistory() *cobra.Command {
	var limit int
	cmd := &cobra.Command{Use: "history QUEUE", Short: "Show the latest messages of the resize protocol", Args: exactArgs(1)}
	cmd.Flags().IntVar(&limit, "limit", 50, "show at most so many")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if limit < 1 {
			return usage("--limit %d: want 1 or more", limit)
		}
		return s.connected(func(ctx context.Context, c *connection, args []string) error {
			entries, err := c.Inspect().RingHistory(ctx, args[0], limit)
			if err != nil {
				return err
			}
			header := []string{"TIME", "EPOCH", "TYPE", "PHASE", "NAME", "DATA"}
			return list(c.out, entries, header, func(h job.HistoryEntry) []string {
				return []string{h.Time.UTC().Format("15:04:05.000"), number(h.Epoch), h.Type, number(h.Phase), h.Name, short(string(h.Data), 90)}
			})
		})(cmd, args)
	}
	return cmd
}

func (s *session) ringResize() *cobra.Command {
	var mode string
	cmd := &cobra.Command{
		Use: "resize QUEUE", Short: "Have the leading dispatcher make a new plan", Args: exactArgs(1),
		Long: `resize asks the dispatcher that leads the queue's ring for a new plan and prints its
epoch. The partitions move afterwards: see ring get. What waits while a partition
moves is: key, the keys that are running; partition, the partition; ring, everything.`,
	}
	cmd.Flags().StringVar(&mode, "mode", "", "key, partition or ring; empty: what the dispatcher is set to")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		modes := []string{"", "key", "partition", "ring"}
		if !slices.Contains(modes, mode) {
			return usage("--mode %q: want %s", mode, strings.Join(modes[1:], ", "))
		}
		return s.connected(func(ctx context.Context, c *connection, args []string) error {
			if _, err := c.LookupQueue(ctx, args[0]); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, resizeTimeout)
			defer cancel()
			epoch, err := c.RequestResize(ctx, args[0], mode)
			if err != nil {
				return err
			}
			answer := struct {
				Epoch uint64 `json:"epoch"`
			}{epoch}
			return c.out.object(answer, func() [][]string { return [][]string{{"epoch", number(epoch)}} })
		})(cmd, args)
	}
	return cmd
}

func (s *session) workersLs() *cobra.Command {
	return &cobra.Command{
		Use: "ls [QUEUE]", Short: "List workers", Args: maxArgs(1),
		RunE: s.connected(func(ctx context.Context, c *connection, args []string) error {
			queue := ""
			if len(args) > 0 {
				queue = args[0]
			}
			workers, err := c.Inspect().Workers(ctx, queue)
			if err != nil {
				return err
			}
			header := []string{"WORKER", "QUEUE", "STATE", "WEIGHT", "PARTITIONS", "SLOTS", "LEASE", "HOST", "PID", "INCARNATION"}
			return list(c.out, workers, header, func(w job.WorkerView) []string {
				return []string{w.Name, w.Queue, w.State, number(w.Weight), number(w.Partitions), number(w.Slots), seconds(w.LeaseSeconds), dash(w.Host), number(w.PID), w.Incarnation}
			})
		}),
	}
}

func (s *session) workersDrain() *cobra.Command {
	return &cobra.Command{
		Use: "drain WORKER", Short: "Have a worker finish what it runs, leave and exit", Args: exactArgs(1),
		Long: `drain tells a worker, by its name or its incarnation, to leave as it does on SIGTERM. It
prints the incarnations that were told.`,
		RunE: s.connected(func(ctx context.Context, c *connection, args []string) error {
			incarnations, err := c.Drain(ctx, args[0])
			if err != nil {
				return err
			}
			type told struct {
				Incarnation string `json:"incarnation"`
			}
			var all []told
			for _, inc := range incarnations {
				all = append(all, told{inc})
			}
			return list(c.out, all, []string{"INCARNATION"}, func(t told) []string { return []string{t.Incarnation} })
		}),
	}
}

// each calls f for every id. It goes on after an error unless the server is gone; the
// first error is the command's, the others are said at once.
func (s *session) each(ids []string, f func(id string) error) error {
	var first error
	for _, id := range ids {
		err := f(id)
		if err == nil {
			continue
		}
		if first == nil {
			first = err
		} else {
			_, _ = fmt.Fprintf(s.env.Stderr, "ringctl: %s\n", err)
		}
		if streams.IsUnreachable(err) || errors.Is(err, context.Canceled) {
			break
		}
	}
	return first
}
