package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

const heading = `# Mutants

Known bugs, put back one at a time. Each must make a test fail. ` + "`make mutants`" + ` tries them all, ` + "`make mutants MUTANT=name`" + ` some; both write the rows of what they tried. The bugs are in [internal/mutants/catalogue](../../internal/mutants/catalogue).

The seconds include building the test with the bug in; processor time does not depend on what else the machine does.

| mutant | what it breaks | caught by | after | processor |
|---|---|---|---|---|
`

// updatePage writes the page that says what caught each mutant, and after how long. Rows
// of mutants that were not tried this time stay as they are.
func updatePage(file string, all []mutant, verdicts []verdict) error {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the page: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	if err := os.WriteFile(file, []byte(table(rowsOf(string(old)), all, verdicts)), 0o644); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// rowsOf are the lines of a page's table, by mutant.
func rowsOf(page string) map[string]string {
	rows := map[string]string{}
	for line := range strings.Lines(page) {
		if cells := strings.Split(line, "|"); len(cells) > 3 {
			rows[strings.TrimSpace(cells[1])] = line
		}
	}
	return rows
}

func table(rows map[string]string, all []mutant, verdicts []verdict) string {
	for i := range verdicts {
		if verdicts[i].err == nil {
			rows[verdicts[i].mutant.name] = verdicts[i].row()
		}
	}
	var b strings.Builder
	b.WriteString(heading)
	for i := range all {
		b.WriteString(rows[all[i].name])
	}
	return b.String()
}

func (v *verdict) row() string {
	by := "**missed**"
	if v.caught {
		by = "`" + v.place() + "`"
	}
	return fmt.Sprintf("| %s | %s | %s | %.1f s | %.1f s |\n", v.mutant.name, strings.ReplaceAll(v.mutant.breaks, "|", `\|`), by, v.took.Seconds(), v.cpu.Seconds())
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
