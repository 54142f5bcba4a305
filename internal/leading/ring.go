package leading

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"ringmaster/internal/pause"
	"ringmaster/job"
	"ringmaster/resize"
	"ringmaster/resize/runner"
	"ringmaster/streams"
)

// longestLease is the longest that can be set.
const longestLease = 5 * time.Minute

// Ring is a queue's ring as the runner that leads it wants it (runner.Store): the store's records in
// the runner's words, and the runner's actions as calls of the store. It belongs to one runner.
type Ring struct {
	s    *streams.Store
	ring *streams.Ring
	q    streams.Queue
	log  *slog.Logger
	ttl  time.Duration // of a worker's lease; 0: not known

	share *shared

	last     streams.Records // of the last look; the runner's goroutine only
	serverID string
	told     time.Time
	unsure   bool            // a look for connections was not answered, and serverID may be another
	asked    map[string]bool // members without a subscription that were asked for a heartbeat
	found    []scanned       // by partition
	scanned  time.Time       // everywhere
	term     uint64          // then
}

// NewRing makes one that leads under the name of a dispatcher. leaseTTL is that of workers: longer
// leases are shortened; 0: none are.
func NewRing(s *streams.Store, q streams.Queue, dispatcher string, leaseTTL time.Duration, log *slog.Logger) *Ring {
	return &Ring{s: s, ring: s.NewRing(q, dispatcher), q: q, ttl: leaseTTL, log: log, asked: map[string]bool{}, share: &shared{}}
}

// translate maps the store's refusals to the runner's.
func translate(err error) error {
	switch {
	case errors.Is(err, streams.ErrNotLeader):
		return fmt.Errorf("%w: %w", runner.ErrStale, err)
	case errors.Is(err, streams.ErrMoved):
		return fmt.Errorf("%w: %w", runner.ErrConflict, err)
	}
	return err
}

// Lead implements runner.Store.
func (r *Ring) Lead(ctx context.Context, lease time.Duration, term uint64) (uint64, error) {
	return r.ring.Hold(ctx, r.share.leases, lease, term)
}

// Resign implements runner.Store.
func (r *Ring) Resign(ctx context.Context) error { return r.ring.Resign(ctx) }

// Look implements runner.Store.
func (r *Ring) Look(ctx context.Context) (runner.Look, error) {
	rec, err := r.ring.Look(ctx)
	if err != nil {
		return runner.Look{}, err
	}
	if len(rec.Missing) > 0 || rec.Generation == 0 {
		r.log.Error("state was lost at the server: records of the queue are made again", "queue", r.q.Name, "partitions", len(rec.Missing))
		if err := r.ring.Recreate(ctx); err != nil {
			return runner.Look{}, err
		}
		if rec, err = r.ring.Look(ctx); err != nil {
			return runner.Look{}, err
		}
	}
	r.last = rec
	if r.unsure || time.Since(r.told) > time.Second {
		id, err := r.ring.Renew(ctx)
		if err != nil {
			return runner.Look{}, err
		}
		r.serverID, r.told, r.unsure = id, time.Now(), false
	}
	out := runner.Look{Records: records(rec), ServerTime: rec.ServerTime, ServerID: r.serverID}
	for _, m := range rec.Members {
		// Nobody's lease is that long: the server's clock went back. Whoever lives renews it.
		if ttl := max(r.ttl, min(time.Duration(m.LeaseMs)*time.Millisecond, longestLease)); r.ttl > 0 && m.LeaseLeft > 2*ttl {
			if err := r.ring.Shorten(ctx, m.Incarnation, ttl); err != nil {
				return runner.Look{}, err
			}
		}
		out.Members = append(out.Members, runner.Sighting{Incarnation: m.Incarnation, LeaseLeft: m.LeaseLeft, LeaseKnown: true})
	}
	if out.Records.Permits, err = r.scan(ctx, rec); err != nil {
		return runner.Look{}, err
	}
	return out, nil
}

