package producing

import (
	"context"
	"fmt"
	"time"

	"ringmaster/job"
	"ringmaster/streams"
)

// Waiting says how a job's end is waited for. The zero value: in silence, for as long as the context
// lasts.
type Waiting struct {
	// Limit is after what time the present state is the answer, which is no error; 0: never.
	Limit time.Duration
	// Patience is for how long the server may not answer, before its error is the answer; 0: for ever.
	Patience time.Duration
	// Tell hears, unless it is nil, why a job stands still that nobody who lives owns, or what the
	// server does instead of answering: after 2 s, and then every 30 s.
	Tell func(id, why string)
}

// Await waits until a job is completed or dead, or ctx ends. While the server does not answer it
// goes on, as w says. On the end of ctx it returns the last state seen, which has the id even where
// none was, and the cause with what the job waits for.
func Await(ctx context.Context, s *streams.Store, queue, id string, w Waiting) (job.Status, error) {
	last := job.Status{ID: id, Queue: queue}
	again := pauses()
	why := ""
	began := time.Now()
	heard, word := began, began.Add(job.FirstWord)
	for {
		st, err := s.Inspect().WaitJob(ctx, queue, id, w.look(began, word))
		if st.ID != "" {
			last = st
		}
		over := w.Limit > 0 && time.Since(began) >= w.Limit
		switch {
		case err == nil && st.State.Terminal():
			return st, nil
		case ctx.Err() != nil:
			return last, stopped(ctx, id, why)
		case err != nil && (over || !Passing(err) || w.Patience > 0 && time.Since(heard) >= w.Patience):
			return last, err
		case over:
			if st, err = s.Inspect().Job(ctx, queue, id); err == nil {
				last = st // it says why, too
			}
			return last, nil
		case err == nil:
			heard = time.Now()
			again.Reset()
		}
		if !time.Now().Before(word) {
			word = time.Now().Add(job.NextWord)
			if why = standsStill(ctx, s, queue, id, err); why != "" && w.Tell != nil {
				w.Tell(id, why)
			}
		}
		if ctx.Err() != nil || (err != nil && !again.Wait(ctx)) {
			return last, stopped(ctx, id, why)
		}
	}
}

// look is how long the next look at the job may take: until there is something to say, or all is over.
func (w Waiting) look(began, word time.Time) time.Duration {
	most := min(time.Until(word), 10*time.Second)
	if w.Limit > 0 {
		most = min(most, time.Until(began.Add(w.Limit)))
	}
	return max(most, 0)
}

// standsStill is why a job stands still, by what the last look at it came to; "" if nothing is known of.
func standsStill(ctx context.Context, s *streams.Store, queue, id string, err error) string {
	if err != nil {
		return err.Error()
	}
	call, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	st, err := s.Inspect().Job(call, queue, id)
	if err != nil {
		return "" // the next look tells
	}
	return st.Why
}

func stopped(ctx context.Context, id, why string) error {
	if why != "" {
		return fmt.Errorf("wait for job %s, which stands still (%s): %w", id, why, context.Cause(ctx))
	}
	return fmt.Errorf("wait for job %s: %w", id, context.Cause(ctx))
}
