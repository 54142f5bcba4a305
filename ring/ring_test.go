package ring

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func member(i, weight int) Member {
	return Member{ID: fmt.Sprintf("w%d.%d", i, i*7919), Slot: fmt.Sprintf("w%d", i), Weight: weight}
}

func equalMembers(n int) []Member {
	var out []Member
	for i := range n {
		out = append(out, member(i, 1))
	}
	return out
}

func count(owners []string) map[string]int {
	n := map[string]int{}
	for _, o := range owners {
		n[o]++
	}
	return n
}

func moved(before, after []string) int {
	n := 0
	for p := range after {
		if p < len(before) && before[p] != after[p] {
			n++
		}
	}
	return n
}

func drawMembers(t *rapid.T, maxWeight int) []Member {
	n := rapid.IntRange(1, 40).Draw(t, "members")
	var out []Member
	for i := range n {
		out = append(out, member(i, rapid.IntRange(1, maxWeight).Draw(t, "weight")))
	}
	return out
}

// What a worker's weight promises: its part of the sum of weights, beside which workers it may be, and
// no more moves than that when one comes back heavier.
func TestAWeightIsAShareOf64(t *testing.T) {
	for _, c := range []struct{ weights, want []int }{
		{[]int{1, 1}, []int{32, 32}},
		{[]int{2, 1}, []int{43, 21}},
		{[]int{3, 1}, []int{48, 16}},
		{[]int{2, 1, 1}, []int{32, 16, 16}},
		{[]int{100, 1}, []int{63, 1}},
	} {
		var members []Member
		for i, w := range c.weights {
			members = append(members, member(i, w))
		}
		have := count(Assign(64, members, nil))
		for i, m := range members {
			if n := have[m.ID]; n != c.want[i] {
				t.Errorf("weights %v: %s has %d of 64, want %d", c.weights, m.Slot, n, c.want[i])
			}
		}
	}
	before := Assign(64, []Member{member(0, 1), member(1, 1)}, nil)
	heavier := Member{ID: "w0.later", Slot: "w0", Weight: 3}
	after := Assign(64, []Member{heavier, member(1, 1)}, before)
	if n := count(after); n[heavier.ID] != 48 {
		t.Errorf("came back with weight 3: %v", n)
	}
	for p := range after {
		if SlotOf(before[p]) == "w0" && after[p] != heavier.ID {
			t.Errorf("partition %d went from the slot that became heavier to %s", p, after[p])
		}
	}
}

func TestQuotasAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := drawMembers(t, 5)
		p := rapid.IntRange(1, 4096).Draw(t, "partitions")
		total := 0
		for _, m := range members {
			total += m.Weight
		}
		have := count(Assign(p, members, nil))
		for _, m := range members {
			share := float64(p*m.Weight) / float64(total)
			if n := float64(have[m.ID]); n < math.Floor(share) || n > math.Ceil(share) {
				t.Fatalf("%s of weight %d has %v of %d, its share is %.2f", m.ID, m.Weight, n, p, share)
			}
			delete(have, m.ID)
		}
		if len(have) > 0 {
			t.Fatalf("owners that are no members: %v", have)
		}
	})
}

func TestOrderOfInputDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := drawMembers(t, 3)
		p := rapid.IntRange(1, 300).Draw(t, "partitions")
		previous := Assign(p, drawMembers(t, 3), nil)
		want := Assign(p, members, previous)
		shuffled := rapid.Permutation(members).Draw(t, "shuffled")
		shuffled = append(shuffled, shuffled[0]) // and a repeated member counts once
		if got := Assign(p, shuffled, previous); !slices.Equal(got, want) {
			t.Fatalf("%v\n%v", got, want)
		}
		if got := Assign(p, members, want); !slices.Equal(got, want) {
			t.Fatalf("an assignment does not keep itself:\n%v\n%v", got, want)
		}
	})
}

// With equal weights a join moves exactly what the new member must get, and a leave
// what the old one had.
func TestJoinAndLeaveMoveTheMinimum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "members")
		p := rapid.IntRange(1, 4096).Draw(t, "partitions")
		members := equalMembers(n)
		before := Assign(p, members, nil)

		joined := append(slices.Clone(members), member(n, 1))
		after := Assign(p, joined, before)
		if got, want := moved(before, after), count(after)[member(n, 1).ID]; got != want {
			t.Fatalf("a join of %d to %d over %d moves %d, the optimum is %d", 1, n, p, got, want)
		}
		if n == 1 {
			return
		}
		gone := rapid.IntRange(0, n-1).Draw(t, "gone")
		left := slices.Delete(slices.Clone(members), gone, gone+1)
		after = Assign(p, left, before)
		if got, want := moved(before, after), count(before)[members[gone].ID]; got != want {
			t.Fatalf("a leave moves %d, the optimum is %d", got, want)
		}
	})
}

// For any weights and any past, no assignment within the same quotas keeps more.
func TestPreviousOwnersKeepUpToTheirQuota(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.IntRange(1, 500).Draw(t, "partitions")
		members := drawMembers(t, 4)
		before := Assign(p, drawMembers(t, 4), nil)
		after := Assign(p, members, before)
		quota, had := count(after), count(before)
		for _, m := range members {
			kept := 0
			for q := range after {
				if after[q] == m.ID && before[q] == m.ID {
					kept++
				}
			}
			if want := min(had[m.ID], quota[m.ID]); kept != want {
				t.Fatalf("%s had %d, may have %d, keeps %d", m.ID, had[m.ID], quota[m.ID], kept)
			}
		}
	})
}

func TestNewIncarnationInheritsItsSlot(t *testing.T) {
	members := equalMembers(4)
	before := Assign(64, members, nil)
	restarted := slices.Clone(members)
	restarted[2] = Member{ID: "w2.later", Slot: "w2", Weight: 1}
	after := Assign(64, restarted, before)
	for p := range after {
		want := before[p]
		if want == members[2].ID {
			want = "w2.later"
		}
		if after[p] != want {
			t.Errorf("partition %d of %s goes to %s", p, before[p], after[p])
		}
	}
}

func TestEdges(t *testing.T) {
	if got := Assign(3, nil, []string{"a", "b", "c"}); !slices.Equal(got, []string{None, None, None}) {
		t.Errorf("without members: %v", got)
	}
	if got := Assign(-1, equalMembers(2), nil); len(got) != 0 {
		t.Errorf("of no partitions: %v", got)
	}
	one := Assign(2, []Member{{ID: "x", Weight: -3}}, []string{"gone.1", "-", "x", "y"})
	if !slices.Equal(one, []string{"x", "x"}) {
		t.Errorf("a weight below 1 and a longer past: %v", one)
	}
	if got := count(Assign(4096, []Member{{ID: "a", Weight: math.MaxInt}, {ID: "b", Weight: math.MaxInt}}, nil)); got["a"] != 2048 {
		t.Errorf("huge weights: %v", got)
	}
	for in, want := range map[string]string{"w1.01J": "w1", "a.b.c": "a.b", "plain": "plain", "": ""} {
		if got := SlotOf(in); got != want {
			t.Errorf("SlotOf(%q) = %q, want %q", in, got, want)
		}
	}
}

// The assignment is compared with fixed values: it may not change between builds, or
// two dispatchers of different builds would move partitions to and fro.
func TestAssignmentIsStableAcrossBuilds(t *testing.T) {
	want := "w2 w2 w0 w0 w0 w1 w1 w1"
	got := ""
	for _, o := range Assign(8, equalMembers(3), nil) {
		got += SlotOf(o) + " "
	}
	if got != want+" " {
		t.Errorf("got %q, want %q", got, want)
	}
}
