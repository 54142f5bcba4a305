package dispatch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ringmaster/job"
)

// TestBodiesAreThoseOfTheDescription: each body of each route has, in the description, the fields of
// its Go type, no others, of the same types, and those as required that are always there.
func TestBodiesAreThoseOfTheDescription(t *testing.T) {
	doc := parsedDescription(t)
	for _, r := range (&handler{}).routes() {
		op, name := child(doc, "paths", r.path, strings.ToLower(r.method)), r.method+" "+r.path
		if taken := child(op, "requestBody", "content"); r.takes == nil && taken != nil {
			t.Errorf("%s: a body is described, and none is taken", name)
		} else if r.takes != nil {
			if taken == nil {
				t.Errorf("%s: its body is not described", name)
			}
			for kind := range taken {
				shape{t, doc, name + ", body in " + kind, true}.is(child(taken, kind, "schema"), reflect.TypeOf(r.takes), false)
			}
		}
		if r.gives == nil {
			continue
		}
		described := map[string]map[string]any{}
		for status, answer := range child(op, "responses") {
			content := child(answer.(map[string]any), "content")
			for kind := range content {
				key := strings.TrimSuffix(status+" "+kind, " "+typeJSON)
				described[key] = child(content, kind, "schema")
			}
		}
		if want, got := slices.Sorted(maps.Keys(r.gives)), slices.Sorted(maps.Keys(described)); !slices.Equal(want, got) {
			t.Errorf("%s: answers %q, described are %q", name, want, got)
		}
		for key, body := range r.gives {
			shape{t, doc, name + ", answer " + key, false}.is(described[key], reflect.TypeOf(body), false)
		}
	}
	schema := child(doc, "components", "schemas", "Problem")
	shape{t, doc, "Problem", false}.is(schema, reflect.TypeFor[problem](), false)
	var types []string
	for _, v := range child(schema, "properties", "type")["enum"].([]any) {
		types = append(types, fmt.Sprint(v))
	}
	if slices.Sort(types); !slices.Equal(types, slices.Sorted(maps.Keys(titles))) {
		t.Errorf("Problem: described are the types %v, there are %v", types, slices.Sorted(maps.Keys(titles)))
	}
}

