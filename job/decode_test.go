package job

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// written is JSON that people and programs write for jobs, with a part of what is said against it.
var written = []struct{ text, says string }{
	{`{"type":"t"}`, ""},
	{" \r\n\t{\"type\" : \"t\"}\n", ""},
	{`{"type":"t","key":"k","payload":{"n":1},"idempotency_key":"x"}`, ""},
	{`{"type":"t","key":null,"payload":null,"idempotency_key":null}`, ""},
	{`{"type":"t","payload":{"a":1,"a":2}}`, ""},
	{`{"type":"t","payload":[1e400,-0,9007199254740993]}`, ""},
	{`{"type":"t","key":"\u202e😀 Zu\u0308rich \ud83d\ude00"}`, ""},
	{`{"type":"t","key":"\u0000\r\n\t {}:*../\u001b[31m"}`, ""},
	{`{}`, ""}, // its form is right: that a type is missing is for Validate
	{``, `it is empty: want a JSON object, like {"type": ...}`},
	{` `, "empty"},
	{`{`, "not JSON: it ends too early, at byte 1"},
	{`{"type":"t"`, "ends too early"},
	{`{"type":"t",}`, "not JSON: invalid character '}'"},
	{`x`, "want a JSON object"},
	{`[{"type":"t"}]`, `want a JSON object, like {"type": ...}, got [{"type":"t"}]`},
	{`null`, "got null"},
	{`"t"`, `got "t"`},
	{`{"type":"t"}{}`, "something follows the JSON object, at byte 13: want one object"},
	{`{"type":"t"} x`, "something follows"},
	{`{"type":"t","delay":"10s"}`, `unknown field "delay": want type, key, payload, idempotency_key`},
	{`{"Type":"t"}`, `unknown field "Type"`},
	{`{"` + strings.Repeat("n", 5000) + `":1}`, `nnn...": want type`},
	{`{"type":"t","key":"a","key":"b"}`, `field "key" is given twice`},
	{`{"type":"t","key":"a","\u006bey":"b"}`, `field "key" is given twice`},
	{`{"type":"t","key":null,"key":null}`, `field "key" is given twice`},
	{`{"type":"t","key":1}`, `field "key": want a string, in quotes, got 1`},
	{`{"type":null}`, `field "type": want a string, got null`},
	{`{"type":["t"]}`, `field "type": want a string, in quotes, got ["t"]`},
	{`{"type":"t","idempotency_key":""}`, `field "idempotency_key" is empty: leave it out`},
	{"{\"type\":\"t\",\"key\":\"\xff\"}", "UTF-8"},
	{`{"type":"t","key":"\ud800"}`, "a surrogate stands alone at byte 20"},
	{`{"type":"t","payload":["\udc00"]}`, "surrogate"},
	{`{"type":"t","payload":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`, "nests deeper than 512"},
	{`{"type":"t","payload":NaN}`, "not JSON"},
}

func TestDecode(t *testing.T) {
	for _, w := range written {
		_, err := Decode([]byte(w.text))
		switch {
		case w.says == "" && err != nil:
			t.Errorf("%.80s: %v", w.text, err)
		case w.says != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), w.says)):
			t.Errorf("%.80s: %v, want %s", w.text, err, w.says)
		}
	}
	j, err := Decode([]byte(written[2].text))
	if err != nil || j.Type != "t" || j.Key != "k" || string(j.Payload) != `{"n":1}` || j.IdempotencyKey != "x" {
		t.Errorf("%+v, %v", j, err)
	}
}

func TestDecodeObject(t *testing.T) {
	type order struct {
		Mode *string  `json:"mode,omitempty"`
		IDs  []string `json:"ids"`
	}
	for text, says := range map[string]string{
		`{"mode":"ring","ids":["a","b"]}`: "",
		`{"ids":[]}`:                      "",
		`{"mode":null}`:                   `field "mode": want a string, got null`,
		`{"ids":null}`:                    `field "ids": want a list of strings, like ["..."], got null`,
		`{"ids":"a"}`:                     "list of strings",
		`{"ids":["a",null]}`:              "list of strings",
		`{"ids":["a",1]}`:                 "list of strings",
	} {
		var o order
		err := DecodeObject([]byte(text), &o)
		if (says == "") != (err == nil) || err != nil && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %+v, %v, want %q", text, o, err, says)
		}
	}
	if err := DecodeObject([]byte(`{"a":1}`), &struct{}{}); err == nil || !strings.Contains(err.Error(), "want no fields") {
		t.Errorf("an object that takes nothing: %v", err)
	}
}

// FuzzDecode: what is taken is what the contract allows, and is read the same again; what is not is
// refused for people, with an error of a known kind, short, and fit to be shown.
func FuzzDecode(f *testing.F) {
	for _, w := range written {
		f.Add([]byte(w.text))
	}
	f.Add([]byte(`{"type":"` + strings.Repeat("t", 65) + `"}`))
	f.Add([]byte(`{"type":"t","key":"` + strings.Repeat("k", 513) + `"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		j, err := Decode(text)
		if err == nil {
			err = j.Validate()
		}
		if err == nil {
			decodedWell(t, j)
			return
		}
		if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrTooLarge) {
			t.Fatalf("an error of no kind: %v", err)
		}
		if len(err.Error()) < 5 || len(err.Error()) > 500 {
			t.Fatalf("an error of %d bytes: %.600q", len(err.Error()), err)
		}
	})
}

func decodedWell(t *testing.T, j Job) {
	t.Helper()
	if !ValidName(j.Type) || len(j.Key) > MaxKeyBytes || !utf8.ValidString(j.Key) || len(j.Payload) > MaxPayloadBytes ||
		(len(j.Payload) > 0 && !json.Valid(j.Payload)) {
		t.Fatalf("taken: %+v", j)
	}
	fields := map[string]any{"type": j.Type, "key": j.Key}
	if len(j.Payload) > 0 {
		fields["payload"] = j.Payload
	}
	if j.IdempotencyKey != "" {
		fields["idempotency_key"] = j.IdempotencyKey
	}
	body, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(body)
	if err != nil || again.Type != j.Type || again.Key != j.Key || again.IdempotencyKey != j.IdempotencyKey {
		t.Fatalf("%+v comes back as %+v, %v", j, again, err)
	}
}
