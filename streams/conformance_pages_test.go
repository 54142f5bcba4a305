package streams

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// after does something when a call has been answered: the first of a script.
type after struct{ do func() }

func (a *after) once() {
	if do := a.do; do != nil {
		a.do = nil
		do()
	}
}

func (a *after) DialHook(next redis.DialHook) redis.DialHook { return next }

func (a *after) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if strings.HasPrefix(cmd.Name(), "eval") && err == nil {
			a.once()
		}
		return err
	}
}

func (a *after) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if strings.HasPrefix(cmds[0].Name(), "eval") && err == nil {
			a.once()
		}
		return err
	}
}

// manyParts is more than a page of partitions, of a look and of a snapshot.
const manyParts = 2*snapshotParts + 3

// A plan that is written while a leader reads page after page: it reads all anew.
func TestLookIsOfOnePlan(t *testing.T) {
	eachCrew(t, Queue{Partitions: manyParts}, func(c *crew) {
		a, b := c.join("a.1"), c.join("b.1")
		c.give(a)
		page := &after{do: func() { must(c.t, c.plan("key", b.inc)) }}
		c.s.cmd.AddHook(page)
		rec := must1(c.ring.Look(c.ctx))(c.t)
		c.expect("epoch", rec.Epoch, 2)
		for p := range rec.Plan {
			if rec.Plan[p] != b.inc || rec.Owners[p] != (OwnerRecord{a.inc, 1}) {
				c.t.Fatalf("partition %d is planned for %s, and of %v", p, rec.Plan[p], rec.Owners[p])
			}
		}
		c.expect("what moves", len(rec.Moves), manyParts)
	})
}

// What a worker reads of its records is of one moment, whatever moves meanwhile.
func TestSnapshotIsOfOneMoment(t *testing.T) {
	const last = manyParts - 1
	eachCrew(t, Queue{Partitions: manyParts}, func(c *crew) {
		a, b := c.join("a.1"), c.join("b.1")
		c.give(a)
		targets := make([]string, manyParts)
		for p := range targets {
			targets[p] = a.inc
		}
		targets[0], targets[last] = b.inc, b.inc
		must(c.t, c.plan("key", targets...))
		c.expect("release", a.release(0, 1), job.Released)
		again := c.s.NewReader(c.q, 0, a.inc) // one connection reads, the other lets go meanwhile
		must(c.t, again.Reset(c.ctx))
		defer func() { _ = again.Close() }()
		second := &hand{crew: c, inc: a.inc, member: a.member, readers: []*Reader{again}}
		a.readers[0].conn.AddHook(&after{do: func() {
			targets[0], targets[1] = a.inc, b.inc
			must(c.t, c.plan("key", targets...))
			c.expect("it gains one of the page that was read", b.release(0, 2), job.Released)
			c.expect("and loses one", second.release(1, 1), job.Released)
		}})
		snap := must1(a.readers[0].Snapshot(c.ctx))(c.t)
		beat := must1(a.member.Heartbeat(c.ctx))(c.t)[0]
		c.expect("numbers", snap.Beat, beat)
		c.expect("what it owns", len(snap.Owned), manyParts-1)
		c.expect("the first", snap.Owned[0], job.OwnedPartition{Partition: 0, Epoch: 3, Planned: a.inc})
		c.expect("the next", snap.Owned[1], job.OwnedPartition{Partition: 2, Epoch: 1, Planned: a.inc})
		c.expect("the last", snap.Owned[last-1], job.OwnedPartition{Partition: last, Epoch: 1, Planned: b.inc})
	})
}

// Members are read in pages too, and phase 2 names them all.
func TestManyMembers(t *testing.T) {
	const members = 2*lookMembers + 44
	eachCrew(t, Queue{Partitions: 2}, func(c *crew) {
		a := c.give(c.join("a.1"))
		for n := range members - 1 {
			m := c.s.NewMember(c.q, job.MemberInfo{Incarnation: fmt.Sprintf("m%d.1", n), Name: fmt.Sprint("m", n), Weight: 1, Slots: 4}, time.Minute)
			must1(m.Join(c.ctx))(c.t)
		}
		seen := map[string]bool{}
		for _, m := range must1(c.ring.Look(c.ctx))(c.t).Members {
			if seen[m.Incarnation] = true; m.State != "up" || m.LeaseLeft <= 0 {
				c.t.Fatalf("%+v", m)
			}
		}
		c.expect("members", len(seen), members)
		must(c.t, c.plan("key", "m7.1", a.inc))
		c.expect("release", a.release(0, 1), job.Released)
		told := c.control()
		c.expect("phase 2 names", len(told[len(told)-2].Members), members)
		c.expect("of the partition", told[len(told)-2].SyncTo[0], "0-0")
	})
}

// A plan writes what it changes, keeps what is on its way, and tells only whom it concerns.
func TestPlanOfWhatChanges(t *testing.T) {
	eachCrew(t, Queue{Partitions: 4}, func(c *crew) {
		a, b, d := c.join("a.1"), c.join("b.1"), c.join("d.1")
		c.give(a)
		must(c.t, c.plan("key", b.inc, b.inc, a.inc, a.inc))
		c.expect("told", len(a.inbox()), 5) // four gains and a loss
		must(c.t, c.plan("key", b.inc, a.inc, d.inc, a.inc))
		rec := must1(c.ring.Look(c.ctx))(c.t)
		c.expect("plan", rec.Plan, []string{b.inc, a.inc, d.inc, a.inc})
		c.expect("moves on record", must1(c.raw.SMembers(c.ctx, c.key(0, "moves")).Result())(c.t), []string{"0", "2"})
		in := a.inbox()
		m := in[len(in)-1]
		c.expect("the loser's parts", m.Parts, []int{0, 2})
		// Partition 1 is given back: a number is missing, so that the records are read.
		c.expect("numbers", []uint64{in[len(in)-2].Change, m.Change}, []uint64{5, 7})
		for _, other := range []*hand{b, d} {
			beat := must1(other.member.Heartbeat(c.ctx))(c.t)[0]
			c.expect("nobody else is told", fmt.Sprint(len(other.inbox()), beat.Change, beat.RingEpoch), "0 0 3")
		}
		must(c.t, c.plan("key", a.inc))
		c.expect("phase", must1(c.ring.Look(c.ctx))(c.t).Phase, 0)
		in = a.inbox()
		c.expect("all is given back", fmt.Sprint(in[len(in)-1].Parts, in[len(in)-1].Change), "[] 9")
	})
}
