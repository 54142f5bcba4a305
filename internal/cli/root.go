package cli

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"ringmaster/configs/load"
)

// Ringctl is the program ringctl.
func Ringctl(ctx context.Context, env Env) int {
	root := ringctl(&session{env: env})
	return execute(ctx, env, root)
}

// session is one run of ringctl.
type session struct {
	env Env
}

func ringctl(s *session) *cobra.Command {
	root := newRoot("ringctl", "Submit jobs, look at queues and rings, and change them", s.env)
	root.Long = `ringctl submits jobs, looks at queues and rings, and changes them. It talks to Redis
only. Results go to stdout; messages go to stderr.

Exit codes: 0 done, 1 failure, 2 wrong usage or settings, 3 not found, 4 conflict,
5 the server cannot be reached, 130 interrupted.`
	root.Example = `  ringctl demo
  ringctl dev
  ringctl submit mails --type echo --key customer-42 --payload '{"n":1}' --wait
  ringctl ring get mails`
	load.RegisterRingctlFlags(root.PersistentFlags())
	group(root,
		s.dev(), s.demo(), s.submit(),
		group(&cobra.Command{Use: "job", Short: "Look at a job, or wait for it"}, s.jobGet(), s.jobWait()),
		group(&cobra.Command{Use: "queue", Short: "List, show and create queues"}, s.queueLs(), s.queueGet(), s.queueCreate()),
		group(&cobra.Command{Use: "ring", Short: "Show who owns what, and start a resize"}, s.ringGet(), s.ringHistory(), s.ringResize()),
		group(&cobra.Command{Use: "workers", Short: "List workers, or take one out"}, s.workersLs(), s.workersDrain()),
		group(&cobra.Command{Use: "key", Short: "Show where a key stands"}, s.keyGet()),
		group(&cobra.Command{Use: "dead", Short: "List, requeue and remove dead letters"}, s.deadLs(), s.deadRequeue(), s.deadRm()),
		s.verify(), s.doctor(),
		group(&cobra.Command{Use: "bench", Short: "Measure this machine, beside the loop one would write by hand"},
			s.benchThroughput(), s.benchLatency(), s.benchRecovery(), s.benchResize(), s.benchScale(), s.benchMemory()),
		group(&cobra.Command{Use: "config", Short: "Show and check settings"}, s.configView(), s.configValidate()),
	)
	for _, hidden := range s.ownProcesses() {
		root.AddCommand(hidden)
	}
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Short = "Write a script that completes commands in your shell"
			group(c)
		}
	}
	return root
}

// newRoot is what the three programs' root commands have in common.
func newRoot(name, short string, env Env) *cobra.Command {
	root := &cobra.Command{
		Use: name, Short: short, Version: env.version(),
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(helpCommand())
	root.SetHelpFunc(briefly(root.HelpFunc()))
	return root
}

// briefly takes the values that need not be given out of a help text: --wait is enough.
func briefly(help func(*cobra.Command, []string)) func(*cobra.Command, []string) {
	const noise = "[=true|false]"
	return func(cmd *cobra.Command, args []string) {
		var text bytes.Buffer
		out := cmd.OutOrStdout()
		cmd.SetOut(&text)
		help(cmd, args)
		cmd.SetOut(out)
		// As many spaces keep the columns.
		_, _ = io.WriteString(out, strings.ReplaceAll(text.String(), noise, strings.Repeat(" ", len(noise))))
	}
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show help for a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || found == nil {
				return unknownCommand(cmd.Root(), args[0])
			}
			if len(rest) > 0 {
				return unknownCommand(found, rest[0])
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

// execute runs a root command and turns its error into words and an exit code.
func execute(ctx context.Context, env Env, root *cobra.Command) int {
	err := root.ExecuteContext(ctx)
	explain(ctx, env.Stderr, root.Name(), err)
	return exitCode(ctx, err)
}

// exactArgs wants the arguments that a command's Use line names.
func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return usage("want %d argument(s), got %d: %s", n, len(args), cmd.UseLine())
	}
}

func minArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= n {
			return nil
		}
		return usage("want at least %d argument(s), got %d: %s", n, len(args), cmd.UseLine())
	}
}

func maxArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) <= n {
			return nil
		}
		return usage("want at most %d argument(s), got %d: %s", n, len(args), cmd.UseLine())
	}
}
