package cli

import (
	"github.com/spf13/cobra"

	"ringmaster/bench"
)

func (s *session) benchMemory() *cobra.Command {
	o := bench.DefaultMemory()
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "memory [--jobs N --waiting N --passing N]",
		Short:                 "What a worker holds of a long queue, and what Redis keeps of jobs that have ended",
		Long: `memory fills the queue of a worker whose handlers are all busy, and counts what it holds;
has many jobs pass through a queue, and compares the server's memory before and after; and
has many jobs pass one that is stuck in the same partition, and counts what stays in its
stream. The worker's heap is that of this process. The server's memory is without the
buffers of its connections.`,
		Args: exactArgs(0),
	}
	f := cmd.Flags()
	f.IntVar(&o.Jobs, "jobs", o.Jobs, "that pass through the queue")
	f.IntVar(&o.Waiting, "waiting", o.Waiting, "while all handlers are busy")
	f.IntVar(&o.Passing, "passing", o.Passing, "the one that is stuck")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out, err := s.benchSettings(cmd.Flags(), &o.Where)
		if err != nil {
			return err
		}
		k, err := bench.RunMemory(cmd.Context(), o)
		if err != nil {
			return err
		}
		return out.object(k, func() [][]string {
			return [][]string{
				{"waiting jobs", number(k.Waiting)},
				{"held by the worker", number(k.Held)},
				{"its prefetch", number(k.Prefetch)},
				{"its heap", megabytes(k.HeapMB)},
				{"jobs that passed", number(k.Jobs)},
				{"Redis before", megabytes(k.BaseMB)},
				{"Redis after", megabytes(k.AfterMB)},
				{"jobs that passed a stuck one", number(k.Passed)},
				{"entries left beside it", number(k.Entries)},
				{"Redis grew by", megabytes(k.StuckMB)},
			}
		})
	}
	return cmd
}

func megabytes(v float64) string { return decimal(v) + " MB" }
