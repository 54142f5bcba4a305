package archtest

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func treesImports(t *testing.T) map[string][]string {
	t.Helper()
	found, err := actual(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAllowancesAreUsed(t *testing.T) {
	for _, p := range unused(treesImports(t)) {
		t.Error(p)
	}
}

// TestTheTableOfImportsIsTheRules: what docs/design.md says who imports is what the rules allow.
func TestTheTableOfImportsIsTheRules(t *testing.T) {
	problems, rows := disagreements(read(t, "docs/design.md"), treesImports(t))
	for _, p := range problems {
		t.Errorf("docs/design.md: %s", p)
	}
	if rows < len(imports) {
		t.Errorf("docs/design.md has rows for %d packages, the rules name %d: has its table another form?", rows, len(imports))
	}
}

func TestAnAllowanceWithoutUseIsFound(t *testing.T) {
	found := treesImports(t)
	if problems := unused(found); len(problems) > 0 {
		t.Fatal(problems)
	}
	found["resize"] = slices.DeleteFunc(found["resize"], func(i string) bool { return i == "ring" })
	found["configs/load"] = []string{"job", "configs"} // and no viper
	delete(found, "dispatch")
	for _, want := range []string{"resize may import ring, and does not", "configs/load may import github.com/spf13/viper, and does not", "has dispatch, which is no package"} {
		if problems := unused(found); len(problems) != 3 || !strings.Contains(strings.Join(problems, "\n"), want) {
			t.Errorf("found %q, want %q among three", problems, want)
		}
	}
}

func TestATableThatDiffersIsFound(t *testing.T) {
	found, err := actual(fstest.MapFS{
		"internal/a/a.go":      {Data: []byte("package a\nimport (\"ringmaster/job\"; \"ringmaster/ring\"; \"fmt\")")},
		"internal/a/a_test.go": {Data: []byte("package a\nimport \"ringmaster/resize\"")},
		"internal/b/b.go":      {Data: []byte("package b")},
		"job/j.go":             {Data: []byte("package job")}, "ring/r.go": {Data: []byte("package ring")}, "resize/r.go": {Data: []byte("package resize")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for row, want := range map[string]string{
		"| `resize` | x | `ring` |":              "",
		"| `ring` | x | none |":                  "",
		"| `internal/a` | x | `job`, `ring` |":   "",
		"| `internal/a`, `internal/b` | | all |": "",
		"| `internal/b` | x | none |":            "",
		"| `resize` | x | none |":                "of resize it says \"none\", want `ring`",
		"| `ring` | x | `job` |":                 "want none",
		"| `internal/a` | x | `job` |":           "want all or `job`, `ring`",
		"| `internal/a` | x | |":                 "want all or `job`, `ring`",
		"| `internal/b` | x | `job` |":           "want all or none",
	} {
		problems, rows := disagreements("| package | | |\n|---|---|---|\n"+row+"\n", found)
		switch {
		case rows == 0:
			t.Errorf("%s: no row", row)
		case want == "" && len(problems) > 0, want != "" && (len(problems) != 1 || !strings.Contains(strings.ReplaceAll(problems[0], "the imports of ", ""), want)):
			t.Errorf("%s: found %q, want %q", row, problems, want)
		}
	}
}
