package recovery

import (
	"time"
	"unicode/utf8"

	"ringmaster/job"
)

// MaxErrorBytes is how much of an error's text a record keeps.
const MaxErrorBytes = 1024

// After is a job's record once a run of it has ended by decision d. The mark goes in any case: the run ended, and its worker did not.
// Crashes stay, since a job that kills its worker may fail in a milder way in between.
// Retry counts an attempt, sets Delay and keeps failure's first MaxErrorBytes, cut
// between characters; Dead counts it too. HandBack changes nothing but the mark.
func After(r job.RetryRecord, d Decision, failure string) job.RetryRecord {
	r.Mark = job.Mark{}
	if d.Action == HandBack {
		return r
	}
	r.Attempts++
	r.Error = shorten(failure)
	r.NotBefore, r.Delay = time.Time{}, 0
	if d.Action == Retry {
		r.Delay = d.Delay
	}
	return r
}

func shorten(s string) string {
	if len(s) <= MaxErrorBytes {
		return s
	}
	cut := MaxErrorBytes
	for cut > MaxErrorBytes-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}
