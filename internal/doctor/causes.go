package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Causes puts the inconsistencies of one kind and queue together, with their count: whoever
// reads them wants to know what to do, which is the same for all of a kind. What the others may
// follow from comes first: no live worker, no leader, then damage.
func Causes(found []Inconsistency) []Inconsistency {
	var out []Inconsistency
	for _, x := range found {
		i := slices.IndexFunc(out, func(y Inconsistency) bool { return x.Check == y.Check && x.Queue == y.Queue })
		if i < 0 {
			x.Count = 1
			if x.Partition >= 0 {
				x.Partitions = []int{x.Partition}
			}
			out = append(out, x)
			continue
		}
		out[i].Count++
		if x.Partition >= 0 {
			out[i].Partitions = append(out[i].Partitions, x.Partition)
		}
	}
	for i := range out {
		out[i].summarize()
	}
	slices.SortStableFunc(out, func(a, b Inconsistency) int { return cmp.Compare(a.rank(), b.rank()) })
	return out
}

func (x *Inconsistency) summarize() {
	if x.Count == 1 {
		return
	}
	x.Partition = -1
	x.What += fmt.Sprintf("; and %d more like it", x.Count-1)
	if len(x.Partitions) > 0 {
		x.What += ", in all partitions " + ranges(x.Partitions)
	}
}

func (x *Inconsistency) rank() int {
	switch {
	case x.Check == NoWorker:
		return 0
	case x.Check == NoLeader:
		return 1
	case !x.Unattended:
		return 2
	}
	return 3
}

// mostRanges is how many are named of partitions that lie apart.
const mostRanges = 8

// ranges writes numbers that rise as "0-3, 7".
func ranges(n []int) string {
	slices.Sort(n)
	n = slices.Compact(n)
	var out []string
	for len(n) > 0 {
		k := 1
		for k < len(n) && n[k] == n[0]+k {
			k++
		}
		if len(out) == mostRanges {
			return strings.Join(out, ", ") + ", ..."
		}
		if k == 1 {
			out = append(out, fmt.Sprint(n[0]))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", n[0], n[k-1]))
		}
		n = n[k:]
	}
	return strings.Join(out, ", ")
}
