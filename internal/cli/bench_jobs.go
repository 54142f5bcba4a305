package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"ringmaster/bench"
)

func (s *session) benchLatency() *cobra.Command {
	o := bench.DefaultLatency()
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "latency [--rate N --rounds N --window 3s]",
		Short:                 "From the call that hands a job in to the start of its handler, beside the bare blocking loop",
		Long: `latency hands single jobs in at a steady rate, each call waiting for its answer, and takes
the time from the beginning of that call to the beginning of the handler. The bare loop is
one client with XADD and one with XREADGROUP BLOCK, XACK and XDEL, at the same pace. They
take turns in the same run; the figures are medians of rounds, max_ms is the longest of
all. A round in which other programs took more than a third of a CPU is repeated.`,
		Args: exactArgs(0),
	}
	f := cmd.Flags()
	f.IntVar(&o.Rate, "rate", o.Rate, "jobs per second")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "to take the medians of")
	f.DurationVar(&o.Window, "window", o.Window, "of each contender and round")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out, err := s.benchSettings(cmd.Flags(), &o.Where)
		if err != nil {
			return err
		}
		d, err := bench.RunLatency(cmd.Context(), o)
		if err != nil {
			return err
		}
		return out.object(d, func() [][]string {
			return noted(d.Noisy, [][]string{
				{"", "P50 MS", "P99 MS", "MAX MS"},
				{"ringmaster", decimal(d.P50), decimal(d.P99), decimal(d.Max)},
				{"bare loop", decimal(d.RawP50), decimal(d.RawP99), "-"},
			})
		})
	}
	return cmd
}

func (s *session) benchRecovery() *cobra.Command {
	o := bench.DefaultRecovery()
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "recovery [--runs N --held N]",
		Short:                 "From the SIGKILL of a worker to the new start of the jobs that ran in it",
		Long: `recovery starts workers as processes of their own, gives one of them jobs that do not end,
and kills it. It takes the time until the last of these jobs has been started again by
another worker, which has room for them.`,
		Args: exactArgs(0),
	}
	f := cmd.Flags()
	f.IntVar(&o.Runs, "runs", o.Runs, "workers to kill")
	f.IntVar(&o.Held, "held", o.Held, "jobs that run in each")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out, err := s.benchSettings(cmd.Flags(), &o.Where)
		if err != nil {
			return err
		}
		if o.Binary, err = os.Executable(); err != nil {
			return fmt.Errorf("find the program's own file, to start it again: %w", err)
		}
		r, err := bench.RunRecovery(cmd.Context(), o)
		if err != nil {
			return err
		}
		return out.object(r, func() [][]string {
			return noted(r.Noisy, [][]string{{"RUNS", "P50 MS", "MAX MS"}, {number(r.Runs), decimal(r.P50), decimal(r.Max)}})
		})
	}
	return cmd
}

// noted says below a table that its figures are no pass.
func noted(noisy bool, rows [][]string) [][]string {
	if noisy {
		rows = append(rows, []string{"noisy: other programs used the machine; measure again"})
	}
	return rows
}

func decimal(v float64) string { return fmt.Sprintf("%.2f", v) }
