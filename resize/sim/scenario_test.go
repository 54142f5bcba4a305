package sim

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the output found into the scenarios; keep only what you can explain")

// TestScenarios runs testdata/*.txt: lines of "# comment" and blocks of commands,
// "----", output, empty line.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(raw))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(raw) {
				t.Errorf("%s now plays:\n%s", file, got)
			}
			if strings.Contains(got, "BROKEN") {
				t.Errorf("%s breaks an invariant:\n%s", file, got)
			}
		})
	}
}

// play runs a scenario and returns it with the output it should have.
func play(t *testing.T, text string) string {
	t.Helper()
	var out strings.Builder
	env := &Env{}
	defer env.End()
	var results []string
	output := false
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		switch {
		case line == "----":
			output = true
			out.WriteString("----\n")
			for _, r := range results {
				if r != "" {
					out.WriteString(r + "\n")
				}
			}
			results = nil
		case line == "":
			output = false
			out.WriteString("\n")
		case output:
		case strings.HasPrefix(line, "#"):
			out.WriteString(line + "\n")
		default:
			r, err := env.Run(line)
			if err != nil {
				t.Fatal(err)
			}
			results = append(results, r)
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}
