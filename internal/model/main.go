// Command model has spin search the model of the protocol, ringmaster.pml, for histories
// that break an invariant. docs/reliability/model.md says what is modelled.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"time"
)

func main() {
	form := flag.String("form", "full", "full: every pair of faults; small: every single fault; large: what takes longer; mutants: guards taken away")
	at := flag.String("dir", filepath.Join("internal", "model"), "directory of the model")
	only := flag.String("only", "", "the one search, or mutant, of this name")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	code, err := run(ctx, *form, *at, *only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "model:", err)
	}
	stop()
	os.Exit(code) //nolint:gocritic // stop has been called
}

func run(ctx context.Context, form, at, only string) (int, error) {
	searches, limit := full(), fullTime
	switch form {
	case "full":
	case "small":
		searches, limit = small(), smallTime
	case "large":
		searches, limit = large(), largeTime
	case "mutants":
		searches, limit = mutants(), mutantTime
	default:
		return 1, fmt.Errorf("form %q is not one of full, small, large, mutants", form)
	}
	if only != "" {
		searches = named(searches, only)
	}
	if len(searches) == 0 {
		return 1, fmt.Errorf("no search is named %q", only)
	}
	model, err := filepath.Abs(filepath.Join(at, "ringmaster.pml"))
	if err != nil {
		return 1, fmt.Errorf("find the model: %w", err)
	}
	dir, err := os.MkdirTemp("", "ringmaster-model-")
	if err != nil {
		return 1, fmt.Errorf("make a working directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	results, failures := all(ctx, searches, model, dir)
	for _, err := range failures {
		fmt.Fprintln(os.Stderr, "model:", err)
	}
	table(os.Stderr, results)
	line, ok := summary(form, results)
	fmt.Println(line)
	if !ok || len(failures) > 0 {
		return 1, nil
	}
	return 0, nil
}

func named(all []search, name string) []search {
	for _, s := range all {
		if s.name == name {
			return []search{s}
		}
	}
	return nil
}

// all runs the searches, two at a time, in their order.
func all(ctx context.Context, searches []search, model, dir string) ([]result, []error) {
	results, errs := make([]result, len(searches)), make([]error, len(searches))
	next := make(chan int)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for i := range next {
				results[i], errs[i] = searches[i].run(ctx, model, dir)
			}
		})
	}
	for i := range searches {
		next <- i
	}
	close(next)
	workers.Wait()
	var done []result
	var failures []error
	for i, err := range errs {
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", searches[i].name, err))
		} else {
			done = append(done, results[i])
		}
	}
	// What the deadline kept from running counts as a search cut short.
	if ctx.Err() != nil {
		for i, err := range errs {
			if err != nil {
				done = append(done, result{search: searches[i], truncated: true})
			}
		}
	}
	return done, failures
}

func table(w io.Writer, results []result) {
	_, _ = fmt.Fprintf(w, "%-74s %12s %7s %9s %9s  %s\n", "search", "states", "errors", "cpu", "wall", "")
	for _, r := range results {
		note := "exhaustive"
		switch {
		case r.errors > 0:
			note = r.violation
		case r.bitstate:
			note = "bitstate, " + r.coverage
		case r.truncated:
			note = "cut short"
		case r.redundant:
			note = "exhaustive: covered"
		}
		_, _ = fmt.Fprintf(w, "%-74s %12.0f %7d %9s %9s  %.100s\n", r.name, r.states, r.errors,
			r.cpu.Round(100*time.Millisecond), r.wall.Round(100*time.Millisecond), note)
	}
}

// summary is the last line, and whether all is well: no error, and no search cut short
// that was to be exhaustive. Of mutants each must give an error, and a redundant one alone none.
func summary(form string, results []result) (string, bool) {
	if form == "mutants" {
		return mutantSummary(results)
	}
	var states float64
	found, truncated := 0, 0
	ok := true
	for _, r := range results {
		states += r.states
		found += r.errors
		if r.truncated && r.errors == 0 {
			truncated++
			ok = ok && r.bitstate
		}
	}
	line, err := json.Marshal(struct {
		Configs   int   `json:"configs"`
		States    int64 `json:"states"`
		Errors    int   `json:"errors"`
		Truncated int   `json:"truncated"`
	}{len(results), int64(states), found, truncated})
	return string(line), ok && found == 0 && err == nil
}

func mutantSummary(results []result) (string, bool) {
	mutants, caught := 0, 0
	missed := []string{}
	for _, r := range results {
		wanted := r.errors > 0
		if r.redundant {
			wanted = r.errors == 0 && !r.truncated
		} else {
			mutants++
		}
		switch {
		case !wanted:
			missed = append(missed, r.name)
		case !r.redundant:
			caught++
		}
	}
	line, err := json.Marshal(struct {
		Mutants int      `json:"mutants"`
		Caught  int      `json:"caught"`
		Missed  []string `json:"missed"`
	}{mutants, caught, missed})
	return string(line), len(missed) == 0 && err == nil
}
