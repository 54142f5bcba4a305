package recovery

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ringmaster/job"
)

func TestAfter(t *testing.T) {
	now := time.UnixMilli(1_000_000).UTC()
	before := job.RetryRecord{Attempts: 2, NotBefore: now.Add(-time.Hour), Delay: time.Hour, Crashes: 1, Mark: job.Mark{Epoch: 4}, Error: "old"}
	for _, c := range []struct {
		name string
		d    Decision
		want job.RetryRecord
	}{
		{"retry", Decision{Action: Retry, Delay: time.Second}, job.RetryRecord{Attempts: 3, Delay: time.Second, Crashes: 1, Error: "new"}},
		{"retry at once", Decision{Action: Retry}, job.RetryRecord{Attempts: 3, Crashes: 1, Error: "new"}},
		{"dead", Decision{Action: Dead, Reason: Exhausted}, job.RetryRecord{Attempts: 3, Crashes: 1, Error: "new"}},
		{"hand back", Decision{Action: HandBack}, job.RetryRecord{Attempts: 2, NotBefore: before.NotBefore, Delay: before.Delay, Crashes: 1, Error: "old"}},
	} {
		if got := After(before, c.d, "new"); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	long := After(job.RetryRecord{}, Decision{Action: Dead}, "x"+strings.Repeat("é", MaxErrorBytes))
	if n := len(long.Error); n != MaxErrorBytes-1 || !utf8.ValidString(long.Error) {
		t.Errorf("long error kept %d bytes, valid %v", n, utf8.ValidString(long.Error))
	}
	bytes := After(job.RetryRecord{}, Decision{Action: Dead}, strings.Repeat("\x80", 2*MaxErrorBytes))
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
		r, err := job.ParseRetry(c.before)
		if err != nil {
			t.Fatal(err)
		}
		if got := Crashed(r, 3, time.UnixMilli(100)).String(); got != c.after {
			t.Errorf("%s crashed is %s, want %s", c.before, got, c.after)
		}
	}
	r := job.RetryRecord{}
	for n := range 2 * mostDeaths {
		r.Mark = job.Mark{Epoch: 1}
		r = Crashed(r, 1, time.UnixMilli(int64(n)))
	}
	if n := len(r.Deaths); n != mostDeaths || r.Crashes != 2*mostDeaths || r.Deaths[n-1].At.UnixMilli() != 2*mostDeaths-1 {
		t.Errorf("%d deaths are kept of %d crashes, the last at %v", n, r.Crashes, r.Deaths[n-1].At)
	}
}
