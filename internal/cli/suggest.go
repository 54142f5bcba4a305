package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// group makes cmd a command that only holds others: alone it is a wrong command line,
// and so is a name below it that does not exist.
func group(cmd *cobra.Command, subs ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(subs...)
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			cmd.SetOut(cmd.ErrOrStderr())
			if err := cmd.Help(); err != nil {
				return err
			}
			return usage("a command is missing after %q", cmd.CommandPath())
		}
		return unknownCommand(cmd, args[0])
	}
	return cmd
}

func unknownCommand(cmd *cobra.Command, given string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return usage("unknown command %q for %q%s; see %s --help", given, cmd.CommandPath(), didYouMean(given, "", names), cmd.CommandPath())
}

// flagError adds to an error of the flag parser the flag that was likely meant.
func flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usage("%v; see %s --help", err, cmd.CommandPath())
	}
	hint := ""
	if unknown.GetSpecifiedShortnames() == "" {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		hint = didYouMean(unknown.GetSpecifiedName(), "--", names)
	}
	return usage("%v%s; see %s --help", err, hint, cmd.CommandPath())
}

func didYouMean(given, prefix string, names []string) string {
	best, least := "", -1
	for _, name := range names {
		d := distance(given, name)
		if strings.HasPrefix(name, given) || sameLetters(name, given) {
			d = min(d, 1)
		}
		if least < 0 || d < least {
			best, least = name, d
		}
	}
	if least < 0 || least > max(1, len(given)/3) {
		return "" // nothing alike
	}
	return ": did you mean " + prefix + best + "?"
}

func sameLetters(a, b string) bool {
	x, y := []byte(a), []byte(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// distance counts the letters to insert, delete or replace to make b of a.
func distance(a, b string) int {
	a = a[:min(len(a), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