// scan looks for permits where there can be new ones: a partition gets them when it changes
// its owner, and has them until it has none. At a new term, and every 10 s or more rarely, it looks everywhere.
func (r *Ring) scan(ctx context.Context, rec streams.Records) ([]resize.Permit, error) {
	if r.found == nil || rec.Term != r.term || time.Since(r.scanned) >= r.share.scanEvery() {
		if rec.Term != r.term {
			clear(r.asked) // a new leader knows nothing of answers
		}
		r.found, r.term, r.scanned = make([]scanned, r.q.Partitions), rec.Term, time.Now()
	}
	var parts []int
	for p, o := range rec.Owners {
		if f := &r.found[p]; f.permits || f.owner != o {
			parts = append(parts, p)
		}
	}
	held, err := r.ring.Permits(ctx, parts)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		r.found[p] = scanned{owner: rec.Owners[p]}
	}
	out := make([]resize.Permit, len(held))
	for i, h := range held {
		r.found[h.Partition].permits = true
		out[i] = resize.Permit{Partition: h.Partition, ID: h.ID.String(), Incarnation: h.Incarnation, Epoch: h.Epoch}
	}
	return out, nil
}

// scanned is what the last scan for permits found of a partition.
type scanned struct {
	owner   streams.OwnerRecord
	permits bool
}

func records(rec streams.Records) resize.Records {
	out := resize.Records{Generation: rec.Generation, Term: rec.Term, Epoch: rec.Epoch, Request: request(rec), Plan: make([]string, len(rec.Plan))}
	for _, m := range rec.Members {
		out.Members = append(out.Members, resize.MemberRecord{Incarnation: m.Incarnation, Slot: m.Name, Weight: max(m.Weight, 1), Leaving: m.State != "up", Drain: m.DrainMs})
	}
	for _, o := range rec.Owners {
		out.Owners = append(out.Owners, resize.Owner{Incarnation: o.Incarnation, Epoch: o.Epoch})
	}
	for p, inc := range rec.Plan {
		if out.Plan[p] = inc; inc == "" {
			out.Plan[p] = "-"
		}
	}
	for _, l := range rec.Shards {
		sh := resize.Shard{Epoch: l.Epoch, Phase: resize.Phase(l.Phase), Mode: mode(l.Mode), Replies: map[string]resize.Phase{}}
		for inc, phase := range l.Replied {
			sh.Replies[inc] = resize.Phase(phase)
		}
		out.Shards = append(out.Shards, sh)
	}
	return out
}

// mode reads a record's; one that is none is that which stops least.
func mode(name string) resize.Mode {
	m, err := resize.ParseMode(name)
	if err != nil {
		return resize.ModeKey
	}
	return m
}

// request reads "<id> <mode>" unless it was answered.
func request(rec streams.Records) resize.Request {
	id, name, _ := strings.Cut(rec.Request, " ")
	if id == "" || strings.HasPrefix(rec.Answered, id+" ") {
		return resize.Request{}
	}
	return resize.Request{ID: id, Mode: mode(name)}
}

// Evict implements runner.Store.
func (r *Ring) Evict(ctx context.Context, term uint64, a resize.EvictWorker) error {
	gone, err := r.ring.Evict(ctx, term, a.Incarnation, string(a.Evidence), a.Partition, a.Shard, a.Epoch, int(a.Phase), a.Beat)
	if err == nil && !gone {
		return fmt.Errorf("%w: the worker is alive", runner.ErrConflict)
	}
	return translate(err)
}

// WritePlan implements runner.Store.
func (r *Ring) WritePlan(ctx context.Context, term uint64, a resize.WritePlan) error {
	if a.BaseEpoch != r.last.Epoch {
		return fmt.Errorf("%w: ring epoch %d was read since", runner.ErrConflict, r.last.Epoch)
	}
	p := streams.Plan{Term: term, BaseEpoch: a.BaseEpoch, Read: &r.last,
		Mode: a.Mode.String(), Request: a.Request, Targets: a.Targets}
	for _, m := range r.last.Members {
		p.Members = append(p.Members, m.MemberInfo)
	}
	return translate(r.ring.WritePlan(ctx, p))
}

