package streams

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// fate says whether a command that failed was executed.
type fate int

const (
	fateExecuted    fate = iota // the server answered: what it says is final
	fateNotExecuted             // it never ran; sending it again is safe
	fateUnknown                 // it was sent, no answer came; it may still run later
)

// refusals are answers that mean: not executed, for now. Each reason is the server's own.
var refusals = []string{
	"LOADING",     // reading its data set after a start
	"BUSY ",       // a script runs too long
	"TRYAGAIN",    // slots are moving
	"MOVED ",      // another node has the slot, and following it was given up
	"ASK ",        // the slot moves, and nobody follows: see nodes.go
	"CLUSTERDOWN", // no majority
	"MASTERDOWN",  // replica without its primary
	"NOREPLICAS",  // min-replicas-to-write is not met
	"READONLY",    // a primary that became a replica
	"MISCONF",     // cannot persist: refuses writes
	"NOAUTH", "WRONGPASS", "NOPERM",
	"ERR max number of clients",
	"NOSCRIPT",
}

// classify decides, once for every command, what an error means.
func classify(err error) fate {
	if err == nil || errors.Is(err, redis.Nil) {
		return fateExecuted
	}
	var answer redis.Error
	if errors.As(err, &answer) {
		text := answer.Error()
		for _, r := range refusals {
			if strings.HasPrefix(text, r) {
				return fateNotExecuted
			}
		}
		if strings.HasPrefix(text, "OOM") || strings.Contains(text, "-OOM ") {
			return fateNotExecuted
		}
		if strings.Contains(text, "non local key") {
			return fateUnknown // a script was stopped half way
		}
		return fateExecuted
	}
	if neverSent(err) {
		return fateNotExecuted
	}
	return fateUnknown
}

// neverSent recognises failures to get a connection at all.
func neverSent(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" || badCertificate(err) {
		return true
	}
	var dns *net.DNSError
	return errors.As(err, &dns) || errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrClosed) ||
		errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, syscall.ECONNREFUSED)
}

// badCertificate recognises that one of both sides does not trust the other, or does not speak TLS. A
// connection begins with it, and what is sent before the other side has said so is no command: a
// client names itself first.
func badCertificate(err error) bool {
	var untrusted *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	var op *net.OpError
	return errors.As(err, &untrusted) || errors.As(err, &noTLS) ||
		errors.As(err, &op) && op.Op == "remote error" && strings.Contains(op.Error(), "certificate")
}

func executed(err error) bool { return classify(err) == fateExecuted }

