package doctor

import (
	"fmt"
	"slices"
	"time"
)

// ringState is what an audit sees of a queue's ring.
type ringState struct {
	Queue      string
	Leader     string // dispatcher, "" if none leads
	Epoch      uint64
	Phase      int // 0: at rest
	Members    []memberState
	Partitions []partitionState
}

// memberState is one member and how long its lease still runs.
type memberState struct {
	Incarnation string
	Up          bool
	LeaseLeft   time.Duration // negative: its liveness key is gone
}

// partitionState is one partition: its records and its stream.
type partitionState struct {
	Partition int
	Owner     string // "-": nobody; "": there is no record
	Planned   string // "-": nobody
	Groups    []string
	Holders   []holderState
	Open      bool   // it has jobs that wait or are pending
	Type      string // of the stream's key, as the server names it; "" and none: there is none
}

// holderState is a consumer with pending jobs.
type holderState struct {
	Consumer string
	Drainer  string // incarnation that has a permit; "" if it is none
	Reclaim  bool
	Count    int
}

// Inconsistency is one thing that does not fit. While a ring changes some are normal, so
// only what stays is a fault: see lasting.
type Inconsistency struct {
	Check     string // short name of the kind: "owner without group"
	Queue     string
	Partition int // -1: it concerns the ring
	// Partitions are those that Causes put together; nil: Partition alone.
	Partitions []int
	Count      int // how many of the kind Causes put together; at least 1
	What       string
	Meaning    string // what follows from it
	Remedy     string
	// Unattended: nothing is damaged, a dispatcher or a worker that runs would mend it.
	Unattended bool
}

// Damage reports that it is more than a dispatcher or a worker that is missing. Led: a
// dispatcher leads the ring, which should have mended it.
func (x Inconsistency) Damage(led bool) bool {
	return !x.Unattended || led && x.Check != NoWorker
}

// The checks. Callers tell some of them apart.
const (
	NoWorker          = "no live worker" // there are jobs, and nobody to run them
	NoLeader          = "no leader"      // no dispatcher leads the ring
	DeadMember        = "dead member"
	NoRecord          = "no owner record"
	WrongType         = "wrong type"
	OwnerWithoutGroup = "owner without group"
	GroupWithoutOwner = "group without owner"
	NobodyOwns        = "nobody owns it"
	OwnerNoMember     = "owner is no member"
	PendingUnderDead  = "pending under the dead"
	UnknownHolder     = "unknown holder"
	NotTakenOver      = "not taken over"
	UnfinishedPlan    = "unfinished plan"
)

// consistency compares owner records, groups, pending lists and liveness. Where no member
// lives, partitions wait for the next one whoever their records name: that is told once, as
// NoWorker, if there are jobs, and not for each partition.
func consistency(r ringState) []Inconsistency {
	c := checker{r: r, members: map[string]memberState{}}
	for _, m := range r.Members {
		c.members[m.Incarnation] = m
		if m.LeaseLeft < 0 {
			c.add(DeadMember, -1, "%s is a member and its lease is over", m.Incarnation)
			continue
		}
		c.alive = true
	}
	for _, p := range r.Partitions {
		c.groups(p)
		c.owner(p)
		c.pending(p)
	}
	if c.alive && (r.Phase != 0 || c.moving > 0) {
		c.add(UnfinishedPlan, -1, "the plan of ring epoch %d is not done: phase %d, %d partitions still to move", r.Epoch, r.Phase, c.moving)
	}
	if c.idle > 0 {
		c.add(NoWorker, -1, "no live worker: jobs wait in %d of %d partitions", c.idle, len(c.r.Partitions))
	}
	if r.Leader == "" {
		c.add(NoLeader, -1, "no dispatcher leads the ring")
	}
	return c.out
}

type checker struct {
	r       ringState
	members map[string]memberState
	alive   bool // a member lives
	moving  int
	idle    int // partitions with jobs, where no member lives
	out     []Inconsistency
}

func (c *checker) add(check string, partition int, format string, args ...any) {
	f := facts[check]
	remedy := f.remedy
	if f.led != "" && c.r.Leader != "" {
		remedy = fmt.Sprintf(f.led, c.r.Leader)
	}
	c.out = append(c.out, Inconsistency{Check: check, Queue: c.r.Queue, Partition: partition, Count: 1, What: fmt.Sprintf(format, args...),
		Meaning: f.meaning, Remedy: remedy, Unattended: !f.damage})
}

// groups: every job stream has one group, and it is its owner's.
func (c *checker) groups(p partitionState) {
	if p.Owner == "" {
		c.add(NoRecord, p.Partition, "partition %d has no owner record", p.Partition)
		return
	}
	if p.Type != "" && p.Type != "none" && p.Type != "stream" {
		c.add(WrongType, p.Partition, "the job stream of partition %d is a %s", p.Partition, p.Type)
		return
	}
	if !slices.Contains(p.Groups, p.Owner) {
		c.add(OwnerWithoutGroup, p.Partition, "partition %d belongs to %s, whose consumer group is gone", p.Partition, p.Owner)
	}
	for _, g := range p.Groups {
		if g != p.Owner {
			c.add(GroupWithoutOwner, p.Partition, "partition %d has a consumer group %s, which does not own it", p.Partition, g)
		}
	}
}

func (c *checker) owner(p partitionState) {
	switch {
	case !c.alive:
		if p.Open {
			c.idle++
		}
	case p.Owner == "-":
		c.add(NobodyOwns, p.Partition, "nobody owns partition %d", p.Partition)
	case p.Owner != "":
		if _, ok := c.members[p.Owner]; !ok {
			c.add(OwnerNoMember, p.Partition, "partition %d belongs to %s, which is no member", p.Partition, p.Owner)
		}
	}
	// The last worker that leaves hands its partitions to nobody: the plan stays as it was
	// until another one comes.
	if p.Planned != "" && p.Owner != "" && p.Planned != p.Owner {
		c.moving++
	}
}

// pending: every holder is the owner, a member with a permit, or nobody for a moment.
func (c *checker) pending(p partitionState) {
	for _, h := range p.Holders {
		switch {
		case h.Count == 0 || h.Consumer == p.Owner:
		case h.Reclaim:
			if p.Owner != "-" && c.alive {
				c.add(NotTakenOver, p.Partition, "partition %d: %d jobs wait to be taken over by %s", p.Partition, h.Count, p.Owner)
			}
		case h.Drainer != "":
			if _, ok := c.members[h.Drainer]; !ok && c.alive {
				c.add(PendingUnderDead, p.Partition, "partition %d: %d jobs are held by %s, which is no member", p.Partition, h.Count, h.Drainer)
			}
		default:
			c.add(UnknownHolder, p.Partition, "partition %d: %d jobs are pending under %q, which is no worker's name here", p.Partition, h.Count, h.Consumer)
		}
	}
}

// lasting keeps what both looks saw, in the same words: a ring that changes shows states
// that pass, and an unfinished plan says how much of it is left.
func lasting(before, after []Inconsistency) []Inconsistency {
	return slices.DeleteFunc(slices.Clone(after), func(x Inconsistency) bool {
		return !slices.ContainsFunc(before, func(y Inconsistency) bool {
			return x.Check == y.Check && x.Queue == y.Queue && x.Partition == y.Partition && x.What == y.What
		})
	})
}
