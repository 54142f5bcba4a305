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
	left := mostWrapped
	if v := find(err, &left); v != nil {
		return v.dead, v.after
	}
	return false, 0
}

// mostWrapped is how many errors under one are looked at: one that unwraps to itself has no end.
const mostWrapped = 1000

// find is errors.As with an end.
func find(err error, left *int) *verdict {
	for err != nil && *left > 0 {
		*left--
		if v, is := err.(*verdict); is { //nolint:errorlint // it unwraps by itself
			return v
		}
		var v *verdict
		if x, can := err.(interface{ As(target any) bool }); can && x.As(&v) {
			return v
		}
		switch x := err.(type) { //nolint:errorlint // likewise
		case interface{ Unwrap() error }:
			err = x.Unwrap()
		case interface{ Unwrap() []error }:
			for _, e := range x.Unwrap() {
				if v := find(e, left); v != nil {
					return v
				}
			}
			return nil
		default:
			return nil
		}
	}
	return nil
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

// Apart calls f, which is a stranger's, waits for it, and says why it did not return: "" if it did.
// It has a goroutine of its own, so that f may end it, as a test does that fails.
func Apart(f func()) string {
	ended := make(chan string, 1)
	go func() {
		why := "it ended its goroutine"
		defer func() {
			if p := recover(); p != nil {
				why = "panic: " + PanicText(p)
			}
			ended <- why
		}()
		f()
		why = ""
	}()
	return <-ended
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
