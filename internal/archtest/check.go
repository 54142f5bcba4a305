package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "ringmaster"

// check reads every Go file of the tree and returns what breaks a rule, one
// line each, in the order of the paths.
func check(tree fs.FS) ([]string, error) {
	var problems []string
	seen := map[string]bool{}
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if entry.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		if dir := path.Dir(name); !seen[dir] {
			seen[dir] = true
			problems = append(problems, checkPackage(dir)...)
		}
		found, err := checkFile(name, src)
		problems = append(problems, found...)
		return err
	})
	return problems, err
}

// checkPackage looks at a package's place and name.
func checkPackage(pkg string) []string {
	var problems []string
	if slices.Contains(vagueNames, path.Base(pkg)) {
		problems = append(problems, fmt.Sprintf("%s: the name says nothing; name the package after what it provides", pkg))
	}
	if _, ok := imports[pkg]; !ok && !under(pkg, wiring...) {
		problems = append(problems, fmt.Sprintf("%s: unknown package; decide which packages of this module it may import "+
			"and add it to the table imports in internal/archtest/rules.go (or to wiring, if it joins the others)", pkg))
	}
	return problems
}

// checkFile looks at one file.
func checkFile(name string, src []byte) ([]string, error) {
	var problems []string
	if lines := bytes.Count(src, []byte("\n")); lines > maxLines {
		problems = append(problems, fmt.Sprintf("%s: %d lines, at most %d; split it by what its parts are about", name, lines, maxLines))
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	test := strings.HasSuffix(name, "_test.go")
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if imported == "math/rand" {
			problems = append(problems, name+": imports math/rand; use math/rand/v2")
		}
		if test {
			continue
		}
		if reason := forbidden(path.Dir(name), imported); reason != "" {
			problems = append(problems, fmt.Sprintf("%s: imports %s; %s", name, imported, reason))
		}
	}
	switch {
	case test:
		problems = append(problems, sleeps(name, file)...)
	case slices.Contains(clockless, path.Dir(name)):
		problems = append(problems, clocks(name, file)...)
	case slices.Contains(driven, path.Dir(name)):
		problems = append(problems, clocks(name, file)...)
		problems = append(problems, goroutines(name, file)...)
	}
	return problems, nil
}

// forbidden says why pkg may not import what is named, or nothing.
func forbidden(pkg, imported string) string {
	own, isOurs := strings.CutPrefix(imported, module+"/")
	if imported == module {
		own, isOurs = ".", true
	}
	if isOurs {
		allowed, listed := imports[pkg]
		switch {
		case under(own, "cmd"):
			return "nothing imports what is below cmd/"
		case listed && !slices.Contains(allowed, own):
			return fmt.Sprintf("%s may import %v of this module: declare a small interface for what it needs, and join the two in wiring", pkg, allowed)
		}
		return ""
	}
	if slices.Contains(clockless, pkg) && imported != "time" && under(imported, impure...) {
		return pkg + " is pure: it is given times, and has no I/O, locks, log or chance of its own"
	}
	if slices.Contains(driven, pkg) && imported != "time" && imported != "context" && under(imported, impure...) {
		return pkg + " has no I/O, locks, log or chance of its own: declare a small interface for what it needs"
	}
	if slices.Contains(pure, pkg) && under(imported, impure...) {
		return pkg + " is pure: it gets time as ticks and has no I/O, locks, log or chance of its own"
	}
	for _, rule := range onlyFor {
		if under(imported, rule.dependency) && !under(pkg, rule.users...) {
			return fmt.Sprintf("only %v may", rule.users)
		}
	}
	return ""
}

// clocks finds calls that ask a clock.
func clocks(name string, file *ast.File) []string {
	var problems []string
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, ok := sel.X.(*ast.Ident)
		if ok && (pkg.Name == "time" && slices.Contains(clock, sel.Sel.Name) || pkg.Name == "context" && slices.Contains(timers, sel.Sel.Name)) {
			problems = append(problems, name+": "+pkg.Name+"."+sel.Sel.Name+"; this package is given the time")
		}
		return true
	})
	return problems
}

// goroutines finds what starts one.
func goroutines(name string, file *ast.File) []string {
	var problems []string
	ast.Inspect(file, func(n ast.Node) bool {
		if _, ok := n.(*ast.GoStmt); ok {
			problems = append(problems, name+": a go statement; who calls this package decides what runs beside it")
		}
		return true
	})
	return problems
}

// sleeps finds time.Sleep in a test outside the bubble of a synctest.Test, or of
// a ringtest.Run, where it takes no time.
func sleeps(name string, file *ast.File) []string {
	var problems []string
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		switch {
		case !ok:
			return true
		case isCall(call, "synctest", "Test"), isCall(call, "ringtest", "Run"), isCall(call, "ringtest", "RunWith"):
			return false
		case isCall(call, "time", "Sleep"):
			problems = append(problems, name+": time.Sleep in a test; wait for the fact itself, or use testing/synctest")
		}
		return true
	})
	return problems
}

func isCall(call *ast.CallExpr, pkg, function string) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == pkg && sel.Sel.Name == function
}
