package demo

import (
	"fmt"
	"testing"
	"time"
)

var zero = time.Unix(1000, 0)

func at(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }

func start(id, key string, ms int, fence uint64) LedgerLine {
	return LedgerLine{JobID: id, Key: key, Attempt: 1, Fence: fence, Worker: "w", At: at(ms)}
}

func end(id, key string, ms int) LedgerLine {
	return LedgerLine{JobID: id, Key: key, Attempt: 1, Fence: 5, Worker: "w", Ended: true, Hash: "h-" + id, At: at(ms)}
}

func commit(id, key string) Commit {
	return Commit{JobID: id, Key: key, Outcome: 'C', Attempt: 1, Worker: "w.uuid", Epoch: 5}
}

// story is three jobs of key a and one of key b, in order and right.
func story() Evidence {
	e := Evidence{Results: map[string]string{}, Want: map[string]string{}}
	for i, id := range []string{"a1", "b1", "a2", "a3"} {
		key := id[:1]
		e.Submitted = append(e.Submitted, Submitted{ID: id, Key: key, Path: "/" + id})
		e.Commits = append(e.Commits, commit(id, key))
		e.Runs = append(e.Runs, start(id, key, 10*i, 5), end(id, key, 10*i+5))
		e.Results[id], e.Want["/"+id] = "h-"+id, "h-"+id
	}
	return e
}

func TestAuditFindsWhatIsWrong(t *testing.T) {
	right := Findings{Completed: 4}
	with := func(change func(*Findings)) Findings {
		f := right
		change(&f)
		return f
	}
	cases := []struct {
		name   string
		change func(*Evidence)
		want   Findings
	}{
		{"nothing", func(*Evidence) {}, right},
		{"no commit", func(e *Evidence) { e.Commits = e.Commits[:3] }, with(func(f *Findings) { f.Completed, f.Lost = 3, 1 })},
		{"dead", func(e *Evidence) { e.Commits[3].Outcome = 'X' }, with(func(f *Findings) { f.Completed, f.Dead = 3, 1 })},
		{"committed three times", func(e *Evidence) {
			e.Commits = append(e.Commits, commit("b1", "b"), commit("b1", "b"))
		}, with(func(f *Findings) { f.CompletedTwice = 2 })},
		{"a job nobody was told of", func(e *Evidence) { e.Commits = append(e.Commits, commit("x9", "x")) },
			with(func(f *Findings) { f.CompletedTwice = 1 })},
		{"committed without a run", func(e *Evidence) { e.Runs = e.Runs[:6] }, with(func(f *Findings) { f.Lost = 1 })},
		{"committed by a worker whose handler did not end", func(e *Evidence) { e.Commits[3].Worker = "other.uuid" },
			with(func(f *Findings) { f.Lost = 1 })},
		{"commits of a key swapped", func(e *Evidence) { e.Commits[2], e.Commits[3] = e.Commits[3], e.Commits[2] },
			with(func(f *Findings) { f.OutOfOrder = 1 })},
		{"commits of different keys swapped", func(e *Evidence) { e.Commits[0], e.Commits[1] = e.Commits[1], e.Commits[0] }, right},
		{"started before its predecessor ended", func(e *Evidence) { e.Runs[4].At = at(4) }, with(func(f *Findings) { f.OutOfOrder = 1 })},
		{"another key started before", func(e *Evidence) { e.Runs[2].At = at(4) }, right},
		{"an earlier job started again, under a newer fence", func(e *Evidence) { e.Runs = append(e.Runs, start("a1", "a", 25, 6)) },
			with(func(f *Findings) { f.OutOfOrder, f.Reruns = 1, 1 })},
		{"a straggler started again, under an older fence", func(e *Evidence) { e.Runs = append(e.Runs, start("a1", "a", 25, 4)) },
			with(func(f *Findings) { f.Reruns = 1 })},
		{"run again after a crash, in order", func(e *Evidence) {
			crashed := start("a2", "a", 12, 4)
			crashed.Worker = "killed"
			e.Runs = append(e.Runs, crashed)
		}, with(func(f *Findings) { f.Reruns = 1 })},
		{"ended twice, committed by the second", func(e *Evidence) {
			first := end("a2", "a", 13)
			first.Worker = "killed"
			e.Runs = append(e.Runs, first)
			e.Runs[6].At = at(20) // before the second ended at 25
		}, with(func(f *Findings) { f.OutOfOrder = 1 })},
		{"wrong result", func(e *Evidence) { e.Results["a1"] = "h-b1" }, with(func(f *Findings) { f.HashMismatches = 1 })},
		{"result gone", func(e *Evidence) { e.Results["a1"] = "" }, with(func(f *Findings) { f.HashMismatches = 1 })},
		{"result not asked for", func(e *Evidence) { delete(e.Results, "a1") }, right},
		{"handler computed something else", func(e *Evidence) { e.Runs[1].Hash = "?" }, with(func(f *Findings) { f.HashMismatches = 1 })},
		{"file not hashed again", func(e *Evidence) { delete(e.Want, "/b1") }, with(func(f *Findings) { f.HashMismatches = 1 })},
		{"nothing came back", func(e *Evidence) { e.Commits, e.Runs = nil, nil }, Findings{Lost: 4}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := story()
			c.change(&e)
			got := Audit(e)
			examples := got.Examples
			got.Examples = nil
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("got %+v\nwant %+v\nexamples %q", got, c.want, examples)
			}
			wrong := got.Lost + got.Dead + got.CompletedTwice + got.OutOfOrder + got.HashMismatches
			if got.Good() != (wrong == 0) || len(examples) != wrong {
				t.Errorf("Good() = %v with %d wrong events and %d examples", got.Good(), wrong, len(examples))
			}
		})
	}
}

