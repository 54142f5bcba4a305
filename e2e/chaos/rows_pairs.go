package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ringmaster/job"
)

// pairKills is how often the first innocent job's worker dies under it: more than the crashes
// after which a job can be given up for its own deeds.
const pairKills = 6

// innocents are jobs that kill nobody and take long enough to be there when somebody does.
const innocents = 8

// killedInPairs kills the worker that runs an innocent job together with another, each time the
// job has started. Nobody knows from one death whose deed it was; from two in one moment, that it was
// neither's.
func killedInPairs(ctx context.Context, r *Rig) error {
	marks, ids := make([]string, innocents), make([]string, innocents)
	for i := range ids {
		marks[i] = r.mark("innocent")
		var err error
		if ids[i], err = r.Submit(ctx, Work{Ms: 5000, Mark: marks[i]}, marks[i]); err != nil {
			return err
		}
	}
	first, err := job.ParseID(ids[0])
	if err != nil {
		return fmt.Errorf("id of a job: %w", err)
	}
	for n := range pairKills {
		if err := r.Until(ctx, "the job starts again", time.Minute, func() bool { return r.Starts(marks[0]) > n }); err != nil {
			return errors.Join(err, r.allWell(ctx, ids))
		}
		if err := r.killPair(ctx, first.Partition); err != nil {
			return err
		}
		if err := r.allWell(ctx, ids); err != nil {
			return fmt.Errorf("after %d pairs: %w", n+1, err)
		}
	}
	for _, id := range ids {
		if err := r.Completed(ctx, id, 3*time.Minute); err != nil {
			return err
		}
	}
	if n := r.Starts(marks[0]); n <= pairKills {
		return notHit("the job was started %d times, and its worker killed %d times", n, pairKills)
	}
	return nil
}

// killPair kills the worker that owns a partition and another one in one moment, and starts two.
func (r *Rig) killPair(ctx context.Context, partition int) error {
	owner := ""
	for _, p := range r.View(ctx).Partitions {
		if p.Partition == partition {
			owner, _, _ = strings.Cut(p.Owner, ".")
		}
	}
	live := r.Live(worker)
	at := slices.IndexFunc(live, func(p *Proc) bool { return p.Name == owner })
	if at < 0 || len(live) < 2 {
		return notHit("the job's worker does not live")
	}
	one, others := live[at], slices.Delete(slices.Clone(live), at, at+1)
	pair := []*Proc{one, others[r.Rand.IntN(len(others))]}
	var both sync.WaitGroup
	for _, p := range pair {
		both.Go(p.end)
	}
	both.Wait()
	for _, p := range pair {
		r.run.count(&r.run.kills)
		r.book.fault("kill", p)
		if err := joins(ctx, r); err != nil {
			return err
		}
	}
	return r.Owned(ctx, back)
}

// allWell: none of the jobs is a dead letter.
func (r *Rig) allWell(ctx context.Context, ids []string) error {
	for _, id := range ids {
		if st, err := r.Status(ctx, id); err == nil && st.State == job.Dead {
			return fmt.Errorf("job %s did nothing, and is a dead letter: %s", id, st.Error)
		}
	}
	return nil
}
