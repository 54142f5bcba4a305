package recovery

import "fmt"

// Poison finds the job that kills its workers among the many that were running or
// waiting beside it when they died, and spares those.
//
// A job taken from a crashed worker becomes a suspect. Suspects are marked before they
// start, and a further crash counts only against those it finds marked: a job that was
// merely waiting is not blamed twice. At AloneAt crashes the job runs alone in its
// worker, under a mark that says so. If the worker dies then, the job did it.
type Poison struct {
	// AloneAt is the number of crashes from which a job runs alone. 0 or less: 3, which
	// takes two crashes witnessed under a mark; bad luck rarely strikes that often.
	AloneAt int
}

// Treatment is how a job must be started.
type Treatment int

// The treatments.
const (
	Normal      Treatment = iota // just start it
	MarkStarted                  // write the mark Started, then start it
	RunAlone                     // wait until nothing else runs, write StartedAlone, start it
	Guilty                       // do not start it: dead-letter it as Poisonous
)

// String names the treatment.
func (t Treatment) String() string {
	switch t {
	case Normal:
		return "normal"
	case MarkStarted:
		return "mark started"
	case RunAlone:
		return "run alone"
	case Guilty:
		return "guilty"
	}
	return fmt.Sprintf("treatment(%d)", int(t))
}

const defaultAloneAt = 3

// Suspect is how to start a job with this record.
//
// A job runs alone from the first time it reaches AloneAt on, so StartedAlone with a
// higher count can only mean that a crash came after the mark. With the count still at
// AloneAt the mark was left by a worker that gave the job up without dying over it.
func (p Poison) Suspect(r RetryRecord) Treatment {
	bound := p.AloneAt
	if bound <= 0 {
		bound = defaultAloneAt
	}
	switch {
	case r.Mark == StartedAlone && r.Crashes > bound:
		return Guilty
	case r.Crashes >= bound:
		return RunAlone
	case r.Crashes > 0:
		return MarkStarted
	}
	return Normal
}

// Crashed is the record of a pending job after the worker that held it crashed. The zero
// record stands for a job without one. This is the rule that the server's script for
// taking a dead worker's partitions applies; it is stated here as its reference.
//
//   - first crash: a suspect, whether it was started or not; nobody knows
//   - Started: it was running again; one more, and the mark is used up
//   - StartedAlone: one more, and the mark stays: the proof of guilt
//   - a suspect without a mark: it was only waiting; unchanged
func Crashed(r RetryRecord) RetryRecord {
	switch r.Mark {
	case StartedAlone:
		r.Crashes++
	case Started:
		r.Crashes++
		r.Mark = Unmarked
	default:
		r.Crashes = max(r.Crashes, 1)
	}
	return r
}