func TestPausesRunFromTheFlipOrTheSubmissionToTheFirstStart(t *testing.T) {
	fence := func(epoch uint64) uint64 { return 7<<32 + epoch }
	place := func(id string) (int, time.Time, bool) {
		jobs := map[string]struct{ partition, ms int }{"old": {1, 0}, "early": {1, 40}, "late": {2, 120}, "other": {3, 0}}
		j, ok := jobs[id]
		return j.partition, at(j.ms), ok
	}
	runs := []LedgerLine{
		start("old", "k", 10, fence(4)), // before the flip
		start("early", "k", 103, fence(5)),
		start("old", "k", 150, fence(5)), // not the first under the new owner
		start("late", "k", 121, fence(9)),
		start("other", "k", 300, fence(2)),
		{JobID: "early", Fence: fence(5), Ended: true, At: at(101)},
		start("unknown", "k", 101, fence(5)),
	}
	flips := []Flip{
		{Partition: 1, Epoch: 5, From: "w1.u", At: at(100)},
		{Partition: 2, Epoch: 9, From: "w1.u", At: at(100)},
		{Partition: 3, Epoch: 2, From: "killed.u", At: at(100)},
		{Partition: 4, Epoch: 2, From: "w1.u", At: at(100)}, // no job came
		{Partition: 1, Epoch: 4, From: "-", At: at(0)},
	}
	got := Pauses(flips, runs, map[string]bool{"killed.u": true}, place)
	want := []time.Duration{3 * time.Millisecond, time.Millisecond}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 100 - i
	}
	for _, c := range []struct {
		values []int
		q      float64
		want   int
	}{{nil, 0.99, 0}, {[]int{7}, 0.99, 7}, {[]int{3, 1, 2}, 0.5, 2}, {hundred, 0.99, 99}, {hundred, 1, 100}} {
		if got := percentile(c.values, c.q); got != c.want {
			t.Errorf("percentile(%d values, %v) = %d, want %d", len(c.values), c.q, got, c.want)
		}
	}
}
