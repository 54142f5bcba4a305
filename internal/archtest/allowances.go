package archtest

import (
	"cmp"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// actual are the imports of each package of the tree, tests left out: those of this module by their
// directory, "." for the root, the others by their path.
func actual(tree fs.FS) (map[string][]string, error) {
	found := map[string][]string{}
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		base := path.Base(name)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata"):
			return fs.SkipDir
		case path.Ext(name) != ".go":
			return nil
		}
		pkg := path.Dir(name)
		if found[pkg] = append([]string{}, found[pkg]...); strings.HasSuffix(name, "_test.go") {
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("read %s: %w", name, err)
			}
			found[pkg] = append(found[pkg], ours(imported))
		}
		return nil
	})
	return found, err
}

// ours is the directory of a package of this module, or the path as it is.
func ours(imported string) string {
	if imported == module {
		return "."
	}
	return strings.TrimPrefix(imported, module+"/")
}

// unused lists the allowances in the rules that no package of the tree makes use of: a rule that
// allows more than there is hides the first import that it should have stopped.
func unused(found map[string][]string) []string {
	var problems []string
	stale := func(format string, args ...any) {
		problems = append(problems, fmt.Sprintf(format+": remove it from internal/archtest/rules.go", args...))
	}
	for _, pkg := range slices.Sorted(maps.Keys(imports)) {
		if _, ok := found[pkg]; !ok {
			stale("the table imports has %s, which is no package", pkg)
			continue
		}
		for _, allowed := range imports[pkg] {
			if !slices.Contains(found[pkg], allowed) {
				stale("%s may import %s, and does not", pkg, allowed)
			}
		}
	}
	for _, rule := range onlyFor {
		for _, user := range rule.users {
			if !imported(found, user, rule.dependency) {
				stale("%s may import %s, and does not", user, rule.dependency)
			}
		}
	}
	for _, pkg := range slices.Concat(wiring, pure, clockless) {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(found)), func(p string) bool { return under(p, pkg) }) {
			stale("a rule names %s, which is no package", pkg)
		}
	}
	return problems
}

// imported reports whether a package below user imports the dependency, or something below it.
func imported(found map[string][]string, user, dependency string) bool {
	for pkg, all := range found {
		if under(pkg, user) && slices.ContainsFunc(all, func(i string) bool { return under(i, dependency) }) {
			return true
		}
	}
	return false
}

var quoted = regexp.MustCompile("`([^`]+)`")

// disagreements are where a table of packages for people, each row `| packages | what | imports |`,
// says other than the rules. For a package that joins others, which the rules let import all, a row
// says "all", or exactly what it does import. The second answer is how many packages have a row.
func disagreements(table string, found map[string][]string) (problems []string, rows int) {
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 || !strings.HasPrefix(strings.TrimSpace(cells[0]), "`") {
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[0], -1) {
			rows++
			pkg := strings.TrimSuffix(m[1], "/*")
			if want, said := importsOf(pkg, found), strings.TrimSpace(cells[2]); !slices.Contains(want, said) {
				problems = append(problems, fmt.Sprintf("of the imports of %s it says %q, want %s", pkg, said, strings.Join(want, " or ")))
			}
		}
	}
	return problems, rows
}

// importsOf are the words for what a package may import.
func importsOf(pkg string, found map[string][]string) []string {
	if allowed, ok := imports[pkg]; ok {
		return []string{words(allowed)}
	}
	has := []string{}
	for p, all := range found {
		for _, i := range all {
			_, own := found[i]
			if own && under(p, pkg) && !under(i, pkg) {
				has = append(has, i)
			}
		}
	}
	slices.Sort(has)
	return []string{"all", words(slices.Compact(has))}
}

func words(packages []string) string {
	marked := make([]string, len(packages))
	for i, p := range packages {
		marked[i] = "`" + p + "`"
	}
	return cmp.Or(strings.Join(marked, ", "), "none")
}
