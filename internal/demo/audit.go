package demo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Submitted is a job whose submission was acknowledged. The order of a slice of them is
// the order of submission.
type Submitted struct {
	ID   string
	Key  string
	Path string
}

// Commit is one record of the journal: the end of one job, written in the step that
// ended it. Commits of one key are in the order in which they happened.
type Commit struct {
	JobID   string
	Key     string
	Outcome byte // 'C' completed, 'X' dead
	Attempt int
	Worker  string // incarnation
	Epoch   uint64 // of the partition
}

// LedgerLine is one line of a worker's ledger: a handler started or ended.
type LedgerLine struct {
	JobID   string
	Key     string
	Attempt int
	Fence   uint64
	Worker  string // name of the worker, which is the ledger's
	Ended   bool
	Hash    string // of an end: what the handler computed
	At      time.Time
}

// Evidence is all that an audit looks at. The audit does no I/O.
type Evidence struct {
	Submitted []Submitted
	Commits   []Commit
	Runs      []LedgerLine
	Results   map[string]string // job id -> result that the queue answers with, "" if none; only of jobs it was asked for
	Want      map[string]string // path -> hash, computed apart from the workers
}

// Findings count events, never members of sets: a job that completed three times is two
// repeats.
type Findings struct {
	Completed      int // jobs that completed, however often
	Dead           int // jobs that ended dead
	Lost           int // jobs without an end in the journal, or completed without a handler having ended
	CompletedTwice int // completions beyond the first of a job, and those of jobs nobody was told of
	OutOfOrder     int // commits, and starts, that came before those of an earlier job of the key
	HashMismatches int // results, stored or computed by a handler, that differ from the file's hash
	Reruns         int // handler starts beyond the first of each job
	Examples       []string
}

// Good reports that nothing is wrong: every job completed once, in order, with the
// right result. A handler that ran again is not wrong.
func (f Findings) Good() bool {
	return f.Dead == 0 && f.Lost == 0 && f.CompletedTwice == 0 && f.OutOfOrder == 0 && f.HashMismatches == 0
}

const maxExamples = 10

func (f *Findings) wrong(counter *int, format string, args ...any) {
	*counter++
	if len(f.Examples) < maxExamples {
		f.Examples = append(f.Examples, fmt.Sprintf(format, args...))
	}
}

// Audit compares what was submitted with what the journal and the ledgers say.
func Audit(e Evidence) Findings {
	var f Findings
	a := auditor{e: e, f: &f, place: make(map[string]int, len(e.Submitted)), runs: map[string][]LedgerLine{}, commits: map[string][]Commit{}}
	for i, s := range e.Submitted {
		a.place[s.ID] = i
	}
	for _, r := range e.Runs {
		a.runs[r.JobID] = append(a.runs[r.JobID], r)
	}
	for _, runs := range a.runs {
		slices.SortStableFunc(runs, func(x, y LedgerLine) int { return x.At.Compare(y.At) })
	}
	a.completions()
	a.commitOrder()
	a.startOrder()
	a.hashes()
	return f
}

type auditor struct {
	e       Evidence
	f       *Findings
	place   map[string]int // job id -> place in the order of submission
	runs    map[string][]LedgerLine
	commits map[string][]Commit // by job, completions only
}

func (a *auditor) completions() {
	dead := map[string]bool{}
	for _, c := range a.e.Commits {
		_, known := a.place[c.JobID]
		switch {
		case c.Outcome == 'X':
			dead[c.JobID] = true
			continue
		case c.Outcome != 'C':
			continue
		case !known:
			a.f.wrong(&a.f.CompletedTwice, "job %s completed, and nobody was told that it exists", c.JobID)
		case len(a.commits[c.JobID]) > 0:
			a.f.wrong(&a.f.CompletedTwice, "job %s completed again, by %s", c.JobID, c.Worker)
		}
		a.commits[c.JobID] = append(a.commits[c.JobID], c)
	}
	for _, s := range a.e.Submitted {
		switch done := a.commits[s.ID]; {
		case len(done) > 0:
			a.f.Completed++
			if _, ok := a.end(done[0]); !ok {
				a.f.wrong(&a.f.Lost, "job %s completed, and no handler ended it", s.ID)
			}
		case dead[s.ID]:
			a.f.wrong(&a.f.Dead, "job %s is dead", s.ID)
		default:
			a.f.wrong(&a.f.Lost, "job %s, key %q, has no end in the journal", s.ID, s.Key)
		}
		starts := 0
		for _, r := range a.runs[s.ID] {
			if !r.Ended {
				starts++
			}
		}
		a.f.Reruns += max(0, starts-1)
	}
}

// end is where the handler ended whose completion was committed: the same attempt, at
// the same worker.
func (a *auditor) end(c Commit) (LedgerLine, bool) {
	name, _, _ := strings.Cut(c.Worker, ".")
	for _, r := range a.runs[c.JobID] {
		if r.Ended && r.Attempt == c.Attempt && r.Worker == name {
			return r, true
		}
	}
	return LedgerLine{}, false
}

