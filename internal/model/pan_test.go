package main

import (
	"maps"
	"regexp"
	"testing"
)

const good = `
Full statespace search for:
	assertion violations	+
State-vector 160 byte, depth reached 60, errors: 0
   302160 states, stored
   942113 states, matched
pan: elapsed time 4.67 seconds
`

const bad = `pan:1: assertion violated (done[0]==1) (at depth 30)
pan: wrote ringmaster.pml.trail
Warning: Search not completed
State-vector 176 byte, depth reached 43, errors: 1
 2.359e+03 states, stored
`

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, out          string
		states             float64
		errors             int
		truncated          bool
		coverage, violates string
	}{
		{name: "good", out: good, states: 302160},
		{name: "bad", out: bad, states: 2359, errors: 1, truncated: true, violates: "assertion violated (done[0]==1) (at depth 30)"},
		{name: "interrupted", out: "Interrupted\n" + good, states: 302160, truncated: true},
		{name: "too deep", out: "error: max search depth too small\n" + good, states: 302160, truncated: true},
		{name: "out of memory", out: "pan: reached -DMEMLIM bound\n" + good, states: 302160, truncated: true},
		{name: "bitstate", out: good + "hash factor: 53.2 (best if > 100.)\n", states: 302160, coverage: "hash factor: 53.2"},
	} {
		r, err := parse(c.out)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if r.states != c.states || r.errors != c.errors || r.truncated != c.truncated || r.coverage != c.coverage || r.violation != c.violates {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
	if _, err := parse("pan: unknown option"); err == nil {
		t.Error("a search without figures was taken for a result")
	}
}

func TestSummary(t *testing.T) {
	exhaustive := result{states: 10}
	cut := result{states: 5, truncated: true}
	bits := result{search: search{bitstate: true}, states: 7, truncated: true}
	broken := result{search: search{name: "x"}, states: 3, errors: 1, truncated: true}
	for _, c := range []struct {
		name, form, line string
		results          []result
		ok               bool
	}{
		{"all well", "full", `{"configs":2,"states":17,"errors":0,"truncated":1}`, []result{exhaustive, bits}, true},
		{"exhaustive one cut short", "full", `{"configs":2,"states":15,"errors":0,"truncated":1}`, []result{exhaustive, cut}, false},
		{"an error", "small", `{"configs":2,"states":13,"errors":1,"truncated":0}`, []result{exhaustive, broken}, false},
		{"mutants caught", "mutants", `{"mutants":1,"caught":1,"missed":[]}`, []result{broken}, true},
		{"a redundant one", "mutants", `{"mutants":1,"caught":1,"missed":[]}`, []result{broken, redundant("z", result{states: 3})}, true},
		{"a redundant one that is needed", "mutants", `{"mutants":1,"caught":1,"missed":["z"]}`, []result{broken, redundant("z", broken)}, false},
		{"a redundant one cut short", "mutants", `{"mutants":1,"caught":1,"missed":["z"]}`, []result{broken, redundant("z", cut)}, false},
		{"a mutant missed", "mutants", `{"mutants":2,"caught":1,"missed":["y"]}`, []result{broken, {search: search{name: "y"}}}, false},
	} {
		line, ok := summary(c.form, c.results)
		if line != c.line || ok != c.ok {
			t.Errorf("%s: %s, ok %v; want %s, %v", c.name, line, ok, c.line, c.ok)
		}
	}
}

func redundant(name string, r result) result {
	r.name, r.redundant = name, true
	return r
}

func TestEveryMutantIsInTheModel(t *testing.T) {
	model := read(t, "ringmaster.pml")
	tried := map[string]bool{}
	for _, m := range mutants() {
		for _, guard := range m.without {
			tried["M_"+guard] = true
		}
	}
	there := map[string]bool{}
	for _, m := range regexp.MustCompile(`\bM_[A-Z_]*[A-Z]`).FindAllString(model, -1) {
		there[m] = true
	}
	if !maps.Equal(tried, there) {
		t.Errorf("tried: %v; in the model: %v", tried, there)
	}
}
