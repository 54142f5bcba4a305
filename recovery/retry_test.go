package recovery

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestRetryRecordText(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123).UTC()
	for _, c := range []struct {
		rec  RetryRecord
		text string
	}{
		{RetryRecord{}, "0|0|0||"},
		{RetryRecord{Attempts: 3, NotBefore: at, Error: "boom"}, "3|1700000000123|0||boom"},
		{RetryRecord{Attempts: 3, Delay: 1500 * time.Millisecond, Error: "boom"}, "3|+1500|0||boom"},
		{RetryRecord{Crashes: 1, Mark: Mark{Epoch: 7}}, "0|0|1|s.7|"},
		{RetryRecord{Attempts: 1, Crashes: 4, Deaths: []Death{{At: at, Runs: Held}, {At: at}, {At: at, Runs: 2}}, Mark: Mark{Epoch: 8, Runs: 1, Until: at}, Error: "a|b||c\n\x00"},
			"1|0|4/h@1700000000123,s@1700000000123,a2@1700000000123|a1.8.1700000000123|a|b||c\n\x00"},
	} {
		if got := c.rec.String(); got != c.text {
			t.Errorf("%+v is %q, want %q", c.rec, got, c.text)
		}
		if got, err := Parse(c.text); err != nil || !reflect.DeepEqual(got, c.rec) {
			t.Errorf("%q reads as %+v, %v; want %+v", c.text, got, err, c.rec)
		}
	}
	if got := (RetryRecord{Delay: 1}).String(); got != "0|+1|0||" {
		t.Errorf("the shortest delay is %q: it is never over before it is", got)
	}
	odd := RetryRecord{Attempts: -1, NotBefore: time.Unix(-5, 0), Crashes: -2, Mark: Mark{Runs: 3}}
	if got := odd.String(); got != "0|0|0||" {
		t.Errorf("odd record is %q", got)
	}
}

func TestParseRefusesGarbage(t *testing.T) {
	for _, s := range []string{
		"", "1", "||||", "1|2|3|s", "x|0|0||", "0|x|0||", "0|0|x||", "-1|0|0||", "+1|0|0||",
		"9223372036854775808|0|0||", "0|99999999999999999999|0||", "0|+|0||", "0|+-1|0||", "0|++1|0||", "1.7e+12|0|0||", " 1|0|0||",
	} {
		if got, err := Parse(s); err == nil || !reflect.DeepEqual(got, RetryRecord{}) {
			t.Errorf("%q: %+v, %v; want the zero record and an error", s, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"0|0|0||", "3|1700000000123|2/s@5,a3@6|s.4|a|b", "007|1|1/a@|a2.1.7|", "|", "1|9223372036854775807|1||x", "1|+9223372036854775807|0||", "1|+0|0||"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			if !reflect.DeepEqual(r, RetryRecord{}) {
				t.Fatalf("error %v with record %+v", err, r)
			}
			return
		}
		again, err := Parse(r.String())
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%q -> %+v -> %q -> %+v, %v", s, r, r.String(), again, err)
		}
	})
}

func TestAfter(t *testing.T) {
	now := time.UnixMilli(1_000_000).UTC()
	before := RetryRecord{Attempts: 2, NotBefore: now.Add(-time.Hour), Delay: time.Hour, Crashes: 1, Mark: Mark{Epoch: 4}, Error: "old"}
	for _, c := range []struct {
		name string
		d    Decision
		want RetryRecord
	}{
		{"retry", Decision{Action: Retry, Delay: time.Second}, RetryRecord{Attempts: 3, Delay: time.Second, Crashes: 1, Error: "new"}},
		{"retry at once", Decision{Action: Retry}, RetryRecord{Attempts: 3, Crashes: 1, Error: "new"}},
		{"dead", Decision{Action: Dead, Reason: Exhausted}, RetryRecord{Attempts: 3, Crashes: 1, Error: "new"}},
		{"hand back", Decision{Action: HandBack}, RetryRecord{Attempts: 2, NotBefore: before.NotBefore, Delay: before.Delay, Crashes: 1, Error: "old"}},
	} {
		if got := before.After(c.d, "new"); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	long := RetryRecord{}.After(Decision{Action: Dead}, "x"+strings.Repeat("é", MaxErrorBytes))
	if n := len(long.Error); n != MaxErrorBytes-1 || !utf8.ValidString(long.Error) {
		t.Errorf("long error kept %d bytes, valid %v", n, utf8.ValidString(long.Error))
	}
	bytes := RetryRecord{}.After(Decision{Action: Dead}, strings.Repeat("\x80", 2*MaxErrorBytes))
	if n := len(bytes.Error); n > MaxErrorBytes || n < MaxErrorBytes-utf8.UTFMax {
		t.Errorf("long error that is no text kept %d bytes", n)
	}
}

func TestCrashed(t *testing.T) {
	for _, c := range []struct{ before, after string }{
		{"0|0|0||", "0|0|1/h@100||"},
		{"4|77|0||e", "4|77|1/h@100||e"},
		{"0|0|1||", "0|0|1||"}, // it was only waiting
		{"0|0|5||", "0|0|5||"},
		{"0|0|1|s.3|", "0|0|2/s@100||"},
		{"0|0|0|h.3|", "0|0|1/h@100||"},
		{"0|0|2/s@50|a1.3.100|", "0|0|3/s@50,a1@100||"},
		{"0|0|2/s@50|a4.3.100|", "0|0|3/s@50,a4@100||"},
		{"0|0|2/s@50|a1.3.99|", "0|0|3/s@50,s@100||"},    // others had started since
		{"0|0|2/s@50|a1.2.100|", "0|0|2/s@50|a1.2.100|"}, // marked in another tenure
		{"0|0|2|junk|", "0|0|2||"},
	} {
		r, err := Parse(c.before)
		if err != nil {
			t.Fatal(err)
		}
		if got := Crashed(r, 3, time.UnixMilli(100)).String(); got != c.after {
			t.Errorf("%s crashed is %s, want %s", c.before, got, c.after)
		}
	}
	r := RetryRecord{}
	for n := range 2 * mostDeaths {
		r.Mark = Mark{Epoch: 1}
		r = Crashed(r, 1, time.UnixMilli(int64(n)))
	}
	if n := len(r.Deaths); n != mostDeaths || r.Crashes != 2*mostDeaths || r.Deaths[n-1].At.UnixMilli() != 2*mostDeaths-1 {
		t.Errorf("%d deaths are kept of %d crashes, the last at %v", n, r.Crashes, r.Deaths[n-1].At)
	}
}
