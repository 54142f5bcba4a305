package archtest

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"ringmaster/job"
)

const root = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// documents are all pages for people.
func documents(t *testing.T) []string {
	t.Helper()
	docs, err := fs.Glob(os.DirFS(root), "docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	below, err := fs.Glob(os.DirFS(root), "docs/*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	docs = append(docs, below...)
	top, err := fs.Glob(os.DirFS(root), "*.md")
	if err != nil || len(docs) == 0 || len(top) == 0 {
		t.Fatalf("found %d and %d documents: %v", len(docs), len(top), err)
	}
	return append(top, docs...)
}

var (
	testName     = regexp.MustCompile("`([a-z0-9]+)\\.((?:Test|Fuzz|Example)[A-Za-z0-9_]*)(?:/([a-z0-9_]+))?`")
	testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)[A-Za-z0-9_]*)\(`)
	link         = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading      = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fenced       = regexp.MustCompile("(?s)```.*?```")
	goBlock      = regexp.MustCompile("(?s)```go\n(.*?)```")
)

// tests are the names of all tests in the tree, "package.Test", by the directory's name; the
// tree's own is the module's.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (name == ".git" || name == "bin"):
			return fs.SkipDir
		case !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		pkg := path.Base(path.Join("ringmaster", path.Dir(name)))
		for _, m := range testFunction.FindAllStringSubmatch(read(t, name), -1) {
			found[pkg+"."+m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestTestsThatDocumentsNameExist(t *testing.T) {
	found := tests(t)
	for _, doc := range documents(t) {
		named := testName.FindAllStringSubmatch(read(t, doc), -1)
		if len(named) < 20 && (doc == "docs/guarantees.md" || doc == "docs/protocol.md") {
			t.Errorf("%s names %d tests: is its form another one?", doc, len(named))
		}
		for _, m := range named {
			if !found[m[1]+"."+m[2]] {
				t.Errorf("%s names %s.%s, which does not exist", doc, m[1], m[2])
			}
			if m[3] == "" {
				continue
			}
			if m[1] != "sim" {
				t.Errorf("%s names a part of %s.%s: only scenarios are named so", doc, m[1], m[2])
			} else if _, err := os.Stat(filepath.Join(root, "resize/sim/testdata", m[3]+".txt")); err != nil {
				t.Errorf("%s names the scenario %s: %v", doc, m[3], err)
			}
		}
	}
}

// TestScenariosAreDocumented: whoever adds a scenario says what it shows.
func TestScenariosAreDocumented(t *testing.T) {
	files, err := fs.Glob(os.DirFS(root), "resize/sim/testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	protocol := read(t, "docs/protocol.md")
	for _, f := range files {
		name := strings.TrimSuffix(path.Base(f), ".txt")
		if name != "first_worker_gets_everything" && !strings.Contains(protocol, "sim.TestScenarios/"+name+"`") {
			t.Errorf("docs/protocol.md does not name the scenario %s", name)
		}
	}
}

// TestPackagesAreDocumented: the table of packages in docs/design.md is whole.
func TestPackagesAreDocumented(t *testing.T) {
	design := read(t, "docs/design.md")
	for _, pattern := range []string{"*/*.go", "*/*/*.go"} {
		files, err := fs.Glob(os.DirFS(root), pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files: %v", pattern, err)
		}
		seen := map[string]bool{}
		for _, f := range files {
			pkg := path.Dir(f)
			if !seen[pkg] && !under(pkg, "cmd") && !strings.Contains(design, "`"+pkg+"`") {
				t.Errorf("docs/design.md does not name the package %s", pkg)
			}
			seen[pkg] = true
		}
	}
}

func TestLinksResolve(t *testing.T) {
	for _, doc := range documents(t) {
		text := fenced.ReplaceAllString(read(t, doc), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := path.Join(path.Dir(doc), file)
			if file == "" {
				target = doc
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s: %v", doc, m[1], err)
			} else if anchor != "" && !slices.Contains(anchors(read(t, target)), anchor) {
				t.Errorf("%s links to %s: no such heading", doc, m[1])
			}
		}
	}
}

// anchors are the names that a page's headings get.
func anchors(text string) []string {
	var out []string
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		var b strings.Builder
		for _, r := range strings.ToLower(strings.TrimSpace(m[1])) {
			switch {
			case r == ' ', r == '-':
				b.WriteByte('-')
			case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
				b.WriteRune(r)
			}
		}
		out = append(out, b.String())
	}
	return out
}

// TestKeysOfTheWireAreThoseOfTheCode compares the tables of keys in both directions.
func TestKeysOfTheWireAreThoseOfTheCode(t *testing.T) {
	plain := strings.NewReplacer("<ns>:", "rm:", "<shard>", "rm:{q}:").Replace
	code := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^//\t((?:<ns>:|<shard>)\S+)\s+([a-z]+) `).FindAllStringSubmatch(read(t, "streams/keys.go"), -1) {
		code[plain(m[1])] = m[2]
	}
	wire := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(rm:[^`]+)` \\| ([a-z]+) \\|").FindAllStringSubmatch(read(t, "docs/wire.md"), -1) {
		wire[m[1]] = m[2]
	}
	if len(code) < 15 || len(wire) < 15 {
		t.Fatalf("found %d keys in the code and %d in docs/wire.md", len(code), len(wire))
	}
	for key, kind := range wire {
		if code[key] != kind {
			t.Errorf("docs/wire.md: %s is a %s; streams/keys.go: %q", key, kind, code[key])
		}
	}
	for key := range code {
		if wire[key] == "" {
			t.Errorf("docs/wire.md does not name %s", key)
		}
	}
}

func TestVectorsOfThePartitionFunction(t *testing.T) {
	_, text, ok := strings.Cut(read(t, "docs/wire.md"), "<!-- vectors")
	if !ok {
		t.Fatal("docs/wire.md has no vectors")
	}
	text, _, _ = strings.Cut(text, "\n## ")
	rows := regexp.MustCompile("(?m)^\\| (.+?) \\| (\\d+) \\| `([0-9a-f]{16})` \\| (\\d+) \\| (\\d+) \\|$").FindAllStringSubmatch(text, -1)
	if len(rows) < 8 {
		t.Fatalf("docs/wire.md has %d vectors that can be read", len(rows))
	}
	for _, r := range rows {
		key := strings.Trim(r[1], "`")
		if r[1] == "(empty string)" {
			key = ""
		} else if what, times, repeated := strings.Cut(r[1], "` "); repeated {
			n, err := strconv.Atoi(strings.TrimSuffix(times, " times"))
			if err != nil {
				t.Fatalf("vector %q: %v", r[1], err)
			}
			key = strings.Repeat(strings.Trim(what, "`"), n)
		}
		got := fmt.Sprintf("%d %016x %d %d", len(key), xxhash.Sum64String(key), job.PartitionOf(key, 64), job.PartitionOf(key, 1000))
		if want := strings.Join(r[2:], " "); got != want {
			t.Errorf("key %s: the code has %s, docs/wire.md %s", r[1], got, want)
		}
	}
}

// TestGoOfTheReadmeIsTested: what is shown is what runs.
func TestGoOfTheReadmeIsTested(t *testing.T) {
	example := read(t, "example_test.go") + read(t, "ringtest/example_test.go")
	blocks := goBlock.FindAllStringSubmatch(read(t, "README.md")+read(t, "docs/testing.md"), -1)
	if len(blocks) == 0 {
		t.Fatal("no Go is shown")
	}
	for _, b := range blocks {
		if !strings.Contains(example, b[1]) {
			t.Errorf("README.md or docs/testing.md shows Go that is in no example_test.go:\n%s", b[1])
		}
		if n := strings.Count(b[1], "\n"); n > 25 {
			t.Errorf("an example of a document has %d lines: at most 25", n)
		}
	}
}

// TestNothingNamesAPlaceOnSomebodysMachine looks at every file but what was built.
func TestNothingNamesAPlaceOnSomebodysMachine(t *testing.T) {
	// In two parts, since this file is one of them.
	places := regexp.MustCompile(`(^|[\s"'=(:\x60])/` + `(home|root|work|Users)/\w`)
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (name == ".git" || name == "bin"):
			return fs.SkipDir
		case !entry.Type().IsRegular(), name == ".git": // a linked working tree has a file there
			return nil
		}
		for n, line := range strings.Split(read(t, name), "\n") {
			if m := places.FindString(line); m != "" {
				t.Errorf("%s:%d names a place on somebody's machine: %s", name, n+1, m)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
