package doctor

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func checks(found []Inconsistency) []string {
	var out []string
	for _, f := range found {
		out = append(out, f.Check)
	}
	return out
}

func TestConsistency(t *testing.T) {
	members := []memberState{{Incarnation: "w.1", Up: true, LeaseLeft: time.Second}}
	part := func(p partitionState) ringState {
		return ringState{Queue: "q", Leader: "d", Members: members, Partitions: []partitionState{p}}
	}
	tests := map[string]struct {
		ring ringState
		want []string
	}{
		"at rest":              {part(partitionState{Owner: "w.1", Planned: "w.1", Groups: []string{"w.1"}}), nil},
		"pending of the owner": {part(partitionState{Owner: "w.1", Groups: []string{"w.1"}, Holders: []holderState{{Consumer: "w.1", Count: 3}}}), nil},
		"permit of a member":   {part(partitionState{Owner: "w.1", Groups: []string{"w.1"}, Holders: []holderState{{Consumer: "w.1@4", Drainer: "w.1", Count: 1}}}), nil},
		"permit of nobody":     {part(partitionState{Owner: "w.1", Groups: []string{"w.1"}, Holders: []holderState{{Consumer: "x.1@4", Drainer: "x.1", Count: 1}}}), []string{"pending under the dead"}},
		"marked":               {part(partitionState{Owner: "w.1", Groups: []string{"w.1"}, Holders: []holderState{{Consumer: "!", Reclaim: true, Count: 1}}}), []string{"not taken over"}},
		"a name nobody has":    {part(partitionState{Owner: "w.1", Groups: []string{"w.1"}, Holders: []holderState{{Consumer: "me", Count: 1}}}), []string{"unknown holder"}},
		"an empty holder":      {part(partitionState{Owner: "w.1", Groups: []string{"w.1"}, Holders: []holderState{{Consumer: "me"}}}), nil},
		"no group":             {part(partitionState{Owner: "w.1"}), []string{"owner without group"}},
		"another group":        {part(partitionState{Owner: "w.1", Groups: []string{"w.1", "x"}}), []string{"group without owner"}},
		"a string":             {part(partitionState{Owner: "w.1", Type: "string"}), []string{"wrong type"}},
		"no record":            {part(partitionState{Groups: []string{"w.1"}}), []string{"no owner record"}},
		"nobody owns it":       {part(partitionState{Owner: "-", Groups: []string{"-"}}), []string{"nobody owns it"}},
		"owner is gone":        {part(partitionState{Owner: "x.1", Groups: []string{"x.1"}}), []string{"owner is no member"}},
		"to move":              {part(partitionState{Owner: "w.1", Planned: "x.1", Groups: []string{"w.1"}}), []string{"unfinished plan"}},
		"all have left":        {ringState{Leader: "d", Partitions: []partitionState{{Owner: "-", Planned: "w.1", Groups: []string{"-"}}}}, nil},
		"phase":                {ringState{Leader: "d", Phase: 2, Members: members}, []string{"unfinished plan"}},
		"all left in a resize": {ringState{Leader: "d", Phase: 1, Partitions: []partitionState{{Owner: "-", Planned: "w.2", Groups: []string{"-"}}}}, nil},
		"the last was killed": {ringState{Leader: "d", Phase: 1, Partitions: []partitionState{
			{Owner: "x.1", Planned: "x.1", Groups: []string{"x.1"}, Open: true, Holders: []holderState{{Consumer: "x.1", Count: 2}, {Consumer: "y.1@3", Drainer: "y.1", Count: 1}}},
			{Partition: 1, Owner: "x.1", Planned: "y.1", Groups: []string{"x.1"}}}}, []string{"no live worker"}},
		"nobody lives, nobody leads": {ringState{Members: []memberState{{Incarnation: "w.1", LeaseLeft: -1}},
			Partitions: []partitionState{{Owner: "w.1", Groups: []string{"w.1"}, Open: true}}}, []string{"dead member", "no live worker", "no leader"}},
		"no leader":           {ringState{}, []string{"no leader"}},
		"lease over":          {ringState{Leader: "d", Members: []memberState{{Incarnation: "w.1", LeaseLeft: -1}}}, []string{"dead member"}},
		"no worker, no job":   {ringState{Leader: "d", Partitions: []partitionState{{Owner: "-", Groups: []string{"-"}}}}, nil},
		"no worker, and jobs": {ringState{Leader: "d", Partitions: []partitionState{{Owner: "-", Groups: []string{"-"}, Open: true}}}, []string{"no live worker"}},
		"marked, and no owner yet": {ringState{Leader: "d", Partitions: []partitionState{{Owner: "-", Groups: []string{"-"},
			Holders: []holderState{{Consumer: "!", Reclaim: true, Count: 1}}}}}, nil},
	}
	for name, tt := range tests {
		found := consistency(tt.ring)
		if !slices.Equal(checks(found), tt.want) {
			t.Errorf("%s: found %v, want %v", name, checks(found), tt.want)
		}
		for _, f := range found {
			if f.What == "" || f.Remedy == "" {
				t.Errorf("%s: says too little: %+v", name, f)
			}
			if f.Meaning == "" {
				t.Errorf("%s: no meaning", f.Check)
			}
		}
	}
}

func TestLasting(t *testing.T) {
	a := Inconsistency{Check: "x", Partition: 1, What: "3 to move"}
	b := Inconsistency{Check: "x", Partition: 1, What: "2 to move"}
	c := Inconsistency{Check: "x", Partition: 2, What: "3 to move"}
	if got := lasting([]Inconsistency{a, c}, []Inconsistency{b, c}); len(got) != 1 || got[0].Partition != 2 {
		t.Errorf("%v", got)
	}
}

func TestCauses(t *testing.T) {
	var found []Inconsistency
	for p := range 64 {
		if p != 5 {
			found = append(found, Inconsistency{Check: OwnerNoMember, Queue: "q", Partition: p, What: "partition belongs to x.1", Unattended: true})
		}
	}
	found = append(found, Inconsistency{Check: OwnerWithoutGroup, Queue: "q", Partition: 5, What: "gone"},
		Inconsistency{Check: NoLeader, Queue: "q", Partition: -1, What: "nobody leads", Unattended: true},
		Inconsistency{Check: NoWorker, Queue: "q", Partition: -1, What: "nobody works", Unattended: true})
	got := Causes(found)
	if want := []string{NoWorker, NoLeader, OwnerWithoutGroup, OwnerNoMember}; !slices.Equal(checks(got), want) {
		t.Fatalf("%v, want %v", checks(got), want)
	}
	if last := got[3]; last.Count != 63 || last.Partition != -1 || len(last.Partitions) != 63 ||
		last.What != "partition belongs to x.1; and 62 more like it, in all partitions 0-4, 6-63" {
		t.Errorf("%+v", last)
	}
	if one := got[2]; one.Count != 1 || one.Partition != 5 || one.What != "gone" {
		t.Errorf("one alone is left as it is: %+v", one)
	}
}

func TestWhatALeaderLeavesIsNotAdvisedToBeMendedByStartingOne(t *testing.T) {
	r := ringState{Queue: "q", Leader: "d.7", Members: []memberState{{Incarnation: "w.1", LeaseLeft: time.Second}},
		Partitions: []partitionState{{Owner: "x.1", Groups: []string{"x.1"}}}}
	for _, f := range consistency(r) {
		if strings.Contains(f.Remedy, "start one") || !strings.Contains(f.Remedy, "d.7") {
			t.Errorf("%s: %s", f.Check, f.Remedy)
		}
	}
}
