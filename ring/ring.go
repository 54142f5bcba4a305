// Package ring decides which worker should own which partition.
//
// The assignment is sticky with exact quotas: every member gets the floor or the
// ceiling of its share by weight, and within that a partition stays where it is.
// The consistent-hash ring (a rendezvous score of slot name and partition) is the
// order of preference for the rest. Plain hashing schemes are for when nobody may
// remember the assignment; here the plan is durable, so balance and the minimum of
// movement are both had.
//
// Everything here is pure and deterministic: the order in which members are listed
// never matters, and nothing depends on process or time. It needs no locking.
package ring

import (
	"cmp"
	"slices"
	"strings"
)

// None stands for "no owner", in what Assign takes and in what it returns.
const None = "-"

// maxWeight keeps partitions x weights far from overflow.
const maxWeight = 1 << 20

// Member is a worker that may own partitions.
type Member struct {
	ID     string // incarnation: one start of one process, never reused
	Slot   string // stable name across restarts; empty means SlotOf(ID)
	Weight int    // share of the partitions; below 1 counts as 1
}

func (m Member) slot() string {
	if m.Slot != "" {
		return m.Slot
	}
	return SlotOf(m.ID)
}

// SlotOf is the stable name inside an incarnation "name.uuid": what stands before
// its last dot, or all of it.
func SlotOf(incarnation string) string {
	if i := strings.LastIndexByte(incarnation, '.'); i >= 0 {
		return incarnation[:i]
	}
	return incarnation
}

// Assign returns the owner of each partition 0..partitions-1, or None for all of
// them when there is no member. previous is the assignment before, by partition; it
// may be shorter, longer, or name incarnations that are gone.
//
//   - Quotas are exact: floor or ceiling of weight/total x partitions, the ceilings
//     to the largest remainders, among equals to whoever keeps most by it.
//   - A previous owner keeps its partitions up to its quota.
//   - A partition whose owner is gone goes first to a new incarnation of the same
//     slot, up to that one's quota.
//   - The rest goes to the member with room that scores highest for the partition.
//
// Members with the same ID count once. The arguments are not modified or retained.
func Assign(partitions int, members []Member, previous []string) []string {
	owners := make([]string, max(partitions, 0))
	for p := range owners {
		owners[p] = None
	}
	a := newAssignment(owners, members)
	if len(a.members) == 0 || partitions <= 0 {
		return owners
	}
	a.wish(previous)
	a.setQuotas()
	a.keep()
	a.inherit()
	a.fill()
	return owners
}

// assignment is one call of Assign. Members are indexes into members, which is
// sorted, so that no result depends on the order of the input.
type assignment struct {
	owners  []string
	members []seat
	total   int     // sum of weights
	equal   bool    // all weights are the same: scores need no logarithm
	held    [][]int // member -> partitions it has now
	heirs   [][]int // member -> partitions of its slot whose owner is gone
}

// seat is a member while it is being assigned.
type seat struct {
	id, slot string
	weight   int
	hash     uint64
	quota    int
	have     int
}

func newAssignment(owners []string, members []Member) *assignment {
	a := &assignment{owners: owners, members: seats(members), equal: true}
	for _, s := range a.members {
		a.total += s.weight
		a.equal = a.equal && s.weight == a.members[0].weight
	}
	a.held = make([][]int, len(a.members))
	a.heirs = make([][]int, len(a.members))
	return a
}

// seats normalizes members: sorted by slot and ID, each ID once.
func seats(members []Member) []seat {
	out := make([]seat, 0, len(members))
	for _, m := range members {
		out = append(out, seat{id: m.ID, slot: m.slot(), weight: min(max(m.Weight, 1), maxWeight)})
	}
	slices.SortFunc(out, func(x, y seat) int {
		return cmp.Or(cmp.Compare(x.id, y.id), cmp.Compare(x.slot, y.slot), cmp.Compare(x.weight, y.weight))
	})
	out = slices.CompactFunc(out, func(x, y seat) bool { return x.id == y.id })
	slices.SortStableFunc(out, func(x, y seat) int { return cmp.Compare(x.slot, y.slot) })
	for i := range out {
		out[i].hash = hashSlot(out[i].slot)
	}
	return out
}

// wish notes for every member what it holds and what it might inherit.
func (a *assignment) wish(previous []string) {
	byID := make(map[string]int, len(a.members))
	bySlot := make(map[string][]int, len(a.members))
	for i, s := range a.members {
		byID[s.id] = i
		bySlot[s.slot] = append(bySlot[s.slot], i)
	}
	for p, prev := range previous[:min(len(previous), len(a.owners))] {
		if i, ok := byID[prev]; ok {
			a.held[i] = append(a.held[i], p)
		} else if prev != "" && prev != None {
			if heirs := bySlot[SlotOf(prev)]; len(heirs) > 0 {
				i := heirs[p%len(heirs)]
				a.heirs[i] = append(a.heirs[i], p)
			}
		}
	}
}

// setQuotas splits the partitions by largest remainder. Equal remainders go to the
// member that would otherwise have to give up most: that is what keeps movement at
// its minimum.
func (a *assignment) setQuotas() {
	rest := len(a.owners)
	order := make([]int, len(a.members))
	for i := range a.members {
		s := &a.members[i]
		s.quota = len(a.owners) * s.weight / a.total
		rest -= s.quota
		order[i] = i
	}
	remainder := func(i int) int { return len(a.owners) * a.members[i].weight % a.total }
	surplus := func(i int) (held, all int) {
		q := a.members[i].quota
		return max(len(a.held[i])-q, 0), max(len(a.held[i])+len(a.heirs[i])-q, 0)
	}
	slices.SortStableFunc(order, func(i, j int) int {
		hi, ai := surplus(i)
		hj, aj := surplus(j)
		// One more place saves at most one move, so a surplus counts as 0 or 1.
		return cmp.Or(cmp.Compare(remainder(j), remainder(i)),
			cmp.Compare(min(hj, 1), min(hi, 1)), cmp.Compare(min(aj, 1), min(ai, 1)))
	})
	for _, i := range order[:rest] {
		a.members[i].quota++
	}
}

// keep leaves every member what it has, up to its quota, best scores first.
func (a *assignment) keep() {
	for i := range a.members {
		a.take(i, a.held[i])
	}
}

// inherit gives the partitions of a gone incarnation to the new one of its slot.
func (a *assignment) inherit() {
	for i := range a.members {
		a.take(i, a.heirs[i])
	}
}

func (a *assignment) take(i int, parts []int) {
	s := &a.members[i]
	room := s.quota - s.have
	if len(parts) > room {
		parts = slices.Clone(parts)
		slices.SortFunc(parts, func(p, q int) int {
			return cmp.Or(cmp.Compare(mix(s.hash, q), mix(s.hash, p)), cmp.Compare(p, q))
		})
		parts = parts[:room]
	}
	for _, p := range parts {
		a.owners[p] = s.id
	}
	s.have += len(parts)
}

// fill gives what is left to the member with room that the ring prefers.
func (a *assignment) fill() {
	for p, owner := range a.owners {
		if owner != None {
			continue
		}
		best := -1
		for i := range a.members {
			if s := &a.members[i]; s.have < s.quota && (best < 0 || a.prefers(p, i, best)) {
				best = i
			}
		}
		a.owners[p] = a.members[best].id
		a.members[best].have++
	}
}

// prefers reports whether partition p rather goes to member i than to j.
func (a *assignment) prefers(p, i, j int) bool {
	return compareSeats(p, &a.members[i], &a.members[j], a.equal) < 0
}
