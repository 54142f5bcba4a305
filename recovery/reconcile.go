package recovery

import (
	"cmp"
	"fmt"
	"slices"

	"ringmaster/job"
)

// Nobody is the recorded owner, and the group's name, of a partition without an owner.
const Nobody = "-"

// PartitionState is what was found of one partition: its owner record and the consumer
// groups of its stream. Both must come from one consistent read, else a change of owner
// in between looks like damage.
type PartitionState struct {
	Partition int
	Recorded  bool   // there is an owner record
	Owner     string // incarnation or Nobody; empty counts as not recorded
	Epoch     uint64

	Groups []Group

	// EpochFloor is the highest epoch of the partition known from elsewhere (consumers of
	// drainers carry it in their names); 0 if nothing is known. It is used only where
	// the record is missing.
	EpochFloor uint64
}

func (p PartitionState) recorded() bool { return p.Recorded && p.Owner != "" }

// Group is one consumer group of a partition's stream.
type Group struct {
	Name          string
	Pending       int64
	LastDelivered job.EntryID
}

// Kind is what a Repair does.
type Kind int

// The kinds, in the order in which they are worth reading.
const (
	// CreateQueue: record the partition as Nobody's at Repair.Epoch, and create the group
	// Nobody at 0. Everything of the partition was missing.
	CreateQueue Kind = iota + 1
	// CreateGroup: create Repair.Group at 0. What was delivered and pending is no longer
	// known, so every entry left in the stream is delivered again: some jobs run again,
	// none is lost.
	CreateGroup
	// RestoreOwner: write the owner record: Repair.Group at Repair.Epoch.
	RestoreOwner
	// DestroyGroup: destroy Repair.Group, which is not the owner's.
	DestroyGroup
	// Orphan: the recorded owner is no member. Nothing to mend: the leader takes the
	// partition from it. It is a fault only if it stays.
	Orphan
	// Undecided: the record is missing and more than one group has pending entries. Any
	// choice could lose jobs; a person must decide. Nothing is to be done.
	Undecided
)

var kindNames = [...]string{"", "create queue", "create group", "restore owner", "destroy group", "orphan", "undecided"}

// String names the kind.
func (k Kind) String() string {
	if k <= 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind(%d)", int(k))
	}
	return kindNames[k]
}

// Repair is one finding and the step that mends it. Repairs of a partition are to be
// applied in order, each only if the partition is still as it was read.
type Repair struct {
	Partition int
	Kind      Kind
	Group     string // the group, or the owner, it is about
	Epoch     uint64 // CreateQueue, RestoreOwner
	Alarm     bool   // state was lost, or something happened that should be impossible
	Reason    string // for people
}

// Reconcile compares owner records with groups and returns what is wrong, by partition,
// in the order to apply. members holds the incarnations that are members now. A healthy
// queue gives nothing. It changes none of its input.
//
// A group that is not the recorded owner's is destroyed with whatever it has pending: a
// change of owner moves the pending entries to the new group, and only then writes the
// record, so the recorded owner's group has them all. Where that group is itself missing,
// it is first created at 0; entries pending in the other group are still in the stream
// and are delivered again from there.
//
// The epoch of a lost record is not known: the restored one is above EpochFloor, but
// fencing tokens may have been higher. Whoever applies CreateQueue or RestoreOwner with an
// alarm must raise the failover generation first.
func Reconcile(parts []PartitionState, members map[string]bool) []Repair {
	known := slices.ContainsFunc(parts, func(p PartitionState) bool {
		return p.recorded() || len(p.Groups) > 0 || p.EpochFloor > 0
	})
	sorted := slices.SortedFunc(slices.Values(parts), func(a, b PartitionState) int {
		return cmp.Compare(a.Partition, b.Partition)
	})
	var all []Repair
	for _, p := range sorted {
		switch {
		case p.recorded():
			all = append(all, reconcileRecorded(p, members)...)
		case len(p.Groups) == 0:
			all = append(all, createPartition(p, known))
		default:
			all = append(all, restore(p)...)
		}
	}
	return all
}

// reconcileRecorded: the record is there and says whose group must exist.
func reconcileRecorded(p PartitionState, members map[string]bool) []Repair {
	var rs []Repair
	own := slices.ContainsFunc(p.Groups, func(g Group) bool { return g.Name == p.Owner })
	if !own {
		rs = append(rs, Repair{Partition: p.Partition, Kind: CreateGroup, Group: p.Owner, Alarm: true,
			Reason: fmt.Sprintf("state lost: owner %s has no group; all jobs still in the stream will run again", p.Owner)})
	}
	for _, g := range byName(p.Groups) {
		if g.Name != p.Owner {
			rs = append(rs, destroy(p, g, p.Owner))
		}
	}
	if p.Owner != Nobody && !members[p.Owner] {
		rs = append(rs, Repair{Partition: p.Partition, Kind: Orphan, Group: p.Owner,
			Reason: fmt.Sprintf("owner %s is not a member", p.Owner)})
	}
	return rs
}

func destroy(p PartitionState, g Group, owner string) Repair {
	return Repair{Partition: p.Partition, Kind: DestroyGroup, Group: g.Name, Alarm: g.Pending > 0,
		Reason: fmt.Sprintf("group %s (%d pending) is not that of the owner %s", g.Name, g.Pending, owner)}
}

// createPartition: nothing is there. That is a new queue only if no partition of it is known.
func createPartition(p PartitionState, known bool) Repair {
	r := Repair{Partition: p.Partition, Kind: CreateQueue, Group: Nobody, Reason: "new queue"}
	if known {
		r.Epoch, r.Alarm = p.EpochFloor+1, true
		r.Reason = "state lost: neither owner record nor group; all jobs still in the stream will run again"
	}
	return r
}

// restore: the record is missing and the groups must tell who owned the partition. A
// change of owner leaves exactly one group, so one is the common case. The owner need not
// be a member: the leader then takes the partition from it, pending entries included.
func restore(p PartitionState) []Repair {
	groups := byName(p.Groups)
	holders := 0
	best := groups[0]
	for _, g := range groups {
		if g.Pending > 0 {
			holders++
		}
		if betterOwner(g, best) {
			best = g
		}
	}
	if holders > 1 {
		return []Repair{{Partition: p.Partition, Kind: Undecided, Alarm: true,
			Reason: fmt.Sprintf("owner record missing and %d groups have pending jobs", holders)}}
	}
	rs := []Repair{{Partition: p.Partition, Kind: RestoreOwner, Group: best.Name, Epoch: p.EpochFloor + 1, Alarm: true,
		Reason: fmt.Sprintf("state lost: owner record missing; group %s exists", best.Name)}}
	for _, g := range groups {
		if g.Name != best.Name {
			rs = append(rs, destroy(p, g, best.Name))
		}
	}
	return rs
}

// betterOwner prefers the group with pending entries, since they would be lost with it;
// if it was behind, jobs run again. Without any, the one that was delivered the most.
func betterOwner(a, b Group) bool {
	if (a.Pending > 0) != (b.Pending > 0) {
		return a.Pending > 0
	}
	return b.LastDelivered.Less(a.LastDelivered)
}

func byName(gs []Group) []Group {
	return slices.SortedFunc(slices.Values(gs), func(a, b Group) int { return cmp.Compare(a.Name, b.Name) })
}
