package demo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"ringmaster/job"
)

const (
	stageLimit = 12 * time.Second
	// holdLimit is how long a worker may be held still without being taken for dead.
	holdLimit = 1500 * time.Millisecond
	ringPoll  = 50 * time.Millisecond
)

// stage is one change of the ring, made when a share of the jobs has been fed.
type stage struct {
	at   float64
	name string
	run  func(context.Context) (string, error)
}

// The last jobs are held back until the last change is over, so that every change has
// work going on and at least a tenth of the jobs open.
const feedCeiling = 0.85

func (d *run) stages() []stage {
	return []stage{
		{0.12, "grow", d.grow},
		{0.30, "kill a worker", d.killWorker},
		{0.48, "kill the leading dispatcher during a resize", d.killLeader},
		{0.70, "shrink", d.shrink},
	}
}

// direct makes all changes, in order.
func (d *run) direct(ctx context.Context) error {
	for _, s := range d.stages() {
		if err := d.waitFed(ctx, s.at); err != nil {
			return err
		}
		if open := d.opts.Jobs - d.progress.done(); open*10 < d.opts.Jobs {
			return fmt.Errorf("%s: only %d of %d jobs are still open: the change would show nothing", s.name, open, d.opts.Jobs)
		}
		limited, cancel := context.WithTimeoutCause(ctx, stageLimit, errTooLate)
		text, err := s.run(limited)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		d.progress.say("%s: %s", s.name, text)
	}
	return nil
}