// wrap gives an error of a command its kind: one of the sentinels of package job. Errors
// that scripts return carry an upper-case word first.
func wrap(doing string, err error) error {
	if err == nil || errors.Is(err, redis.Nil) {
		return nil
	}
	text := err.Error()
	kind := error(nil)
	switch {
	case strings.HasPrefix(text, "CONFLICT "):
		return job.Conflict("%s", strings.TrimPrefix(text, "CONFLICT "))
	case strings.HasPrefix(text, "RECOUNTED"):
		kind = ErrRecounted
	case strings.HasPrefix(text, "NOQUEUE"):
		kind = job.ErrNotFound
	case strings.HasPrefix(text, "STALE"):
		kind = errStale
	case strings.HasPrefix(text, "OOM") || strings.Contains(text, "-OOM "):
		kind = job.ErrFull
	case noGroup(err):
		kind = job.ErrGroupGone
	case notPermitted(text):
		return &refusal{doing: doing, right: missingRight(text), err: err}
	default:
		switch classify(err) {
		case fateNotExecuted:
			kind = job.ErrUnavailable
		case fateUnknown:
			kind = job.ErrOutcomeUnknown
		case fateExecuted:
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
	return &serverError{kind: kind, doing: doing, err: err}
}

// notSent is for a command that was not sent because a question before it failed.
func notSent(doing string, err error) error {
	return &serverError{kind: job.ErrUnavailable, doing: doing, err: err}
}

// unsent is for a command of a pipeline that has neither answer nor error: failed is what the
// pipeline as a whole has.
func unsent(doing string, failed error) error {
	if failed == nil {
		return badAnswer(doing, nil)
	}
	return notSent(doing, failed)
}

// serverError keeps both the kind and the cause.
type serverError struct {
	kind  error
	doing string
	err   error
}

func (e *serverError) Error() string {
	if state, _ := stateOf(e.err); state != "" {
		return fmt.Sprintf("%s: %s: %v", e.doing, state, e.err)
	}
	if slices.Contains([]error{job.ErrUnavailable, job.ErrOutcomeUnknown, job.ErrFull}, e.kind) {
		if moving := movingText(e.err.Error()); moving != "" {
			return fmt.Sprintf("%s: %v: %s", e.doing, e.kind, moving)
		}
		if errors.Is(e.err, e.kind) {
			return fmt.Sprintf("%s: %v", e.doing, e.err) // it says so itself
		}
		return fmt.Sprintf("%s: %v: %v", e.doing, e.kind, e.err)
	}
	return fmt.Sprintf("%s: %v", e.doing, e.err)
}
func (e *serverError) Unwrap() []error { return []error{e.kind, e.err} }

// notPermitted recognises what servers say of a right that a user lacks: of a command, and of
// one within a script.
func notPermitted(text string) bool {
	return strings.HasPrefix(text, "NOPERM") || strings.Contains(text, "The user executing the script can't") ||
		strings.Contains(text, "ACL failure in script")
}

// missingRight is the rule that a refused user lacks; "" where the server does not name it.
func missingRight(text string) string {
	_, rest, _ := strings.Cut(text, "permissions to run the '")
	if name, _, ok := strings.Cut(rest, "'"); ok {
		return "+" + name
	}
	switch {
	case strings.Contains(text, "channel"):
		return "&rm:*"
	case strings.Contains(text, " key"):
		return "~rm:*"
	}
	return ""
}

// refusal is an ErrNotPermitted. A command that was refused was not executed, so it is an
// ErrUnavailable as well: whoever goes on for long waits for the right. A script may have been
// refused half-way.
type refusal struct {
	doing, right string
	err          error
}

func (r *refusal) Error() string {
	rule := r.right
	if rule == "" {
		rule = "one that the server does not name"
	}
	return fmt.Sprintf("%s: %v: %s (see 'Access rights' in docs/operations.md): %v", r.doing, job.ErrNotPermitted, rule, r.err)
}

func (r *refusal) Unwrap() []error {
	kinds := []error{job.ErrNotPermitted, r.err}
	if classify(r.err) == fateNotExecuted {
		kinds = append(kinds, job.ErrUnavailable)
	}
	return kinds
}

// answerError is an answer of the server that go-redis did not read as an error: what a
// script says of one part of a call, or a reply that was taken raw.
type answerError string

func (e answerError) Error() string { return string(e) }

// RedisError makes it a redis.Error: the server answered.
func (answerError) RedisError() {}

// errStale: the producer gave this batch up and went on with a later one.
var errStale = errors.New("stale producer sequence")

// noGroup recognises the answers that mean: this reader's group is not there (any more).
// A blocked read whose stream or group goes away is answered UNBLOCKED or NOGROUP,
// depending on the server; neither names the key.
func noGroup(err error) bool {
	if err == nil {
		return false
	}
	t := err.Error()
	return strings.HasPrefix(t, "NOGROUP") || strings.HasPrefix(t, "UNBLOCKED") || strings.Contains(t, "NOGROUP")
}

// Answered reports whether err is what a server said, in contrast to silence.
func Answered(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer)
}

// IsUnreachable reports whether err means that the server was not reached: nothing was
// done, and waiting may help.
func IsUnreachable(err error) bool {
	if errors.Is(err, job.ErrNotPermitted) {
		return false
	}
	return errors.Is(err, job.ErrUnavailable) || errors.Is(err, job.ErrOutcomeUnknown) || errors.Is(err, io.EOF) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}
