package dispatch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"ringmaster/job"
)

// maxDepth bounds how deep a payload may nest: handlers in other languages have less
// room than Go.
const maxDepth = 512

// member is one name and value of an object; value is the text as it came.
type member struct {
	name  string
	value json.RawMessage
}

// parseObject reads one JSON object and nothing after it. It is stricter than
// encoding/json: names must be spelled exactly and come once, text must be UTF-8 without
// lone surrogates, nesting is bounded. What is read differently by different parsers is
// refused, instead of being read in one of the ways.
func parseObject(data []byte, known ...string) ([]member, error) {
	if err := checkJSON(data); err != nil {
		return nil, err
	}
	data = bytes.TrimLeft(data, " \t\r\n")
	if data[0] != '{' {
		return nil, job.Invalid("want a JSON object, like {%q: ...}", append(known, "type")[0])
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	var out []member
	if _, err := dec.Token(); err != nil {
		return nil, job.Invalid("not JSON: %v", err)
	}
	for dec.More() {
		tok, err := dec.Token()
		name, ok := tok.(string)
		if err != nil || !ok {
			return nil, job.Invalid("not a JSON object")
		}
		m := member{name: name}
		if err := dec.Decode(&m.value); err != nil {
			return nil, job.Invalid("not JSON: %v", err)
		}
		if !slices.Contains(known, name) {
			return nil, job.Invalid("unknown field %q: want %s", clip(name), strings.Join(known, ", "))
		}
		if slices.ContainsFunc(out, func(o member) bool { return o.name == name }) {
			return nil, job.Invalid("field %q is given twice", name)
		}
		out = append(out, m)
	}
	return out, nil
}

func clip(s string) string {
	if len(s) <= 64 {
		return s
	}
	return strings.ToValidUTF8(s[:64], "") + "..."
}

// checkJSON reports what is wrong with a JSON text, with the place.
func checkJSON(data []byte) error {
	if len(bytes.TrimLeft(data, " \t\r\n")) == 0 {
		return job.Invalid("the body is empty: want a JSON object")
	}
	if !utf8.Valid(data) {
		return job.Invalid("the text is not valid UTF-8")
	}
	if err := checkDepth(data); err != nil {
		return err
	}
	var raw json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		var at *json.SyntaxError
		if errors.As(err, &at) {
			return job.Invalid("not JSON: %v (at byte %d)", err, at.Offset)
		}
		return job.Invalid("not JSON: %v", err)
	}
	return nil
}

// checkDepth walks over the text once, before anything else parses it: it counts nesting
// and looks for escaped surrogates without their other half. What is no JSON at all it
// leaves to the parser.
func checkDepth(data []byte) error {
	depth, text := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case text && c == '"':
			text = false
		case text && c == '\\':
			n, ok := escape(data[i:])
			if !ok {
				return job.Invalid("a surrogate stands alone at byte %d: it is no character", i+1)
			}
			i += n - 1
		case text:
		case c == '"':
			text = true
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return job.Invalid("the JSON nests deeper than %d", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// escape is the length of the escape that s begins with; false for half a surrogate pair.
func escape(s []byte) (int, bool) {
	first, ok := hex4(s)
	if !ok {
		return 2, true
	}
	switch {
	case first >= 0xDC00 && first <= 0xDFFF:
		return 0, false
	case first >= 0xD800 && first <= 0xDBFF:
		second, ok := hex4(s[6:])
		return 12, ok && second >= 0xDC00 && second <= 0xDFFF
	}
	return 6, true
}

// hex4 reads \uXXXX.
func hex4(s []byte) (uint64, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(s[2:6]), 16, 16)
	return n, err == nil
}

// asText reads a member that must be a string.
func (m member) asText() (string, error) {
	var s string
	if m.value[0] != '"' {
		return "", job.Invalid("field %q: want a string, got %s", m.name, clip(string(m.value)))
	}
	if err := json.Unmarshal(m.value, &s); err != nil {
		return "", job.Invalid("field %q: %v", m.name, err)
	}
	return s, nil
}

// readAll reads a body to its end.
func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, readError(err)
	}
	return data, nil
}
