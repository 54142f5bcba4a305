package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ringmaster/internal/failpoint"
)

var pointRow = regexp.MustCompile("(?m)^\\| ([A-Z][0-9]+) \\| `([^`]+)` \\|")

// TestFailpointsAreDocumented compares docs/reliability/failpoints.md with the code: every
// point, and the function that has it.
func TestFailpointsAreDocumented(t *testing.T) {
	var listed, coded []string
	for _, row := range pointRow.FindAllStringSubmatch(read(t, "docs/reliability/failpoints.md"), -1) {
		listed = append(listed, row[1]+" "+row[2])
	}
	named := map[string]bool{}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "internal/failpoint/") {
			return nil
		}
		for _, found := range pointsOf(t, name) {
			named[strings.Fields(found)[0]] = true
			coded = append(coded, found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(listed)
	slices.Sort(coded)
	coded = slices.Compact(coded)
	if !slices.Equal(listed, coded) {
		t.Errorf("docs/reliability/failpoints.md lists\n%s\nthe code has\n%s", strings.Join(listed, "\n"), strings.Join(coded, "\n"))
	}
	for _, p := range failpoint.Points() {
		if !named[string(p)] {
			t.Errorf("no function has the point %s", p)
		}
	}
}

// pointsOf lists the points in a file as "point package.function". In the chaos program,
// which names points to arm them, only those that it hits itself.
func pointsOf(t *testing.T, name string) []string {
	file, err := parser.ParseFile(token.NewFileSet(), path.Join(root, name), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		where := file.Name.Name + "." + f.Name.Name
		if strings.HasPrefix(name, "e2e/chaos/") {
			where = "chaos." + f.Name.Name
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && strings.HasPrefix(name, "e2e/") {
				if p := pointName(call.Fun); p == "Hit" && len(call.Args) == 1 {
					found = append(found, pointName(call.Args[0])+" "+where)
				}
				return true
			}
			if expr, ok := n.(ast.Expr); ok && !strings.HasPrefix(name, "e2e/") {
				if p := pointName(expr); regexp.MustCompile(`^[A-Z][0-9]+$`).MatchString(p) {
					found = append(found, p+" "+where)
				}
			}
			return true
		})
	}
	return found
}

// pointName is X of failpoint.X.
func pointName(e ast.Expr) string {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "failpoint" {
		return sel.Sel.Name
	}
	return ""
}