// Steal implements runner.Store.
func (r *Ring) Steal(ctx context.Context, term uint64, as []resize.StealPartition) []error {
	steals := make([]streams.Steal, len(as))
	for i, a := range as {
		steals[i] = streams.Steal{Partition: a.Partition, From: a.From, Epoch: a.Epoch, To: a.To}
	}
	lost, errs := r.ring.StealAll(ctx, term, steals)
	for i := range errs {
		if lost[i] > 0 {
			r.log.Error("jobs are lost: somebody deleted pending entries", "partition", as[i].Partition, "lost", lost[i])
		}
		errs[i] = translate(errs[i])
	}
	return errs
}

// Revoke implements runner.Store.
func (r *Ring) Revoke(ctx context.Context, term uint64, a resize.RevokePermit) error {
	id, ok := job.ParseEntryID(a.ID)
	if !ok {
		return fmt.Errorf("entry id %q is not one", a.ID)
	}
	return translate(r.ring.Revoke(ctx, term, streams.HeldPermit{Partition: a.Partition, ID: id, Incarnation: a.Incarnation, Epoch: a.Epoch}))
}

// Advance implements runner.Store.
func (r *Ring) Advance(ctx context.Context, term uint64, _ resize.AdvanceBarrier) error {
	return translate(r.ring.Advance(ctx, term, r.last))
}

// Repair implements runner.Store.
func (r *Ring) Repair(ctx context.Context, term uint64) ([]string, error) {
	parts := make([]int, r.q.Partitions)
	for p := range parts {
		parts[p] = p
	}
	mended, err := r.ring.Repair(ctx, term, parts)
	return mended, translate(err)
}

// handOverPause is how long Hints looks away once partitions change hands: dozens do within
// milliseconds, nothing waits for the leader meanwhile, and each of its looks delays them.
const handOverPause = 20 * time.Millisecond

// Hints tells of the messages on the control stream, so that a join or a leave is seen at
// once. It reads on a connection of its own, or on one for all rings of the process.
func (r *Ring) Hints(ctx context.Context, news chan<- struct{}) {
	var sub interface {
		Next(ctx context.Context) ([]job.ControlEntry, error)
	}
	if r.share.feed != nil {
		feed := r.share.feed.Of(r.q)
		defer feed.Close()
		sub = feed
	} else {
		own := streams.NewSubscriber(r.s, r.q, "$")
		defer own.Close()
		defer context.AfterFunc(ctx, func() { _ = own.Close() })() // ends a wait at once
		sub = own
	}
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, time.Second)
		entries, err := sub.Next(call)
		cancel()
		if err != nil && ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
			pause.For(ctx, 200*time.Millisecond)
		}
		for _, e := range entries {
			if e.Fields["type"] == alarm {
				r.log.Warn("alarm", "by", e.Fields["name"], "entry_id", e.ID, "data", e.Fields["data"])
			}
		}
		if slices.ContainsFunc(entries, callsForLook) {
			select {
			case news <- struct{}{}:
			default:
			}
		}
		if slices.ContainsFunc(entries, handOver) {
			pause.For(ctx, handOverPause)
		}
	}
}

// alarm is the type of messages that tell of what should not have happened, such as jobs that
// somebody deleted.
const alarm = "alarm"

// callsForLook reports whether a message calls for a look. A plan does not: who wrote it looks anyway.
func callsForLook(e job.ControlEntry) bool {
	return e.Fields["type"] != string(resize.TypeSync) || e.Fields["phase"] != resize.Stopping.String()
}

// handOver reports whether a message is phase 2: a partition has changed hands, or all have.
func handOver(e job.ControlEntry) bool {
	return e.Fields["type"] == string(resize.TypeSync) && e.Fields["phase"] == resize.Syncing.String()
}
