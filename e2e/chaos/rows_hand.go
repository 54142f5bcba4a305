package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ringmaster/job"
)

// handRows are what somebody does to the server by hand.
func handRows() []Row {
	return []Row{
		{Number: 65, Name: "the server's memory is full", Expect: "submissions are refused; what is there drains, a worker joins, leases hold; with memory again jobs run", Run: memoryFull},
		{Number: 66, Name: "the eviction policy is changed to allkeys-lru", Expect: "a dispatcher's log warns within a minute, and the settings check tells", Run: evicts},
		{Number: 68, Name: "a group destroyed, a partition deleted, then everything", Expect: "the group and the records are made again; only what was deleted is lost; jobs run", Run: deletes, Loss: true},
		{Number: 69, Name: "control streams deleted in the middle of a resize", Expect: "workers read the records; the resize ends", Ring: barrier(), Run: controlDeleted},
		{Number: 70, Name: "replies to a resize deleted in the middle of it", Expect: "members reply again, or are made to; the resize ends", Ring: barrier(), Run: repliesDeleted},
	}
}

func prefixed(name string) string { return "rm:{" + queueName + "}:" + name }

func memoryFull(ctx context.Context, r *Rig) error {
	before := r.pids()
	if err := r.config(ctx, "maxmemory", "1"); err != nil {
		return err
	}
	err := fullMemory(ctx, r)
	if undo := r.config(ctx, "maxmemory", "0"); err != nil || undo != nil {
		return errors.Join(err, undo)
	}
	return sameProcesses(ctx, r, before, time.Now(), "")
}

func fullMemory(ctx context.Context, r *Rig) error {
	if _, err := r.status(ctx); err == nil {
		return errors.New("a submission was taken with a full memory")
	} else if !strings.Contains(err.Error(), "OOM") {
		r.Logf("refused with %v", err)
	}
	members := r.View(ctx).Members
	if err := joins(ctx, r); err != nil {
		return err
	}
	if err := r.Settled(ctx, 15*time.Second); err != nil {
		return fmt.Errorf("with a full memory: %w", err)
	}
	if err := r.Done(ctx, 15*time.Second); err != nil {
		return fmt.Errorf("with a full memory: %w", err)
	}
	r.Wait(ctx, leaseTTL+time.Second)
	after := r.View(ctx).Members
	for _, m := range members {
		if !slices.ContainsFunc(after, func(o job.RingMember) bool { return o.Incarnation == m.Incarnation }) {
			return fmt.Errorf("%s lost its lease with a full memory", m.Incarnation)
		}
	}
	return nil
}

func evicts(ctx context.Context, r *Rig) error {
	if err := r.config(ctx, "maxmemory-policy", "allkeys-lru"); err != nil {
		return err
	}
	since := time.Now()
	told := slices.ContainsFunc(r.Store.Inspect().Warnings(ctx), func(w string) bool { return strings.Contains(w, "allkeys-lru") })
	err := r.Until(ctx, "a dispatcher warns", 70*time.Second, func() bool {
		return slices.ContainsFunc(r.Live(dispatcher), func(p *Proc) bool { return p.logged("allkeys-lru") })
	})
	r.Metric("eviction policy warned of", time.Since(since))
	if undo := r.config(ctx, "maxmemory-policy", "noeviction"); err != nil || undo != nil {
		return errors.Join(err, undo)
	}
	if !told {
		return errors.New("the settings check does not tell that the server may evict jobs")
	}
	return nil
}

