package resize

import (
	"fmt"
	"strings"
)

// Type is the kind of a message.
type Type string

const (
	TypeSync      Type = "sync"      // a phase of a resize
	TypeDrained   Type = "drained"   // a former owner finished a job it had a permit for
	TypeUndrained Type = "undrained" // a permit was revoked: the job is to be claimed
	TypeJoin      Type = "join"      // control stream only, like the next three
	TypeLeave     Type = "leave"
	TypeEvict     Type = "evict"
	TypeRequest   Type = "request" // somebody asked for a resize
	TypePoke      Type = "poke"    // wakes a reader; no meaning
)

// Master is the name in messages that the store's scripts write for the dispatcher.
const Master = "Master"

// Message is one entry of a control stream. Which fields mean something depends on
// Type and Phase.
type Message struct {
	Type  Type
	Name  string // Master, or the incarnation it is about
	Phase Phase  // sync: 1, 2 or 3; else 0
	Epoch uint64 // ring epoch, 0 if not given
	Term  uint64

	Mode       Mode   // sync 1, request
	Parts      []int  // sync 1: what the receiver gives up
	Dispatcher string // which dispatcher stands behind Master

	SyncTo    map[int]string // sync 2: partition -> the last id handed out before
	Members   []string       // sync 2
	Part      int            // sync 2, drained, undrained: the partition, -1 if none
	PartEpoch uint64         // its epoch under the receiver
	From      string         // sync 2: the owner before
	Draining  []string       // sync 2: ids that former owners still run
	ID        string         // drained, undrained: the entry; request: the request

	Change uint64 // the receiver's change number after this, 0 if it raised none
}

// String is the message in one short line.
func (m Message) String() string {
	var b strings.Builder
	b.WriteString(string(m.Type))
	if m.Type == TypeSync {
		fmt.Fprintf(&b, " phase=%s epoch=%d", m.Phase, m.Epoch)
	} else if m.Name != "" && m.Name != Master {
		b.WriteString(" " + m.Name)
	}
	if len(m.Parts) > 0 {
		fmt.Fprintf(&b, " parts=%v", m.Parts)
	}
	if m.Mode != ModeKey {
		fmt.Fprintf(&b, " mode=%s", m.Mode)
	}
	if m.Part >= 0 && m.PartEpoch > 0 {
		fmt.Fprintf(&b, " part=%d@%d", m.Part, m.PartEpoch)
	}
	if m.ID != "" {
		b.WriteString(" id=" + m.ID)
	}
	if len(m.Draining) > 0 {
		fmt.Fprintf(&b, " draining=%v", m.Draining)
	}
	if m.Change > 0 {
		fmt.Fprintf(&b, " change=%d", m.Change)
	}
	return b.String()
}
