package resize

import "fmt"

// RingState is what the store tells a worker about its ring in one step: at its join,
// with every heartbeat, and with a snapshot.
type RingState struct {
	Epoch  uint64 // ring epoch
	Phase  Phase
	Mode   Mode
	Change uint64 // the worker's change number: raised by all that concerns it
}

// ParticipantEvent is what can happen to a Participant.
type ParticipantEvent interface{ participantEvent() }

// Joined: the worker is a member, as a new incarnation that owns nothing. It forgets
// everything before. On a failover of the store the driver joins anew.
type Joined struct {
	Incarnation string
	RingState
}

// MessageReceived: a message from the worker's own control stream, in its order.
// Messages that Decode refused are counted by the driver and not handed over.
type MessageReceived struct{ Message Message }

// SnapshotRead answers ReadRecords: the worker's partitions with their epochs, the
// wanted owner of each, and the state of the ring, read in one step.
type SnapshotRead struct {
	Owned map[int]uint64
	Plan  map[int]string // of the partitions in Owned at least
	RingState
}

// ClaimOutcome is how the claim of a page ended.
type ClaimOutcome uint8

const (
	ClaimOK      ClaimOutcome = iota // the page is ours
	ClaimFenced                      // the partition is not ours at that epoch
	ClaimUnknown                     // no answer; the old connection is dead for certain
)

// ClaimAnswered answers ClaimPartition. More: the cursor has not come back to 0-0. Runs: jobs of
// the partition run, as after a new generation of the store.
type ClaimAnswered struct {
	Part    int
	Epoch   uint64
	Outcome ClaimOutcome
	More    bool
	Runs    bool
}

// ReleaseOutcome is how a release ended.
type ReleaseOutcome uint8

const (
	ReleaseFlipped ReleaseOutcome = iota // handed over; what runs holds permits
	ReleaseKept                          // it stays: the plan changed, or its target cannot take it
	ReleaseFenced                        // it was not ours at that epoch
	ReleaseUnknown                       // no answer
)

// ReleaseAnswered answers ReleasePartition.
type ReleaseAnswered struct {
	Part    int
	Epoch   uint64
	Outcome ReleaseOutcome
	Change  uint64 // ReleaseFlipped: the worker's change number after it
}

// PartitionIdle: nothing of the partition's tenure runs. The driver tells it once
// after each CloseGate, at once if so, unless the partition was dropped or reopened.
type PartitionIdle struct {
	Part  int
	Epoch uint64
}

// RunsEnded: nothing of this shard runs in this worker, former tenures included. The driver tells it
// whenever that is so while every gate is closed.
type RunsEnded struct{}

// DrainTimedOut: runs of a partition whose gate is closed took too long; the driver has
// cancelled their contexts. The machine goes on without waiting for them. Part -1 means
// runs of former tenures.
type DrainTimedOut struct {
	Part  int
	Epoch uint64
}

// BeatAnswered: a heartbeat came back.
type BeatAnswered struct{ RingState }

// Evicted: the worker is no member any more (its heartbeat was fenced, or its control
// stream is gone).
type Evicted struct{}

// LeaseExpired: by the worker's own clock nobody need believe in it any more.
type LeaseExpired struct{}

// LeaseRenewed: a heartbeat got through after LeaseExpired.
type LeaseRenewed struct{}

// PartitionFenced: a read or a completion was told that the partition is not ours at
// that epoch.
type PartitionFenced struct {
	Part  int
	Epoch uint64
}

// StopAsked: the worker shuts down gracefully and has been marked as leaving.
type StopAsked struct{}

func (Joined) participantEvent()          {}
func (MessageReceived) participantEvent() {}
func (SnapshotRead) participantEvent()    {}
func (ClaimAnswered) participantEvent()   {}
func (ReleaseAnswered) participantEvent() {}
func (PartitionIdle) participantEvent()   {}
func (RunsEnded) participantEvent()       {}
func (DrainTimedOut) participantEvent()   {}
func (BeatAnswered) participantEvent()    {}
func (Evicted) participantEvent()         {}
func (LeaseExpired) participantEvent()    {}
func (LeaseRenewed) participantEvent()    {}
func (PartitionFenced) participantEvent() {}
func (StopAsked) participantEvent()       {}

