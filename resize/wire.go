package resize

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// wireData is the data object of a message.
type wireData struct {
	Epoch      number       `json:"epoch,omitempty"`
	Term       number       `json:"term,omitempty"`
	Dispatcher string       `json:"dispatcher,omitempty"`
	Mode       string       `json:"mode,omitempty"`
	Parts      list[int]    `json:"parts,omitempty"`
	SyncTo     vector       `json:"sync_to,omitempty"`
	Members    list[string] `json:"members,omitempty"`
	Part       *int         `json:"part,omitempty"`
	PartEpoch  number       `json:"part_epoch,omitempty"`
	From       string       `json:"from,omitempty"`
	Draining   list[string] `json:"draining,omitempty"`
	ID         string       `json:"id,omitempty"`
	Change     number       `json:"change,omitempty"`
}

// number is written as a string, because Lua's numbers lose digits. Read are also bare
// digits.
type number uint64

// MarshalJSON writes the number as a JSON string.
func (n number) MarshalJSON() ([]byte, error) {
	return []byte(`"` + strconv.FormatUint(uint64(n), 10) + `"`), nil
}

// UnmarshalJSON reads "12" and 12, and nothing with a sign, point or exponent.
func (n *number) UnmarshalJSON(b []byte) error {
	s := string(b)
	if len(s) >= 2 && s[0] == '"' {
		s = s[1 : len(s)-1]
	}
	v, ok := parseNumber(s)
	if !ok {
		return fmt.Errorf("number %q", clip(s))
	}
	*n = number(v)
	return nil
}

// list reads an array. Lua's encoder writes an empty table as {}.
type list[T any] []T

// UnmarshalJSON reads an array, or the empty object as an empty one.
func (l *list[T]) UnmarshalJSON(b []byte) error {
	*l = nil
	if isEmpty(b, '{', '}') {
		return nil
	}
	var out []T
	if err := json.Unmarshal(b, &out); err != nil {
		return err
	}
	if len(out) > 0 {
		*l = out
	}
	return nil
}

// vector is an object partition -> stream id.
type vector map[int]string

// UnmarshalJSON reads an object, or the empty array as an empty one.
func (v *vector) UnmarshalJSON(b []byte) error {
	*v = nil
	if isEmpty(b, '[', ']') {
		return nil
	}
	var out map[string]string
	if err := json.Unmarshal(b, &out); err != nil {
		return err
	}
	for key, id := range out {
		p, ok := parseNumber(key)
		if !ok || p >= maxPartitions {
			return fmt.Errorf("partition %q", clip(key))
		}
		if *v == nil {
			*v = make(vector, len(out))
		}
		(*v)[int(p)] = id
	}
	return nil
}

func isEmpty(b []byte, open, closing byte) bool {
	b = bytes.TrimSpace(b)
	return len(b) >= 2 && b[0] == open && b[len(b)-1] == closing && len(bytes.TrimSpace(b[1:len(b)-1])) == 0
}