func (d *run) waitFed(ctx context.Context, share float64) error {
	ticker := time.NewTicker(feedTick)
	defer ticker.Stop()
	for float64(d.feeder.fed()) < share*float64(d.opts.Jobs) {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// assemble starts the first dispatchers and workers and waits until they own the ring.
func (d *run) assemble(ctx context.Context) error {
	for i := range 2 {
		if _, err := d.crew.start(ctx, DispatcherCommand, fmt.Sprintf("dispatcher-%d", i+1)); err != nil {
			return err
		}
	}
	for range 3 {
		if _, err := d.startWorker(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, stageLimit, errTooLate)
	defer cancel()
	return d.settled(ctx)
}

func (d *run) nextWorker() string { return fmt.Sprintf("worker-%d", d.crew.count(WorkerCommand)+1) }

func (d *run) startWorker(ctx context.Context) (*child, error) {
	return d.crew.start(ctx, WorkerCommand, d.nextWorker())
}

func (d *run) grow(ctx context.Context) (string, error) {
	w, err := d.startWorker(ctx)
	if err != nil {
		return "", err
	}
	if err := d.settled(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s joined; %d workers", w.name, len(d.crew.of(WorkerCommand))), nil
}

// killWorker holds workers still, one after the other, until one is found whose ledger
// shows jobs under way, and kills that one.
func (d *run) killWorker(ctx context.Context) (string, error) {
	for {
		for _, w := range d.crew.of(WorkerCommand) {
			w.signal(syscall.SIGSTOP)
			runs, err := readLedger(w.ledger, w.name)
			held := open(runs)
			if err != nil || len(held) == 0 {
				w.signal(syscall.SIGCONT)
				if err != nil {
					return "", err
				}
				continue
			}
			w.kill()
			d.killed[w.who()] = true
			if err := d.settled(ctx); err != nil {
				return "", err
			}
			return fmt.Sprintf("%s was killed with %d job(s) under way; %d workers", w.name, len(held), len(d.crew.of(WorkerCommand))), nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return "", fmt.Errorf("no worker had a job under way: %w", context.Cause(ctx))
		}
	}
}

// killLeader has a worker join and kills the leading dispatcher while partitions are
// still on their way. Moving them takes milliseconds, so one of the workers that must
// give some away is held still from the join until the dispatcher is dead. On a busy
// machine the resize may be over before that; then another worker joins.
func (d *run) killLeader(ctx context.Context) (string, error) {
	const tries = 3
	for range tries {
		leader, err := d.leader(ctx)
		if err != nil {
			return "", err
		}
		joiner, during, err := d.killDuringJoin(ctx, leader)
		if err != nil {
			return "", err
		}
		if err := d.settled(ctx); err != nil {
			return "", err
		}
		if !during {
			continue
		}
		next, err := d.leader(ctx)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s was killed while %s joined; the workers finished, %s leads", leader.name, joiner.name, next.name), nil
	}
	return "", fmt.Errorf("in %d tries the resize was over too soon", tries)
}

// killDuringJoin reports whether the leader was killed while partitions were on their
// way. If it was not, it lives.
func (d *run) killDuringJoin(ctx context.Context, leader *child) (joiner *child, during bool, err error) {
	mark := d.recorder.mark()
	loser := d.crew.of(WorkerCommand)[0]
	if joiner, err = d.crew.launch(WorkerCommand, d.nextWorker()); err != nil {
		return nil, false, err
	}
	if _, err := d.recorder.await(ctx, mark, readyTimeout, joinOf(joiner.name)); err != nil {
		return nil, false, fmt.Errorf("wait until %s joins: %w\n%s", joiner.name, err, joiner.tail())
	}
	loser.signal(syscall.SIGSTOP)
	defer loser.signal(syscall.SIGCONT)
	if _, err := d.recorder.await(ctx, mark, holdLimit, planned); err != nil {
		return nil, false, fmt.Errorf("wait for the plan after %s has joined: %w", joiner.name, err)
	}
	ring, err := d.store.Inspect().RingView(ctx, d.queue.Name)
	if err != nil {
		return nil, false, fmt.Errorf("look at the ring: %w", err)
	}
	if ring.Phase == 0 {
		return joiner, false, nil
	}
	leader.kill() // what the loser must give away cannot have moved: it is held
	d.dispatchersKilled++
	return joiner, true, nil
}

func (d *run) shrink(ctx context.Context) (string, error) {
	w := d.crew.of(WorkerCommand)[0]
	if err := w.leave(ctx); err != nil {
		return "", err
	}
	if err := d.settled(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s left; %d workers", w.name, len(d.crew.of(WorkerCommand))), nil
}

// leader waits until one of the demo's dispatchers leads the ring.
func (d *run) leader(ctx context.Context) (*child, error) {
	stranger := ""
	for {
		ring, err := d.store.Inspect().RingView(ctx, d.queue.Name)
		if err != nil {
			return nil, fmt.Errorf("ask who leads: %w", err)
		}
		for _, ch := range d.crew.of(DispatcherCommand) {
			if ring.Leader != "" && leads(ch, ring.Leader) {
				return ch, nil
			}
		}
		stranger = ring.Leader
		select {
		case <-time.After(ringPoll):
		case <-ctx.Done():
			return nil, fmt.Errorf("no dispatcher of the demo leads the ring, but %q: %w", stranger, context.Cause(ctx))
		}
	}
}

// leads recognises a dispatcher by the name that it told or that it logs for itself.
func leads(ch *child, leader string) bool {
	if ch.who() == leader {
		return true
	}
	log, err := os.ReadFile(ch.log)
	return err == nil && bytes.Contains(log, []byte("dispatcher="+leader))
}

// settled waits until the workers that run, and no others, are members, and own all
// partitions, and nothing is on its way.
func (d *run) settled(ctx context.Context) error {
	for {
		ring, err := d.store.Inspect().RingView(ctx, d.queue.Name)
		if err != nil {
			return fmt.Errorf("look at the ring: %w", err)
		}
		why := d.unsettled(ring)
		if why == "" {
			return nil
		}
		select {
		case <-time.After(ringPoll):
		case <-ctx.Done():
			return fmt.Errorf("the ring has not come to rest: %s: %w", why, context.Cause(ctx))
		}
	}
}

func (d *run) unsettled(ring job.RingView) string {
	want := map[string]bool{}
	for _, w := range d.crew.of(WorkerCommand) {
		want[w.name] = true
	}
	members := map[string]bool{}
	for _, m := range ring.Members {
		if !want[m.Name] || m.State != "up" {
			return m.Name + " is still a member"
		}
		members[m.Incarnation] = true
	}
	if len(members) != len(want) {
		return fmt.Sprintf("%d of %d workers have joined", len(members), len(want))
	}
	owns := map[string]int{}
	for _, p := range ring.Partitions {
		if !members[p.Owner] {
			return fmt.Sprintf("partition %d is owned by %s", p.Partition, p.Owner)
		}
		owns[p.Owner]++
	}
	if ring.Phase != 0 || len(owns) < len(want) {
		return "partitions are on their way"
	}
	return ""
}
