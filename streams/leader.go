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
	a, err := run(ctx, r.s, r.s.vital, &r.s.scripts.lead, r.s.shard(r.q, 0), r.dispatcher, ttl.Milliseconds())
	return a.term, a.leader, err
}

// lease is the caller's term, 0 while another leads, and who leads.
type lease struct {
	term   uint64
	leader string
}

func readLease(v any) (lease, bool) {
	r := listOf(v)
	a := lease{r.recorded(), r.text()}
	return a, r.whole()
}

// Resign gives the leadership up, if it is the caller's.
func (r *Ring) Resign(ctx context.Context) error {
	_, err := run(ctx, r.s, r.s.cmd, &r.s.scripts.resign, r.s.shard(r.q, 0), r.dispatcher)
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
		a, err := run(ctx, r.s, r.s.cmd, &r.s.scripts.plan, r.s.shard(r.q, sh), args...)
		if err != nil {
			return err
		}
		if err := a.refusal(); err != nil {
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

// verdict is what a script says that writes for the leader alone.
type verdict struct {
	word string
	why  string // of CONFLICT
	lost int    // of FLIPPED: jobs that somebody had deleted
}

func readPlanned(v any) (verdict, bool) {
	r := listOf(v)
	a := verdict{word: r.word("PLANNED", "STALE", "CONFLICT")}
	switch a.word {
	case "PLANNED":
		r.count() // what moves
	case "CONFLICT":
		a.why = r.text()
	}
	return a, r.whole()
}

func readStolen(v any) (verdict, bool) {
	r := listOf(v)
	a := verdict{word: r.word("FLIPPED", "STALE", "CONFLICT", "MISMATCH", "SAME")}
	switch a.word {
	case "FLIPPED":
		r.number() // the new epoch
		a.lost = r.count()
	case "CONFLICT":
		a.why = r.text()
	}
	return a, r.whole()
}

func readRevoked(v any) (verdict, bool) {
	w, ok := oneOf("REVOKED", "GONE", "STALE")(v)
	return verdict{word: w}, ok
}

// readAdvanced takes the phase of a ring, or STALE.
func readAdvanced(v any) (verdict, bool) {
	w, ok := v.(string)
	return verdict{word: w}, ok && w != ""
}

// refusal is why nothing was written, nil where it was, or did not have to be.
func (v verdict) refusal() error {
	switch v.word {
	case "STALE":
		return ErrNotLeader
	case "CONFLICT":
		return fmt.Errorf("%w: %s", ErrMoved, v.why)
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
	calls := make([]*call[verdict], len(steals))
	for i, x := range steals {
		calls[i] = &call[verdict]{shard: r.s.shardOf(r.q, x.Partition), args: []any{epochText(term), x.Partition, x.From, epochText(x.Epoch), x.To}}
	}
	failpoint.Hit(failpoint.D6)
	runAll(ctx, r.s, r.s.cmd, &r.s.scripts.steal, calls)
	lost, errs = make([]int, len(steals)), make([]error, len(steals))
	for i, k := range calls {
		if errs[i] = k.err; k.err != nil {
			continue
		}
		lost[i], errs[i] = k.answer.lost, k.answer.refusal()
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
		answer, err := run(ctx, r.s, r.s.cmd, &r.s.scripts.evict, r.s.shard(r.q, sh), epochText(term), inc, evidence, part, epochText(epoch), phase, beat)
		if err != nil {
			return false, err
		}
		switch {
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
			some, err := run(ctx, r.s, r.s.cmd, &r.s.scripts.permits, r.s.shard(r.q, sh), page...)
			if err != nil {
				return nil, err
			}
			out = append(out, some...)
		}
	}
	return out, nil
}

// readPermits leaves out what stands under a consumer that is no permit's: somebody read by hand.
func readPermits(v any) ([]HeldPermit, bool) {
	var out []HeldPermit
	r := listOf(v)
	for r.more() {
		h := HeldPermit{Partition: int(r.number()), ID: r.id()}
		var ok bool
		if h.Incarnation, h.Epoch, ok = holder(r.text()); ok {
			out = append(out, h)
		}
	}
	return out, r.whole()
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
	a, err := run(ctx, r.s, r.s.cmd, &r.s.scripts.revoke, r.s.shardOf(r.q, h.Partition), epochText(term), h.Partition, h.ID.String(), consumer)
	if err != nil {
		return err
	}
	return a.refusal()
}

// Advance lets the barrier of mode ring go on in each shard where nobody is missing any more. Of
// a queue of several it alone ends phase 1: call it when nobody is missing in any of Records; a
// shard of another ring epoch by now stays as it is.
func (r *Ring) Advance(ctx context.Context, term uint64, rec Records) error {
	failpoint.Hit(failpoint.D6)
	for sh := range r.q.Shards {
		a, err := run(ctx, r.s, r.s.cmd, &r.s.scripts.advance, r.s.shard(r.q, sh), epochText(term), epochText(rec.Shards[sh].Epoch))
		if err != nil {
			return err
		}
		if err := a.refusal(); err != nil {
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
	calls := make([]*call[repaired], len(parts))
	for i, p := range parts {
		calls[i] = &call[repaired]{shard: r.s.shardOf(r.q, p), args: []any{epochText(term), p}}
	}
	var mended []string
	var errs []error
	for page := range slices.Chunk(calls, 64) {
		runAll(ctx, r.s, r.s.cmd, &r.s.scripts.repair, page)
		for _, k := range page {
			if k.err != nil {
				errs = append(errs, fmt.Errorf("partition %v: %w", k.args[1], k.err))
				continue
			}
			if k.answer.stale {
				return mended, ErrNotLeader
			}
			mended = append(mended, k.answer.mended...)
		}
	}
	return mended, errors.Join(errs...)
}

// repaired is what was mended, in words.
type repaired struct {
	stale  bool
	mended []string
}

func readRepaired(v any) (repaired, bool) {
	if v == "STALE" {
		return repaired{stale: true}, true
	}
	var a repaired
	r := listOf(v)
	for r.more() {
		a.mended = append(a.mended, "partition "+r.text()+": "+r.text())
	}
	return a, r.whole()
}

// Recreate makes records again that were lost.
func (r *Ring) Recreate(ctx context.Context) error {
	_, err := r.s.CreateQueue(ctx, r.q)
	return err
}
