package resize

import (
	"fmt"
	"slices"
	"strings"
)

// Owner is the recorded owner of a partition: "-" and 0 at creation.
type Owner struct {
	Incarnation string
	Epoch       uint64
}

// MemberRecord is one line of the members record.
type MemberRecord struct {
	Incarnation string
	Slot        string // stable name; empty: what stands before the last dot of Incarnation
	Weight      int
	Leaving     bool  // false: up
	Drain       int64 // how long its running jobs may take to end, where it is longer than Config.DrainTimeout
}

// Permit is a pending entry that a former owner still runs.
type Permit struct {
	Partition   int
	ID          string
	Incarnation string // who runs it
	Epoch       uint64 // of the tenure it was started under
}

// Request is a resize that someone asked for. The zero Request is none.
type Request struct {
	ID   string
	Mode Mode
}

// Records is what the leader read from the store, for all shards together. Slices are
// by partition. It is not modified; it must not be modified after it was handed over.
type Records struct {
	Generation uint64  // raised at each failover of the store; a change restarts all timers
	Term       uint64  // highest term the records have seen
	Epoch      uint64  // ring epoch of the first shard, which plans are compared with
	Request    Request // asked for and not answered yet
	Shards     []Shard // at least one; partition p is in shard p mod their number
	Members    []MemberRecord
	Owners     []Owner
	Plan       []string // wanted owner of each partition, "-" for none
	Permits    []Permit
}

// Shard is what stands in each shard of its own. A plan gives all the same epoch and mode, one
// after the other.
type Shard struct {
	Epoch   uint64 // ring epoch
	Phase   Phase
	Mode    Mode             // of the plan of Epoch
	Replies map[string]Phase // mode ring: highest phase each incarnation replied to for Epoch
}

// barrier is the phase all members must reply to, or Stable if none.
func (sh *Shard) barrier() Phase {
	if sh.Mode != ModeRing {
		return Stable
	}
	return sh.Phase
}

// unfinished reports whether a plan is being carried out in any shard.
func (r *Records) unfinished() bool {
	return slices.ContainsFunc(r.Shards, func(sh Shard) bool { return sh.Phase != Stable })
}

// of is the shard of a partition.
func (r *Records) of(part int) *Shard { return &r.Shards[part%len(r.Shards)] }

// moving counts the partitions of a shard that are not at their planned owner.
func (r *Records) moving(shard int) int {
	n := 0
	for p := shard; p < len(r.Owners); p += len(r.Shards) {
		if r.Owners[p].Incarnation != r.Plan[p] {
			n++
		}
	}
	return n
}

// CoordinatorEvent is what can happen to a Coordinator.
type CoordinatorEvent interface{ coordinatorEvent() }

// LeaseWon: this dispatcher leads the ring under Term.
type LeaseWon struct {
	Now  int64
	Term uint64
}

// LeaseLost: another leads, or the lease could not be renewed in time.
type LeaseLost struct{}

// RecordsRead answers ReadRecords. The records of a shard are of one ring epoch; where they
// were read page by page, each owner and member is of its own moment.
type RecordsRead struct {
	Now     int64
	Records Records
}

// RecordsChanged: a line on the control stream, or anything else, hints that the
// records are not what was last read.
type RecordsChanged struct{ Now int64 }

// WorkerDied is the verdict of the failure detector.
type WorkerDied struct {
	Now         int64
	Incarnation string
	Evidence    Evidence
	Beat        string // connection: its last heartbeat when it was lost
}

// Ticked: time has passed. Expected every 25 to 100 ms.
type Ticked struct{ Now int64 }

// Refusal is why the store refused an action.
type Refusal uint8

const (
	Conflict Refusal = iota // what the action compared has changed
	Stale                   // the records have seen a higher term
)

// Refused: an action of this coordinator was not done. The driver should drop the
// rest of the batch the action was in; the machine decides anew on what it reads next.
type Refused struct {
	Now  int64
	Kind Refusal
}

