package main

import (
	"context"
	"fmt"
	"time"

	"ringmaster/job"
)

// handlerRows are handlers that take long, do not listen, or take their process with them.
func handlerRows() []Row {
	long := RingSpec{Name: "long", Role: func(r *Role) { r.HandlerTimeout = time.Minute }}
	short := RingSpec{Name: "short", Role: func(r *Role) { r.HandlerTimeout, r.DrainTimeout = 4*time.Second, 3*time.Second }}
	return []Row{
		{Number: 58, Name: "a handler takes ten leases", Expect: "it is not taken from its worker", Ring: long, Run: takesLong},
		{Number: 59, Name: "a handler ignores its context after its worker was fenced, and at the stop", Expect: "its end is refused; the worker stops by its drain timeout; the job completes once elsewhere", Ring: short, Run: ignores},
		{Number: 60, Name: "a handler panics, exits, ends its goroutine, returns an error that panics, overflows its stack, hangs, takes 1 GiB", Expect: "a panic, a Goexit and a timeout are failed attempts; a dead process is a crash; all complete", Ring: short, Run: misbehaves},
		{Number: 61, Name: "a job that kills its worker each time", Expect: "a dead letter after few kills; the other keys go on", Ring: short, Run: poison},
		{Number: 73, Name: "worker killed: its command has not read its payload, and outlives it", Expect: "each command reads the whole payload; the job completes once", Run: commandOutlives},
		{Number: 77, Name: "workers killed in pairs, again and again, one of them in the same long job each time", Expect: "what they ran is no dead letter, and completes: a death beside another is no evidence", Run: killedInPairs},
	}
}

func takesLong(ctx context.Context, r *Rig) error {
	p, err := r.Worker(ctx)
	if err != nil {
		return err
	}
	key, err := r.KeyOf(ctx, p)
	if err != nil {
		return err
	}
	began, mark := time.Now(), r.mark("long")
	id, err := r.Submit(ctx, Work{Ms: int(10 * leaseTTL / time.Millisecond), Mark: mark}, key)
	if err != nil {
		return err
	}
	if err := r.Completed(ctx, id, 10*leaseTTL+10*time.Second); err != nil {
		return err
	}
	if took := time.Since(began); took < 10*leaseTTL {
		return notHit("it took %v", took)
	}
	if n := r.Starts(mark); n != 1 {
		return fmt.Errorf("it was started %d times", n)
	}
	return nil
}

func ignores(ctx context.Context, r *Rig) error {
	p, err := r.Worker(ctx)
	if err != nil {
		return err
	}
	before := r.Incarnation(ctx, p)
	id, mark, err := r.deaf(ctx, p, 9*time.Second)
	if err != nil {
		return err
	}
	if err := r.Freeze(p); err != nil {
		return err
	}
	at := time.Now()
	if err := frozenOut(ctx, r, p, before, at); err != nil {
		return err
	}
	if n := r.Starts(mark); n != 2 {
		return fmt.Errorf("the job was started %d times, want 2: by the frozen one and once more", n)
	}
	if err := r.Completed(ctx, id, 15*time.Second); err != nil {
		return err
	}
	return r.stopsDeaf(ctx)
}

// stopsDeaf stops a worker whose handler does not listen.
func (r *Rig) stopsDeaf(ctx context.Context) error {
	q, err := r.Worker(ctx)
	if err != nil {
		return err
	}
	id, _, err := r.deaf(ctx, q, 9*time.Second)
	if err != nil {
		return err
	}
	if err := r.Term(q); err != nil {
		return err
	}
	if err := r.Ended(ctx, q, 3*time.Second+3*time.Second); err != nil {
		return fmt.Errorf("a handler that ignores its context: %w", err)
	}
	return r.Completed(ctx, id, 20*time.Second)
}

