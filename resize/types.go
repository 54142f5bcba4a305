package resize

import "fmt"

// Phase is where a resize stands. The record of a ring is Stable, Stopping or Syncing;
// Resuming exists only as a message and as its reply.
type Phase uint8

const (
	Stable   Phase = 0 // no resize is under way
	Stopping Phase = 1 // losers close their gates and hand over
	Syncing  Phase = 2 // gainers bring themselves to the cut
	Resuming Phase = 3 // everything is where it belongs; back to Stable
)

// String is the phase's number.
func (p Phase) String() string { return fmt.Sprintf("%d", uint8(p)) }

// Mode is what waits during a resize.
type Mode uint8

const (
	ModeKey       Mode = iota // only keys with a running job wait
	ModePartition             // a moving partition waits until nothing of it runs
	ModeRing                  // everything waits until nothing runs anywhere
)

var modeNames = [...]string{ModeKey: "key", ModePartition: "partition", ModeRing: "ring"}

// String is the mode's name on the wire.
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// ParseMode reads what String wrote. Empty is ModeKey.
func ParseMode(s string) (Mode, error) {
	for m, name := range modeNames {
		if s == name {
			return Mode(m), nil
		}
	}
	if s == "" {
		return ModeKey, nil
	}
	return ModeKey, fmt.Errorf("mode %q: want key, partition or ring", clip(s))
}

// Evidence is why a worker is held to be dead. The store checks it again in the step
// that evicts, because the worker may have come back meanwhile.
type Evidence string

const (
	EvidenceTTL        Evidence = "ttl"        // its liveness key expired
	EvidenceConnection Evidence = "connection" // its liveness channel has no subscriber, and it has not beaten since
	EvidenceDeaf       Evidence = "deaf"       // it did not release a partition in time, and still owns it at that epoch
	EvidenceSilent     Evidence = "silent"     // it has not replied to a phase of the ring barrier in time
)

// State is where a participant stands with a partition.
type State uint8

const (
	None     State = iota // not ours
	Claiming              // ours; what is pending is being claimed, page by page
	Open                  // ours and claimed
	Closing               // ours, on the way out: gate closed, waiting to be released
)

var stateNames = [...]string{None: "none", Claiming: "claiming", Open: "open", Closing: "closing"}

// String is the state's name in lower case.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// transitions is the table of legal moves of one partition at one participant.
var transitions = [...][4]bool{
	None:     {Claiming: true},
	Claiming: {None: true, Open: true, Closing: true},
	Open:     {None: true, Closing: true},
	Closing:  {None: true, Open: true, Claiming: true},
}

// TransitionError tells of a move that the table of transitions forbids: an error in
// this package, never in its input.
type TransitionError struct {
	Part     int
	From, To State
}

// Error names both states.
func (e *TransitionError) Error() string {
	return fmt.Sprintf("partition %d may not go from %s to %s", e.Part, e.From, e.To)
}

// checkTransition is nil if the table allows from -> to.
func checkTransition(part int, from, to State) error {
	if int(from) < len(transitions) && int(to) < len(transitions) && transitions[from][to] {
		return nil
	}
	return &TransitionError{Part: part, From: from, To: to}
}

// clip shortens text from outside before it enters an error.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}
