package recovery

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ringmaster/job"
)

func half() float64 { return 0.5 }

var noon = time.UnixMilli(1_700_000_000_000).UTC()

func at(s float64) time.Time { return noon.Add(time.Duration(s * float64(time.Second))) }

// ran is a record with the deaths of workers in which a job ran, one a minute.
func ran(crashes int, runs ...int) job.RetryRecord {
	r := job.RetryRecord{Crashes: crashes}
	for i, n := range runs {
		r.Deaths = append(r.Deaths, job.Death{At: at(float64(60 * i)), Runs: n})
	}
	return r
}

func TestSuspect(t *testing.T) {
	for name, c := range map[string]struct {
		p    Poison
		rec  job.RetryRecord
		want Treatment
	}{
		"no record":              {Poison{}, job.RetryRecord{}, Treatment{}},
		"failed attempts":        {Poison{}, job.RetryRecord{Attempts: 9, Error: "x"}, Treatment{}},
		"held":                   {Poison{}, ran(1, job.UnknownRuns), Treatment{Suspect: true}},
		"of an older form":       {Poison{}, job.RetryRecord{Crashes: 3}, Treatment{Suspect: true, Apart: time.Second}},
		"ran once":               {Poison{}, ran(2, job.UnknownRuns, 0), Treatment{Suspect: true, Apart: time.Second, Wait: at(60.75)}},
		"died alone":             {Poison{}, ran(3, job.UnknownRuns, 0, 1), Treatment{Suspect: true, Apart: time.Second, Wait: at(121.5)}},
		"was apart for too long": {Poison{}, ran(3, job.UnknownRuns, 0, 0), Treatment{Suspect: true, Apart: 4 * time.Second, Wait: at(121.5)}},
		"again":                  {Poison{}, ran(4, job.UnknownRuns, 0, 0, 0), Treatment{Suspect: true, Apart: 16 * time.Second, Wait: at(183)}},
		"and again":              {Poison{}, ran(5, job.UnknownRuns, 0, 0, 0, 0), Treatment{Suspect: true, Apart: 16 * time.Second, Wait: at(246)}},
		"twice alone":            {Poison{}, ran(4, job.UnknownRuns, 0, 1, 1), Treatment{Suspect: true, Apart: time.Second, Wait: at(186), Weigh: true}},
		"more is asked for":      {Poison{MaxCrashes: 5}, ran(4, job.UnknownRuns, 0, 1, 1), Treatment{Suspect: true, Apart: time.Second, Wait: at(183)}},
		"less is asked for":      {Poison{MaxCrashes: 1}, ran(3, job.UnknownRuns, 1, 1), Treatment{Suspect: true, Apart: time.Second, Wait: at(126), Weigh: true}},
		"turned off":             {Poison{MaxCrashes: -1}, ran(4, job.UnknownRuns, 0, 1, 1), Treatment{Suspect: true, Apart: time.Second, Wait: at(183)}},
	} {
		if got := c.p.Suspect(c.rec, at(1000), half); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	// A clock behind the server's does not have it wait for longer.
	if got := (Poison{}).Suspect(ran(2, job.UnknownRuns, 0), at(0), half).Wait; got != at(0.75) {
		t.Errorf("it waits until %v", got)
	}
}

func TestGuilty(t *testing.T) {
	four := ran(4, job.UnknownRuns, 0, 1, 1)
	own := []time.Time{at(0), at(60), at(120), at(180)}
	with := func(more ...time.Time) []time.Time { return append(slices.Clone(own), more...) }
	for name, c := range map[string]struct {
		p    Poison
		rec  job.RetryRecord
		all  []time.Time
		want bool
		says string
	}{
		"twice alone":                         {Poison{}, four, own, true, "crashed its worker 4 times; it ran in those that died 2 times alone, 1 times among others"},
		"others died at other times":          {Poison{}, four, with(at(20), at(100), at(150), at(200)), true, "2 times alone"},
		"another died with it":                {Poison{}, four, with(at(124)), false, "1 times alone, 1 times among others, 1 times when other workers died too, which is not counted"},
		"another died before":                 {Poison{}, four, with(at(175)), false, "1 times when other workers died too"},
		"in the same millisecond":             {Poison{}, four, with(at(180)), false, "1 times when other workers died too"},
		"one beats again":                     {Poison{}, four, own[:3], false, "1 times alone"},
		"nothing is remembered":               {Poison{}, four, nil, false, "0 times alone"},
		"not often enough":                    {Poison{MaxCrashes: 5}, four, own, false, ""},
		"turned off":                          {Poison{MaxCrashes: -1}, four, own, false, ""},
		"few beside it":                       {Poison{}, ran(5, job.UnknownRuns, 2, 2, 2), own, false, "3 times beside few others"},
		"few beside it, often":                {Poison{}, ran(5, 2, 2, 2, 2), own, true, "4 times beside few others"},
		"many beside it weigh no less than 8": {Poison{}, ran(5, 100, 0, 8, 1), own, false, ""},
	} {
		got, says := c.p.Guilty(c.rec, c.all)
		if got != c.want || !strings.Contains(says, c.says) {
			t.Errorf("%s: %v, %q; want %v, %q", name, got, says, c.want, c.says)
		}
	}
	// One that kills faster than it is found near another's moment is found all the same: its own
	// deaths are no others'.
	fast := job.RetryRecord{Crashes: 4, Deaths: []job.Death{{At: at(0), Runs: job.UnknownRuns}, {At: at(1)}, {At: at(2), Runs: 1}, {At: at(3), Runs: 1}}}
	if got, says := (Poison{}).Guilty(fast, []time.Time{at(0), at(1), at(2), at(3)}); !got {
		t.Error(says)
	}
}

// town is some workers, the jobs that run in them, and what kills them: a model of what a worker
// and the server do with suspects. Time goes in steps of 50 ms.
type town struct {
	t       *testing.T
	rng     *rand.Rand
	now     time.Time
	deaths  []time.Time
	workers []*hall
	jobs    []*townJob
}

type hall struct {
	up    time.Time // it starts again then
	runs  []*townJob
	apart *townJob
	until time.Time // of apart
	pause time.Time // of starts
	rest  time.Time
}

type townJob struct {
	rec     job.RetryRecord
	takes   time.Duration
	kills   bool
	fresh   bool // takes a place; another follows it
	wait    time.Time
	began   time.Time
	dead    bool
	done    bool
	running bool
}

func (tw *town) die(h *hall) {
	tw.deaths = append(tw.deaths, tw.now)
	for _, j := range h.runs {
		j.running = false
		j.rec = Crashed(j.rec, 1, tw.now)
		if j.wait = tw.now; j.rec.Crashes > 0 {
			tw.plan(j)
		}
	}
	*h = hall{up: tw.now.Add(time.Second)}
}

func (tw *town) plan(j *townJob) {
	if w := (Poison{}).Suspect(j.rec, tw.now, tw.rng.Float64).Wait; w.After(tw.now) {
		j.wait = w
	}
}

func (tw *town) start(h *hall, j *townJob) {
	tr := Poison{}.Suspect(j.rec, tw.now, tw.rng.Float64)
	if tr.Weigh {
		if guilty, _ := (Poison{}).Guilty(j.rec, tw.deaths); guilty {
			j.dead = true
			return
		}
	}
	h.runs = append(h.runs, j)
	j.running, j.began = true, tw.now
	switch {
	case tr.Apart > 0:
		h.apart, h.until, h.pause = j, tw.now.Add(tr.Apart), time.Time{}
		j.rec.Mark = job.Mark{Epoch: 1, Runs: len(h.runs), Until: h.until}
	case tr.Suspect:
		j.rec.Mark = job.Mark{Epoch: 1}
	}
}

// next finds a job that may start at h, what is left of old jobs first.
func (tw *town) next(h *hall) {
	if h.apart != nil && (!tw.now.Before(h.until) || !h.apart.running) {
		h.apart, h.rest = nil, tw.now.Add(3*tw.now.Sub(h.until.Add(-2*time.Second)))
	}
	if h.apart != nil {
		return
	}
	for _, j := range tw.jobs {
		if len(h.runs) >= 16 || j.running || j.dead || j.done || j.wait.After(tw.now) {
			continue
		}
		if (Poison{}).Suspect(j.rec, tw.now, tw.rng.Float64).Apart == 0 {
			tw.start(h, j)
			continue
		}
		switch {
		case h.rest.After(tw.now):
		case len(h.runs) == 0, !h.pause.IsZero() && !tw.now.Before(h.pause):
			tw.start(h, j)
			return
		case h.pause.IsZero():
			h.pause = tw.now.Add(time.Second)
		}
	}
	for h.pause.IsZero() && len(h.runs) < 16 && tw.rng.IntN(3) > 0 {
		j := &townJob{takes: time.Duration(tw.rng.IntN(1500)) * time.Millisecond, fresh: true}
		tw.jobs = append(tw.jobs, j)
		tw.start(h, j)
	}
}

// live lets some time pass; without an outside it ends when all killers are found. It tells how
// many workers they have killed.
func (tw *town) live(forSo time.Duration, outside func(*town)) (kills int) {
	for end := tw.now.Add(forSo); tw.now.Before(end); tw.now = tw.now.Add(50 * time.Millisecond) {
		tw.rng.Shuffle(len(tw.workers), func(i, j int) { tw.workers[i], tw.workers[j] = tw.workers[j], tw.workers[i] })
		for _, h := range tw.workers {
			if h.up.After(tw.now) {
				continue
			}
			killed := false
			for _, j := range slices.Clone(h.runs) {
				if tw.now.Sub(j.began) < j.takes {
					continue
				}
				if killed = j.kills; killed {
					break
				}
				j.running, j.done = false, true
				h.runs = slices.DeleteFunc(h.runs, func(x *townJob) bool { return x == j })
			}
			if killed {
				kills++
				tw.die(h)
				continue
			}
			tw.next(h)
		}
		if outside != nil {
			outside(tw)
		} else if !slices.ContainsFunc(tw.jobs, func(j *townJob) bool { return j.kills && !j.dead }) {
			return kills
		}
		tw.jobs = slices.DeleteFunc(tw.jobs, func(j *townJob) bool { return j.fresh && j.done })
	}
	return kills
}

func newTown(t *testing.T, seed uint64, workers int) *town {
	tw := &town{t: t, rng: rand.New(rand.NewPCG(seed, 7)), now: noon}
	for range workers {
		tw.workers = append(tw.workers, &hall{})
	}
	for range 6 { // innocent, and long
		tw.jobs = append(tw.jobs, &townJob{takes: 25 * time.Second})
	}
	return tw
}

func (tw *town) innocentDead() (n int) {
	for _, j := range tw.jobs {
		if j.dead && !j.kills {
			n++
		}
	}
	return n
}

// A killer is found whatever time it takes to kill, after a bounded number of crashes; those
// that run beside it, be it again and again, are not.
func TestAKillerIsFoundAndNobodyElse(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		most  int
	}{{0, 9}, {500 * time.Millisecond, 9}, {3 * time.Second, 10}, {10 * time.Second, 10}, {14 * time.Second, 10}, {25 * time.Second, 18}} {
		worst, sum := 0, 0
		const seeds = 5
		for seed := range uint64(seeds) {
			tw := newTown(t, seed, 3)
			killer := &townJob{takes: c.after, kills: true}
			tw.jobs = append(tw.jobs, killer)
			kills := tw.live(2*time.Hour, nil)
			if !killer.dead {
				t.Fatalf("after %v, seed %d: not found in %d kills: %v", c.after, seed, kills, killer.rec)
			}
			if n := tw.innocentDead(); n > 0 {
				t.Errorf("after %v, seed %d: %d innocent jobs are dead", c.after, seed, n)
			}
			worst, sum = max(worst, kills), sum+kills
		}
		t.Logf("kills after %v: found in %d of %d at most, %.1f on average", c.after, worst, c.most, float64(sum)/seeds)
		if worst > c.most {
			t.Errorf("kills after %v: found after %d crashes, want %d at most", c.after, worst, c.most)
		}
	}
}

