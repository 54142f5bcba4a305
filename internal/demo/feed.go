package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"ringmaster/job"
	"ringmaster/streams"
)

const feedTick = 20 * time.Millisecond

// feeder submits tasks at an even pace, in order, up to a ceiling that others raise.
type feeder struct {
	producer *streams.Producer
	tasks    []task
	rate     float64 // jobs per second

	mu        sync.Mutex
	submitted []Submitted
	ceiling   int
}

func (f *feeder) fed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.submitted)
}

func (f *feeder) raise(ceiling int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ceiling = ceiling
}

// run returns when all tasks are submitted. Any failure ends it: what the server
// answered nothing about can be audited as neither lost nor done.
func (f *feeder) run(ctx context.Context) error {
	ticker := time.NewTicker(feedTick)
	defer ticker.Stop()
	credit, last := 0.0, time.Now()
	for {
		now := time.Now()
		// Time that was spent waiting below the ceiling is not made up for in one go.
		credit = min(credit+f.rate*now.Sub(last).Seconds(), max(1, f.rate/4))
		last = now
		f.mu.Lock()
		from := len(f.submitted)
		n := min(int(credit), f.ceiling-from)
		f.mu.Unlock()
		if n > 0 {
			if err := f.submit(ctx, f.tasks[from:from+n]); err != nil {
				return err
			}
			credit -= float64(n)
		}
		if from+max(n, 0) == len(f.tasks) {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (f *feeder) submit(ctx context.Context, tasks []task) error {
	jobs := make([]job.Job, len(tasks))
	for i, t := range tasks {
		payload, err := json.Marshal(t.path)
		if err != nil {
			return fmt.Errorf("encode path: %w", err)
		}
		jobs[i] = job.Job{Type: jobType, Key: t.key, Payload: payload}
	}
	receipts, errs := f.producer.Enqueue(ctx, jobs...)
	if errs != nil {
		return fmt.Errorf("submit jobs: %w", errors.Join(errs...))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, r := range receipts {
		f.submitted = append(f.submitted, Submitted{ID: r.ID, Key: tasks[i].key, Path: tasks[i].path})
	}
	return nil
}