func parsedDescription(t *testing.T) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(openapi, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// child is what a tree has at a path; nil if it has nothing there.
func child(tree map[string]any, path ...string) map[string]any {
	for _, name := range path {
		tree, _ = tree[name].(map[string]any)
	}
	return tree
}

// shape compares schemas with Go types. In a request every pointer is a field that may be left out, or
// null; in an answer only what has omitempty may be missing.
type shape struct {
	t       *testing.T
	doc     map[string]any
	at      string
	request bool
}

func (s shape) wrong(format string, args ...any) {
	s.t.Helper()
	s.t.Errorf("%s: %s", s.at, fmt.Sprintf(format, args...))
}

func (s shape) is(schema map[string]any, typ reflect.Type, nullable bool) {
	s.t.Helper()
	if ref, ok := schema["$ref"].(string); ok {
		schema = child(s.doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	if typ == reflect.TypeFor[json.RawMessage]() {
		return // any value
	}
	if one, ok := schema["oneOf"].([]any); ok && len(one) == 2 && nullable {
		if first := one[0].(map[string]any); first["type"] == "null" {
			schema, nullable = one[1].(map[string]any), false
		}
	}
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	want := kindInJSON(typ)
	var described any = want
	if nullable {
		described = []any{want, "null"}
	}
	if !reflect.DeepEqual(schema["type"], described) {
		s.wrong("described as %v, it is %v", schema["type"], described)
	}
	switch {
	case typ == reflect.TypeFor[time.Time]() && schema["format"] != "date-time":
		s.wrong("a time of format %v", schema["format"])
	case want == "array":
		s.at += "[]"
		s.is(child(schema, "items"), typ.Elem(), false)
	case want == "object":
		s.fields(schema, typ)
	}
}

func kindInJSON(typ reflect.Type) string {
	switch typ.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "array"
	case reflect.Struct:
		if typ == reflect.TypeFor[time.Time]() {
			return "string"
		}
		return "object"
	default:
		return "integer"
	}
}

func (s shape) fields(schema map[string]any, typ reflect.Type) {
	s.t.Helper()
	properties := maps.Clone(child(schema, "properties"))
	required := []string{}
	for _, f := range reflect.VisibleFields(typ) {
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || f.Anonymous {
			continue
		}
		inner := s
		inner.at += "." + name
		property, ok := properties[name].(map[string]any)
		if !ok {
			inner.wrong("not described")
			continue
		}
		delete(properties, name)
		pointer, raw := f.Type.Kind() == reflect.Pointer, f.Type == reflect.TypeFor[json.RawMessage]()
		inner.is(property, f.Type, pointer && option == "")
		if option == "" && (!s.request || !pointer && !raw) {
			required = append(required, name)
		}
	}
	for name := range properties {
		s.wrong("%s is described, and is not there", name)
	}
	described := []string{}
	if listed, ok := schema["required"].([]any); ok {
		for _, r := range listed {
			described = append(described, fmt.Sprint(r))
		}
	}
	if !slices.Equal(described, required) {
		s.wrong("described as required are %q, always there are %q", described, required)
	}
	if closed := schema["additionalProperties"] == false; closed != s.request {
		s.wrong("additionalProperties false: %t, want %t: what is unknown is refused in bodies, and may come in answers", closed, s.request)
	}
}

// TestAnswersAreOfTheirTypes: what a route answers is of the Go type that it is described by.
func TestAnswersAreOfTheirTypes(t *testing.T) {
	const line = `{"type":"t"}`
	bodies := map[string]string{"/jobs": line, "/resize": `{"mode":"ring"}`, "/requeue": `{"ids":["0-1-1","9-1-1"]}`}
	seen := map[string]bool{}
	check := func(r route, target string, w *httptest.ResponseRecorder) {
		key := strings.TrimSuffix(fmt.Sprint(w.Code, " ", w.Header().Get("Content-Type")), " "+typeJSON)
		body, ok := r.gives[key]
		if !ok {
			t.Errorf("%s %s answers %s, which its route does not name: %s", r.method, target, key, w.Body)
			return
		}
		seen[r.method+r.path+key] = true
		for part := range bytes.Lines(w.Body.Bytes()) {
			sameShape(t, r.method+" "+target, part, reflect.TypeOf(body))
		}
	}
	path := strings.NewReplacer("{queue}", "q", "{id}", "3-1-0", "{key}", "k", "{worker}", "w")
	for _, r := range (&handler{}).routes() {
		target := path.Replace(r.path)
		if r.gives == nil {
			continue
		}
		body := ""
		if r.takes != nil {
			body = bodies[target[strings.LastIndex(target, "/"):]]
		}
		now := time.Now()
		api := &fakeAPI{queues: []job.QueueView{{Queue: "q"}}, dead: []job.DeadLetter{{ID: "0-1-1", Crashes: 1, Raw: []string{"x"}}},
			status: job.Status{ID: "3-1-0", Why: "why", EnqueuedAt: &now},
			ringV:  job.RingView{Members: []job.RingMember{{}}, Partitions: []job.PartitionView{{}}}}
		check(r, target, answer(NewHandler(api, HTTPOptions{}), request(r.method, target, body)))
		if strings.HasSuffix(r.path, "/jobs") {
			api.dup = true
			check(r, target, answer(NewHandler(api, HTTPOptions{}), request(r.method, target, body)))
			check(r, target, answer(NewHandler(api, HTTPOptions{}), request(r.method, target, line+"\n{}\n", "Content-Type", typeNDJSON)))
		}
		for key := range r.gives {
			if !seen[r.method+r.path+key] {
				t.Errorf("%s %s did not answer %s", r.method, target, key)
			}
		}
	}
}

// sameShape wants a text to be all of a value of a type: read into it and written again it is the same.
func sameShape(t *testing.T, name string, text []byte, typ reflect.Type) {
	t.Helper()
	value := reflect.New(typ)
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(value.Interface()); err != nil {
		t.Errorf("%s: %v: %s", name, err, text)
		return
	}
	again, err := json.Marshal(value.Interface())
	if err != nil {
		t.Fatal(err)
	}
	var is, of any
	if json.Unmarshal(text, &is) != nil || json.Unmarshal(again, &of) != nil || !reflect.DeepEqual(is, of) {
		t.Errorf("%s answers %s, which a %s writes as %s", name, text, typ, again)
	}
}
