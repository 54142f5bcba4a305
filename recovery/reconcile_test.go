package recovery

import (
	"fmt"
	"slices"
	"testing"

	"ringmaster/job"
)

func grp(name string, pending int64, last uint64) Group {
	return Group{Name: name, Pending: pending, LastDelivered: job.EntryID{Ms: last}}
}

func TestReconcile(t *testing.T) {
	members := map[string]bool{"a": true, "b": true}
	owned := func(p int, owner string, gs ...Group) PartitionState {
		return PartitionState{Partition: p, Recorded: true, Owner: owner, Epoch: 7, Groups: gs}
	}
	lost := func(floor uint64, gs ...Group) PartitionState {
		return PartitionState{Partition: 0, EpochFloor: floor, Groups: gs}
	}
	one := func(ps ...PartitionState) []PartitionState { return ps }

	for _, c := range []struct {
		name string
		in   []PartitionState
		want []string // partition kind group epoch, "!" for an alarm
	}{
		{"nothing", nil, nil},
		{"healthy", one(owned(0, "a", grp("a", 3, 9)), owned(1, "-", grp("-", 0, 0))), nil},
		{"owner's group missing", one(owned(0, "a")), []string{"0 create group a 0!"}},
		{"nobody's group missing", one(owned(0, "-")), []string{"0 create group - 0!"}},
		{"foreign group, empty", one(owned(0, "a", grp("a", 0, 5), grp("b", 0, 5))), []string{"0 destroy group b 0"}},
		{"foreign group with jobs", one(owned(0, "a", grp("a", 0, 5), grp("b", 2, 5))), []string{"0 destroy group b 0!"}},
		{"foreign groups instead of the owner's", one(owned(0, "a", grp("c", 1, 5), grp("b", 0, 5))),
			[]string{"0 create group a 0!", "0 destroy group b 0", "0 destroy group c 0!"}},
		{"owner is no member", one(owned(0, "gone", grp("gone", 4, 5))), []string{"0 orphan gone 0"}},
		{"owner is no member and has no group", one(owned(0, "gone")), []string{"0 create group gone 0!", "0 orphan gone 0"}},
		{"record missing", one(lost(0, grp("a", 2, 5))), []string{"0 restore owner a 1!"}},
		{"record missing, epoch known", one(lost(18, grp("a", 2, 5))), []string{"0 restore owner a 19!"}},
		{"record missing, group of no member", one(lost(0, grp("gone", 2, 5))), []string{"0 restore owner gone 1!"}},
		{"record empty", one(PartitionState{Recorded: true, Groups: []Group{grp("-", 0, 0)}}), []string{"0 restore owner - 1!"}},
		{"record missing, newest group wins", one(lost(0, grp("a", 0, 5), grp("b", 0, 9))),
			[]string{"0 restore owner b 1!", "0 destroy group a 0"}},
		{"record missing, pending jobs win", one(lost(0, grp("a", 1, 5), grp("b", 0, 9))),
			[]string{"0 restore owner a 1!", "0 destroy group b 0"}},
		{"record missing, pending jobs win, by either order", one(lost(0, grp("a", 0, 9), grp("b", 1, 5))),
			[]string{"0 restore owner b 1!", "0 destroy group a 0"}},
		{"record missing, two hold jobs", one(lost(0, grp("a", 1, 5), grp("b", 1, 9), grp("c", 0, 1))), []string{"0 undecided  0!"}},
		{"new queue", one(PartitionState{Partition: 1}, PartitionState{Partition: 0}),
			[]string{"0 create queue - 0", "1 create queue - 0"}},
		{"one partition vanished", one(owned(1, "a", grp("a", 0, 0)), PartitionState{Partition: 0}), []string{"0 create queue - 1!"}},
		{"all vanished but drainers", one(lost(4)), []string{"0 create queue - 5!"}},
		{"by partition", one(owned(2, "a"), owned(0, "b"), owned(1, "a", grp("a", 0, 0))),
			[]string{"0 create group b 0!", "2 create group a 0!"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, r := range Reconcile(c.in, members) {
				s := fmt.Sprintf("%d %s %s %d", r.Partition, r.Kind, r.Group, r.Epoch)
				if r.Alarm {
					s += "!"
				}
				if r.Reason == "" {
					t.Errorf("%s: no reason given", s)
				}
				got = append(got, s)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestReconcileLeavesItsInput(t *testing.T) {
	in := []PartitionState{{Partition: 1, Groups: []Group{grp("b", 0, 1), grp("a", 0, 2)}}, {Partition: 0}}
	Reconcile(in, nil)
	if in[0].Partition != 1 || in[0].Groups[0].Name != "b" {
		t.Errorf("input was reordered: %+v", in)
	}
}
