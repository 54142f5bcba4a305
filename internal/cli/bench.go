package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ringmaster/bench"
	"ringmaster/configs"
	"ringmaster/configs/load"
)

func (s *session) benchThroughput() *cobra.Command {
	o := bench.DefaultThroughput()
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "throughput [--jobs N --rounds N --partitions N --concurrency N]",
		Short:                 "Jobs per second and CPU per job, from end to end, beside the loop one would write by hand",
		Long: `throughput moves jobs of 100 bytes from a producer to a handler that does nothing, with
20,000 under way at most. The bare loop is one stream, XADD in pipelines of 500, and one
reader with XREADGROUP COUNT 500, XACK and XDEL (or XTRIM MINID); ours is a queue with a
leader and a worker, without keys and with 10,000 of them. They take turns in the same
run; the figures are medians of rounds. A round in which other programs took more than a
third of a CPU is repeated; "noisy" says that too few were left. CPU is that of the Redis
process and of this one, as the operating system counts it.

It starts servers of its own, which persist nothing, or with --redis uses that server.`,
		Args: exactArgs(0),
	}
	f := cmd.Flags()
	f.IntVar(&o.Jobs, "jobs", o.Jobs, "of each contender and round")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "to take the medians of")
	f.IntVar(&o.Partitions, "partitions", o.Partitions, "of the queue")
	f.IntVar(&o.Concurrency, "concurrency", o.Concurrency, "handlers at a time")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out, err := s.benchSettings(cmd.Flags(), &o.Where)
		if err != nil {
			return err
		}
		unkeyed, keyed, err := bench.RunThroughput(cmd.Context(), o)
		if err != nil {
			return err
		}
		if out.format != "table" {
			if err := out.encode(unkeyed); err != nil {
				return err
			}
			keyed.Shape = ""
			return out.encode(keyed)
		}
		return throughputTable(out.w, unkeyed, keyed)
	}
	return cmd
}

// benchSettings are the output format, and where to measure: a server of its own if none
// was typed.
func (s *session) benchSettings(flags *pflag.FlagSet, where *bench.Where) (printer, error) {
	where.Progress = s.progress
	cfg, report, err := load.Ringctl(flags, "", nil)
	if err != nil {
		return printer{}, err
	}
	warn(s.env.Stderr, report.Warnings)
	if report.Sources["redis"].Kind != configs.FromDefault {
		where.Redis = cfg.Redis
	}
	return printer{s.env.Stdout, cfg.Output}, nil
}

func (s *session) progress(line string) { _, _ = fmt.Fprintln(s.env.Stderr, line) }

func throughputTable(w io.Writer, all ...bench.Moved) error {
	text := fmt.Sprintf("%-8s %9s %9s %9s %7s %7s %16s %16s\n", "SHAPE", "JOBS/S", "BARE", "BARE+TRIM", "RATIO", "RATIO", "REDIS US/JOB", "CLIENT US/JOB")
	for _, m := range all {
		text += fmt.Sprintf("%-8s %9.0f %9.0f %9.0f %7.2f %7.2f %7.2f of %5.2f %7.2f of %5.2f\n", m.Shape, m.Rate, m.RawRate, m.RawTrimRate, m.Ratio, m.RatioTrim,
			m.Server, m.RawServer, m.Client, m.RawClient)
	}
	if all[len(all)-1].Noisy {
		text += "noisy: other programs used the machine; measure again\n"
	}
	_, err := io.WriteString(w, text)
	return err
}
