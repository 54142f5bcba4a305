package job_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"ringmaster/job"
)

func TestNilStaysNil(t *testing.T) {
	for name, err := range map[string]error{"Skip": job.Skip(nil), "RetryAfter": job.RetryAfter(nil, time.Second), "Settle": job.Settle(nil)} {
		if err != nil {
			t.Errorf("%s(nil) is %T: a job with nothing wrong would fail", name, err)
		}
	}
}

func TestRetryAfterIsWithinBounds(t *testing.T) {
	for d, want := range map[time.Duration]time.Duration{
		math.MaxInt64: job.MaxDelay, job.MaxDelay + 1: job.MaxDelay, job.MaxDelay: job.MaxDelay,
		time.Hour: time.Hour, 1: 1, 0: 0, -1: 0, math.MinInt64: 0,
	} {
		if _, after := job.Verdict(job.RetryAfter(errors.New("busy"), d)); after != want {
			t.Errorf("RetryAfter(%v) waits %v, want %v", d, after, want)
		}
	}
}

// loud is an error that counts how often it is asked.
type loud struct {
	asked *int
	cause error
}

func (l loud) Error() string    { *l.asked++; return "loud" }
func (l loud) Unwrap() error    { *l.asked++; return l.cause }
func (l loud) Is(error) bool    { *l.asked++; return false }
func (l loud) As(any) bool      { *l.asked++; return false }
func (l loud) String() string   { *l.asked++; return "" }
func (l loud) GoString() string { *l.asked++; return "" }

func TestASettledErrorAsksNobody(t *testing.T) {
	for name, cause := range map[string]error{"plain": nil, "dead": job.Skip(errors.New("x")), "later": job.RetryAfter(errors.New("x"), time.Minute)} {
		asked := 0
		dead, after := job.Verdict(loud{new(int), cause})
		settled := job.Settle(loud{&asked, cause})
		asked = 0
		if d, a := job.Verdict(settled); d != dead || a != after || settled.Error() != "loud" {
			t.Errorf("%s: settled is %v, %v, %q; want %v, %v", name, d, a, settled.Error(), dead, after)
		}
		_ = errors.Is(settled, job.ErrLost)
		_ = fmt.Sprintf("%v %+v %q %s", settled, settled, settled, settled)
		if asked != 0 {
			t.Errorf("%s: the error's methods were called %d times more", name, asked)
		}
	}
}

// endless is an error that unwraps to itself.
type endless struct{}

func (e endless) Error() string { return "endless" }

type endlessOne struct{ endless }

func (e endlessOne) Unwrap() error { return e }

type endlessMany struct{ endless }

func (e endlessMany) Unwrap() []error { return []error{e, e} }

func TestAnErrorThatUnwrapsToItselfHasAnEnd(t *testing.T) {
	for _, err := range []error{endlessOne{}, endlessMany{}} {
		if dead, after := job.Verdict(err); dead || after != 0 {
			t.Errorf("%T: %v, %v", err, dead, after)
		}
		if got := job.Settle(err).Error(); got != "endless" {
			t.Errorf("%T: %s", err, got)
		}
	}
	if dead, _ := job.Verdict(errors.Join(errors.New("a"), fmt.Errorf("b: %w", job.Skip(errors.New("c"))))); !dead {
		t.Error("Skip under others is not found")
	}
}

type recursive struct{}

func (r recursive) Error() string { panic(r) }

func TestPanicTextOfAnything(t *testing.T) {
	for want, p := range map[string]any{"boom": "boom", "7": 7, "a job_test.recursive": recursive{}} {
		if got := job.PanicText(p); got != want {
			t.Errorf("panic(%T): %q, want %q", p, got, want)
		}
	}
}
