package job

import (
	"reflect"
	"testing"
	"time"
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
		{RetryRecord{Attempts: 1, Crashes: 4, Deaths: []Death{{At: at, Runs: UnknownRuns}, {At: at}, {At: at, Runs: 2}}, Mark: Mark{Epoch: 8, Runs: 1, Until: at}, Error: "a|b||c\n\x00"},
			"1|0|4/h@1700000000123,s@1700000000123,a2@1700000000123|a1.8.1700000000123|a|b||c\n\x00"},
	} {
		if got := c.rec.String(); got != c.text {
			t.Errorf("%+v is %q, want %q", c.rec, got, c.text)
		}
		if got, err := ParseRetry(c.text); err != nil || !reflect.DeepEqual(got, c.rec) {
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

func TestParseRetryRefusesGarbage(t *testing.T) {
	for _, s := range []string{
		"", "1", "||||", "1|2|3|s", "x|0|0||", "0|x|0||", "0|0|x||", "-1|0|0||", "+1|0|0||",
		"9223372036854775808|0|0||", "0|99999999999999999999|0||", "0|+|0||", "0|+-1|0||", "0|++1|0||", "1.7e+12|0|0||", " 1|0|0||",
	} {
		if got, err := ParseRetry(s); err == nil || !reflect.DeepEqual(got, RetryRecord{}) {
			t.Errorf("%q: %+v, %v; want the zero record and an error", s, got, err)
		}
	}
}

func FuzzParseRetry(f *testing.F) {
	for _, s := range []string{"0|0|0||", "3|1700000000123|2/s@5,a3@6|s.4|a|b", "007|1|1/a@|a2.1.7|", "|", "1|9223372036854775807|1||x", "1|+9223372036854775807|0||", "1|+0|0||"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRetry(s)
		if err != nil {
			if !reflect.DeepEqual(r, RetryRecord{}) {
				t.Fatalf("error %v with record %+v", err, r)
			}
			return
		}
		again, err := ParseRetry(r.String())
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%q -> %+v -> %q -> %+v, %v", s, r, r.String(), again, err)
		}
	})
}