// deaf makes a worker run a job that does not listen to its context.
func (r *Rig) deaf(ctx context.Context, p *Proc, long time.Duration) (id, mark string, err error) {
	key, err := r.KeyOf(ctx, p)
	if err != nil {
		return "", "", err
	}
	mark = r.mark("deaf")
	id, err = r.Submit(ctx, Work{Do: doIgnore, Ms: int(long / time.Millisecond), Mark: mark}, key)
	if err != nil {
		return "", "", err
	}
	if r.Until(ctx, "it runs", 5*time.Second, func() bool { return r.Starts(mark) > 0 }) != nil {
		return "", "", notHit("the job does not run")
	}
	return id, mark, nil
}

// mark is a name that no job had before.
func (r *Rig) mark(what string) string {
	r.tasks++
	return fmt.Sprintf("%s-%d", what, r.tasks)
}

func misbehaves(ctx context.Context, r *Rig) error {
	type one struct {
		do       string
		starts   int
		attempts int // that count
		kills    bool
		mark     string
	}
	all := []*one{{do: doPanic, starts: 3, attempts: 3}, {do: doGoexit, starts: 2, attempts: 2}, {do: doHang, starts: 2, attempts: 2},
		{do: doSpite, starts: 2, attempts: 2}, {do: doNil, starts: 1, attempts: 1},
		{do: doAlloc, starts: 1, attempts: 1}, {do: doExit, kills: true, starts: 2, attempts: 1}, {do: doStack, kills: true, starts: 2, attempts: 1}}
	for _, o := range all {
		o.mark = r.mark(o.do)
		before := len(r.Live(worker))
		id, err := r.Submit(ctx, Work{Do: o.do, Ms: 5, Mark: o.mark}, o.mark)
		if err != nil {
			return err
		}
		if o.kills {
			if err := r.Until(ctx, "a worker dies of "+o.do, 15*time.Second, func() bool { return len(r.Live(worker)) < before }); err != nil {
				return notHit("%w", err)
			}
			r.run.count(&r.run.kills)
			if err := joins(ctx, r); err != nil {
				return err
			}
		}
		if err := r.Completed(ctx, id, 30*time.Second); err != nil {
			return fmt.Errorf("%s: %w", o.do, err)
		}
		n := r.Starts(o.mark)
		if o.do == doAlloc && n == 2 {
			// The machine took so long to give the memory that the worker's lease was over.
			r.Logf("%s: started again, by another worker", o.do)
			continue
		}
		if n != o.starts {
			return fmt.Errorf("%s: %d starts, want %d", o.do, n, o.starts)
		}
		st, err := r.Status(ctx, id)
		if err != nil {
			return err
		}
		if o.attempts > 1 && st.Attempts != o.attempts {
			return fmt.Errorf("%s: %d attempts counted, want %d", o.do, st.Attempts, o.attempts)
		}
	}
	return nil
}

func poison(ctx context.Context, r *Rig) error {
	mark := r.mark(doPoison)
	id, err := r.Submit(ctx, Work{Do: doPoison, Mark: mark}, mark)
	if err != nil {
		return err
	}
	err = r.Until(ctx, "the poisoned job is a dead letter", 90*time.Second, func() bool {
		for n := len(r.Live(worker)); n < r.Spec.Workers; n++ {
			if joins(ctx, r) != nil {
				return false
			}
		}
		st, err := r.Status(ctx, id)
		return err == nil && st.State == job.Dead
	})
	if err != nil {
		return err
	}
	n := r.Starts(mark)
	if n < 2 {
		return notHit("the job killed %d workers", n)
	}
	for range n {
		r.run.count(&r.run.kills)
	}
	if n > mostPoisonKills {
		return fmt.Errorf("a poisoned job killed %d workers, want at most %d", n, mostPoisonKills)
	}
	r.Logf("%d kills", n)
	_, err = r.Flows(ctx, 15*time.Second)
	return err
}

// mostPoisonKills is what a suspect takes that runs beside long ones, and one whose mark was not written.
const mostPoisonKills = 9
