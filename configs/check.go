package configs

import (
	"errors"
	"fmt"
	"time"

	"ringmaster/job"
)

// Settings is one program's configuration: *Dispatcher, *Worker, *Ringctl, and *Common by itself.
type Settings interface {
	// Fields lists the flat keys, in the order in which they are shown. Their Set changes the
	// settings that they were taken from.
	Fields() []Field
	// Finish reads secrets and checks how values relate, once all fields are set.
	Finish(*Review)
}

// Check holds settings that a program made itself against the limits of those that are loaded, and
// against each other, and reads the files that they name. The error, an ErrInvalid, has one line
// for each that is wrong.
func (c *Common) Check() error { return check(c) }

func check(s Settings) error {
	r := NewReview(true)
	for _, f := range s.Fields() {
		if !f.Secret { // any text may be one
			r.Assign(f, f.Given(f.Show()))
		}
	}
	s.Finish(r)
	return r.Err()
}

// Review is a look at one program's settings. It goes on after a problem, to find the others. One
// goroutine uses it.
type Review struct {
	Lax      bool     // what the program adds later may be missing
	Sources  Sources  // where each value came from; Finish may change those of secrets
	Warnings []string // worth logging, not worth stopping for

	failed   map[string]bool // keys with a problem, so that none follows from it
	problems []error
}

// NewReview begins a look.
func NewReview(lax bool) *Review {
	return &Review{Lax: lax, Sources: Sources{}, failed: map[string]bool{}}
}

// Assign sets a field to what was given. It is a problem if the field refuses that.
func (r *Review) Assign(f Field, given []string) {
	err := f.Set(given)
	if err == nil {
		return
	}
	r.Fail(f.Key)
	if source, ok := r.Sources[f.Key]; ok {
		r.Problem("%s = %s (%s): %v", f.Key, f.display(given), source, err)
	} else {
		r.Problem("%s = %s: %v", f.Key, f.display(given), err)
	}
}

// Problem notes what is wrong, in one line.
func (r *Review) Problem(format string, args ...any) { r.Join(job.Invalid(format, args...)) }

// Join notes problems as they are.
func (r *Review) Join(problems ...error) { r.problems = append(r.problems, problems...) }

// Warn notes what is worth a warning, in one line.
func (r *Review) Warn(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}

// Fail keeps problems that follow from those of these keys from being noted.
func (r *Review) Fail(keys ...string) {
	for _, key := range keys {
		r.failed[key] = true
	}
}

// Good reports whether none of the keys had a problem so far.
func (r *Review) Good(keys ...string) bool {
	for _, key := range keys {
		if r.failed[key] {
			return false
		}
	}
	return true
}

// Err has one line for each problem, in the order in which they were noted; nil if there is none.
func (r *Review) Err() error { return errors.Join(r.problems...) }

func (r *Review) badValue(key, shown string, err error) {
	r.Fail(key)
	r.Problem("%s = %q%s: %v", key, shown, r.from(key), err)
}

// relate reports that two good durations do not fit each other.
func (r *Review) relate(ok bool, key string, value time.Duration, rule, other string, limit time.Duration, why string) {
	if ok || !r.Good(key, other) {
		return
	}
	r.Problem("%s = %s%s must be %s %s = %s%s: %s", key, formatDuration(value), r.from(key),
		rule, other, formatDuration(limit), r.from(other), why)
}

// from says where a value came from, unless a program has made its settings itself.
func (r *Review) from(key string) string {
	if len(r.Sources) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s)", r.Sources[key])
}

func (r *Review) needToken(listen string) {
	text := fmt.Sprintf("listen = %q%s: an address beyond loopback needs a token: set token_file or %sTOKEN", listen, r.from("listen"), EnvPrefix)
	if r.Lax {
		r.Warn("%s", text)
		return
	}
	r.Problem("%s", text)
}
