package recovery

import (
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
		{RetryRecord{Crashes: 1, Mark: Started}, "0|0|1|s|"},
		{RetryRecord{Attempts: 1, Crashes: 4, Mark: StartedAlone, Error: "a|b||c\n\x00"}, "1|0|4|a|a|b||c\n\x00"},
	} {
		if got := c.rec.String(); got != c.text {
			t.Errorf("%+v is %q, want %q", c.rec, got, c.text)
		}
		if got, err := Parse(c.text); err != nil || got != c.rec {
			t.Errorf("%q reads as %+v, %v; want %+v", c.text, got, err, c.rec)
		}
	}
	odd := RetryRecord{Attempts: -1, NotBefore: time.Unix(-5, 0), Crashes: -2, Mark: 'x'}
	if got := odd.String(); got != "0|0|0||" {
		t.Errorf("odd record is %q", got)
	}
}

func TestParseRefusesGarbage(t *testing.T) {
	for _, s := range []string{
		"", "1", "||||", "1|2|3|s", "x|0|0||", "0|x|0||", "0|0|x||", "-1|0|0||", "+1|0|0||", "0|0|0|z|", "0|0|0|sa|",
		"9223372036854775808|0|0||", "0|99999999999999999999|0||", "1.7e+12|0|0||", " 1|0|0||",
	} {
		if got, err := Parse(s); err == nil || got != (RetryRecord{}) {
			t.Errorf("%q: %+v, %v; want the zero record and an error", s, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"0|0|0||", "3|1700000000123|2|s|a|b", "007|1|1|a|", "|", "1|9223372036854775807|1||x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			if r != (RetryRecord{}) {
				t.Fatalf("error %v with record %+v", err, r)
			}
			return
		}
		again, err := Parse(r.String())
		if err != nil || again != r {
			t.Fatalf("%q -> %+v -> %q -> %+v, %v", s, r, r.String(), again, err)
		}
	})
}

func TestAfter(t *testing.T) {
	now := time.UnixMilli(1_000_000).UTC()
	before := RetryRecord{Attempts: 2, NotBefore: now.Add(-time.Hour), Crashes: 1, Mark: Started, Error: "old"}
	for _, c := range []struct {
		name string
		d    Decision
		want RetryRecord
	}{
		{"retry", Decision{Action: Retry, Delay: time.Second}, RetryRecord{Attempts: 3, NotBefore: now.Add(time.Second), Crashes: 1, Error: "new"}},
		{"retry rounds up", Decision{Action: Retry, Delay: 1}, RetryRecord{Attempts: 3, NotBefore: now.Add(time.Millisecond), Crashes: 1, Error: "new"}},
		{"retry at once", Decision{Action: Retry}, RetryRecord{Attempts: 3, Crashes: 1, Error: "new"}},
		{"dead", Decision{Action: Dead, Reason: Exhausted}, RetryRecord{Attempts: 3, Crashes: 1, Error: "new"}},
		{"hand back", Decision{Action: HandBack}, RetryRecord{Attempts: 2, NotBefore: before.NotBefore, Crashes: 1, Error: "old"}},
	} {
		if got := before.After(c.d, now, "new"); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	long := RetryRecord{}.After(Decision{Action: Dead}, now, "x"+strings.Repeat("é", MaxErrorBytes))
	if n := len(long.Error); n != MaxErrorBytes-1 || !utf8.ValidString(long.Error) {
		t.Errorf("long error kept %d bytes, valid %v", n, utf8.ValidString(long.Error))
	}
	bytes := RetryRecord{}.After(Decision{Action: Dead}, now, strings.Repeat("\x80", 2*MaxErrorBytes))
	if n := len(bytes.Error); n > MaxErrorBytes || n < MaxErrorBytes-utf8.UTFMax {
		t.Errorf("long error that is no text kept %d bytes", n)
	}
}

func TestCrashed(t *testing.T) {
	for _, c := range []struct{ before, after string }{
		{"0|0|0||", "0|0|1||"},
		{"4|77|0||e", "4|77|1||e"},
		{"0|0|1||", "0|0|1||"},
		{"0|0|5||", "0|0|5||"},
		{"0|0|1|s|", "0|0|2||"},
		{"0|0|0|s|", "0|0|1||"},
		{"0|0|3|a|", "0|0|4|a|"},
	} {
		r, err := Parse(c.before)
		if err != nil {
			t.Fatal(err)
		}
		if got := Crashed(r).String(); got != c.after {
			t.Errorf("%s crashed is %s, want %s", c.before, got, c.after)
		}
	}
}

func TestSuspect(t *testing.T) {
	for _, c := range []struct {
		p    Poison
		rec  RetryRecord
		want Treatment
	}{
		{Poison{}, RetryRecord{}, Normal},
		{Poison{}, RetryRecord{Attempts: 9, Error: "x"}, Normal},
		{Poison{}, RetryRecord{Crashes: 1}, MarkStarted},
		{Poison{}, RetryRecord{Crashes: 2, Mark: Started}, MarkStarted},
		{Poison{}, RetryRecord{Crashes: 3}, RunAlone},
		{Poison{}, RetryRecord{Crashes: 9}, RunAlone},
		{Poison{}, RetryRecord{Crashes: 3, Mark: StartedAlone}, RunAlone}, // marked, no crash since
		{Poison{}, RetryRecord{Crashes: 4, Mark: StartedAlone}, Guilty},
		{Poison{AloneAt: 1}, RetryRecord{Crashes: 1}, RunAlone},
		{Poison{AloneAt: 1}, RetryRecord{Crashes: 2, Mark: StartedAlone}, Guilty},
	} {
		if got := c.p.Suspect(c.rec); got != c.want {
			t.Errorf("%+v, %+v: %v, want %v", c.p, c.rec, got, c.want)
		}
	}
}

// mark is what a worker writes before it starts a job.
func mark(tr Treatment, r RetryRecord) RetryRecord {
	switch tr {
	case MarkStarted:
		r.Mark = Started
	case RunAlone:
		r.Mark = StartedAlone
	case Normal, Guilty:
	}
	return r
}

func TestPoisonedJobIsFoundAndNeighboursAreSpared(t *testing.T) {
	var killer, neighbour, waiting RetryRecord
	var p Poison
	crashes := 0
	for {
		tr := p.Suspect(killer)
		if tr == Guilty {
			break
		}
		if crashes++; crashes > 10 {
			t.Fatal("never found")
		}
		killer = Crashed(mark(tr, killer))
		if tr == RunAlone {
			continue // nothing else was running
		}
		neighbour = Crashed(mark(p.Suspect(neighbour), neighbour))
		waiting = Crashed(waiting)
	}
	if crashes != 4 {
		t.Errorf("%d crashes until it was found, want 4", crashes)
	}
	// The neighbour ran beside it each time: it runs alone once, ends, and is clear.
	tr := p.Suspect(neighbour)
	if tr != RunAlone {
		t.Errorf("neighbour: %v, want %v", tr, RunAlone)
	}
	neighbour = mark(tr, neighbour).After(Decision{Action: HandBack}, time.Time{}, "")
	if tr := p.Suspect(Crashed(neighbour)); tr != RunAlone {
		t.Errorf("neighbour after it ended and merely waited in a crash: %v, want %v", tr, RunAlone)
	}
	if waiting.Crashes != 1 {
		t.Errorf("job that never started has %d crashes, want 1", waiting.Crashes)
	}
}
