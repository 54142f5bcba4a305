package streams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringmaster/internal/failpoint"
	"ringmaster/job"
)

// ErrNotLeader: another dispatcher has a higher term; nothing was written.
var ErrNotLeader = errors.New("another dispatcher leads")

// ErrMoved: the records are not as the caller last saw them; nothing was written.
var ErrMoved = errors.New("records have changed")

// Ring is a leader's hand on a queue's records. Safe for concurrent use, but for Hold, which one
// goroutine calls.
type Ring struct {
	s          *Store
	q          Queue
	dispatcher string

	asked uint64 // calls of Hold
}

// NewRing prepares the calls of one dispatcher on one queue.
func (s *Store) NewRing(q Queue, dispatcher string) *Ring {
	return &Ring{s: s, q: q, dispatcher: dispatcher}
}

// Lead takes or renews the leadership for ttl. term is 0 while another leads.
func (r *Ring) Lead(ctx context.Context, ttl time.Duration) (term uint64, leader string, err error) {
	v, err := r.s.run(ctx, r.s.vital, &r.s.scripts.lead, r.s.shard(r.q, 0), r.dispatcher, ttl.Milliseconds())
	if err != nil {
		return 0, "", err
	}
	return number(at(list(v), 0)), text(at(list(v), 1)), nil
}

// Resign gives the leadership up, if it is the caller's.
func (r *Ring) Resign(ctx context.Context) error {
	_, err := r.s.run(ctx, r.s.cmd, &r.s.scripts.resign, r.s.shard(r.q, 0), r.dispatcher)
	return err
}

// Plan is a wanted assignment.
type Plan struct {
	Term, BaseEpoch uint64
	Read            *Records // what it was computed from: only what is to change is written; nil: all is
	Mode            string
	Request         string // of Records, when the plan answers it
	Targets         []string
	Members         []job.MemberInfo
}

// WritePlan makes the plan the wanted assignment, as the ring epoch after all of Records. ErrMoved if
// the ring epoch is another by now or a target is not up; ErrNotLeader.
func (r *Ring) WritePlan(ctx context.Context, p Plan) error {
	members, err := json.Marshal(ringMembers(p.Members))
	if err != nil {
		return fmt.Errorf("encode members: %w", err)
	}
	epoch := p.BaseEpoch + 1
	if p.Read != nil {
		epoch = max(epoch, p.Read.Highest+1)
	}
	for sh := range r.q.Shards {
		args := []any{epochText(p.Term), p.from(sh), epochText(epoch), p.Mode, p.Request, r.dispatcher, members, r.q.Shards}
		for n := sh; n < len(p.Targets); n += r.q.Shards {
			if p.changes(n) {
				args = append(args, n, p.Targets[n])
			}
		}
		v, err := r.s.run(ctx, r.s.cmd, &r.s.scripts.plan, r.s.shard(r.q, sh), args...)
		if err != nil {
			return err
		}
		if err := verdict(text(at(list(v), 0)), list(v)); err != nil {
			return fmt.Errorf("plan %d: %w", epoch, err)
		}
	}
	failpoint.Hit(failpoint.D2)
	return nil
}

// from is the ring epoch that a shard must be in; empty: any below the plan's.
func (p *Plan) from(shard int) string {
	switch {
	case shard == 0:
		return epochText(p.BaseEpoch)
	case p.Read != nil:
		return epochText(p.Read.Shards[shard].Epoch)
	}
	return ""
}

// changes reports whether a partition gets another planned owner, or is not with its own.
func (p *Plan) changes(n int) bool {
	to := p.Targets[n]
	return p.Read == nil || to != p.Read.Plan[n] || to != p.Read.Owners[n].Incarnation
}

// ringMember is a member as `ring get` shows it.
type ringMember struct {
	Name        string `json:"name"`
	Incarnation string `json:"incarnation"`
	State       string `json:"state"`
	Weight      int    `json:"weight"`
}

