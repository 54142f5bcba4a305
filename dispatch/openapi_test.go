package dispatch

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTheDescriptionIsWhatGeneratorsNeed: the rules that Redocly recommends for OpenAPI 3.1 (its
// recommended.ts), as far as there is something here that they can be about.
func TestTheDescriptionIsWhatGeneratorsNeed(t *testing.T) {
	var doc description
	if err := json.Unmarshal(openapi, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Info.License.Name == "" || doc.Info.License.Identifier == "" && doc.Info.License.URL == "" {
		t.Error("info-license, info-license-strict")
	}
	if len(doc.Servers) == 0 {
		t.Error("no-empty-servers")
	}
	for _, s := range doc.Servers {
		if u, err := url.Parse(s.URL); err != nil || strings.HasSuffix(s.URL, "/") && s.URL != "/" || u.Hostname() == "localhost" || u.Hostname() == "example.com" {
			t.Errorf("server %q: no-server-trailing-slash, no-server-example.com", s.URL)
		}
	}
	seen := map[string]bool{}
	var shapes []string
	for path, ops := range doc.Paths {
		if strings.Contains(path, "?") || strings.HasSuffix(path, "/") && path != "/" {
			t.Errorf("%s: path-not-include-query, no-path-trailing-slash", path)
		}
		shapes = append(shapes, path)
		for method, op := range ops {
			name := method + " " + path
			if !urlSafe.MatchString(op.OperationID) || seen[op.OperationID] || op.Summary == "" {
				t.Errorf("%s: operation-operationId %q, -unique, -url-safe, operation-summary", name, op.OperationID)
			}
			seen[op.OperationID] = true
			op.check(t, name, path, &doc)
		}
	}
	for i, a := range shapes {
		for _, b := range shapes[i+1:] {
			if ambiguous(a, b) {
				t.Errorf("no-ambiguous-paths, no-identical-paths: %s and %s", a, b)
			}
		}
	}
	references(t, &doc)
}

var urlSafe = regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)

type description struct {
	Info struct {
		License struct{ Name, Identifier, URL string }
	}
	Servers    []struct{ URL string }
	Security   []map[string][]string
	Paths      map[string]map[string]operation
	Components map[string]map[string]json.RawMessage
}

type operation struct {
	Summary, OperationID string
	Parameters           []struct{ Name, In string }
	Responses            map[string]json.RawMessage
	Security             *[]map[string][]string
}

func (o operation) check(t *testing.T, name, path string, doc *description) {
	t.Helper()
	for _, class := range []string{"2", "4"} {
		if !slices.ContainsFunc(keys(o.Responses), func(code string) bool { return strings.HasPrefix(code, class) }) {
			t.Errorf("%s: operation-%sxx-response", name, class)
		}
	}
	var params, inPath []string
	for _, p := range o.Parameters {
		if at := p.In + " " + p.Name; slices.Contains(params, at) {
			t.Errorf("%s: operation-parameters-unique: %s", name, at)
		} else {
			params = append(params, at)
		}
	}
	for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
		inPath = append(inPath, m[1])
		if !slices.Contains(params, "path "+m[1]) {
			t.Errorf("%s: path-parameters-defined: %s", name, m[1])
		}
	}
	if n := strings.Count(strings.Join(params, ","), "path "); n != len(inPath) {
		t.Errorf("%s: path-parameters-defined: %d of %v", name, n, inPath)
	}
	security := doc.Security
	if o.Security != nil {
		security = *o.Security
	} else if len(security) == 0 {
		t.Errorf("%s: security-defined", name)
	}
	for _, one := range security {
		for scheme := range one {
			if doc.Components["securitySchemes"][scheme] == nil {
				t.Errorf("%s: security-defined: %s", name, scheme)
			}
		}
	}
}

// ambiguous reports whether one request can mean either path.
func ambiguous(a, b string) bool {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if x[i] != y[i] && !strings.HasPrefix(x[i], "{") && !strings.HasPrefix(y[i], "{") {
			return false
		}
	}
	return true
}

// references checks that all resolve, that each component is used, and that required properties and
// enumerated values are what their schema says.
func references(t *testing.T, doc *description) {
	t.Helper()
	var tree any
	if err := json.Unmarshal(openapi, &tree); err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	walk(tree, func(m map[string]any) {
		if ref, ok := m["$ref"].(string); ok {
			used[ref] = true
		}
		properties, _ := m["properties"].(map[string]any)
		required, _ := m["required"].([]any)
		for _, r := range required {
			if name := fmt.Sprint(r); properties[name] == nil {
				t.Errorf("no-required-schema-properties-undefined: %s", name)
			}
		}
		values, _ := m["enum"].([]any)
		for _, v := range values {
			if _, text := v.(string); !text || m["type"] != "string" {
				t.Errorf("no-enum-type-mismatch: %v of type %v", v, m["type"])
			}
		}
	})
	for kind, all := range doc.Components {
		for name := range all {
			ref := "#/components/" + kind + "/" + name
			if kind != "securitySchemes" && !used[ref] {
				t.Errorf("no-unused-components: %s", ref)
			}
			delete(used, ref)
		}
	}
	for ref := range used {
		t.Errorf("no-unresolved-refs: %s", ref)
	}
}

func walk(v any, visit func(map[string]any)) {
	switch x := v.(type) {
	case map[string]any:
		visit(x)
		for _, inner := range x {
			walk(inner, visit)
		}
	case []any:
		for _, inner := range x {
			walk(inner, visit)
		}
	}
}

func keys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}
