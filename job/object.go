package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxDepth bounds how deep JSON that is handed in may nest: handlers in other languages have less
// room than Go.
const MaxDepth = 512

// DecodeObject reads one JSON object, and nothing after it, into the struct that into points to. Its
// fields, each with a json tag, are strings, []string, json.RawMessage for any value, or *string: nil
// if it is not there. Null is as if it were not there, but not for an *string with omitempty.
//
// It is stricter than encoding/json: names must be known, be spelled exactly and come once, text must
// be UTF-8 without lone surrogates, nesting is bounded. What different parsers read differently is
// refused, instead of being read in one of the ways. Errors are ErrInvalid, and say what is wanted.
func DecodeObject(data []byte, into any) error {
	fields := reflect.ValueOf(into).Elem()
	known := jsonNames(fields.Type())
	if err := checkJSON(data, known); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil {
		return Invalid("not JSON: %v", err)
	}
	var seen []string
	for dec.More() {
		token, err := dec.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return Invalid("not a JSON object")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return Invalid("not JSON: %v", err)
		}
		i := slices.Index(known, name)
		switch {
		case i < 0 && len(known) == 0:
			return Invalid("unknown field %q: want no fields, {} or nothing at all", clip(name))
		case i < 0:
			return Invalid("unknown field %q: want %s", clip(name), strings.Join(known, ", "))
		case slices.Contains(seen, name):
			return Invalid("field %q is given twice: want it once", name)
		}
		seen = append(seen, name)
		optional := strings.HasSuffix(fields.Type().Field(i).Tag.Get("json"), ",omitempty")
		if string(value) == "null" && fields.Field(i).Kind() == reflect.Pointer && !optional {
			continue
		}
		if err := assign(fields.Field(i).Addr().Interface(), name, value); err != nil {
			return err
		}
	}
	return nil
}

// jsonNames are those of a struct's fields in JSON.
func jsonNames(t reflect.Type) []string {
	out := make([]string, t.NumField())
	for i := range out {
		out[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return out
}

// assign puts one value into its field.
func assign(field any, name string, value json.RawMessage) error {
	var err error
	switch f := field.(type) {
	case *json.RawMessage:
		*f = value
	case *string:
		*f, err = asText(name, value)
	case **string:
		var s string
		s, err = asText(name, value)
		*f = &s
	case *[]string:
		*f, err = asTexts(name, value)
	default:
		err = fmt.Errorf("field %q: no JSON is read into a %T", name, field)
	}
	return err
}

func asText(name string, value json.RawMessage) (string, error) {
	var s string
	switch {
	case string(value) == "null":
		return "", Invalid("field %q: want a string, got null", name)
	case value[0] != '"':
		return "", Invalid("field %q: want a string, in quotes, got %s", name, clip(string(value)))
	}
	if err := json.Unmarshal(value, &s); err != nil {
		return "", Invalid("field %q: %v", name, err)
	}
	return s, nil
}

func asTexts(name string, value json.RawMessage) ([]string, error) {
	var members []*string
	if json.Unmarshal(value, &members) != nil || value[0] != '[' || slices.Contains(members, nil) {
		return nil, Invalid("field %q: want a list of strings, like [\"...\"], got %s", name, clip(string(value)))
	}
	out := make([]string, len(members))
	for i, m := range members {
		out[i] = *m
	}
	return out, nil
}

func clip(s string) string {
	if len(s) <= 64 {
		return s
	}
	return strings.ToValidUTF8(s[:64], "") + "..."
}

// checkJSON reports what keeps data from being one JSON object, with the place.
func checkJSON(data []byte, known []string) error {
	want := "want a JSON object"
	if len(known) > 0 {
		want = fmt.Sprintf("want a JSON object, like {%q: ...}", known[0])
	}
	begin := bytes.TrimLeft(data, " \t\r\n")
	if len(begin) == 0 {
		return Invalid("it is empty: %s", want)
	}
	if !utf8.Valid(data) {
		return Invalid("the text is not valid UTF-8")
	}
	if err := checkDepth(data); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	var first json.RawMessage
	if err := dec.Decode(&first); err != nil {
		var at *json.SyntaxError
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF):
			return Invalid("not JSON: it ends too early, at byte %d", len(data))
		case errors.As(err, &at):
			return Invalid("not JSON: %v (at byte %d); %s", err, at.Offset, want)
		}
		return Invalid("not JSON: %v; %s", err, want)
	}
	if begin[0] != '{' {
		return Invalid("%s, got %s", want, clip(string(begin)))
	}
	if rest := data[dec.InputOffset():]; len(bytes.TrimLeft(rest, " \t\r\n")) > 0 {
		return Invalid("something follows the JSON object, at byte %d: want one object and nothing else", dec.InputOffset()+1)
	}
	return nil
}

// checkDepth walks over the text once, before anything else parses it: it counts nesting
// and looks for escaped surrogates without their other half. What is no JSON at all it
// leaves to the parser.
func checkDepth(data []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '"':
			quoted = false
		case quoted && c == '\\':
			n, ok := escape(data[i:])
			if !ok {
				return Invalid("a surrogate stands alone at byte %d: it is no character", i+1)
			}
			i += n - 1
		case quoted:
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return Invalid("the JSON nests deeper than %d", MaxDepth)
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
