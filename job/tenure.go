package job

import "errors"

// ErrGroupGone: a consumer group that was read is not there any more. The reader has
// lost a partition, or was evicted as a whole: it reads its records and goes on from them.
var ErrGroupGone = errors.New("consumer group is gone")

// ErrKillRefused: the server does not let this client end its old connection, so a read
// it has given up may still be executed. The worker must go on as a new incarnation.
var ErrKillRefused = errors.New("old connection could not be ended")

// Tenure is the time between two changes of owner of a partition.
type Tenure struct {
	Partition int
	Epoch     uint64
}

// ControlEntry is one entry of a control stream, undecoded.
type ControlEntry struct {
	ID     string
	Fields map[string]string
}

// PartitionEntries are jobs of one partition in id order.
type PartitionEntries struct {
	Partition int
	Entries   []Entry
}

// ReadBatch is what one read of the control stream and some partitions brought.
type ReadBatch struct {
	Control []ControlEntry
	Jobs    []PartitionEntries
	Speed   int // bytes a second at which it came, 0 if it was too little to tell
}

// Claims is the answer to one call that claims a page of each of some tenures: pages and errors are
// parallel to them. Messages, and new jobs of partitions that were asked for, come along: they are to
// be taken in after the pages and before another call.
type Claims struct {
	Pages    []ClaimPage
	Errs     []error
	Along    ReadBatch
	AlongErr error
}

// ClaimPage is one page of what a new owner takes over.
type ClaimPage struct {
	Fenced        bool     // the caller does not own the partition at that epoch; all else is empty
	Cursor        string   // for the next page; "0-0" ends the pass
	Entries       []Entry  // in id order, with their retry records
	Lost          int      // pending entries whose message somebody deleted
	Permits       []Permit // entries former owners may still finish
	Parked        []ParkedKey
	LastDelivered EntryID // of the partition's group
	Generation    uint64  // of the shard, in the step that claimed
}

// ParkedKey is a key with jobs that were set aside, because an earlier one of it holds
// it up, or because it has much to do. They are in id order, after every job of the key that is pending.
type ParkedKey struct {
	Key   string
	First EntryID
}

// Skim asks for new jobs of a tenure that has keys with parked jobs. Those of these keys are parked
// as they are read; of others Room come at most.
type Skim struct {
	Tenure Tenure
	Room   int
	Most   int // are read
}

// SkimPage is what a skim has read: Read jobs in all, those that came, and of each key what was parked.
type SkimPage struct {
	Fenced  bool
	Read    int
	Entries []Entry
	Parked  []ParkedJobs
}

// ParkedJobs are some jobs of a key that were parked together, from First to Last.
type ParkedJobs struct {
	Key         string
	Count       int
	First, Last EntryID
	Bytes       int // of their payloads
	Largest     int // payload
}

// Unpark asks for the first parked jobs of a key, Count at most: fewer come, or none, where
// there would be too many bytes in the answer to all that is asked for.
type Unpark struct {
	Tenure Tenure
	Key    string
	Count  int
}

// UnparkPage is what came back of the parked jobs of one key.
type UnparkPage struct {
	Fenced  bool
	Left    int     // still parked
	First   EntryID // of those
	Taken   int     // parked no more: Entries, and those that somebody has deleted
	Entries []Entry
}

// ReleaseOutcome is the answer to giving up a partition.
type ReleaseOutcome int

const (
	Released      ReleaseOutcome = iota // it has another owner now
	ReleaseKept                         // the plan gives it to the caller, or its target is not up
	ReleaseFenced                       // the caller did not own it at that epoch
	ReleaseFailed                       // the script refused for another reason; nothing changed
)

// ReleaseAnswer tells who gave a partition up what came of it, and its change number after
// that (0: it did not rise). Lost jobs were pending, and somebody had deleted them.
type ReleaseAnswer struct {
	Outcome ReleaseOutcome
	Change  uint64
	Lost    int
}

// Beat is the answer to a heartbeat.
type Beat struct {
	Fenced    bool // no longer a member: join again as a new incarnation
	RingEpoch uint64
	Phase     int
	Mode      string
	Change    uint64 // rises with every change of owner or permit that concerns the worker
}

// ClaimAll is the cursor of a claim's first page where nothing is known of what is pending
// for the claimer itself, which it then takes as well.
const ClaimAll = "*"

// OwnedPartition is one line of a worker's snapshot.
type OwnedPartition struct {
	Partition int
	Epoch     uint64
	Planned   string // incarnation the plan gives it to
}

// Snapshot is what the records say of one worker, at one moment.
type Snapshot struct {
	Beat
	Owned []OwnedPartition
}

// Joined is the answer to joining a shard's ring.
type Joined struct {
	RingEpoch  uint64
	Phase      int
	Mode       string
	Generation uint64
	Partitions int
}

// MemberInfo is what a worker tells of itself when it joins.
type MemberInfo struct {
	Incarnation string `json:"-"`
	State       string `json:"state"` // up | leaving
	Weight      int    `json:"weight"`
	Name        string `json:"name"` // stable over restarts: the slot
	Host        string `json:"host"`
	PID         int    `json:"pid"`
	Slots       int    `json:"slots"`              // jobs it runs at a time
	LeaseMs     int64  `json:"lease_ms,omitempty"` // how long its lease is; 0: not told
	DrainMs     int64  `json:"drain_ms"`           // how long its running jobs may take to end after a move
	AheadMs     int64  `json:"ahead_ms,omitempty"` // of the server's clock, as it joined; 0: no more than can be told
}

// GenerationJump is by a multiple of what a new generation raises the epochs of a ring and of its
// tenures, and what else counts up: by more than a server can have lost (lua/renew.lua).
const GenerationJump = 1000

// Stand is how far a ring is with a member: who leads it, how much the plan gives the member, and
// what of that plan is to be done still.
type Stand struct {
	Leader  string // dispatcher, "" if none leads
	Planned int    // partitions that the plan gives the member; known where Phase and Moves are 0
	Phase   int    // 0: at rest
	Moves   int    // partitions that are not at their planned owner
}
