package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"ringmaster/bench"
)

func (s *session) benchResize() *cobra.Command {
	o := bench.DefaultResize()
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "resize [--partitions N --workers N --rate N --window 8s]",
		Short:                 "What jobs wait when a worker comes or goes, in each mode",
		Long: `resize hands keyed jobs in evenly, each partition in turn, while one more worker joins and
leaves, again and again. It takes the time between two ends of a partition that follow
each other: without a resize; of the partitions that move, while they do; of all others,
until the ring is at rest. plan_to_open is from the plan until a partition's new owner may
start its jobs. The server's clock is taken for this machine's.`,
		Args: exactArgs(0),
	}
	f := cmd.Flags()
	f.IntVar(&o.Partitions, "partitions", o.Partitions, "of the queue")
	f.IntVar(&o.Workers, "workers", o.Workers, "that stay")
	f.IntVar(&o.Rate, "rate", o.Rate, "jobs per second")
	f.DurationVar(&o.Window, "window", o.Window, "of resizes, for each mode")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out, err := s.benchSettings(cmd.Flags(), &o.Where)
		if err != nil {
			return err
		}
		all, err := bench.RunResize(cmd.Context(), o)
		if err != nil {
			return err
		}
		noisy := false
		rows := [][]string{{"MODE", "MOVED P99 MS", "UNMOVED P99 MS", "BASELINE P99 MS", "PLAN TO OPEN P50 MS"}}
		for _, r := range all {
			noisy = noisy || r.Noisy
			rows = append(rows, []string{r.Mode, decimal(r.Moved), decimal(r.Unmoved), decimal(r.Baseline), decimal(r.PlanToOpen)})
		}
		return lines(out, all, noisy, rows)
	}
	return cmd
}

// lines writes results a line each, the last one last, or their table.
func lines[T any](out printer, all []T, noisy bool, rows [][]string) error {
	if out.format == "table" {
		return out.table(nil, noted(noisy, rows))
	}
	for _, one := range all {
		if err := out.encode(one); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) benchScale() *cobra.Command {
	o := bench.DefaultScale()
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "scale [--joins N] [--members N --partitions N] [--queues N,... --workers N]",
		Short:                 "What one more worker costs in rings of 10 to 1,000 workers and 64 to 4,096 partitions",
		Long: `scale fills rings with workers that run no jobs, all in this process, and has one more
join, again and again. A join takes from its call until the worker may run jobs of its
whole share. A stall is the longest command that the server ran meanwhile, by its own log
of slow commands; a ping is the longest answer to one a millisecond. rest is the server's
CPU time while nothing changes. It sets slowlog-log-slower-than, and puts it back.

With --queues it measures queues at rest instead, all served by each of some worker
processes: how long they take to settle, and then the server's commands per second, those
in scripts included, the CPU and memory of server, dispatcher and one worker, connections,
and how often a leader or a plan has changed, which should be 0.`,
		Args: exactArgs(0),
	}
	var one bench.RingSize
	many := bench.DefaultQueues()
	many.Numbers = nil
	f := cmd.Flags()
	f.IntVar(&o.Joins, "joins", o.Joins, "to each ring, at most")
	f.IntVar(&one.Members, "members", 0, "workers of the one ring to measure; 0: all rings")
	f.IntVar(&one.Partitions, "partitions", 64, "of that ring")
	f.IntSliceVar(&many.Numbers, "queues", nil, "numbers of queues at rest to measure instead of rings, as 1,50,200")
	f.IntVar(&many.Workers, "workers", many.Workers, "processes that serve each of these queues")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if len(many.Numbers) > 0 {
			return s.benchQueues(cmd, many)
		}
		if one.Members > 0 {
			o.Rings = []bench.RingSize{one}
		}
		out, err := s.benchSettings(cmd.Flags(), &o.Where)
		if err != nil {
			return err
		}
		all, err := bench.RunScale(cmd.Context(), o)
		noisy := false
		rows := [][]string{{"WORKERS", "PARTITIONS", "JOIN P50 MS", "STALL P50 MS", "STALL MAX MS", "PING P50 MS", "REST MS/S"}}
		for _, r := range all {
			noisy = noisy || r.Noisy
			rows = append(rows, []string{number(r.Members), number(r.Partitions), decimal(r.Join), decimal(r.Stall), decimal(r.StallMax), decimal(r.Ping), decimal(r.Rest)})
		}
		// What was measured before a ring that this machine is too busy for is told all the same.
		return errors.Join(lines(out, all, noisy, rows), err)
	}
	return cmd
}

func (s *session) benchQueues(cmd *cobra.Command, o bench.Queues) error {
	out, err := s.benchSettings(cmd.Flags(), &o.Where)
	if err != nil {
		return err
	}
	all, err := bench.RunQueues(cmd.Context(), o)
	noisy := false
	rows := [][]string{{"QUEUES", "WORKERS", "SETTLED S", "COMMANDS/S", "REDIS CPU %", "DISPATCHER CPU %", "WORKER CPU %", "CONNECTIONS", "REDIS MB", "DISPATCHER MB", "WORKER MB", "CHANGES"}}
	for _, r := range all {
		noisy = noisy || r.Noisy
		rows = append(rows, []string{number(r.Queues), number(r.Workers), decimal(r.Settled), decimal(r.Commands), decimal(r.Redis), decimal(r.Dispatcher), decimal(r.Worker),
			number(r.Connections), decimal(r.RedisMB), decimal(r.DispatchMB), decimal(r.WorkerMB), number(r.Changes)})
	}
	return errors.Join(lines(out, all, noisy, rows), err)
}
