package streams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/failpoint"
	"ringmaster/job"
)

// Member is one incarnation's membership in all shards of a queue. Safe for concurrent use.
type Member struct {
	s    *Store
	q    Queue
	info job.MemberInfo
	ttl  time.Duration

	calls atomic.Uint64         // of Ack that must not be executed late
	heart atomic.Pointer[heart] // from Watch on
	beats atomic.Uint64         // sent
	known atomic.Pointer[heard] // the last whole heartbeat's answers
}

// NewMember prepares membership; nothing is written before Join. ttl is the lease.
func (s *Store) NewMember(q Queue, info job.MemberInfo, ttl time.Duration) *Member {
	info.State, info.LeaseMs = "up", ttl.Milliseconds()
	return &Member{s: s, q: q, info: info, ttl: ttl}
}

func (m *Member) inboxTTL() int64 { return max(10*m.ttl, time.Minute).Milliseconds() }

// Join makes the incarnation a member of every shard, the first one last, so that a
// leader that sees it there can give it partitions anywhere.
func (m *Member) Join(ctx context.Context) ([]job.Joined, error) {
	ahead, _ := m.s.ClockAhead(ctx) // it is for people: where it cannot be told, who joins is told why else
	m.info.AheadMs = ahead.Milliseconds()
	raw, err := json.Marshal(m.info)
	if err != nil {
		return nil, fmt.Errorf("encode member: %w", err)
	}
	out, name := make([]job.Joined, m.q.Shards), m.nextBeat()
	for sh := m.q.Shards - 1; sh >= 0; sh-- {
		a, err := run(ctx, m.s, m.s.cmd, &m.s.scripts.join, m.s.shard(m.q, sh), m.info.Incarnation, raw, m.ttl.Milliseconds(), m.alive(), m.inboxTTL(), name)
		if err != nil {
			return nil, err
		}
		switch out[sh] = a.ring; a.word {
		case "NOQUEUE":
			return nil, job.NotFound("queue %s has no records", m.q.Name)
		case "TAKEN":
			return nil, job.Conflict("incarnation %s is a member already", m.info.Incarnation)
		}
	}
	return out, nil
}

// joined is what becomes of a join, and how the ring stands then.
type joined struct {
	word string // JOINED, TAKEN, NOQUEUE
	ring job.Joined
}

func readJoined(v any) (joined, bool) {
	r := listOf(v)
	a := joined{word: r.word("JOINED", "TAKEN", "NOQUEUE")}
	if a.word == "JOINED" {
		a.ring = job.Joined{RingEpoch: r.recorded(), Phase: int(r.recorded()), Mode: r.text(), Generation: r.recorded(), Partitions: int(r.recorded())}
	}
	return a, r.whole()
}

// alive is the liveness key's value: for people who look with redis-cli.
func (m *Member) alive() string {
	raw, err := json.Marshal(map[string]any{"name": m.info.Name, "host": m.info.Host, "pid": m.info.PID, "slots": m.info.Slots})
	if err != nil {
		return "{}"
	}
	return string(raw)
}

// Leaving tells the leader to plan without this worker. It stays a member until Left.
func (m *Member) Leaving(ctx context.Context) error {
	info := m.info
	info.State = "leaving"
	raw, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("encode member: %w", err)
	}
	err = m.leave(ctx, string(raw))
	failpoint.Hit(failpoint.W14)
	return err
}

// Left ends the membership.
func (m *Member) Left(ctx context.Context) error { return m.leave(ctx, "") }

func (m *Member) leave(ctx context.Context, member string) error {
	for sh := range m.q.Shards {
		if _, err := run(ctx, m.s, m.s.cmd, &m.s.scripts.leave, m.s.shard(m.q, sh), m.info.Incarnation, member); err != nil {
			return err
		}
	}
	return nil
}