// commitOrder: of one key, a job does not end after a later one.
func (a *auditor) commitOrder() {
	highest := map[string]int{}
	for _, c := range a.e.Commits {
		at, known := a.place[c.JobID]
		if !known {
			continue
		}
		key := a.e.Submitted[at].Key
		last, earlier := highest[key]
		if earlier && at < last {
			a.f.wrong(&a.f.OutOfOrder, "key %q: job %s ended after the later job %s", key, c.JobID, a.e.Submitted[last].ID)
			continue
		}
		highest[key] = at
	}
}

// startOrder: of one key, no handler starts before the one of the job before it ended
// for good; and none starts for a job that is before one that has started, unless it is
// a straggler's: one with a lower fence, which a store that compares fences keeps out.
func (a *auditor) startOrder() {
	keys := map[string][]Submitted{}
	for _, s := range a.e.Submitted {
		keys[s.Key] = append(keys[s.Key], s)
	}
	for key, jobs := range keys {
		if key == "" {
			continue
		}
		for i := 1; i < len(jobs); i++ {
			a.startsAfter(key, jobs[i-1], jobs[i])
		}
	}
}

func (a *auditor) startsAfter(key string, before, after Submitted) {
	first, ok := a.firstStart(after.ID)
	if !ok {
		return
	}
	if done := a.commits[before.ID]; len(done) > 0 {
		if end, ok := a.end(done[0]); ok && first.At.Before(end.At) {
			a.f.wrong(&a.f.OutOfOrder, "key %q: job %s started %s before job %s ended", key, after.ID, end.At.Sub(first.At), before.ID)
			return
		}
	}
	for _, r := range a.runs[before.ID] {
		if !r.Ended && r.At.After(first.At) && r.Fence >= first.Fence {
			a.f.wrong(&a.f.OutOfOrder, "key %q: job %s started again after the later job %s had started", key, before.ID, after.ID)
			return
		}
	}
}

func (a *auditor) firstStart(id string) (LedgerLine, bool) {
	for _, r := range a.runs[id] {
		if !r.Ended {
			return r, true
		}
	}
	return LedgerLine{}, false
}

func (a *auditor) hashes() {
	for _, s := range a.e.Submitted {
		want, ok := a.e.Want[s.Path]
		if !ok {
			a.f.wrong(&a.f.HashMismatches, "%s was not hashed again", s.Path)
			continue
		}
		if got, asked := a.e.Results[s.ID]; asked && len(a.commits[s.ID]) > 0 && got != want {
			a.f.wrong(&a.f.HashMismatches, "job %s, %s: the result is %q, want %s", s.ID, s.Path, got, want)
		}
		for _, r := range a.runs[s.ID] {
			if r.Ended && r.Hash != want {
				a.f.wrong(&a.f.HashMismatches, "job %s, %s: handler of %s computed %q, want %s", s.ID, s.Path, r.Worker, r.Hash, want)
			}
		}
	}
}

// Flip is one change of a partition's owner, as the control stream tells it.
type Flip struct {
	Partition int
	Epoch     uint64    // of the partition, from the flip on
	RingEpoch uint64    // of the plan
	From      string    // incarnation that owned it, "-" if nobody did
	At        time.Time // the server's clock, to the millisecond
}

// Pauses measures what a resize costs the jobs of a partition that moves: for each flip
// that its owner itself made, the time that the first job which the new owner started
// there had to wait since the flip or, if it came later, since it was submitted. Flips
// of workers that died are left out: finding out takes longer than moving, and is not
// the resize's pause. started are the starts of handlers; submitted gives a job's time
// of submission. All times are of one machine's clock; the flip's are cut to a
// millisecond, so a pause may be shown up to 1 ms too long.
func Pauses(flips []Flip, runs []LedgerLine, dead map[string]bool, place func(jobID string) (partition int, submitted time.Time, ok bool)) []time.Duration {
	type tenure struct {
		partition int
		epoch     uint64
	}
	type start struct{ at, submitted time.Time }
	first := map[tenure]start{}
	for _, r := range runs {
		p, submitted, ok := place(r.JobID)
		if r.Ended || !ok {
			continue
		}
		t := tenure{p, r.Fence & (1<<32 - 1)}
		if have, ok := first[t]; !ok || r.At.Before(have.at) {
			first[t] = start{r.At, submitted}
		}
	}
	var pauses []time.Duration
	for _, f := range flips {
		if dead[f.From] || f.From == "-" || f.From == "" {
			continue
		}
		s, ok := first[tenure{f.Partition, f.Epoch}]
		if !ok {
			continue
		}
		since := f.At
		if s.submitted.After(since) {
			since = s.submitted
		}
		pauses = append(pauses, max(0, s.at.Sub(since)))
	}
	return pauses
}

// percentile is the smallest value that at least q of all are not above; 0 of none.
func percentile[T cmp.Ordered](values []T, q float64) T {
	var zero T
	if len(values) == 0 {
		return zero
	}
	sorted := slices.Sorted(slices.Values(values))
	n := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(n, 0), len(sorted)-1)]
}
