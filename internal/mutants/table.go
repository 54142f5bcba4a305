package main

import (
	"fmt"
	"path"
	"runtime"
	"strings"
	"time"
)

// table is the page that says what caught each mutant, and after how long.
func table(verdicts []verdict, day time.Time, took time.Duration, parallel int) string {
	caught := 0
	for i := range verdicts {
		if verdicts[i].caught {
			caught++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# Mutants

Known bugs, put back one at a time. Each must make a test fail; `+"`make mutants`"+` does it and writes this page. The bugs are in [internal/mutants/catalogue](../../internal/mutants/catalogue).

Run of %s: %d mutants, %d caught, in %.0f s; %d cores, %d at a time. The seconds include building the test.

| mutant | what it breaks | caught by | after |
|---|---|---|---|
`, day.UTC().Format(time.DateOnly), len(verdicts), caught, took.Seconds(), runtime.NumCPU(), parallel)
	for i := range verdicts {
		v := &verdicts[i]
		by, after := "**missed**", ""
		if v.caught {
			by, after = "`"+v.place()+"`", fmt.Sprintf("%.1f s", v.took.Seconds())
		} else if v.err != nil {
			by = "**not tried**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", v.mutant.name, strings.ReplaceAll(v.mutant.breaks, "|", `\|`), by, after)
	}
	return b.String()
}

// place names the test as the other documents do: package, test, scenario if it is one.
func (v *verdict) place() string {
	test, part, _ := strings.Cut(v.test, "/")
	if strings.HasPrefix(test, "Test") {
		test = path.Base(v.check.pkg) + "." + test
	}
	if strings.HasSuffix(test, ".TestScenarios") {
		test += "/" + part
	}
	return test
}
