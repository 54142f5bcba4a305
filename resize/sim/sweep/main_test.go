package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"ringmaster/resize/sim"
)

// A schedule that panics is a violation of its seed: the others are run, and whoever reads the last
// line finds it.
func TestAPanicIsAViolationOfItsSeed(t *testing.T) {
	for _, workers := range []int{1, 3} {
		var out bytes.Buffer
		s := sweep{first: 5, end: 15, bug: sim.NoBug, faults: map[string]int{}, out: &out, schedule: func(o sim.Options) sim.Result {
			if o.Seed == 7 {
				panic("the schedule of seed 7")
			}
			return sim.Result{Steps: 1}
		}}
		if s.run(workers) {
			t.Error("the run counts as good")
		}
		text := strings.TrimSuffix(out.String(), "\n")
		if !strings.Contains(text, "seed 7: panic: the schedule of seed 7\n") || !strings.Contains(text, "make sim FIRST=7 SEEDS=1") {
			t.Errorf("does not tell what happened, and how to see it again:\n%s", text)
		}
		var last struct{ First, Seeds, Violations int }
		if err := json.Unmarshal([]byte(text[strings.LastIndex(text, "\n")+1:]), &last); err != nil || last.First != 5 || last.Seeds != 10 || last.Violations != 1 {
			t.Errorf("last line: %+v, %v", last, err)
		}
	}
}
