package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A module of one function, with tests of different worth.
var toy = map[string]string{
	"go.mod": "module toy\n\ngo 1.24\n",
	"add/add.go": `package add

import _ "embed"

//go:embed name.lua
var Name string

func Add(a, b int) int {
	return a + b
}

func Wait(c chan int) {
	c <- 1
}
`,
	"add/name.lua": "-- first\nlocal a = 1\n",
	"add/add_test.go": `package add

import (
	"strings"
	"testing"
)

func TestAdd(t *testing.T) {
	t.Run("two", func(t *testing.T) {
		if Add(2, 3) != 5 {
			t.Error("wrong")
		}
	})
}

func TestBad(t *testing.T) { t.Error("bad") }

func TestNothing(t *testing.T) { Add(1, 1) }

func TestName(t *testing.T) {
	if !strings.Contains(Name, "a = 1") {
		t.Error(Name)
	}
}

func TestWait(t *testing.T) {
	c := make(chan int, 1)
	Wait(c)
	<-c
}
`,
}

// write makes the files of a tree.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// try runs mutants on the toy and returns what became of them.
func try(t *testing.T, texts ...string) ([]verdict, string, error) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, toy)
	var log strings.Builder
	s := &suite{dir: dir, scratch: t.TempDir(), parallel: 2, log: func(line string) { log.WriteString(line + "\n") }, patience: 2 * time.Second}
	all := make([]mutant, len(texts))
	for i, text := range texts {
		m, err := parse(text)
		if err != nil {
			t.Fatal(err)
		}
		m.name = "m" + string(rune('0'+i))
		all[i] = m
	}
	verdicts, err := s.run(t.Context(), all)
	return verdicts, log.String(), err
}

const (
	wrongSum = "@@ add/add.go\n-\treturn a + b\n+\treturn a - b\n"
	noSum    = "@@ add/add.go\n-\treturn a + b\n+\treturn a + c\n"
	stuck    = "@@ add\n-\tc <- 1\n+\tfor {\n+\t}\n"
	wrongLua = "@@ add\n-local a = 1\n+local a = 2\n"
	gone     = "@@ add\n-\treturn a * b\n+\treturn a\n"
)

func TestVerdicts(t *testing.T) {
	head := func(checks ...string) string {
		return "breaks: Sums are wrong.\ncheck: go test ./add -run ^" + strings.Join(checks, "$\ncheck: go test ./add -run ^") + "$\n\n"
	}
	got, log, err := try(t, head("TestAdd")+wrongSum, head("TestNothing", "TestAdd")+wrongSum, head("TestNothing")+wrongSum,
		head("TestAdd")+noSum, head("TestAdd")+gone, head("TestWait")+stuck, head("TestName")+wrongLua)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	for i, want := range []string{"TestAdd/two", "TestAdd/two", "missed", "error", "error", "TestWait", "TestName"} {
		v := got[i]
		is := "missed"
		switch {
		case v.err != nil:
			is = "error"
		case v.caught:
			is = v.test
		}
		if is != want {
			t.Errorf("mutant %d: %s, want %s (%v)", i, is, want, v.err)
		}
	}
	if err := got[3].err; !errors.Is(err, errNotBuilt) || !strings.Contains(err.Error(), "undefined: c") {
		t.Errorf("one that does not compile: %v", err)
	}
	if err := got[4].err; !strings.Contains(err.Error(), "m4 no longer applies in add") || !strings.Contains(err.Error(), "m4.mutant") {
		t.Errorf("one that does not apply: %v", err)
	}
	if err := report(got); !errors.Is(err, errMissed) {
		t.Errorf("a run with one missed: %v", err)
	}
	if err := report(got[:2]); err != nil {
		t.Errorf("a run with all caught: %v", err)
	}
	if err := report(nil); !errors.Is(err, errMissed) {
		t.Errorf("a run without mutants: %v", err)
	}
	var all []mutant
	for i := range got {
		all = append(all, *got[i].mutant)
	}
	before := rowsOf("| m1 | old | x | 1 s | 1 s |\n| m9 | gone | x | 1 s | 1 s |\n")
	page := table(before, all, []verdict{got[0], got[2], got[3]})
	for _, row := range []string{"| m0 | Sums are wrong. | `add.TestAdd` |", "| m1 | old | x | 1 s |", "| m2 | Sums are wrong. | **missed** |"} {
		if !strings.Contains(page, row) {
			t.Errorf("the table lacks %q:\n%s", row, page)
		}
	}
	if strings.Contains(page, "| m9 |") || strings.Contains(page, "| m3 |") {
		t.Errorf("the table has a mutant that is gone, or was not tried:\n%s", page)
	}
}

// A check that fails on its own, or runs nothing, proves nothing about a mutant.
func TestTheRunIsVoid(t *testing.T) {
	for check, want := range map[string]string{
		"go test ./add -run ^TestGone$": "runs no test",
		"go test ./none":                "does not compile",
		"go test ./add -run ^TestBad$":  "it fails",
	} {
		got, _, err := try(t, "breaks: Sums are wrong.\ncheck: "+check+"\n\n"+wrongSum)
		if err == nil || !strings.Contains(err.Error(), want) || got[0].caught {
			t.Errorf("%s: %v, want %q", check, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", "breaks: x\ncheck: go test ./a\n", "breaks: x\n@@ a\n-x\n", "check: go test ./a\n@@ a\n-x\n",
		"breaks: x\ncheck: go run ./a\n@@ a\n-x\n", "breaks: x\ncheck: rm a\n@@ a\n-x\n", "breaks: x\ncheck: go test ./a\n@@ a\nx\n", "wrong: x\ncheck: go test ./a\n@@ a\n-x\n",
	} {
		if m, err := parse(text); err == nil {
			t.Errorf("%q is taken for %+v", text, m)
		}
	}
}

func TestLinesAreFoundByTheirTextAlone(t *testing.T) {
	m, err := parse("breaks: x\ncheck: go test ./a\n@@ .\n one\n-two\n+2\n+2b\n three\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ a, b, want, err string }{
		{a: "zero\n\t\tone\n\ttwo\nthree\nfour\n", want: "zero\none\n2\n2b\nthree\nfour\n"},
		{a: "x\n", b: "one\ntwo\nthree", want: "one\n2\n2b\nthree"},
		{a: "one\ntwo\nfour\n", err: "0 places"},
		{a: "one\ntwo\nthree\n", b: "one\ntwo\nthree\n", err: "2 places"},
		{a: "one\ntwo\nthree\none\ntwo\nthree\n", err: "2 places"},
	} {
		dir := t.TempDir()
		write(t, dir, map[string]string{"p/a.go": c.a, "p/q/b.lua": c.b, "p/a_test.go": c.a, "p/testdata/a.go": c.a})
		got, err := m.apply(os.DirFS(dir))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q, %q: %v, want %s", c.a, c.b, err, c.err)
			}
			continue
		}
		if err != nil || len(got) != 1 || got["p/a.go"]+got["p/q/b.lua"] != c.want {
			t.Errorf("%q, %q: %q, %v", c.a, c.b, got, err)
		}
	}
}

// TestCatalogueFitsTheCode tells who changes the code, at once, which mutants to write anew.
func TestCatalogueFitsTheCode(t *testing.T) {
	tree := os.DirFS("../..")
	all, err := catalogue(tree, catalogueDir)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Errorf("%d mutants, wanted are 20 at least", len(all))
	}
	for i := range all {
		if _, err := all[i].apply(tree); err != nil {
			t.Error(err)
		}
	}
}