// Several killers at once, more than there are workers: all are found, and nobody else.
func TestManyKillersAreFound(t *testing.T) {
	for seed := range uint64(2) {
		tw := newTown(t, seed, 4)
		const killers = 8
		for range killers {
			tw.jobs = append(tw.jobs, &townJob{takes: 200 * time.Millisecond, kills: true})
		}
		kills := tw.live(3*time.Hour, nil)
		for _, j := range tw.jobs {
			if j.kills && !j.dead {
				t.Fatalf("seed %d: a killer is not found after %d kills: %v", seed, kills, j.rec)
			}
		}
		if n := tw.innocentDead(); n > 0 {
			t.Errorf("seed %d: %d innocent jobs are dead", seed, n)
		}
		t.Logf("%d kills for %d killers", kills, killers)
		if kills > 20*killers {
			t.Errorf("seed %d: %d kills", seed, kills)
		}
	}
}

// Workers are killed in pairs again and again: no job is guilty of that.
func TestWorkersKilledInPairsMakeNobodyGuilty(t *testing.T) {
	for seed := range uint64(5) {
		tw := newTown(t, seed, 4)
		next := tw.now
		tw.live(20*time.Minute, func(tw *town) {
			if len(tw.jobs) < 30 {
				tw.jobs = append(tw.jobs, &townJob{takes: 25 * time.Second})
			}
			if tw.now.Before(next) {
				return
			}
			next = tw.now.Add(time.Duration(6+tw.rng.IntN(15)) * time.Second)
			for _, h := range tw.workers[:2] {
				if !h.up.After(tw.now) {
					tw.die(h)
				}
			}
		})
		if n := tw.innocentDead(); n > 0 {
			t.Errorf("seed %d: %d innocent jobs are dead after %d deaths", seed, n, len(tw.deaths))
		}
	}
}
