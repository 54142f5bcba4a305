package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// page is the report for people.
func (r *Report) page() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	verdict := "no anomaly"
	if r.Anomalies > 0 {
		verdict = fmt.Sprintf("%d anomalies", r.Anomalies)
	}
	if r.Void {
		verdict += ", void"
	}
	line("# Chaos, tier %s: %s\n", r.Tier, verdict)
	line("%s, %s, seed %d, commit `%s`. %d CPUs, Linux %s, %s, Redis %s.\n", r.Date, r.Took, r.Seed, r.Commit, r.Machine.CPUs, r.Machine.Kernel, r.Machine.Go, r.Machine.Redis)
	line("Again: `%s`\n", r.Rerun)
	line("| jobs | completed | dead | kills | resizes | rows hit | handler starts | again | effects, plain sink | effects, fenced sink |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	l := r.Ledger
	line("| %d | %d | %d | %d | %d | %d of %d | %d | %d | %d | %d |\n", r.Jobs, l.Completed, l.Dead, r.Kills, r.Resizes, r.RowsHit, len(r.Rows), l.Runs, l.Reruns, l.Effects, l.FencedEffects)
	line("%d submissions were refused and %d of unknown outcome; %d that were not answered, or of unknown outcome, came out.\n", l.Refused, l.Unknown, l.Recovered)
	bounds(line, r)
	listed(line, "Anomalies", r.Findings, func(f finding) string { return fmt.Sprintf("%s (%s): %s", f.Kind, f.Where, f.Text) })
	listed(line, "Void because", r.Voids, func(v string) string { return v })
	counted(line, "Rolled back by announced failovers", l.RolledBack)
	if len(r.Losses) > 0 {
		line("## Losses\n\nWhere the server forgets what it had acknowledged, and nobody waited for copies, or somebody deletes it.\n\n| where | acknowledged | rolled back | lost before they had run | ran again |\n|---|--:|--:|--:|--:|")
		for _, row := range slices.Sorted(maps.Keys(r.Losses)) {
			l := r.Losses[row]
			line("| %s | %d | %d | %d | %d |", row, l.Acknowledged, l.RolledBack, l.Lost, l.RanAgain)
		}
		line("")
	}
	line("## Recovery\n\n| what | n | p50 | p99 | max |\n|---|--:|--:|--:|--:|")
	for _, name := range slices.Sorted(maps.Keys(r.Recovery)) {
		t := r.Recovery[name]
		line("| %s | %d | %d ms | %d ms | %d ms |", name, t.N, t.P50, t.P99, t.Max)
	}
	line("\nPercentiles of few values are of few values: below n = 100, p99 is the worst.\n")
	line("## Resources\n\n| process | watched | hours in all | memory, MB per hour | most, MB |\n|---|--:|--:|--:|--:|")
	for _, kind := range slices.Sorted(maps.Keys(r.Memory)) {
		g := r.Memory[kind]
		line("| %s | %d | %.2f | %+.1f | %d |", kind, g.Processes, g.Hours, g.MBPerHour, g.MostMB)
	}
	line("\nThe first minute of a process is left out. Under faults few live for long, and a slope over minutes says little; under steady load they live as long as it takes, and give free memory back before it is read. At quiet moments the most above a process's own base: %d goroutines, %d descriptors.\n", r.Goroutines, r.FDs)
	line("## Coverage\n\n| row | fault | hits | tries | time |\n|--:|---|--:|--:|--:|")
	for _, row := range r.Rows {
		if row.Cannot != "" {
			line("| %d | %s | - | - | not here: %s |", row.Row, row.Name, row.Cannot)
			continue
		}
		line("| %d | %s | %d | %d | %.1f s |", row.Row, row.Name, row.Hits, row.Tries, time.Duration(row.Ms*int64(time.Millisecond)).Seconds())
	}
	line("")
	counted(line, "Failpoints hit", r.Points)
	counted(line, "Faults, as the ledger has them", l.Faults)
	return b.String()
}

func bounds(line func(string, ...any), r *Report) {
	if r.Bounds.PerKill == nil && r.Bounds.PerJob == nil {
		return
	}
	line("No anomaly in n trials does not mean never. The bound at 95%% is 3/n:\n")
	for _, b := range []struct {
		what string
		n    int
		v    *float64
	}{{"kill", r.Kills, r.Bounds.PerKill}, {"job", r.Jobs, r.Bounds.PerJob}} {
		if b.v != nil {
			line("- below %.2g per %s (n = %d)", *b.v, b.what, b.n)
		}
	}
	line("")
}

func listed[T any](line func(string, ...any), title string, all []T, text func(T) string) {
	if len(all) == 0 {
		return
	}
	line("## %s\n", title)
	for i, v := range all {
		if i == 50 {
			line("- and %d more", len(all)-i)
			break
		}
		line("- %s", strings.ReplaceAll(text(v), "\n", " "))
	}
	line("")
}

func counted(line func(string, ...any), title string, counts map[string]int) {
	if len(counts) == 0 {
		return
	}
	var all []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, fmt.Sprintf("%s %d", k, counts[k]))
	}
	line("%s: %s.\n", title, strings.Join(all, ", "))
}
