package resize

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// What Decode refuses is one of these two. Callers count it and go on: a message is a
// hint, and the records say the rest.
var (
	// ErrUnknownType: a type this version does not know, perhaps of a later one.
	ErrUnknownType = errors.New("unknown message type")
	// ErrMalformed: a known type whose content cannot be what a script wrote.
	ErrMalformed = errors.New("malformed message")
)

// Bounds of what a message may carry. They are far above what scripts write and far
// below what would hurt.
const (
	maxData       = 2 << 20
	maxPartitions = 4096
	maxMembers    = 16384
	maxDraining   = 4096
	maxName       = 256
)

// Decode reads the fields of a control stream entry. It refuses everything that a
// script of this protocol could not have written, and nothing for being incomplete in
// fields that only observers use. Unknown fields are ignored.
func Decode(fields map[string]string) (Message, error) {
	m := Message{Type: Type(fields["type"]), Name: fields["name"], Part: -1}
	if !m.Type.known() {
		return Message{}, fmt.Errorf("%w %q", ErrUnknownType, clip(fields["type"]))
	}
	if len(m.Name) > maxName {
		return Message{}, malformed("name", m.Name)
	}
	for _, n := range []struct {
		field string
		into  *uint64
	}{{"epoch", &m.Epoch}, {"term", &m.Term}} {
		s := fields[n.field]
		if s == "" {
			continue
		}
		var ok bool
		if *n.into, ok = parseNumber(s); !ok {
			return Message{}, malformed(n.field, s)
		}
	}
	if s := fields["phase"]; s != "" && s != "0" {
		if m.Type != TypeSync || len(s) != 1 || s[0] < '1' || s[0] > '3' {
			return Message{}, malformed("phase", s)
		}
		m.Phase = Phase(s[0] - '0')
	}
	var data wireData
	if s := fields["data"]; s != "" {
		if len(s) > maxData {
			return Message{}, malformed("data", s)
		}
		if err := json.Unmarshal([]byte(s), &data); err != nil {
			return Message{}, fmt.Errorf("%w: data: %w", ErrMalformed, err)
		}
	}
	if err := m.fill(&data); err != nil {
		return Message{}, err
	}
	return m, m.check()
}

// Fields is the entry that Decode reads back as m.
func (m Message) Fields() map[string]string {
	data := wireData{
		Epoch: number(m.Epoch), Term: number(m.Term), Dispatcher: m.Dispatcher,
		Parts: m.Parts, SyncTo: m.SyncTo, Members: m.Members, PartEpoch: number(m.PartEpoch),
		From: m.From, Draining: m.Draining, ID: m.ID, Change: number(m.Change),
	}
	if m.Part >= 0 {
		data.Part = &m.Part
	}
	if m.hasMode() {
		data.Mode = m.Mode.String()
	}
	raw, err := json.Marshal(data)
	if err != nil {
		raw = []byte("{}") // not reached: the struct holds nothing that cannot be encoded
	}
	return map[string]string{
		"type": string(m.Type), "name": m.Name, "phase": m.Phase.String(),
		"epoch": strconv.FormatUint(m.Epoch, 10), "term": strconv.FormatUint(m.Term, 10),
		"data": string(raw),
	}
}

// hasMode reports whether a mode means something in m; elsewhere it is ignored.
func (m *Message) hasMode() bool {
	return m.Type == TypeRequest || m.Type == TypeSync && m.Phase == Stopping
}

func (t Type) known() bool {
	switch t {
	case TypeSync, TypeDrained, TypeUndrained, TypeJoin, TypeLeave, TypeEvict, TypeRequest, TypePoke:
		return true
	}
	return false
}

// fill copies what the data object says, and compares what is said twice.
func (m *Message) fill(d *wireData) error {
	if d.Epoch != 0 && uint64(d.Epoch) != m.Epoch {
		if m.Epoch != 0 {
			return malformed("epoch", strconv.FormatUint(uint64(d.Epoch), 10))
		}
		m.Epoch = uint64(d.Epoch)
	}
	if m.Term == 0 {
		m.Term = uint64(d.Term)
	}
	mode, err := ParseMode(d.Mode)
	if err != nil {
		return malformed("mode", d.Mode)
	}
	if m.hasMode() {
		m.Mode = mode
	}
	m.Parts, m.SyncTo, m.Members, m.Draining = d.Parts, d.SyncTo, d.Members, d.Draining
	m.PartEpoch, m.Change = uint64(d.PartEpoch), uint64(d.Change)
	m.From, m.Dispatcher, m.ID = d.From, d.Dispatcher, d.ID
	if d.Part != nil {
		m.Part = *d.Part
		if !validPart(m.Part) {
			return malformed("part", strconv.Itoa(m.Part))
		}
	}
	return nil
}

// check holds m against what its type needs, and against the bounds.
func (m *Message) check() error {
	switch {
	case len(m.Parts) > maxPartitions || len(m.SyncTo) > maxPartitions:
		return malformed("parts", "too many")
	case len(m.Members) > maxMembers:
		return malformed("members", "too many")
	case len(m.Draining) > maxDraining:
		return malformed("draining", "too many")
	}
	for _, p := range m.Parts {
		if !validPart(p) {
			return malformed("parts", strconv.Itoa(p))
		}
	}
	for p, id := range m.SyncTo {
		if !validPart(p) || !validEntryID(id) {
			return malformed("sync_to", id)
		}
	}
	for _, id := range m.Draining {
		if !validEntryID(id) {
			return malformed("draining", id)
		}
	}
	switch m.Type {
	case TypeSync:
		return m.checkSync()
	case TypeDrained, TypeUndrained:
		if m.Part < 0 || m.PartEpoch == 0 || !validEntryID(m.ID) {
			return malformed("part, part_epoch or id of", string(m.Type))
		}
	case TypeJoin, TypeLeave, TypeEvict:
		if m.Name == "" {
			return malformed("name of", string(m.Type))
		}
	case TypeRequest, TypePoke:
	}
	return nil
}

func (m *Message) checkSync() error {
	switch {
	case m.Name != Master:
		return malformed("name", m.Name)
	case m.Phase == Stable:
		return malformed("phase", "none")
	case m.Epoch == 0:
		return malformed("epoch", "none")
	case m.Phase == Syncing && (m.Part >= 0) != (m.PartEpoch > 0):
		return malformed("part_epoch", strconv.FormatUint(m.PartEpoch, 10))
	}
	return nil
}

func malformed(field, value string) error {
	return fmt.Errorf("%w: %s %q", ErrMalformed, field, clip(value))
}

func validPart(p int) bool { return p >= 0 && p < maxPartitions }

// parseNumber reads an unsigned decimal without sign or leading zeros.
func parseNumber(s string) (uint64, bool) {
	if s == "" || len(s) > 20 || len(s) > 1 && s[0] == '0' || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

func validEntryID(s string) bool {
	for i := range len(s) {
		if s[i] == '-' {
			_, ok1 := parseNumber(s[:i])
			_, ok2 := parseNumber(s[i+1:])
			return ok1 && ok2
		}
	}
	return false
}
