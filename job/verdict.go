package job

import (
	"errors"
	"fmt"
	"time"
)

// MaxDelay is the longest that a next attempt may be put off. A key whose job waits longer
// is not late but lost; and a time of that kind has no place in the store.
const MaxDelay = 365 * 24 * time.Hour

// Skip wraps err so that the job goes to the dead letters at once, whatever attempts
// remain. Of nil it is nil.
func Skip(err error) error {
	if err == nil {
		return nil
	}
	return &verdict{err: err, dead: true}
}

// RetryAfter wraps err so that the next attempt waits d instead of the computed backoff:
// MaxDelay at most; 0 or less leaves the backoff as it is. Of nil it is nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &verdict{err: err, after: min(max(d, 0), MaxDelay)}
}

type verdict struct {
	err   error
	dead  bool
	after time.Duration
}

func (v *verdict) Error() string { return v.err.Error() }
func (v *verdict) Unwrap() error { return v.err }

// Verdict takes apart what Skip and RetryAfter put into an error. It calls the error's
// methods, which may be anybody's.
func Verdict(err error) (dead bool, after time.Duration) {
	var v *verdict
	if errors.As(err, &v) {
		return v.dead, v.after
	}
	return false, 0
}

// Settle asks err for its text and verdict, and returns an error that says the same of
// itself: whoever handles that one calls no method of a stranger. Where err's methods panic,
// Settle does. Of nil it is nil.
func Settle(err error) error {
	if err == nil {
		return nil
	}
	dead, after := Verdict(err)
	return &verdict{err: errors.New(err.Error()), dead: dead, after: after}
}

// PanicText is the text of what somebody panicked with, whose methods may panic in turn.
func PanicText(p any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("a %T", p)
		}
	}()
	return fmt.Sprint(p)
}
