package load

import (
	"errors"
	"slices"

	"ringmaster/configs"
)

// Validation is what Validate found out about a file.
type Validation struct {
	// Programs that the file has settings for, besides those that all three share; all
	// three if it has only such.
	Programs []string
	Warnings []string
}

// Validate checks a file alone, without flags and environment, for every program that
// it has settings for. What these may add, a queue or a token, may be missing. The
// error is as Worker's. It reads the file and the files of secrets that it names.
func Validate(path string) (Validation, error) {
	doc, _ := readDocument(path)
	v := Validation{Programs: doc.programs()}
	var problems []error
	seen := map[string]bool{}
	for _, p := range programs() {
		report, err := load(p.settings, nil, path, nil, true)
		for _, e := range split(err) {
			if !seen[e.Error()] {
				seen[e.Error()] = true
				problems = append(problems, e)
			}
		}
		for _, w := range report.Warnings {
			if !slices.Contains(v.Warnings, w) {
				v.Warnings = append(v.Warnings, w)
			}
		}
	}
	return v, errors.Join(problems...)
}

func split(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// programs names those that have a key of their own in the file.
func (d document) programs() []string {
	common := configs.DefaultCommon()
	shared := keysOf(common.Fields())
	var named, all []string
	for _, p := range programs() {
		all = append(all, p.name)
		own := keysOf(p.settings.Fields())
		if p.name == "worker" {
			own = append(own, "handlers")
		}
		if slices.ContainsFunc(d.entries, func(e entry) bool {
			return slices.Contains(own, e.key) && !slices.Contains(shared, e.key)
		}) {
			named = append(named, p.name)
		}
	}
	if len(named) == 0 {
		return all
	}
	return named
}

func keysOf(fields []configs.Field) []string {
	var keys []string
	for _, f := range fields {
		keys = append(keys, f.Key)
	}
	return keys
}

// nearest returns the candidate that takes the fewest edits to become s, "" if there
// is none. Of equals the first.
func nearest(s string, candidates []string) string {
	best, least := "", -1
	for _, c := range candidates {
		if d := distance(s, c); least < 0 || d < least {
			best, least = c, d
		}
	}
	return best
}

// distance counts insertions, deletions, replacements and swaps of neighbours.
func distance(a, b string) int {
	const enough = 64 // no key is longer
	if len(a) > enough {
		a = a[:enough]
	}
	before, above, row := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, make([]int, len(b)+1)
	}
	return above[len(b)]
}
