package producing

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

func TestMain(m *testing.M) { redistest.VerifyMain(m) }

// handedIn is a job of a queue that nobody serves.
func handedIn(t *testing.T, url string) (s *streams.Store, id string) {
	t.Helper()
	s, err := streams.Open(streams.Options{URL: url, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	q, err := s.CreateQueue(t.Context(), streams.Queue{Name: "q", Partitions: 8})
	if err != nil {
		t.Fatal(err)
	}
	p := s.NewProducer(q)
	defer p.Close()
	receipts, errs := p.Enqueue(t.Context(), job.Job{Type: "t", Key: "k"})
	if errs != nil {
		t.Fatal(errs)
	}
	return s, receipts[0].ID
}

const nobody = "queue q has no live worker, and no dispatcher leads its ring: start both"

func TestWhoeverWaitsForAJobIsToldThatNobodyLeads(t *testing.T) {
	t.Parallel()
	s, id := handedIn(t, redistest.Mini(t).URL())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var told string
	_, err := Await(ctx, s, "q", id, Waiting{Tell: func(_, why string) { told = why; cancel() }})
	if !strings.Contains(told, nobody) {
		t.Errorf("told %q", told)
	}
	if err == nil || !strings.Contains(err.Error(), nobody) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestAWaitThatIsLimitedAnswersThePresentState: with what the job waits for, and without an error. A
// context that ends at the same moment is one.
func TestAWaitThatIsLimitedAnswersThePresentState(t *testing.T) {
	t.Parallel()
	s, id := handedIn(t, redistest.Mini(t).URL())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	st, err := Await(ctx, s, "q", id, Waiting{Limit: 100 * time.Millisecond})
	if err != nil || st.ID != id || st.State != job.Waiting || !strings.Contains(st.Why, nobody) {
		t.Errorf("%+v, %v", st, err)
	}
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("it answered after %v", took)
	}
	short, end := context.WithTimeout(ctx, 100*time.Millisecond)
	defer end()
	if st, err = Await(short, s, "q", id, Waiting{Limit: time.Hour}); !errors.Is(err, context.DeadlineExceeded) || st.ID != id || st.State != job.Waiting {
		t.Errorf("the context ends first: %+v, %v", st, err)
	}
}

// TestAWaitForAServerThatIsAwayEndsWithPatience: its error is the answer then. Who has no bound goes on,
// and is told meanwhile.
func TestAWaitForAServerThatIsAwayEndsWithPatience(t *testing.T) {
	t.Parallel()
	server := redistest.Real(t)
	s, id := handedIn(t, server.URL())
	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	st, err := Await(ctx, s, "q", id, Waiting{Patience: time.Millisecond})
	if !errors.Is(err, job.ErrUnavailable) || st.ID != id {
		t.Errorf("out of patience: %+v, %v", st, err)
	}
	st, err = Await(ctx, s, "q", id, Waiting{Limit: time.Millisecond})
	if !errors.Is(err, job.ErrUnavailable) || st.ID != id {
		t.Errorf("the time is over: %+v, %v", st, err)
	}
	told := 0
	st, err = Await(ctx, s, "q", id, Waiting{Tell: func(string, string) { told++; cancel() }})
	if !errors.Is(err, context.Canceled) || st.ID != id || told != 1 {
		t.Errorf("as long as it takes: %+v, %v, told %d times", st, err, told)
	}
}

func TestAWaitForAJobThatNeverWasEndsAtOnce(t *testing.T) {
	t.Parallel()
	s, _ := handedIn(t, redistest.Mini(t).URL())
	if _, err := Await(t.Context(), s, "q", "3-1795391093405-0", Waiting{}); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("error %v", err)
	}
}
