// Package job holds what every other package needs to speak of a job: its
// content, its id, what a handler is given, and the errors that decide its fate.
// It is a leaf: it imports nothing of this module.
package job

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
)

// Limits of what a queue accepts. They are part of the wire format.
const (
	MaxKeyBytes     = 512
	MaxPayloadBytes = 1 << 20
	MaxPartitions   = 4096
	DefaultParts    = 64
)

// When whoever waits says for what: soon, and then rarely.
const (
	FirstWord = 2 * time.Second
	NextWord  = 30 * time.Second
)

// Defaults of execution.
const (
	DefaultAttempts       = 20
	DefaultCrashes        = 4 // one that says nothing, one among others, two alone
	DefaultBackoffBase    = time.Second
	DefaultBackoffMax     = 10 * time.Minute
	DefaultHandlerTimeout = 30 * time.Second
	DefaultResultBytes    = 1 << 20
	DefaultWeight         = 1
	MaxWeight             = 100 // of a worker: it gets so many shares of a queue's partitions
	IdempotencyTTL        = 24 * time.Hour
	ResultTTL             = 24 * time.Hour
)

// Job is what a producer hands in.
type Job struct {
	Type    string          // handler type; a name, see ValidName
	Key     string          // jobs of one key run in order; empty: no order, any partition
	Payload json.RawMessage // any JSON value, at most MaxPayloadBytes

	// IdempotencyKey makes a repeat of the same submission answer with the first
	// one's id, for IdempotencyTTL. Empty: no memory.
	IdempotencyKey string
}

