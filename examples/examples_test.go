// Package examples has whole programs that use the library. Each runs by itself, on a store in memory,
// and ends.
package examples

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestExamplesRun builds and runs each program as a reader would.
func TestExamplesRun(t *testing.T) {
	for name, want := range map[string][]string{
		"ledger":   {"all 20 accounts balance"},
		"webhooks": {"quick heard created, paid, shipped, busy heard created, paid, shipped, gone heard 0; 3 dead letters: 410 Gone", "requeued: gone heard created"},
		"reports":  {`ada: {"Customer":"ada","Pages":3}`, `grace: {"Customer":"grace","Pages":5}`, "2 reports made"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program := filepath.Join(t.TempDir(), name)
			if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./"+name).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, program).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, line := range want {
				if !strings.Contains(string(out), line) {
					t.Errorf("it does not say %q:\n%s", line, out)
				}
			}
		})
	}
}