// ParticipantAction is what a Participant wants done. Actions on partitions carry the
// epoch they are meant for and are void under another. Claims, releases and reads go
// over the one read connection, in the order of the actions.
type ParticipantAction interface {
	fmt.Stringer
	participantAction()
}

// ClaimPartition claims one page of what is pending, verified by the owner record.
// First starts at the beginning; else the claim goes on at the cursor of the page before.
// After an unknown outcome the driver also re-reads its own pending list on First.
type ClaimPartition struct {
	Part  int
	Epoch uint64
	First bool
}

// OpenGate: claimed jobs of the partition may start now, those of keys that former
// owners still run excepted. It comes after the first claimed page, or later if
// something else holds the gate. Nothing new is read yet. The worker's phase 2 reply,
// with its wait for replicas, belongs before the first start.
type OpenGate struct {
	Part  int
	Epoch uint64
}

// StartReading: everything pending is claimed; new jobs may be read, while the gate is
// open.
type StartReading struct {
	Part  int
	Epoch uint64
}

// CloseGate: start no job of the partition and read nothing more of it. Closing and
// taking the set of running jobs is one step at the driver.
type CloseGate struct {
	Part  int
	Epoch uint64
}

// ReopenGate undoes CloseGate. The driver dispatches at once what is held, and reads
// again if StartReading was given before.
type ReopenGate struct {
	Part  int
	Epoch uint64
}

// ReleasePartition hands the partition over with what runs of it as permits.
type ReleasePartition struct {
	Part  int
	Epoch uint64
}

// DropPartition: forget what is held of the tenure. Cancel: its runs are cancelled too,
// their results would be refused; else they go on under permits.
type DropPartition struct {
	Part   int
	Epoch  uint64
	Cancel bool
}

// Unblock: a former owner finished an entry whose key waits for it. The driver frees
// the key once it has seen that the entry is not pending any more.
type Unblock struct {
	Part  int
	Epoch uint64
	ID    string
}

// Report writes the worker's reply to a phase, until it is answered. Phase 1 is
// reported this way in mode ring only; otherwise the release is the reply.
type Report struct {
	Epoch uint64
	Phase Phase
}

// Rejoin: the worker must join as a new incarnation; everything it had is dropped.
type Rejoin struct{}

func (ReadRecords) participantAction()      {}
func (ClaimPartition) participantAction()   {}
func (OpenGate) participantAction()         {}
func (StartReading) participantAction()     {}
func (CloseGate) participantAction()        {}
func (ReopenGate) participantAction()       {}
func (ReleasePartition) participantAction() {}
func (DropPartition) participantAction()    {}
func (Unblock) participantAction()          {}
func (Report) participantAction()           {}
func (Rejoin) participantAction()           {}

func (a ClaimPartition) String() string {
	if a.First {
		return fmt.Sprintf("claim %d@%d", a.Part, a.Epoch)
	}
	return fmt.Sprintf("claim-next %d@%d", a.Part, a.Epoch)
}
func (a OpenGate) String() string         { return fmt.Sprintf("open %d@%d", a.Part, a.Epoch) }
func (a StartReading) String() string     { return fmt.Sprintf("read %d@%d", a.Part, a.Epoch) }
func (a CloseGate) String() string        { return fmt.Sprintf("close %d@%d", a.Part, a.Epoch) }
func (a ReopenGate) String() string       { return fmt.Sprintf("reopen %d@%d", a.Part, a.Epoch) }
func (a ReleasePartition) String() string { return fmt.Sprintf("release %d@%d", a.Part, a.Epoch) }
func (a DropPartition) String() string {
	if a.Cancel {
		return fmt.Sprintf("drop %d@%d cancel", a.Part, a.Epoch)
	}
	return fmt.Sprintf("drop %d@%d", a.Part, a.Epoch)
}
func (a Unblock) String() string { return fmt.Sprintf("unblock %d@%d %s", a.Part, a.Epoch, a.ID) }
func (a Report) String() string  { return fmt.Sprintf("report epoch=%d phase=%s", a.Epoch, a.Phase) }
func (Rejoin) String() string    { return "rejoin" }
