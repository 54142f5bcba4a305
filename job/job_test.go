package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestIDsAreReadAsTheyAreWritten(t *testing.T) {
	for _, s := range []string{"0-0-1", "63-1700000000000-0", "4095-18446744073709551615-18446744073709551615"} {
		id, err := ParseID(s)
		if err != nil || id.String() != s {
			t.Errorf("%s: %v, %v", s, id, err)
		}
	}
	for _, s := range []string{"", "abc", "1", "1-1", "1-1-1-1", "4096-1-1", "-1-1-1", "1--1-1", "01-1-1", "1-01-1", "1-1-+1", " 1-1-1",
		"1-18446744073709551616-0", "3-d-6f1c", "1-1-1 "} {
		if id, err := ParseID(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q was taken for %v", s, id)
		}
	}
}

func TestEntryIDsCompareAsStreamsDo(t *testing.T) {
	ids := []EntryID{{}, {0, 1}, {1, 0}, {1, 9}, {2, 0}, {10, 0}, {^uint64(0), ^uint64(0)}}
	for i, a := range ids {
		for j, b := range ids {
			if want := i < j; a.Less(b) != want {
				t.Errorf("%v < %v: %v", a, b, !want)
			}
		}
	}
}

func TestPartitionOfAKey(t *testing.T) {
	// XXH64 of the empty input and of "a", seed 0, from the algorithm's own test vectors.
	for key, hash := range map[string]uint64{"": 0xEF46DB3751D8E999, "a": 0xD24EC4F1A98C6E5B} {
		for _, n := range []int{1, 3, 64, 1000, 4096} {
			if got, want := PartitionOf(key, n), int(hash%uint64(n)); got != want {
				t.Errorf("%q of %d: %d, want %d", key, n, got, want)
			}
		}
	}
}

