package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	catalogueDir = "internal/mutants/catalogue"
	page         = "docs/reliability/mutants.md"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// summary is the last line of the output.
type summary struct {
	Mutants int      `json:"mutants"`
	Caught  int      `json:"caught"`
	Missed  []string `json:"missed"`
}

var errMissed = errors.New("not every mutant was caught")

func run() error {
	only := flag.String("only", "", "try the mutants whose name matches this expression alone")
	parallel := flag.Int("parallel", 2, "mutants at a time")
	limit := flag.Duration("limit", 25*time.Minute, "end of the run; what was not tried counts as missed")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	ctx, end := context.WithTimeout(ctx, *limit)
	defer end()
	scratch, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return fmt.Errorf("make scratch folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	tree := filepath.Join(scratch, "tree")
	if err := copyTree(ctx, ".", tree); err != nil {
		return err
	}
	all, err := catalogue(os.DirFS(tree), catalogueDir)
	if err != nil {
		return err
	}
	chosen, err := matching(all, *only)
	if err != nil {
		return err
	}
	s := &suite{dir: tree, scratch: scratch, parallel: *parallel, log: func(line string) { fmt.Println(line) }, patience: 30 * time.Second}
	verdicts, err := s.run(ctx, chosen)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else if err := updatePage(page, all, verdicts); err != nil {
		return err
	}
	return report(verdicts)
}

// report prints the summary, and fails unless all were caught.
func report(verdicts []verdict) error {
	sum := summary{Mutants: len(verdicts), Missed: []string{}}
	for i := range verdicts {
		if verdicts[i].caught {
			sum.Caught++
		} else {
			sum.Missed = append(sum.Missed, verdicts[i].mutant.name)
		}
	}
	raw, err := json.Marshal(sum)
	if err != nil {
		return fmt.Errorf("encode summary: %w", err)
	}
	fmt.Println(string(raw))
	if len(sum.Missed) > 0 || sum.Mutants == 0 {
		return errMissed
	}
	return nil
}

func matching(all []mutant, only string) ([]mutant, error) {
	form, err := regexp.Compile(only)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(all), func(m mutant) bool { return !form.MatchString(m.name) }), nil
}

// copyTree copies what belongs to the project, so that whoever edits it meanwhile does
// not disturb the run.
func copyTree(ctx context.Context, from, to string) error {
	cmd := exec.CommandContext(ctx, "git", "ls-files", "--cached", "--others", "--exclude-standard")
	cmd.Dir, cmd.Stderr = from, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("list the files of the project: %w", err)
	}
	for name := range strings.Lines(string(out)) {
		name = strings.TrimSuffix(name, "\n")
		info, err := os.Stat(filepath.Join(from, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			return fmt.Errorf("copy the project: %w", err)
		}
		raw, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return fmt.Errorf("copy the project: %w", err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755); err != nil {
			return fmt.Errorf("copy the project: %w", err)
		}
		if err := os.WriteFile(filepath.Join(to, name), raw, info.Mode().Perm()); err != nil {
			return fmt.Errorf("copy the project: %w", err)
		}
	}
	return nil
}