func (LeaseWon) coordinatorEvent()       {}
func (LeaseLost) coordinatorEvent()      {}
func (RecordsRead) coordinatorEvent()    {}
func (RecordsChanged) coordinatorEvent() {}
func (WorkerDied) coordinatorEvent()     {}
func (Ticked) coordinatorEvent()         {}
func (Refused) coordinatorEvent()        {}

// CoordinatorAction is what a Coordinator wants done. Every action may be done twice:
// the store compares the numbers in it.
type CoordinatorAction interface {
	fmt.Stringer
	coordinatorAction()
}

// ReadRecords asks for the records: answered by RecordsRead at a Coordinator, by
// SnapshotRead at a Participant. It stands last in a batch, so that it sees what the
// batch did. The driver repeats it until it succeeds.
type ReadRecords struct{}

// EvictWorker removes an incarnation from the ring, if the evidence still holds.
// Beat goes with EvidenceConnection, Partition and Epoch with EvidenceDeaf (the partition's epoch). With EvidenceSilent
// Partition is -1, Shard the one without a reply, Epoch its ring epoch and Phase the phase
// that it waits in.
type EvictWorker struct {
	Incarnation string
	Evidence    Evidence
	Partition   int // -1 where it means nothing
	Shard       int
	Epoch       uint64
	Phase       Phase
	Beat        string
}

// WritePlan makes Targets the plan of ring epoch BaseEpoch+1, if the ring epoch is
// still BaseEpoch, and answers the request with that id, if there is one.
type WritePlan struct {
	BaseEpoch uint64
	Targets   []string // by partition, "-" where nobody is wanted
	Mode      Mode
	Request   string // id of the request it answers, or empty
}

// StealPartition flips a partition whose owner is no member (or "-").
type StealPartition struct {
	Partition int
	From      string
	Epoch     uint64 // of the partition, under From
	To        string // must be the partition's plan
}

// RevokePermit takes a pending entry from a former owner and gives it to the present.
type RevokePermit struct {
	Partition   int
	ID          string
	Incarnation string
	Epoch       uint64
}

// AdvanceBarrier moves each shard of a ring in mode ring to its next phase, if every member
// has replied to the present one there and, in phase 1, nothing is left to move.
type AdvanceBarrier struct{ Epoch uint64 }

// StepDown: give up the lease; a higher term exists.
type StepDown struct{}

func (ReadRecords) coordinatorAction()    {}
func (EvictWorker) coordinatorAction()    {}
func (WritePlan) coordinatorAction()      {}
func (StealPartition) coordinatorAction() {}
func (RevokePermit) coordinatorAction()   {}
func (AdvanceBarrier) coordinatorAction() {}
func (StepDown) coordinatorAction()       {}

func (ReadRecords) String() string { return "read-records" }

func (a EvictWorker) String() string {
	switch a.Evidence {
	case EvidenceDeaf:
		return fmt.Sprintf("evict %s deaf part=%d@%d", a.Incarnation, a.Partition, a.Epoch)
	case EvidenceSilent:
		return fmt.Sprintf("evict %s silent epoch=%d phase=%s", a.Incarnation, a.Epoch, a.Phase) + ofShard(a.Shard)
	case EvidenceTTL, EvidenceConnection:
	}
	return fmt.Sprintf("evict %s %s", a.Incarnation, a.Evidence)
}

// ofShard names a shard that is not the first.
func ofShard(shard int) string {
	if shard == 0 {
		return ""
	}
	return fmt.Sprintf(" shard=%d", shard)
}

func (a WritePlan) String() string {
	s := fmt.Sprintf("plan after=%d mode=%s (%s)", a.BaseEpoch, a.Mode, strings.Join(a.Targets, " "))
	if a.Request != "" {
		s += " request=" + a.Request
	}
	return s
}

func (a StealPartition) String() string {
	return fmt.Sprintf("steal %d@%d %s -> %s", a.Partition, a.Epoch, a.From, a.To)
}

func (a RevokePermit) String() string {
	return fmt.Sprintf("revoke %d %s from %s@%d", a.Partition, a.ID, a.Incarnation, a.Epoch)
}

func (a AdvanceBarrier) String() string { return fmt.Sprintf("advance epoch=%d", a.Epoch) }
func (StepDown) String() string         { return "step-down" }