func ringMembers(ms []job.MemberInfo) []ringMember {
	out := make([]ringMember, len(ms))
	for i, m := range ms {
		out[i] = ringMember{m.Name, m.Incarnation, m.State, m.Weight}
	}
	return out
}

func verdict(word string, l []any) error {
	switch word {
	case "STALE":
		return ErrNotLeader
	case "CONFLICT":
		return fmt.Errorf("%w: %s", ErrMoved, text(at(l, 1)))
	case "MISMATCH":
		return fmt.Errorf("the pending list did not move whole; nothing was changed")
	}
	return nil
}

// Steal is one flip on behalf of an owner that is no longer a member.
type Steal struct {
	Partition int
	From      string
	Epoch     uint64
	To        string
}

// StealAll flips partitions in one round trip. lost is how many of the jobs that the owner held had been
// deleted by somebody; both are parallel to the steals.
func (r *Ring) StealAll(ctx context.Context, term uint64, steals []Steal) (lost []int, errs []error) {
	calls := make([]*call, len(steals))
	for i, x := range steals {
		calls[i] = &call{shard: r.s.shardOf(r.q, x.Partition), args: []any{epochText(term), x.Partition, x.From, epochText(x.Epoch), x.To}}
	}
	failpoint.Hit(failpoint.D6)
	r.s.runAll(ctx, r.s.cmd, &r.s.scripts.steal, calls)
	lost, errs = make([]int, len(steals)), make([]error, len(steals))
	for i, k := range calls {
		if errs[i] = k.err; k.err != nil {
			continue
		}
		l := list(k.value)
		if errs[i] = verdict(text(at(l, 0)), l); errs[i] == nil {
			lost[i] = int(number(at(l, 2)))
		}
	}
	return lost, errs
}

// Evict removes a worker from the members if the evidence still holds, and reports
// whether it is gone now. Evidence is ttl, connection (with the beat of its Sign), deaf (with the partition and epoch that it
// should have given up), silent (with the shard, and the ring epoch and phase it has not replied
// to there) or decided or dead, which are not looked at again. Of ttl, connection and dead it has died, if it
// was up: its jobs count a crash. Once it is gone in one shard it goes in all, that of the
// evidence first: no other knows the partition, or the reply.
func (r *Ring) Evict(ctx context.Context, term uint64, inc, evidence string, part, shard int, epoch uint64, phase int, beat string) (bool, error) {
	died := evidence == "ttl" || evidence == "connection" || evidence == "dead"
	if evidence == "deaf" {
		shard = part % r.q.Shards
	}
	for _, sh := range append([]int{shard}, others(r.q.Shards, shard)...) {
		v, err := r.s.run(ctx, r.s.cmd, &r.s.scripts.evict, r.s.shard(r.q, sh), epochText(term), inc, evidence, part, epochText(epoch), phase, beat)
		if err != nil {
			return false, err
		}
		switch answer := text(v); {
		case answer == "STALE":
			return false, ErrNotLeader
		case answer == "ALIVE":
			return false, nil
		case answer == "EVICTED", evidence == "deaf", evidence == "silent":
			if evidence = "decided"; died {
				evidence = "dead"
			}
		}
	}
	return true, nil
}

// others are the numbers below n without one.
func others(n, but int) []int {
	var out []int
	for i := range n {
		if i != but {
			out = append(out, i)
		}
	}
	return out
}

// Shorten makes a member's lease end within ttl at the latest, unless it is renewed. It is
// for leases that the server's clock, set back, has made longer.
func (r *Ring) Shorten(ctx context.Context, inc string, ttl time.Duration) error {
	return wrap("shorten lease", r.s.cmd.PExpire(ctx, aliveKey(r.s.shard(r.q, 0), inc), ttl).Err())
}

// HeldPermit is a permit as the leader finds it.
type HeldPermit struct {
	Partition   int
	ID          job.EntryID
	Incarnation string
	Epoch       uint64
}

