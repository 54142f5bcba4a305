package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var (
	reStep = regexp.MustCompile(`/\* step: ([a-z0-9 ]+?)\s*(?::|\*/)`)
	reRow  = regexp.MustCompile(`(?m)^\| ([a-z0-9 ]+) \| (.*) \|$`)
	reFile = regexp.MustCompile("`([a-z_/]+\\.(?:lua|go))`")
)

// The table maps each step of the model to code, and the code is there.
func TestStepsAreThoseOfTheTable(t *testing.T) {
	doc := read(t, filepath.Join(root, "docs/reliability/model.md"))
	start := strings.Index(doc, "| step |")
	if start < 0 {
		t.Fatal("the page has no table of steps")
	}
	table, _, _ := strings.Cut(doc[start:], "\n\n")
	rows := map[string]string{}
	for _, m := range reRow.FindAllStringSubmatch(table, -1) {
		rows[m[1]] = m[2]
	}
	steps := map[string]bool{}
	for _, m := range reStep.FindAllStringSubmatch(read(t, "ringmaster.pml"), -1) {
		steps[m[1]] = true
		if rows[m[1]] == "" {
			t.Errorf("step %q has no row", m[1])
		}
	}
	if len(steps) < 30 {
		t.Errorf("%d steps found in the model: the expression that finds them is wrong", len(steps))
	}
	for name := range rows {
		if !steps[name] && name != "step" {
			t.Errorf("row %q is no step of the model", name)
		}
	}
	for _, m := range reFile.FindAllStringSubmatch(table, -1) {
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			t.Errorf("the table names %s: %v", m[1], err)
		}
	}
}