// ValidName reports whether s may name a queue, a job type or a worker: a letter or digit,
// then up to 63 letters, digits, '_' or '-'. It is asked for every job, twice.
func ValidName(s string) bool {
	if s == "" || len(s) > 64 || s[0] == '_' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// CheckName returns an ErrInvalid that says what a name may be, or nil.
func CheckName(what, s string) error {
	if ValidName(s) {
		return nil
	}
	return Invalid("%s %.80q: want a letter or digit, then up to 63 letters, digits, '_' or '-'", what, s)
}

// Validate returns an ErrInvalid naming the first thing wrong with j, or nil.
func (j Job) Validate() error {
	if j.Type == "" {
		return Invalid("type is required")
	}
	if err := CheckName("type", j.Type); err != nil {
		return err
	}
	if err := CheckKey(j.Key); err != nil {
		return err
	}
	if len(j.Payload) > MaxPayloadBytes {
		return TooLarge("payload is %d bytes: the limit is %d", len(j.Payload), MaxPayloadBytes)
	}
	if len(j.Payload) > 0 && !validJSON(text(j.Payload)) {
		return Invalid("payload is not valid JSON")
	}
	if len(j.IdempotencyKey) > 256 || !utf8.ValidString(j.IdempotencyKey) {
		return Invalid("idempotency key: want at most 256 bytes of UTF-8")
	}
	return nil
}

// CheckKey returns an ErrInvalid if key cannot be a job's key. Empty is valid: unkeyed.
func CheckKey(key string) error {
	if len(key) > MaxKeyBytes {
		return Invalid("key is %d bytes: the limit is %d", len(key), MaxKeyBytes)
	}
	if !utf8.ValidString(key) {
		return Invalid("key is not valid UTF-8")
	}
	return nil
}

// PartitionOf is the partition of a key: XXH64 of its bytes with seed 0, unsigned,
// mod partitions. Producers in other languages compute the same; docs/wire.md has
// test vectors.
func PartitionOf(key string, partitions int) int {
	return int(xxhash.Sum64String(key) % uint64(partitions))
}

// TextPayload applies the one rule for payloads typed by hand: what is valid JSON is
// taken as it is, anything else becomes a JSON string. The second result is false if
// s is neither: not UTF-8.
func TextPayload(s string) (json.RawMessage, bool) {
	if validJSON(s) {
		return json.RawMessage(s), true
	}
	if !utf8.ValidString(s) {
		return nil, false
	}
	text, err := JSON(s)
	return text, err == nil
}

// JSON encodes v as encoding/json does, and leaves <, > and & as they are: what is kept for
// people to read is not made six times as long for a browser that may never see it.
func JSON(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// State is where a job stands.
type State string

// The states that users see.
const (
	Waiting   State = "waiting"
	Running   State = "running"
	Retrying  State = "retrying"
	Completed State = "completed"
	Dead      State = "dead"
	// Unknown: the server was restored or replaced after the id was given, and does not have it, or
	// somebody deleted it from its stream before it had ended.
	Unknown State = "unknown"
)

// Terminal reports whether the state can no longer change by itself.
func (s State) Terminal() bool { return s == Completed || s == Dead }

// Fence is the fencing token of a run. It never falls for a partition: a store that
// remembers the highest it has seen per key and refuses lower ones is safe from a
// worker that lost the partition without noticing. Attempts of one epoch share it.
// (M. Kleppmann, "How to do distributed locking", 2016.)
type Fence uint64

// NewFence is generation*2^32 + epoch.
func NewFence(generation, epoch uint64) Fence { return Fence(generation<<32 + epoch) }

// Delivery is one attempt at one job, as a handler sees it.
type Delivery struct {
	ID        ID
	Queue     string
	Type      string
	Key       string
	Payload   json.RawMessage
	Partition int
	Epoch     uint64 // of the partition under which this attempt began
	Attempt   int    // 1 for the first
	Fence     Fence
}

type deliveryKey struct{}

// DeliveryKey is under what a handler's context has its Delivery.
var DeliveryKey any = deliveryKey{}

// DeliveryOf is the attempt that a handler's context belongs to, until the handler has returned;
// false if it is no handler's.
func DeliveryOf(ctx context.Context) (Delivery, bool) {
	d, ok := ctx.Value(DeliveryKey).(Delivery)
	return d, ok
}

// Status is what is known of one job.
type Status struct {
	ID         string          `json:"id"`
	Queue      string          `json:"queue"`
	Type       string          `json:"type"`
	Key        string          `json:"key"`
	Partition  int             `json:"partition"`
	State      State           `json:"state"`
	Attempts   int             `json:"attempts"`
	Result     json.RawMessage `json:"result"`
	Error      string          `json:"error"`
	EnqueuedAt *time.Time      `json:"enqueued_at"`
	FinishedAt *time.Time      `json:"finished_at"`
	Deleted    bool            `json:"-"`             // of an Unknown job: somebody deleted it
	Why        string          `json:"why,omitempty"` // it stands still: nobody who lives owns its partition, for this reason
}

// Receipt is the answer to an accepted job. IDs of jobs that were handed in together may share
// memory: who keeps few of many for long does well to clone them.
type Receipt struct {
	ID        string `json:"id"`
	Partition int    `json:"partition"`
	Duplicate bool   `json:"duplicate"`
}

// Errors that callers may test for with errors.Is.
var (
	// ErrInvalid: the input is wrong and will be wrong again; the text says what to change.
	ErrInvalid = errors.New("invalid")
	// ErrTooLarge: an ErrInvalid about size.
	ErrTooLarge = fmt.Errorf("too large: %w", ErrInvalid)
	// ErrNotFound: no such queue, job, worker or key.
	ErrNotFound = errors.New("not found")
	// ErrUnknownJob: an ErrNotFound of a job whose id was given by a server that was restored or
	// replaced since. The present one does not have it: whether it has run, nobody knows.
	ErrUnknownJob = fmt.Errorf("unknown job: %w", ErrNotFound)
	// ErrConflict: the thing exists and differs (another partition count, another body
	// under the same idempotency key).
	ErrConflict = errors.New("conflict")
	// ErrUnavailable: the server was not reached or refused for now; nothing was done.
	ErrUnavailable = errors.New("cannot reach the server")
	// ErrNotPermitted: the server's user lacks a right, which the text names.
	ErrNotPermitted = errors.New("the server's user lacks a right")
	// ErrOutcomeUnknown: the request was sent and no answer came. It may have been done,
	// or be done later. Repeat it under the same idempotency key.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrUnconfirmed: an ErrOutcomeUnknown of a request that was done, and that fewer copies
	// than the durability asks for have confirmed in time. A failover may take it back.
	ErrUnconfirmed = fmt.Errorf("not confirmed: %w", ErrOutcomeUnknown)
	// ErrFenced: the caller no longer holds what it writes for; nothing was written.
	ErrFenced = errors.New("fenced")
	// ErrFull: the server is out of memory; nothing was done.
	ErrFull = errors.New("server out of memory")
)

// Waitable reports whether the call that ended so may be repeated until it succeeds: the server was not
// reached, did not answer, or has no room now. Nil is not.
func Waitable(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, ErrFull)
}

// Invalid is an ErrInvalid with a text for the person who typed the input.
func Invalid(format string, args ...any) error {
	return &problem{ErrInvalid, fmt.Sprintf(format, args...)}
}

// TooLarge is an ErrTooLarge with a text.
func TooLarge(format string, args ...any) error {
	return &problem{ErrTooLarge, fmt.Sprintf(format, args...)}
}

// NotFound is an ErrNotFound with a text.
func NotFound(format string, args ...any) error {
	return &problem{ErrNotFound, fmt.Sprintf(format, args...)}
}

// UnknownJob is an ErrUnknownJob with a text.
func UnknownJob(format string, args ...any) error {
	return &problem{ErrUnknownJob, fmt.Sprintf(format, args...)}
}

// Conflict is an ErrConflict with a text.
func Conflict(format string, args ...any) error {
	return &problem{ErrConflict, fmt.Sprintf(format, args...)}
}

type problem struct {
	kind error
	text string
}

func (p *problem) Error() string { return p.text }
func (p *problem) Unwrap() error { return p.kind }

// Reasons a handler's context ends, found with context.Cause.
var (
	// ErrLost: the worker lost its lease or the partition; what the handler returns is
	// thrown away. Stop.
	ErrLost = errors.New("ringmaster: partition or lease lost")
	// ErrMoved: the partition moved away and the drain timeout is near. The job will be
	// handed to the new owner.
	ErrMoved = errors.New("ringmaster: partition moved away")
	// ErrStopping: the worker is shutting down and its drain timeout is near. The job
	// goes back, without counting an attempt.
	ErrStopping = errors.New("ringmaster: worker is stopping")
	// ErrTimeout: the handler timeout ran out; counts as a failed attempt.
	ErrTimeout = errors.New("ringmaster: handler timeout")
)