// Report writes the worker's reply to a phase of the ring's protocol.
func (m *Member) Report(ctx context.Context, shard int, ringEpoch uint64, phase int, data string) error {
	if phase == 2 {
		failpoint.Hit(failpoint.W9)
	}
	_, err := run(ctx, m.s, m.s.cmd, &m.s.scripts.report, m.s.shard(m.q, shard), m.info.Incarnation, epochText(ringEpoch), phase, data)
	if phase == 2 {
		failpoint.Hit(failpoint.W10)
	}
	return err
}

// phaseSeen is where the ring stands after a worker's reply to a phase.
type phaseSeen struct {
	fenced       bool
	epoch, phase uint64
}

func readReported(v any) (phaseSeen, bool) {
	r := listOf(v)
	if len(r.rest) == 1 {
		r.word("FENCED")
		return phaseSeen{fenced: true}, r.whole()
	}
	a := phaseSeen{epoch: r.recorded(), phase: r.recorded()}
	return a, r.whole()
}

// Poke wakes the incarnation's own blocked read.
func (m *Member) Poke(ctx context.Context, shard int) error {
	err := m.s.cmd.XAdd(ctx, &redis.XAddArgs{Stream: inboxKey(m.s.shard(m.q, shard), m.info.Incarnation), NoMkStream: true,
		MaxLen: 1000, Approx: true, Values: []any{"type", "poke"}}).Err()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return wrap("poke", err)
}

// Ack ends runs: the batch of one shard, any number of partitions, in one script call.
// The answers are parallel to the batches and their completions. After
// ErrOutcomeUnknown the same call may be repeated: what was applied answers NotPending, or
// ByOwner again for a plain completion of the owner, which has no effects. It is
// confirmed at the store's durability; ErrUnconfirmed is an ErrOutcomeUnknown.
func (m *Member) Ack(ctx context.Context, shard int, batches []job.PartitionAcks) ([][]job.Answer, error) {
	journal := ""
	if m.q.Journal {
		journal = "1"
	}
	number := ""
	if slices.ContainsFunc(batches, holdsBack) {
		number = strconv.FormatUint(m.calls.Add(1), 10)
	}
	ends := 0
	for i := range batches {
		ends += len(batches[i].Completions)
	}
	args := append(make([]any, 0, 5+6*len(batches)+ends), m.info.Incarnation, job.ResultTTL.Milliseconds(), journal, number, len(batches))
	for i := range batches {
		args = append(args, batches[i].Partition)
	}
	ids := idTexts{texts: make([]string, 0, ends)}
	for i := range batches {
		args = m.ackArgs(args, &ids, &batches[i])
	}
	if failpoint.Enabled && buries(batches) {
		failpoint.Hit(failpoint.W13)
	}
	letters, err := runConfirmed(ctx, m.s, &m.s.scripts.ack, m.s.shard(m.q, shard), args...)
	if err != nil {
		return nil, err
	}
	failpoint.Hit(failpoint.W6)
	if len(letters) != len(batches) {
		return nil, badAnswer("ack", letters)
	}
	out := make([][]job.Answer, len(batches))
	for i, b := range batches {
		if len(letters.of(i)) != len(b.Completions) {
			return nil, badAnswer("ack", letters)
		}
		out[i] = answers(letters.of(i), b.Completions, m.q.Journal)
	}
	return out, nil
}

// holdsBack reports whether jobs are to stay: their entries are the same when they run
// again, so a call that was given up must not find them.
func holdsBack(b job.PartitionAcks) bool {
	return slices.ContainsFunc(b.Completions, func(c job.Completion) bool { return c.Outcome == job.Parked || c.Outcome == job.Failed })
}

// buries reports whether a dead letter is among the ends.
func buries(batches []job.PartitionAcks) bool {
	for i := range batches {
		for k := range batches[i].Completions {
			if batches[i].Completions[k].Outcome == job.Buried {
				return true
			}
		}
	}
	return false
}

// idTexts are ids as arguments: many texts are in one piece of memory, and they are passed by
// pointer, as a string in an interface is copied to the heap. texts has room for all.
type idTexts struct {
	all   []byte
	texts []string
}

