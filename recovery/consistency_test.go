package recovery

import (
	"slices"
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
	members := []MemberState{{Incarnation: "w.1", Up: true, LeaseLeft: time.Second}}
	part := func(p PartitionState) RingState {
		return RingState{Queue: "q", Leader: "d", Members: members, Partitions: []PartitionState{p}}
	}
	tests := map[string]struct {
		ring RingState
		want []string
	}{
		"at rest":              {part(PartitionState{Owner: "w.1", Planned: "w.1", Groups: []string{"w.1"}}), nil},
		"pending of the owner": {part(PartitionState{Owner: "w.1", Groups: []string{"w.1"}, Holders: []HolderState{{Consumer: "w.1", Count: 3}}}), nil},
		"permit of a member":   {part(PartitionState{Owner: "w.1", Groups: []string{"w.1"}, Holders: []HolderState{{Consumer: "w.1@4", Drainer: "w.1", Count: 1}}}), nil},
		"permit of nobody":     {part(PartitionState{Owner: "w.1", Groups: []string{"w.1"}, Holders: []HolderState{{Consumer: "x.1@4", Drainer: "x.1", Count: 1}}}), []string{"pending under the dead"}},
		"marked":               {part(PartitionState{Owner: "w.1", Groups: []string{"w.1"}, Holders: []HolderState{{Consumer: "!", Reclaim: true, Count: 1}}}), []string{"not taken over"}},
		"a name nobody has":    {part(PartitionState{Owner: "w.1", Groups: []string{"w.1"}, Holders: []HolderState{{Consumer: "me", Count: 1}}}), []string{"unknown holder"}},
		"an empty holder":      {part(PartitionState{Owner: "w.1", Groups: []string{"w.1"}, Holders: []HolderState{{Consumer: "me"}}}), nil},
		"no group":             {part(PartitionState{Owner: "w.1"}), []string{"owner without group"}},
		"another group":        {part(PartitionState{Owner: "w.1", Groups: []string{"w.1", "x"}}), []string{"group without owner"}},
		"a string":             {part(PartitionState{Owner: "w.1", Type: "string"}), []string{"wrong type"}},
		"no record":            {part(PartitionState{Groups: []string{"w.1"}}), []string{"no owner record"}},
		"nobody owns it":       {part(PartitionState{Owner: "-", Groups: []string{"-"}}), []string{"nobody owns it"}},
		"owner is gone":        {part(PartitionState{Owner: "x.1", Groups: []string{"x.1"}}), []string{"owner is no member"}},
		"to move":              {part(PartitionState{Owner: "w.1", Planned: "x.1", Groups: []string{"w.1"}}), []string{"unfinished plan"}},
		"all have left":        {RingState{Leader: "d", Partitions: []PartitionState{{Owner: "-", Planned: "w.1", Groups: []string{"-"}}}}, nil},
		"phase":                {RingState{Leader: "d", Phase: 2}, []string{"unfinished plan"}},
		"no leader":            {RingState{}, []string{"no leader"}},
		"lease over":           {RingState{Leader: "d", Members: []MemberState{{Incarnation: "w.1", LeaseLeft: -1}}}, []string{"dead member"}},
		"no worker, no job":    {RingState{Leader: "d", Partitions: []PartitionState{{Owner: "-", Groups: []string{"-"}}}}, nil},
		"no worker, and jobs":  {RingState{Leader: "d", Partitions: []PartitionState{{Owner: "-", Groups: []string{"-"}, Open: true}}}, []string{"no worker"}},
		"marked, and no owner yet": {RingState{Leader: "d", Partitions: []PartitionState{{Owner: "-", Groups: []string{"-"},
			Holders: []HolderState{{Consumer: "!", Reclaim: true, Count: 1}}}}}, nil},
	}
	for name, tt := range tests {
		found := Consistency(tt.ring)
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
	if got := Lasting([]Inconsistency{a, c}, []Inconsistency{b, c}); !slices.Equal(got, []Inconsistency{c}) {
		t.Errorf("%v", got)
	}
}