// Permits lists the permits of drainers in the given partitions. It blocks for a round trip
// for each 64 of a shard, so that others are served in between.
func (r *Ring) Permits(ctx context.Context, parts []int) ([]HeldPermit, error) {
	byShard := make(map[int][]any)
	for _, p := range parts {
		byShard[p%r.q.Shards] = append(byShard[p%r.q.Shards], p)
	}
	var out []HeldPermit
	for sh, ps := range byShard {
		for page := range slices.Chunk(ps, 64) {
			v, err := r.s.run(ctx, r.s.cmd, &r.s.scripts.permits, r.s.shard(r.q, sh), page...)
			if err != nil {
				return nil, err
			}
			l := texts(v)
			for i := 0; i+2 < len(l); i += 3 {
				id, ok := job.ParseEntryID(l[i+1])
				inc, epoch, ok2 := holder(l[i+2])
				if ok && ok2 {
					out = append(out, HeldPermit{int(number(l[i])), id, inc, epoch})
				}
			}
		}
	}
	return out, nil
}

// holder reads "<incarnation>@<epoch>".
func holder(consumer string) (string, uint64, bool) {
	i := strings.LastIndexByte(consumer, '@')
	if i < 0 {
		return "", 0, false
	}
	epoch, err := strconv.ParseUint(consumer[i+1:], 10, 64)
	return consumer[:i], epoch, err == nil
}

// Revoke takes a permit back, if its holder still has it.
func (r *Ring) Revoke(ctx context.Context, term uint64, h HeldPermit) error {
	consumer := h.Incarnation + "@" + epochText(h.Epoch)
	v, err := r.s.run(ctx, r.s.cmd, &r.s.scripts.revoke, r.s.shardOf(r.q, h.Partition), epochText(term), h.Partition, h.ID.String(), consumer)
	if err != nil {
		return err
	}
	return verdict(text(v), nil)
}

// Advance lets the barrier of mode ring go on in each shard where nobody is missing any more. Of
// a queue of several it alone ends phase 1: call it when nobody is missing in any of Records; a
// shard of another ring epoch by now stays as it is.
func (r *Ring) Advance(ctx context.Context, term uint64, rec Records) error {
	failpoint.Hit(failpoint.D6)
	for sh := range r.q.Shards {
		v, err := r.s.run(ctx, r.s.cmd, &r.s.scripts.advance, r.s.shard(r.q, sh), epochText(term), epochText(rec.Shards[sh].Epoch))
		if err != nil {
			return err
		}
		if err := verdict(text(v), nil); err != nil {
			return err
		}
	}
	return nil
}

// Repair makes the groups of partitions agree with their owner records and says what it
// mended. A partition that cannot be mended does not stop the others: the errors are joined.
func (r *Ring) Repair(ctx context.Context, term uint64, parts []int) ([]string, error) {
	failpoint.Hit(failpoint.D8)
	if err := r.s.whole(ctx, r.q); err != nil {
		return nil, err
	}
	calls := make([]*call, len(parts))
	for i, p := range parts {
		calls[i] = &call{shard: r.s.shardOf(r.q, p), args: []any{epochText(term), p}}
	}
	var mended []string
	var errs []error
	for page := range slices.Chunk(calls, 64) {
		r.s.runAll(ctx, r.s.cmd, &r.s.scripts.repair, page)
		for _, k := range page {
			if k.err != nil {
				errs = append(errs, fmt.Errorf("partition %v: %w", k.args[1], k.err))
				continue
			}
			if text(k.value) == "STALE" {
				return mended, ErrNotLeader
			}
			l := texts(k.value)
			for i := 0; i+1 < len(l); i += 2 {
				mended = append(mended, "partition "+l[i]+": "+l[i+1])
			}
		}
	}
	return mended, errors.Join(errs...)
}

// Recreate makes records again that were lost.
func (r *Ring) Recreate(ctx context.Context) error {
	_, err := r.s.CreateQueue(ctx, r.q)
	return err
}