func deletes(ctx context.Context, r *Rig) error {
	raw := r.Raw()
	defer raw.Close()
	// A group: what was pending runs again, and nothing is lost.
	part := r.Rand.IntN(r.Queue.Partitions)
	owner := r.View(ctx).Partitions[part].Owner
	stream := prefixed(fmt.Sprintf("jobs:%d", part))
	began := time.Now()
	if n, err := raw.XGroupDestroy(ctx, stream, owner).Result(); err != nil || n == 0 {
		return notHit("destroyed %d groups: %v", n, err)
	}
	if err := recovered(ctx, r, "", time.Now(), back); err != nil {
		return fmt.Errorf("after the group was destroyed: %w", err)
	}
	k, err := r.reckon(ctx)
	if err != nil {
		return err
	}
	if len(k.forgotten) > 0 {
		return fmt.Errorf("%d jobs lost with a group, such as %s", len(k.forgotten), k.forgotten[0].id)
	}
	r.loud()
	// A stream: what was waiting or running there is gone, and no other job.
	if err := r.Flow(ctx); err != nil {
		return err
	}
	if n, err := raw.Del(ctx, stream).Result(); err != nil || n == 0 {
		return notHit("deleted %d streams: %v", n, err)
	}
	deleted := time.Now()
	if err := recovered(ctx, r, "", deleted, back); err != nil {
		return fmt.Errorf("after a stream was deleted: %w", err)
	}
	if k, err = r.reckon(ctx); err != nil {
		return err
	}
	for _, l := range k.lost {
		if l.id.Partition != part {
			return fmt.Errorf("job %s is lost; the deleted stream is %d", l.id, part)
		}
	}
	if err := k.within(k.lost, began, deleted.Add(100*time.Millisecond)); err != nil {
		return err
	}
	r.loud()
	return everything(ctx, r, began)
}

// everything deletes all records. The journal begins anew, so ends are counted from the
// ledgers.
func everything(ctx context.Context, r *Rig, began time.Time) error {
	raw := r.Raw()
	defer raw.Close()
	if err := r.Flow(ctx); err != nil {
		return err
	}
	if err := raw.FlushAll(ctx).Err(); err != nil {
		return fmt.Errorf("delete everything: %w", err)
	}
	flushed := time.Now()
	if err := r.Settled(ctx, back); err != nil {
		return fmt.Errorf("after everything was deleted: %w", err)
	}
	if err := recovered(ctx, r, "everything deleted", flushed, back+10*time.Second); err != nil {
		return fmt.Errorf("after everything was deleted: %w", err)
	}
	k, err := r.reckon(ctx)
	if err != nil {
		return err
	}
	return k.within(k.lost, began, flushed.Add(100*time.Millisecond))
}

// midway starts a resize and returns when its ring is in a phase.
func midway(ctx context.Context, r *Rig) error {
	// Somebody is busy, so that the barrier stands for a while.
	if err := leavesOthersBusy(ctx, r); err != nil {
		return err
	}
	return r.Until(ctx, "a resize is under way", 5*time.Second, func() bool { return r.View(ctx).Phase != 0 })
}

func controlDeleted(ctx context.Context, r *Rig) error {
	return deletedMidway(ctx, r, "control*")
}

func repliesDeleted(ctx context.Context, r *Rig) error {
	return deletedMidway(ctx, r, "acks:*")
}

func deletedMidway(ctx context.Context, r *Rig, pattern string) error {
	raw := r.Raw()
	defer raw.Close()
	if err := midway(ctx, r); err != nil {
		return notHit("%w", err)
	}
	keys, err := raw.Keys(ctx, prefixed(pattern)).Result()
	if err != nil {
		return fmt.Errorf("list keys: %w", err)
	}
	if pattern == "acks:*" {
		epoch := r.View(ctx).Epoch
		keys = []string{prefixed(fmt.Sprint("acks:", epoch)), prefixed(fmt.Sprint("replied:", epoch))}
	}
	n, err := raw.Del(ctx, keys...).Result()
	if err != nil {
		return fmt.Errorf("delete %s: %w", pattern, err)
	}
	at := time.Now()
	if n == 0 || r.View(ctx).Phase == 0 {
		return notHit("%d keys deleted, phase %d", n, r.View(ctx).Phase)
	}
	if err := recovered(ctx, r, "", at, 30*time.Second); err != nil {
		return err
	}
	return r.Until(ctx, "the resize ends", 30*time.Second-time.Since(at), func() bool { return r.View(ctx).Phase == 0 })
}
