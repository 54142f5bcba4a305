package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ringmaster/configs"
	"ringmaster/configs/load"
)

func (s *session) configView() *cobra.Command {
	var program string
	var sources bool
	cmd := &cobra.Command{
		Use: "view", Short: "Show the settings that are in force", Args: exactArgs(0),
		Long: `view shows the settings of one of the programs as flags, environment, the file given
with --config and defaults make them. Secrets are not shown.`,
	}
	cmd.Flags().StringVar(&program, "for", "ringctl", "program: dispatcher, worker or ringctl")
	cmd.Flags().BoolVar(&sources, "sources", false, "show where each value comes from")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		rows, err := s.rowsOf(cmd, program)
		if err != nil {
			return err
		}
		own, _, err := s.settings(cmd)
		if err != nil {
			return err
		}
		out := printer{s.env.Stdout, own.Output}
		if sources {
			return list(out, rows, []string{"KEY", "VALUE", "SOURCE"}, func(r configs.Row) []string {
				return []string{r.Key, dash(r.Value), r.Source}
			})
		}
		type row struct {
			Key   string `json:"key"`
			Value string `json:"value"`
		}
		bare := make([]row, len(rows))
		for i, r := range rows {
			bare[i] = row{r.Key, r.Value}
		}
		return list(out, bare, []string{"KEY", "VALUE"}, func(r row) []string { return []string{r.Key, dash(r.Value)} })
	}
	return cmd
}

func (s *session) rowsOf(cmd *cobra.Command, program string) ([]configs.Row, error) {
	flags, file, environ := cmd.Flags(), configFile(cmd), s.env.Environ
	switch program {
	case "ringctl":
		c, report, err := load.Ringctl(flags, file, environ)
		return configs.View(&c, report.Sources), err
	case "dispatcher":
		c, report, err := load.Dispatcher(flags, file, environ)
		return configs.View(&c, report.Sources), err
	case "worker":
		c, report, err := load.Dev(flags, file, environ)
		return configs.View(&c, report.Sources), err
	}
	return nil, usage("--for %q: want dispatcher, worker or ringctl", program)
}

func (s *session) configValidate() *cobra.Command {
	return &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "validate --config FILE", Short: "Check a file with settings", Args: exactArgs(0),
		Long: `validate checks the file given with --config, without flags and environment, for every
program that it has settings for. All problems are said; the exit code is then 2.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file := configFile(cmd)
			if file == "" {
				return usage("say which file: ringctl config validate --config FILE")
			}
			v, err := load.Validate(file)
			warn(s.env.Stderr, v.Warnings)
			if err != nil {
				return err
			}
			format := cmd.Flags().Lookup("output").Value.String()
			if !slices.Contains([]string{"table", "json", "jsonl"}, format) {
				return usage("--output %q: want table, json or jsonl", format)
			}
			result := struct {
				File     string   `json:"file"`
				Valid    bool     `json:"valid"`
				Programs []string `json:"programs"`
			}{file, true, v.Programs}
			out := printer{s.env.Stdout, format}
			if format != "table" {
				return out.encode(result)
			}
			return out.line(fmt.Sprintf("%s: good for %s", plain(file), strings.Join(v.Programs, ", ")))
		},
	}
}
