package job

import (
	"encoding/json"
	"strings"
	"testing"
)

func FuzzValidJSON(f *testing.F) {
	for _, s := range []string{
		``, ` `, `null`, ` true `, `nul`, `tru`, `0`, `-0`, `01`, `-`, `1.`, `.5`, `1e`, `1E+5`, `1e-`, `+1`, `"`, `""`, `"a\"b"`, `"\u00e4\ud800"`, `"\u00g0"`,
		`"\x"`, "\"\x00\"", "\"\x1f\"", "\"\x7f\xff\"", `[]`, `[1,]`, `[,1]`, `[1 2]`, `[[],[{}]]`, `{}`, `{"a":1}`, `{"a":1,}`, `{"a"}`, `{a:1}`, `{"a":1 "b":2}`,
		`{"a":{"b":[1,"x",null,false]}}`, `1 1`, `{}{}`, "\ufeff1", "\v1", " \t\r\n1", `"` + "\u2028" + `"`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := validJSON(s), json.Valid([]byte(s)); got != want {
			t.Errorf("%.200q is taken for %v, want %v", s, got, want)
		}
	})
}

func TestDeepJSON(t *testing.T) {
	for _, s := range []string{
		strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001), strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999),
		strings.Repeat(`{"a":`, 1_001) + "1" + strings.Repeat("}", 1_001), strings.Repeat("[", 1_000), strings.Repeat("[", MaxPayloadBytes),
	} {
		if got, want := validJSON(s), json.Valid([]byte(s)); got != want {
			t.Errorf("%.20q..., %d bytes, is taken for %v, want %v", s, len(s), got, want)
		}
	}
}