func TestDecodeEntry(t *testing.T) {
	const parts = 8
	key := "k"
	home := PartitionOf(key, parts)
	other := (home + 1) % parts
	big := strings.Repeat("x", MaxPayloadBytes)
	for _, c := range []struct {
		name    string
		part    int
		fields  []string
		broken  string // part of the reason, empty: runs
		payload string
	}{
		{"as our producers write it", home, []string{"type", "t", "key", key, "payload", `{"a":1}`, "meta", ""}, "", `{"a":1}`},
		{"any order, unknown fields", home, []string{"x", "1", "payload", "7", "key", key, "type", "t", "y", ""}, "", "7"},
		{"no key: any partition", other, []string{"type", "t"}, "", "null"},
		{"text becomes a JSON string", other, []string{"type", "t", "payload", `say "hi" <b>`}, "", `"say \"hi\" <b>"`},
		{"no fields known", home, []string{"a", "b"}, "type", ""},
		{"empty name and value", home, []string{"", ""}, "type", ""},
		{"odd", home, []string{"type"}, "odd", ""},
		{"repeated field", home, []string{"type", "t", "type", "t"}, "repeated", ""},
		{"repeated key", home, []string{"type", "t", "key", key, "key", key}, "repeated", ""},
		{"bad type", home, []string{"type", "no spaces"}, "type", ""},
		{"key of another partition", other, []string{"type", "t", "key", key}, fmt.Sprintf("partition %d", home), ""},
		{"key too long", home, []string{"type", "t", "key", strings.Repeat("k", 513)}, "513", ""},
		{"key not UTF-8", home, []string{"type", "t", "key", "\xff"}, "UTF-8", ""},
		{"payload not text", home, []string{"type", "t", "payload", "\xff\xfe"}, "payload", ""},
		{"payload too large", home, []string{"type", "t", "payload", big + "x"}, "limit", ""},
	} {
		e := DecodeEntry(EntryID{1, 2}, c.fields, c.part, parts)
		if c.broken == "" && (e.Broken != nil || string(e.Payload) != c.payload) {
			t.Errorf("%s: %+v", c.name, e)
		}
		if c.broken != "" && (e.Broken == nil || !strings.Contains(e.Broken.Why, c.broken) || len(e.Broken.Fields) != len(c.fields)) {
			t.Errorf("%s: broken %+v", c.name, e.Broken)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		j    Job
		want error
	}{
		{Job{Type: "t"}, nil},
		{Job{Type: "t", Key: strings.Repeat("k", 512), Payload: []byte(`{}`)}, nil},
		{Job{Type: "t", Key: "{a}:*../\x00\r\n"}, nil}, // any UTF-8
		{Job{}, ErrInvalid},
		{Job{Type: "-t"}, ErrInvalid},
		{Job{Type: strings.Repeat("t", 65)}, ErrInvalid},
		{Job{Type: "t", Key: strings.Repeat("k", 513)}, ErrInvalid},
		{Job{Type: "t", Key: "\xff"}, ErrInvalid},
		{Job{Type: "t", Payload: []byte("{")}, ErrInvalid},
		{Job{Type: "t", Payload: []byte(`"` + strings.Repeat("x", MaxPayloadBytes) + `"`)}, ErrTooLarge},
		{Job{Type: "t", IdempotencyKey: strings.Repeat("i", 257)}, ErrInvalid},
	} {
		if err := c.j.Validate(); !errors.Is(err, c.want) || (c.want == nil && err != nil) {
			t.Errorf("%.80v: %v, want %v", c.j, err, c.want)
		}
	}
}

func TestFencesNeverFallOverGenerations(t *testing.T) {
	if NewFence(1, 1<<32-1) >= NewFence(2, 0) || NewFence(2, 5) >= NewFence(2, 6) {
		t.Error("a later tenure has a lower fence")
	}
}

func TestVerdicts(t *testing.T) {
	base := errors.New("no")
	if dead, after := Verdict(fmt.Errorf("handler: %w", Skip(base))); !dead || after != 0 {
		t.Error("Skip is lost when it is wrapped")
	}
	if dead, after := Verdict(RetryAfter(base, time.Minute)); dead || after != time.Minute {
		t.Error("RetryAfter is lost")
	}
	if dead, after := Verdict(base); dead || after != 0 {
		t.Error("a plain error has a verdict")
	}
	if !errors.Is(Skip(base), base) || Skip(base).Error() != "no" {
		t.Error("Skip hides the error")
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add("type", "t", "payload", "x", 3)
	f.Add("key", "\xff", "type", "", 0)
	f.Add("type", "t", "type", "u", 1)
	f.Add("a", "b", "", "", 0)
	f.Add("type", "t", "key", strings.Repeat("k", MaxKeyBytes+1), 1)
	f.Add("type", "t", "payload", "1e400", 1)
	f.Add("type", "t", "payload", strings.Repeat("[", 20000), 1)
	f.Add("type", "t", "version", "99", 1)
	f.Add("type", "t", "key", "k", 9)
	f.Add("type", "t", "payload", "\xff\x00", 1)
	f.Fuzz(func(t *testing.T, a, b, c, d string, part int) {
		e := DecodeEntry(EntryID{1, 1}, []string{a, b, c, d}, part, 8)
		if e.Broken != nil {
			return
		}
		if !ValidName(e.Type) || !json.Valid(e.Payload) || !utf8.ValidString(e.Key) || (e.Key != "" && PartitionOf(e.Key, 8) != part) {
			t.Errorf("taken: %+v", e)
		}
	})
}

func FuzzParseID(f *testing.F) {
	f.Add("1-2-3")
	f.Add("4095-0-0")
	for _, s := range []string{"", "abc", "1-1-1-1", "-1-1-1", "4096-1-1", "18446744073709551616-0-0", "1-01-1", "1-1", "1-+1-1", "1-d-x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseID(s); err == nil && id.String() != s {
			t.Errorf("%q is read as %s", s, id)
		}
	})
}

func TestIDsFromCountUp(t *testing.T) {
	first := ID{Partition: 7, Entry: EntryID{Ms: 1795391093405, Seq: 97}}
	ids := IDsFrom(first, 5)
	for i, got := range ids {
		want := ID{Partition: 7, Entry: EntryID{Ms: first.Entry.Ms, Seq: 97 + uint64(i)}}.String()
		if got != want {
			t.Errorf("id %d: %s, want %s", i, got, want)
		}
	}
	if len(ids) != 5 || len(IDsFrom(first, 0)) != 0 {
		t.Errorf("%d ids of 5", len(ids))
	}
}

// TestOnePast: the worker that failed a job knows how long it waits, the server until when.
func TestOnePast(t *testing.T) {
	mine := Entry{ID: EntryID{Ms: 1}, Type: "t", Key: "k", Payload: json.RawMessage("1"), Retry: "2|+500|1/h@5|s.4|a|b"}
	for record, want := range map[string]bool{
		"2|+500|1/h@5|s.4|a|b": true, "2|1700000000000|1/h@5|s.4|a|b": true, "2|0|1/h@5|s.4|a|b": true,
		"3|+500|1/h@5|s.4|a|b": false, "2|+500|2/h@5|s.4|a|b": false, "2|+500|1/h@5|s.4|a|c": false, "": false, "2|1": false, "2": false,
	} {
		other := mine
		other.Retry = record
		if mine.Same(&other) != want || other.Same(&mine) != want {
			t.Errorf("%q and %q: want the same past %v", mine.Retry, record, want)
		}
	}
}
