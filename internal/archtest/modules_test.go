package archtest

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// modulesOf are the modules, but this one, whose packages are compiled into a program that imports
// the package, on any of the systems.
func modulesOf(t *testing.T, pkg string) []string {
	t.Helper()
	var found []string
	for _, system := range []string{"linux", "darwin", "windows"} {
		cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", pkg)
		cmd.Dir = root
		cmd.Env = append(cmd.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list for %s: %v", system, err)
		}
		for _, m := range strings.Fields(string(out)) {
			if m != module && !slices.Contains(found, m) {
				found = append(found, m)
			}
		}
	}
	slices.Sort(found)
	return found
}

// TestTheLibraryPullsInFewModules: whoever uses the library alone does not carry viper or a store in
// memory about. A module that comes or goes is written down in rootModules.
func TestTheLibraryPullsInFewModules(t *testing.T) {
	if got := modulesOf(t, "."); !slices.Equal(got, rootModules) {
		t.Errorf("the root package pulls in\n%s\nand rootModules in internal/archtest/rules.go names\n%s",
			strings.Join(got, "\n"), strings.Join(rootModules, "\n"))
	}
}

// TestModulesAreFound shows that the list is not just empty.
func TestModulesAreFound(t *testing.T) {
	for pkg, want := range map[string]string{
		"./configs/load": "github.com/spf13/viper", "./embedded": "github.com/alicebob/miniredis/v2", ".": "github.com/redis/go-redis/v9",
	} {
		if got := modulesOf(t, pkg); !slices.Contains(got, want) {
			t.Errorf("%s: %q without %s", pkg, got, want)
		}
	}
}
