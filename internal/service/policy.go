package service

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"time"

	"ringmaster/consumergroup"
	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
	"ringmaster/recovery"
)

// Policy is how failed and suspect jobs are judged: package recovery.
type Policy struct {
	MaxAttempts int
	Backoff     recovery.Backoff
	Poison      recovery.Poison
	Types       map[string]Type // with attempts and backoff of their own
}

// Before implements consumergroup.Policy.
func (p Policy) Before(record string, now time.Time) lanes.Prior {
	r, err := job.ParseRetry(record)
	if err != nil {
		// Written by hand: as if there were none.
		return lanes.Prior{}
	}
	t := p.Poison.Suspect(r, now, rand.Float64)
	prior := lanes.Prior{Attempts: r.Attempts, Crashes: r.Crashes, NotBefore: r.NotBefore, Suspect: t.Suspect, Apart: t.Apart, Weigh: t.Weigh, Error: r.Error}
	if r.Delay > 0 {
		prior.NotBefore = now.Add(r.Delay)
	}
	if t.Wait.After(prior.NotBefore) {
		prior.NotBefore = t.Wait
	}
	return prior
}

// Guilty implements consumergroup.Policy.
func (p Policy) Guilty(record string, deaths []time.Time) (bool, string) {
	r, err := job.ParseRetry(record)
	if err != nil {
		return false, ""
	}
	return p.Poison.Guilty(r, deaths)
}

// After implements consumergroup.Policy.
func (p Policy) After(f consumergroup.Failure) consumergroup.Decision {
	r, err := job.ParseRetry(f.Record)
	if err != nil {
		r = job.RetryRecord{Attempts: f.Attempt - 1}
	}
	own := p.Types[f.Type]
	d := recovery.Judge(recovery.Failure{Attempt: f.Attempt, MaxAttempts: cmp.Or(own.MaxAttempts, p.MaxAttempts), Err: f.Err,
		Cause: recovery.CauseOf(f.Ended, f.Panicked)}, cmp.Or(own.Backoff, p.Backoff), rand.Float64)
	next := recovery.After(r, d, f.Err.Error())
	out := consumergroup.Decision{Record: next.String(), Delay: next.Delay, Attempts: next.Attempts, Error: next.Error}
	switch d.Action {
	case recovery.Retry:
		out.Outcome = job.Failed
	case recovery.Dead:
		out.Outcome = job.Buried
		out.Error = fmt.Sprintf("%s (%s after %d attempt(s))", next.Error, d.Reason, next.Attempts)
	case recovery.HandBack:
		out.Outcome = job.HandBack
	}
	return out
}
