package consumergroup

import (
	"errors"
	"testing"

	"ringmaster/job"
)

// A stream is trimmed with the ends of its jobs; what a former owner left is swept up.
func TestTrimming(t *testing.T) {
	b := newBench(t, nil)
	sweep := func() int {
		b.fake.trims = nil
		b.s.sweep(t.Context())
		return len(b.fake.trims)
	}
	if n := sweep(); n != 1 {
		t.Fatalf("%d sweeps of a new tenure, want one for what a former owner left", n)
	}
	if n := sweep(); n != 0 {
		t.Fatalf("%d sweeps where nothing has ended", n)
	}
	ends := func(n int) []ended {
		var out []ended
		for range n {
			out = append(out, ended{it: &item{t: b.ten}, c: job.Completion{Outcome: job.Done}})
		}
		return out
	}
	if g := b.s.group(ends(3)); len(g) != 1 || !g[0].acks.Trim || len(g[0].acks.Completions) != 3 {
		t.Fatalf("%+v", g)
	}
	if n := sweep(); n != 0 {
		t.Fatalf("%d sweeps of what was trimmed", n)
	}
	b.ten.untrimmed = 1
	b.fake.trimErr = errors.New("no answer")
	if n := sweep(); n != 1 {
		t.Fatalf("%d sweeps, want 1", n)
	}
	b.fake.trimErr = nil
	if n := sweep(); n != 1 {
		t.Fatalf("%d sweeps after one that failed, want 1", n)
	}
	b.ten.over, b.ten.untrimmed = true, 1
	if n := sweep(); n != 0 {
		t.Fatalf("%d sweeps of a tenure that is over", n)
	}
}
