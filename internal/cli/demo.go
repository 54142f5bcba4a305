package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"ringmaster/bench"
	"ringmaster/configs"
	"ringmaster/configs/load"
	"ringmaster/internal/demo"
)

func (s *session) demo() *cobra.Command {
	opts := demo.Options{Jobs: 10_000, Seed: 1, Stderr: s.env.Stderr}
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "demo [--jobs 10000 --keys K --seed S --dir PATH --keep]",
		Short:                 "Show on real files that nothing is lost, doubled or out of order while workers come, go and die",
		Long: `demo hashes files: one job for each, its key is the file's directory. It starts two
dispatchers and three workers as processes of their own, and while the jobs come in it
adds a worker, kills one that runs jobs, kills the leading dispatcher during a resize,
and takes a worker out. Then it audits what happened, from files that the workers wrote
and from the queue's journal, and hashes every file again. It takes less than 40 s. The
exit code is 1 if anything is wrong.

It starts a store in memory on a free port, or with --redis uses that server; it reads
neither RINGMASTER_ variables nor config files. Its queue, demo-<random>, is removed at
the end unless --keep.`,
		Args: exactArgs(0),
	}
	flags := cmd.Flags()
	flags.IntVar(&opts.Jobs, "jobs", opts.Jobs, "number of jobs")
	flags.IntVar(&opts.Keys, "keys", 0, "fold the directories into so many keys; 0: each is a key")
	flags.Uint64Var(&opts.Seed, "seed", opts.Seed, "of the order in which the files come")
	flags.StringVar(&opts.Dir, "dir", "", "directory with files to hash; empty: Go's own tree, or files that the demo makes")
	flags.BoolVar(&opts.Keep, "keep", false, "leave the queue and the workers' files where they are")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, report, err := load.Ringctl(cmd.Flags(), "", nil)
		if err != nil {
			return err
		}
		warn(s.env.Stderr, report.Warnings)
		opts.Server = cfg.Common
		opts.Memory = report.Sources["redis"].Kind == configs.FromDefault
		if opts.Binary, err = os.Executable(); err != nil {
			return fmt.Errorf("find the program's own file, to start it again: %w", err)
		}
		opts.Interacts = isTerminal(s.env.Stderr)
		opts.Color = opts.Interacts && !isSet(s.env.Environ, "NO_COLOR")
		result, err := demo.Run(cmd.Context(), opts)
		if err != nil {
			return err
		}
		return s.showDemo(printer{s.env.Stdout, cfg.Output}, result)
	}
	return cmd
}

// showDemo prints the verdict for people, to stderr where stdout is for a program.
func (s *session) showDemo(out printer, result demo.Result) error {
	text := out.w
	if out.format != "table" {
		text = s.env.Stderr
	}
	if _, err := io.WriteString(text, result.Text()); err != nil && out.format == "table" {
		return fmt.Errorf("write the result: %w", err)
	}
	if out.format != "table" {
		if err := out.encode(result); err != nil {
			return err
		}
	}
	if !result.Good {
		return errFailed
	}
	return nil
}

// isSet reports whether a variable has a value.
func isSet(environ []string, name string) bool {
	for _, e := range environ {
		if value, ok := strings.CutPrefix(e, name+"="); ok && value != "" {
			return true
		}
	}
	return false
}

// ownProcesses are the commands by which the demo and the benchmarks start this program
// again. Nobody else needs them.
func (s *session) ownProcesses() []*cobra.Command {
	hidden := func(name string, body func(ctx context.Context, in io.Reader, out, log io.Writer) error) *cobra.Command {
		return &cobra.Command{Use: name, Hidden: true, Args: exactArgs(0), RunE: func(cmd *cobra.Command, _ []string) error {
			err := body(cmd.Context(), s.env.Stdin, s.env.Stdout, s.env.Stderr)
			if stoppedBy(cmd.Context()) != nil && err != nil {
				_, _ = fmt.Fprintln(s.env.Stderr, err)
			}
			return err
		}}
	}
	return []*cobra.Command{
		hidden(demo.DispatcherCommand, demo.RunDispatcherProcess),
		hidden(demo.WorkerCommand, demo.RunWorkerProcess),
		hidden(bench.WorkerCommand, bench.RunWorkerProcess),
	}
}