const (
	idPiece    = 4 << 10
	mostIDText = 20 + 1 + 20 // bytes of the longest
)

func (t *idTexts) add(id job.EntryID) *string {
	if cap(t.all)-len(t.all) < mostIDText {
		left := cap(t.texts) - len(t.texts)
		t.all = make([]byte, 0, max(mostIDText, min(idPiece, 24*left)))
	}
	from := len(t.all)
	t.all = id.Append(t.all)
	t.texts = append(t.texts, unsafe.String(&t.all[from], len(t.all)-from)) // nobody writes there again
	return &t.texts[len(t.texts)-1]
}

// ackArgs adds the arguments of one partition. ids has room for all ends.
func (m *Member) ackArgs(args []any, ids *idTexts, b *job.PartitionAcks) []any {
	how := ""
	if b.Pinned {
		how = "1"
	}
	if b.Untrimmed {
		how += "-"
	}
	args = append(args, epochText(b.Epoch), how)
	count := len(args)
	args = append(args, 0)
	plain := 0
	for i := range b.Completions {
		if c := &b.Completions[i]; c.Plain() && !m.q.Journal {
			args = append(args, ids.add(c.ID))
			plain++
		}
	}
	args[count] = plain
	args = append(args, len(b.Completions)-plain)
	for i := range b.Completions {
		c := &b.Completions[i]
		if c.Plain() && !m.q.Journal {
			continue
		}
		retry := ""
		if c.HasRetry {
			retry = "1"
		}
		args = append(args, string(rune(c.Outcome)), ids.add(c.ID), c.Attempt, c.Key, c.Type, c.Data, retry)
	}
	return args
}

// answers brings the script's letters, plain ends first, into the caller's order.
func answers(letters string, cs []job.Completion, journal bool) []job.Answer {
	out := make([]job.Answer, len(cs))
	next := 0
	for _, plain := range []bool{true, false} {
		for i := range cs {
			if (cs[i].Plain() && !journal) == plain {
				out[i] = job.Answer(letters[next])
				next++
			}
		}
	}
	return out
}

// Mark notes that a suspect is about to start, if the incarnation still owns the partition at
// that epoch; else ErrFenced. runs is how many run in this worker, the suspect included, while
// it is held apart, which ends after apart; 0: it runs among any number.
func (m *Member) Mark(ctx context.Context, t job.Tenure, id job.EntryID, runs int, apart time.Duration) error {
	word, err := run(ctx, m.s, m.s.cmd, &m.s.scripts.mark, m.s.shardOf(m.q, t.Partition), m.info.Incarnation, t.Partition, epochText(t.Epoch), id.String(), runs, apart.Milliseconds())
	if err != nil {
		return err
	}
	if word == "FENCED" {
		return job.ErrFenced
	}
	return nil
}

// Deaths are the times at which workers of a partition's shard were found dead, as far as they are
// remembered: for a day.
func (m *Member) Deaths(ctx context.Context, partition int) ([]time.Time, error) {
	all, err := m.s.cmd.HGetAll(ctx, m.s.shardOf(m.q, partition)+"deaths").Result()
	if err != nil {
		return nil, wrap("read deaths", err)
	}
	var out []time.Time
	for _, v := range all {
		if ms, err := strconv.ParseInt(v, 10, 64); err == nil {
			out = append(out, time.UnixMilli(ms))
		}
	}
	return out, nil
}

// Heal makes the groups of the incarnation's own partitions again, where somebody
// deleted them, and says what it mended.
func (m *Member) Heal(ctx context.Context, parts []int) ([]string, error) {
	if err := m.s.whole(ctx, m.q); err != nil {
		return nil, err
	}
	var mended []string
	for _, p := range parts {
		r, err := run(ctx, m.s, m.s.cmd, &m.s.scripts.repair, m.s.shardOf(m.q, p), "@"+m.info.Incarnation, p)
		if err != nil {
			return mended, err
		}
		mended = append(mended, r.mended...)
	}
	return mended, nil
}
