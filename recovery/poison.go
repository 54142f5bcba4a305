package recovery

import (
	"fmt"
	"strings"
	"time"

	"ringmaster/job"
)

// Poison finds the job that kills its workers among the many that ran or waited beside it when
// they died, and spares those.
//
// A death says little: workers die for reasons of their own, many at once, and of any job that
// runs in them. So the deaths in which a job ran are written down with what is known of each,
// and weighed: in full if it ran alone, less the more ran beside it, not at all if another
// worker died within Moment. Only deaths of the weight of two alone make a job guilty.
//
// To learn more with each death, a suspect that ran in one is held apart: its worker starts
// nothing beside it, for a moment that grows with the deaths that came after it. And it waits
// longer after each death, so that several killers do not die in the same moment for ever.
type Poison struct {
	// MaxCrashes is the least number of crashes of a guilty job. 0: 4, which is the first
	// that nobody knows anything of, one among others, and two alone. Less: none is guilty,
	// but suspects are held apart all the same.
	MaxCrashes int
}

const (
	apartAt = 2 // crashes from which a suspect is held apart: it ran in one, for certain

	whole  = 840       // the weight of a death alone; each of 1 to least divides it
	least  = 8         // runs beside which a death counts no less: else a slow killer is never found
	enough = 2 * whole // the weight of a guilty job

	// Moment is how near another worker's death must be for two not to be told apart. It is
	// longer than a lease: of two that die together one may be found by its connection, the other by its lease.
	Moment = 5 * time.Second

	firstApart = time.Second // how long a suspect is held apart at first
	mostSteps  = 2           // that grows to 16 times as much: enough for what fills the memory in 10 s
)

// spacing is how long a suspect waits after a death: half of it for certain.
var spacing = Backoff{Base: time.Second, Max: 5 * time.Minute}

// weightOf is what a death says, if no other worker died.
func weightOf(d job.Death) int {
	switch {
	case d.Runs < 0:
		return 0
	case d.Runs == 0, d.Runs > least:
		return whole / least
	}
	return whole / d.Runs
}

// Treatment is how a job must be started.
type Treatment struct {
	Suspect bool          // write a mark before the start
	Apart   time.Duration // start nothing beside it for so long; 0: run it among others
	Wait    time.Time     // not before; zero: at once
	Weigh   bool          // ask Guilty before the start
}

// Suspect is how to start a job with this record. rnd is asked once for a job that waits.
func (p Poison) Suspect(r job.RetryRecord, now time.Time, rnd func() float64) Treatment {
	if r.Crashes < 1 {
		return Treatment{}
	}
	t := Treatment{Suspect: true}
	if r.Crashes < apartAt {
		return t
	}
	ran, late, weight := 0, 0, 0
	for _, d := range r.Deaths {
		weight += weightOf(d)
		if d.Runs >= 0 {
			ran++
		}
		if d.Runs == 0 {
			late++ // it was not held apart, or for too short a time
		}
	}
	t.Apart = firstApart << (2 * min(max(late-1, 0), mostSteps))
	t.Weigh = weight >= enough && p.most(r.Crashes)
	if ran > 0 {
		wait := spacing.ceiling(ran)
		wait = wait/2 + Backoff{Base: wait / 2, Max: wait / 2}.Delay(1, rnd)
		if t.Weigh { // who died in the same moment is known then
			wait = max(wait, Moment+time.Second)
		}
		if t.Wait = r.Deaths[len(r.Deaths)-1].At.Add(wait); t.Wait.After(now.Add(wait)) {
			t.Wait = now.Add(wait) // the clock was set back since
		}
	}
	return t
}

func (p Poison) most(crashes int) bool {
	if p.MaxCrashes == 0 {
		return crashes >= job.DefaultCrashes
	}
	return p.MaxCrashes > 0 && crashes >= p.MaxCrashes
}

// Guilty weighs the deaths of workers that a job ran in against all deaths that are known: of
// those it ran in, one that is not among them was none. It tells what they say, for people.
func (p Poison) Guilty(r job.RetryRecord, all []time.Time) (bool, string) {
	others := make(map[int64]int, len(all)) // deaths in which the job did not run
	for _, at := range all {
		others[at.UnixMilli()]++
	}
	var own []job.Death
	for _, d := range r.Deaths {
		if others[d.At.UnixMilli()] > 0 {
			others[d.At.UnixMilli()]--
			own = append(own, d)
		}
	}
	weight, alone, few, many, together := 0, 0, 0, 0, 0
	for _, d := range own {
		switch {
		case d.Runs < 0:
			continue
		case near(others, d.At):
			together++
			continue
		case d.Runs == 1:
			alone++
		case d.Runs > 1:
			few++
		default:
			many++
		}
		weight += weightOf(d)
	}
	said := []string{fmt.Sprintf("%d times alone", alone)}
	for _, k := range []struct {
		n    int
		text string
	}{{few, "beside few others"}, {many, "among others"}, {together, "when other workers died too, which is not counted"}} {
		if k.n > 0 {
			said = append(said, fmt.Sprintf("%d times %s", k.n, k.text))
		}
	}
	return weight >= enough && p.most(r.Crashes), fmt.Sprintf("crashed its worker %d times; it ran in those that died %s", r.Crashes, strings.Join(said, ", "))
}

func near(others map[int64]int, at time.Time) bool {
	for ms, n := range others {
		if n > 0 && time.UnixMilli(ms).Sub(at).Abs() <= Moment {
			return true
		}
	}
	return false
}

// mostDeaths is how many deaths a record keeps.
const mostDeaths = 64

// Crashed is the record of a pending job after the worker that held it under an epoch was found
// dead. The zero record stands for a job without one. This is the rule that the server's script
// for taking a dead worker's jobs applies; it is stated here as its reference.
//
//   - marked in that tenure: it ran; the death is written down, and the mark is used up
//   - not marked, and no crash yet: a suspect, whether it ran or not; nobody knows
//   - else it was only waiting; unchanged
func Crashed(r job.RetryRecord, epoch uint64, at time.Time) job.RetryRecord {
	d := job.Death{At: at}
	if r.Mark.Epoch == 0 || r.Mark.Epoch != epoch {
		if r.Crashes == 0 {
			d.Runs = job.UnknownRuns
			r.Crashes, r.Deaths = 1, []job.Death{d}
		}
		return r
	}
	if !at.After(r.Mark.Until) {
		d.Runs = r.Mark.Runs
	}
	r.Deaths = append(r.Deaths[max(len(r.Deaths)-mostDeaths+1, 0):len(r.Deaths):len(r.Deaths)], d)
	r.Crashes++
	r.Mark = job.Mark{}
	return r
}
