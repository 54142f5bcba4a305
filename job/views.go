package job

import (
	"encoding/json"
	"time"
)

// RingView is a queue's ring as people see it: who owns what, and what is on its way.
type RingView struct {
	Queue      string          `json:"queue"`
	Epoch      uint64          `json:"epoch"`
	Phase      int             `json:"phase"`  // 0: at rest
	Mode       string          `json:"mode"`   // of the last plan: key, partition or ring
	Leader     string          `json:"leader"` // dispatcher that leads, "" if none does
	Members    []RingMember    `json:"members"`
	Partitions []PartitionView `json:"partitions"`
}

// RingMember is one worker of a ring.
type RingMember struct {
	Name        string `json:"name"`
	Incarnation string `json:"incarnation"`
	State       string `json:"state"` // up, leaving, silent when its lease is over, or unknown for an unreadable record
	Weight      int    `json:"weight"`
}

// PartitionView is one partition of a ring.
type PartitionView struct {
	Partition int    `json:"partition"`
	Owner     string `json:"owner"` // incarnation of a member, "-" if nobody owns it
	Epoch     uint64 `json:"epoch"`
	Pending   int    `json:"pending"`  // jobs handed out and not ended, those of drainers included
	Draining  int    `json:"draining"` // of these, jobs that former owners still finish
}

// QueueView is a queue with its counts. The counts are read partition by partition, not
// at one moment.
type QueueView struct {
	Queue      string    `json:"queue"`
	Partitions int       `json:"partitions"`
	Shards     int       `json:"shards"`
	Journal    bool      `json:"journal"`
	Created    time.Time `json:"created"`
	Epoch      uint64    `json:"epoch"`
	Phase      int       `json:"phase"`
	Mode       string    `json:"mode"`
	Leader     string    `json:"leader"`
	Members    int       `json:"members"`  // workers that live
	Owned      int       `json:"owned"`    // partitions whose owner is a worker that lives
	Waiting    int       `json:"waiting"`  // not handed out yet; see QueueView of package streams for its precision
	Pending    int       `json:"pending"`  // handed out, not ended; those that wait for a retry included
	Draining   int       `json:"draining"` // of the pending, those that former owners still finish
	Parked     int       `json:"parked"`   // set aside, of keys that are blocked or have much to do
	Dead       int       `json:"dead"`
	Error      string    `json:"error,omitempty"` // why there are no counts: keys that somebody damaged
}

// TimeLayout is RFC 3339 in milliseconds, as ids of jobs count: in seconds alone a job of this
// second would end before it began.
const TimeLayout = "2006-01-02T15:04:05.000Z07:00"

// WorkerView is one worker's membership in one queue.
type WorkerView struct {
	Name         string  `json:"name"`
	Incarnation  string  `json:"incarnation"`
	Queue        string  `json:"queue"`
	State        string  `json:"state"` // up, leaving, silent when its lease is over, or unknown for an unreadable record
	Host         string  `json:"host"`
	PID          int     `json:"pid"`
	Slots        int     `json:"slots"` // jobs it runs at a time
	Weight       int     `json:"weight"`
	Partitions   int     `json:"partitions"`          // it owns
	LeaseSeconds float64 `json:"lease_seconds"`       // left of its lease; 0 when it has run out
	ClockAhead   float64 `json:"clock_ahead_seconds"` // of the server's, as it joined; less than 0: behind; 0: within a second
}

// KeyView says where a key stands.
type KeyView struct {
	Queue     string   `json:"queue"`
	Key       string   `json:"key"`
	Partition int      `json:"partition"`
	Owner     string   `json:"owner"` // incarnation, "-" if nobody owns the partition
	Epoch     uint64   `json:"epoch"`
	Head      *KeyHead `json:"head"`    // nil: no open job
	Waiting   int      `json:"waiting"` // open jobs behind the head
	More      bool     `json:"more"`    // the search stopped early: there may be more than Waiting
	Why       string   `json:"why"`     // what the head waits for, in words
}

// KeyHead is the first job of a key that has not ended.
type KeyHead struct {
	ID         string     `json:"id"`
	Type       string     `json:"type"`
	State      State      `json:"state"`
	Attempts   int        `json:"attempts"`
	Error      string     `json:"error,omitempty"`      // of the last failed attempt
	NotBefore  *time.Time `json:"not_before,omitempty"` // of the next attempt
	Holder     string     `json:"holder,omitempty"`     // incarnation that holds it
	EnqueuedAt time.Time  `json:"enqueued_at"`
}

// HistoryEntry is one message of the resize protocol.
type HistoryEntry struct {
	ID    string          `json:"id"`
	Time  time.Time       `json:"time"`
	Epoch uint64          `json:"epoch"`
	Term  uint64          `json:"term"`
	Type  string          `json:"type"`
	Name  string          `json:"name"`
	Phase int             `json:"phase"`
	Data  json.RawMessage `json:"data"` // a JSON string if what was written is not JSON
}

// Result is what is kept of a job that has ended, for ResultTTL. Workers write it when
// there is something to keep (a result, or more than one attempt); a dead letter that is
// taken away leaves one too.
type Result struct {
	Type       string          `json:"type"`
	Key        string          `json:"key"`
	Attempts   int             `json:"attempts"`
	Result     json.RawMessage `json:"result"`
	FinishedAt string          `json:"finished_at"` // RFC 3339
	RequeuedAs string          `json:"requeued_as,omitempty"`
	Removed    bool            `json:"removed,omitempty"` // from the dead letters, for good
	Error      string          `json:"error,omitempty"`
}
