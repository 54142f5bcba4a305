package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the table of rows into the documentation")

const page = "../../docs/reliability/README.md"

// TestRowsAreDocumented: the table of the page is the one that the program has.
func TestRowsAreDocumented(t *testing.T) {
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(raw), "-update -->\n")
	_, after, ok2 := strings.Cut(rest, "<!-- end of rows -->")
	if !ok1 || !ok2 {
		t.Fatal("the page has no place for the table")
	}
	want := before + "-update -->\n" + table(registry()) + "<!-- end of rows -->" + after
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(raw) {
		t.Error("docs/reliability/README.md has another table: run this test with -update")
	}
}

func table(rows []Row) string {
	var b strings.Builder
	b.WriteString("| row | fault, and its moment | what must follow | ring |\n|---|---|---|---|\n")
	for _, row := range rows {
		expect, ring := row.Expect, row.Ring.Name
		if row.Cannot != "" {
			expect = "not produced here: " + row.Cannot
		}
		if ring == "plain" {
			ring = ""
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", row.Number, row.Name, expect, ring)
	}
	return b.String()
}

func TestRowsAreWhole(t *testing.T) {
	seen := map[int]bool{}
	for _, row := range registry() {
		if seen[row.Number] || row.Number < 1 || row.Number > 99 {
			t.Errorf("row %d is there twice, or is none of the matrix", row.Number)
		}
		seen[row.Number] = true
		if row.Name == "" || (row.Expect == "") == (row.Cannot == "") || (row.Run == nil) == (row.Cannot == "") {
			t.Errorf("row %d lacks its name, what must follow or how it is run", row.Number)
		}
	}
}

func TestChoiceOfRows(t *testing.T) {
	all := registry()
	for seed := range uint64(200) {
		some := someOfEach(all, seed, prBudget)
		families, took := map[string]bool{}, time.Duration(0)
		for _, row := range some {
			families[row.Family] = true
			took += usual(row)
		}
		for _, row := range all {
			if row.Cannot == "" && !families[row.Family] {
				t.Fatalf("seed %d: no row of the family %s", seed, row.Family)
			}
		}
		if took > prBudget || took < prBudget/2 {
			t.Fatalf("seed %d: %d rows take %v", seed, len(some), took)
		}
	}
}

func TestNumbers(t *testing.T) {
	got, err := numbers("3,50-52")
	if err != nil || fmt.Sprint(got) != "[3 50 51 52]" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := numbers("3,x"); err == nil {
		t.Error("x is no number")
	}
}
