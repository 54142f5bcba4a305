// Package app joins the parts into the two services: it is the wiring that the programs,
// the library and the tests share. What it adapts decides nothing.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/configs"
	"ringmaster/consumergroup"
	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
	"ringmaster/recovery"
	"ringmaster/streams"
)

// Open prepares the connection that a configuration names.
func Open(c configs.Common, program string) (*streams.Store, error) { return OpenLike(nil, c, program) }

// OpenLike is Open with connections as a caller's own client makes its own, unless that is nil.
func OpenLike(own redis.UniversalClient, c configs.Common, program string) (*streams.Store, error) {
	if own != nil {
		return streams.Open(streams.Options{Client: own, Namespace: c.Namespace, ClientName: program, Durability: c.Durability})
	}
	e, err := c.Endpoint()
	if err != nil {
		return nil, err
	}
	o := streams.Options{Addrs: e.Addrs, Mode: e.Mode, Username: e.Username, Password: string(e.Password), DB: e.DB,
		Master: e.Master, Namespace: c.Namespace, ClientName: program, Durability: c.Durability}
	o.Credentials = c.Credentials()
	o.SentinelUsername, o.SentinelPassword = c.SentinelUsername, string(c.SentinelPassword)
	if e.TLS {
		if o.TLS, err = c.TLS.Config(); err != nil {
			return nil, job.Invalid("%v", err)
		}
	}
	return streams.Open(o)
}

// groupStore gives a worker what it needs of one queue.
type groupStore struct {
	s    *streams.Store
	want streams.Queue // the counts it has, once it was found
	q    streams.Queue // once prepared
}

func (g *groupStore) Prepare(ctx context.Context) (int, error) {
	q, err := g.s.CreateQueue(ctx, g.want)
	if errors.Is(err, job.ErrConflict) {
		// The queue exists with other counts: the worker serves it as it is.
		q, err = g.s.LookupQueue(ctx, g.want.Name)
	}
	if err != nil {
		return 0, err
	}
	// A server that lost everything gets the queue again as it was, not with the defaults.
	g.q, g.want = q, q
	return q.Shards, nil
}

func (g *groupStore) Member(info job.MemberInfo, ttl time.Duration) consumergroup.Member {
	return g.s.NewMember(g.q, info, ttl)
}

func (g *groupStore) Reader(shard int, incarnation string) consumergroup.Reader {
	return g.s.NewReader(g.q, shard, incarnation)
}

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
