package resize

import (
	"errors"
	"strings"
	"testing"
)

func TestEveryPairOfStates(t *testing.T) {
	legal := "none>claiming claiming>none claiming>open claiming>closing open>none open>closing closing>none closing>open closing>claiming "
	for from := None; from <= Closing+1; from++ {
		for to := None; to <= Closing+1; to++ {
			err := checkTransition(4, from, to)
			want := strings.Contains(legal, from.String()+">"+to.String()+" ")
			var te *TransitionError
			switch {
			case (err == nil) != want:
				t.Errorf("%s to %s: %v", from, to, err)
			case err != nil && (!errors.As(err, &te) || !strings.Contains(err.Error(), from.String()) || !strings.Contains(err.Error(), to.String())):
				t.Errorf("%s to %s: the error names not both: %v", from, to, err)
			}
		}
	}
}

func TestBalanceIsBoundedAndDebounced(t *testing.T) {
	c, err := NewCoordinator(Default())
	if err != nil {
		t.Fatal(err)
	}
	r := Records{Epoch: 1, Shards: []Shard{{Epoch: 1}}, Members: []MemberRecord{{Incarnation: "a.1", Weight: 1}, {Incarnation: "b.1", Weight: 1}}}
	for range 256 {
		r.Owners = append(r.Owners, Owner{"a.1", 1})
		r.Plan = append(r.Plan, "a.1")
	}
	step := func(ev CoordinatorEvent) []CoordinatorAction {
		t.Helper()
		actions, err := c.Step(ev)
		if err == nil {
			err = c.CheckInvariants()
		}
		if err != nil {
			t.Fatal(err)
		}
		return actions
	}
	step(LeaseWon{Now: 0, Term: 1})
	if got := step(RecordsRead{Now: 0, Records: r}); len(got) != 0 {
		t.Fatalf("before the quiet time: %v", got)
	}
	if got := step(Ticked{Now: 99}); len(got) != 0 {
		t.Fatalf("before the quiet time: %v", got)
	}
	got := step(Ticked{Now: 100})
	plan, ok := got[0].(WritePlan)
	if !ok || len(got) != 2 {
		t.Fatalf("after the quiet time: %v", got)
	}
	moved := 0
	for _, to := range plan.Targets {
		if to == "b.1" {
			moved++
		}
	}
	if moved != Default().MaxMoves {
		t.Errorf("one plan moves %d", moved)
	}
	if got := step(Ticked{Now: 101}); len(got) != 0 {
		t.Errorf("while its effect is not read: %v", got)
	}
}
