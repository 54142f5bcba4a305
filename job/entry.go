package job

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Entry is a job as it stands in its partition's stream.
type Entry struct {
	ID      EntryID
	Type    string
	Key     string
	Payload json.RawMessage // never nil for a decoded entry; "null" when there was none

	// Retry is the job's retry record as stored (see RetryRecord), empty if it has none.
	Retry string
	// Broken is nil unless the entry cannot be run; then it goes whole to the dead letters.
	Broken *Broken
}

// Same reports whether two entries are one job with one past, both of which can be run.
func (e *Entry) Same(other *Entry) bool {
	return e.ID == other.ID && e.Type == other.Type && e.Key == other.Key && samePast(e.Retry, other.Retry) &&
		bytes.Equal(e.Payload, other.Payload) && e.Broken == nil && other.Broken == nil
}

// Broken is an entry that cannot be run.
type Broken struct {
	Why    string
	Fields []string // as they were
}

// DecodeEntry reads the fields of a stream entry: name, value, name, value... It never
// fails: what cannot be decoded comes back with Broken set. Fields come in any order;
// type is required; unknown fields are ignored; a repeated field, a key that does not
// belong to the partition or is not valid, and a payload that is not text break it.
func DecodeEntry(id EntryID, fields []string, partition, partitions int) Entry {
	e := Entry{ID: id}
	if why := e.decode(fields, partition, partitions); why != "" {
		if !ValidName(e.Type) {
			e.Type = "" // it is among the fields
		}
		return Entry{ID: id, Broken: &Broken{why, fields}, Type: e.Type}
	}
	return e
}

func (e *Entry) decode(fields []string, partition, partitions int) string {
	if len(fields)%2 != 0 {
		return "odd number of fields"
	}
	var seen uint8
	var payload string
	for i := 0; i < len(fields); i += 2 {
		var bit uint8
		switch fields[i] {
		case "type":
			bit, e.Type = 1, fields[i+1]
		case "key":
			bit, e.Key = 2, fields[i+1]
		case "payload":
			bit, payload = 4, fields[i+1]
		case "meta":
			bit = 8
		default:
			continue
		}
		if seen&bit != 0 {
			return fmt.Sprintf("field %q is repeated", fields[i])
		}
		seen |= bit
	}
	if e.Type == "" {
		return "field \"type\" is missing"
	}
	if err := CheckName("type", e.Type); err != nil {
		return err.Error()
	}
	if err := CheckKey(e.Key); err != nil {
		return err.Error()
	}
	if e.Key != "" {
		if want := PartitionOf(e.Key, partitions); want != partition {
			return fmt.Sprintf("key belongs to partition %d, not %d", want, partition)
		}
	}
	if len(payload) > MaxPayloadBytes {
		return fmt.Sprintf("payload is %d bytes: the limit is %d", len(payload), MaxPayloadBytes)
	}
	if payload == "" {
		e.Payload = json.RawMessage("null")
		return ""
	}
	var ok bool
	if e.Payload, ok = TextPayload(payload); !ok {
		return "payload is neither JSON nor UTF-8 text"
	}
	return ""
}

// Outcome is what a run did to its job.
type Outcome byte

// Outcomes. They are part of the completion script's protocol.
const (
	Done     Outcome = 'C' // completed, perhaps with a result
	Failed   Outcome = 'F' // attempt failed; the retry record says what next
	Buried   Outcome = 'X' // to the dead letters
	HandBack Outcome = 'B' // not finished and not counted: whoever owns the partition runs it again
	Parked   Outcome = 'P' // never started: set aside behind a key that is blocked, or has much to do
)

// Completion is the end of one run, as the completion script takes it. It is identified
// by the tenure it ran under (partition, epoch) and its entry: a worker that lost the
// partition in between is refused.
type Completion struct {
	Partition int
	Epoch     uint64
	ID        EntryID
	Outcome   Outcome
	Attempt   int
	Key       string
	Type      string
	Data      string // Done: result JSON or ""; Failed: retry record; Buried: dead letter JSON
	HasRetry  bool   // the job has a retry record, which ends with it
}

// Plain reports a completion that leaves nothing but its ack.
func (c *Completion) Plain() bool { return c.Outcome == Done && c.Data == "" && !c.HasRetry }

// Answer is the completion script's verdict on one Completion.
type Answer byte

const (
	// ByOwner: applied, and the caller owns the partition at that epoch.
	ByOwner Answer = 'O'
	// ByDrainer: applied under the caller's permit; the partition has another owner now.
	ByDrainer Answer = 'D'
	// NotPending: nothing written; the caller owns the partition, and the job is pending
	// for nobody. Perhaps an earlier call of the same completion was applied
	// and its answer lost.
	NotPending Answer = 'U'
	// Gone: as NotPending, but the caller does not own the partition (any more).
	Gone Answer = 'G'
	// Refused: nothing written; the job is pending for another (ErrFenced).
	Refused Answer = 'F'
)

// PartitionAcks are the completions of one partition and epoch in one flush.
type PartitionAcks struct {
	Partition int
	Epoch     uint64
	// Pinned asks to delete each acked entry, because an old pending one, or jobs that are set
	// aside, keep the low-water mark down.
	Pinned bool
	// Untrimmed leaves the trimming of the stream to a later call.
	Untrimmed   bool
	Completions []Completion
}

// DeadLetter is a job that will not run again by itself.
type DeadLetter struct {
	ID        string          `json:"id"`
	Partition int             `json:"partition"`
	Type      string          `json:"type"`
	Key       string          `json:"key"`
	Payload   json.RawMessage `json:"payload,omitempty"`
	Raw       []string        `json:"raw,omitempty"` // fields of an entry that could not be decoded
	Attempts  int             `json:"attempts"`
	Crashes   int             `json:"crashes,omitempty"`
	Error     string          `json:"error"`
	DiedAt    string          `json:"died_at"` // RFC 3339
}

// Permit names an entry that a former owner may still finish.
type Permit struct {
	ID     EntryID
	Holder string // "<incarnation>@<epoch>"
	Key    string
}

// ResultRecord is what is kept of a completed job for ResultTTL, if it has a result or
// needed more than one attempt.
type ResultRecord struct {
	Type       string          `json:"type"`
	Key        string          `json:"key"`
	Attempts   int             `json:"attempts"`
	Result     json.RawMessage `json:"result"`
	FinishedAt time.Time       `json:"finished_at"`
}
