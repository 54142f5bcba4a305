package main

import (
	"math/rand/v2"
	"slices"
	"time"
)

// tier is how much is done.
type tier struct {
	repeat int           // of every row
	soak   time.Duration // afterwards
	steady time.Duration // at last, load without faults
	limit  time.Duration // no row is repeated later; pr: no row starts later
}

func tiers() map[string]tier {
	return map[string]tier{
		"pr":      {repeat: 1, limit: 145 * time.Second},
		"nightly": {repeat: 2, soak: 8 * time.Minute, steady: 5 * time.Minute, limit: 34 * time.Minute},
		"release": {repeat: 20, soak: 2 * time.Hour, steady: 30 * time.Minute},
	}
}

// prBudget is what the rows of the pr tier may take by their usual times.
const prBudget = 115 * time.Second

// usual is how long a row takes on a quiet machine with two cores, its audit included.
func usual(row Row) time.Duration {
	seconds := map[int]int{14: 8, 15: 8, 16: 9, 17: 8, 22: 6, 20: 6, 27: 7, 30: 8, 31: 8, 34: 10, 35: 60, 50: 9, 52: 9,
		53: 9, 54: 14, 58: 34, 59: 27, 60: 35, 67: 7, 41: 18, 42: 14, 43: 17, 47: 16, 62: 12, 66: 66, 68: 15, 77: 60, 80: 20, 81: 15, 82: 10, 83: 28, 84: 10}
	if s, ok := seconds[row.Number]; ok {
		return time.Duration(s) * time.Second
	}
	if row.Family == "server" {
		return 9 * time.Second
	}
	return 4 * time.Second
}

// ringStart is how long it takes until the jobs of a new ring flow, and to end it.
const ringStart = 4 * time.Second

// someOfEach chooses rows of all families in turn, in an order made of the seed, as many
// as fit into the budget. Each family has one row at least.
func someOfEach(all []Row, seed uint64, budget time.Duration) []Row {
	rnd := rand.New(rand.NewPCG(seed, 1))
	families, names := map[string][]Row{}, []string{}
	for _, row := range all {
		if row.Cannot != "" {
			continue
		}
		if families[row.Family] == nil {
			names = append(names, row.Family)
		}
		families[row.Family] = append(families[row.Family], row)
	}
	for _, name := range names {
		f := families[name]
		rnd.Shuffle(len(f), func(i, j int) { f[i], f[j] = f[j], f[i] })
		// The first is a short one, so that there is time for one of each family.
		if i := slices.IndexFunc(f, func(row Row) bool { return usual(row)+ringStart < prBudget/8 }); i > 0 {
			f[0], f[i] = f[i], f[0]
		}
	}
	var out []Row
	rings := map[string]bool{}
	for turn, more := 0, true; more; turn++ {
		more = false
		for _, name := range names {
			if turn >= len(families[name]) {
				continue
			}
			more = true
			row := families[name][turn]
			cost := usual(row)
			if row.Loss || !rings[row.Ring.Name] {
				cost += ringStart
			}
			if cost > budget || cost > prBudget/3 {
				continue
			}
			budget -= cost
			rings[row.Ring.Name] = true
			out = append(out, row)
		}
	}
	return out
}

// coverage makes the run void if a row was never hit, or a family has none that was run.
func (u *Run) coverage() {
	ran, hit := map[string]bool{}, map[string]bool{}
	for _, res := range u.results {
		if res.row.Cannot != "" {
			continue
		}
		ran[res.row.Family] = ran[res.row.Family] || res.tries > 0
		hit[res.row.Family] = hit[res.row.Family] || res.hits > 0
		switch {
		case res.hits > 0:
		case res.tries > 0:
			u.void("row %d was never hit: %s", res.row.Number, res.last)
		case u.tier != "pr":
			u.void("row %d was never run", res.row.Number)
		default:
			u.logf("row %d: no time was left", res.row.Number)
		}
	}
	for family := range ran {
		if !hit[family] {
			u.void("no row of the family %s was hit", family)
		}
	}
}
