package streams

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/failpoint"
	"ringmaster/job"
)

// A heartbeat is a script that renews the lease and the inbox, names itself and tells how the
// ring stands. Where nothing has changed since the last one, all of that but the lease is idle
// work: so a member may also renew its lease alone, by one command, and read its change number,
// by another. What differs calls for a whole heartbeat at once.
const (
	ringEvery  = 5  // renewals read the ring's state too: what no change number tells is seen then
	wholeEvery = 15 // the inbox lives for ten leases at least: see inboxTTL
)

// heard is what the last whole heartbeat has told.
type heard struct {
	beats []job.Beat
	since int // renewals
}

// pulse is one call for a lease: in one shard, a heartbeat or a renewal.
type pulse struct {
	*call[job.Beat] // of a renewal the answer is what is known before it, and what it told after it
	m               *Member
	light           bool
	ring            bool            // light: the ring's state is read too
	ctx             context.Context // of who waits for it
	done            chan struct{}   // closed when answer and err are what became of it
}

func (m *Member) pulse(ctx context.Context, shard int) *pulse {
	return &pulse{call: &call[job.Beat]{shard: m.s.shard(m.q, shard)}, m: m, ctx: ctx, done: make(chan struct{})}
}

// nextBeat is a heartbeat's name and the worker's reach.
func (m *Member) nextBeat() string {
	var reach time.Duration
	if h := m.heart.Load(); h != nil {
		reach = h.reach()
	}
	return strconv.FormatUint(m.beats.Add(1), 10) + " " + strconv.FormatInt(int64((reach+time.Millisecond-1)/time.Millisecond), 10)
}

// Heartbeat renews the lease in every shard; Fenced in any answer means the incarnation
// was evicted. From Watch on it goes over a connection that serves the heartbeats of the process
// alone, in one round trip with those of other members that are due. If there is no answer on it
// for a quarter of the lease, or it has broken, another is made and the same is sent once more: a
// network that has forgotten the connection costs no lease. It may be called concurrently.
func (m *Member) Heartbeat(ctx context.Context) ([]job.Beat, error) {
	number := m.nextBeat()
	pulses := make([]*pulse, m.q.Shards)
	for sh := range pulses {
		pulses[sh] = m.pulse(ctx, sh)
		pulses[sh].args = []any{m.info.Incarnation, m.ttl.Milliseconds(), m.inboxTTL(), m.alive(), number}
	}
	out, err := m.beat(ctx, pulses)
	if err != nil || slices.ContainsFunc(out, func(b job.Beat) bool { return b.Fenced }) {
		m.known.Store(nil)
		return out, err
	}
	m.known.Store(&heard{beats: out})
	return out, nil
}

// Renew is Heartbeat for a member that rests: it writes no more than the lease as long as the
// server has nothing new for it, and answers as the last heartbeat did. In the in-memory store,
// where a renewal has no name, it is a Heartbeat. Its caller sees to it that no two are under way.
func (m *Member) Renew(ctx context.Context) ([]job.Beat, error) {
	k := m.known.Load()
	if k == nil || k.since+1 >= wholeEvery || m.heart.Load() == nil || m.s.Embedded() {
		return m.Heartbeat(ctx)
	}
	next := &heard{beats: k.beats, since: k.since + 1}
	pulses := make([]*pulse, m.q.Shards)
	for sh := range pulses {
		p := m.pulse(ctx, sh)
		p.light, p.ring, p.answer = true, next.since%ringEvery == 0, k.beats[sh]
		pulses[sh] = p
	}
	out, err := m.beat(ctx, pulses)
	switch {
	case err != nil:
		m.known.Store(nil)
		return nil, err
	case !slices.Equal(out, k.beats):
		return m.Heartbeat(ctx)
	}
	m.known.Store(next)
	return out, nil
}

// beat sends the calls of one heartbeat, and waits for all of them.
func (m *Member) beat(ctx context.Context, pulses []*pulse) ([]job.Beat, error) {
	failpoint.Hit(failpoint.W12)
	if h := m.heart.Load(); h != nil {
		return h.send(ctx, pulses)
	}
	calls := make([]*call[job.Beat], len(pulses))
	for i, p := range pulses {
		calls[i] = p.call
	}
	runAll(ctx, m.s, m.s.vital, &m.s.scripts.heartbeat, calls)
	out := make([]job.Beat, len(pulses))
	for sh, p := range pulses {
		if p.err != nil {
			return nil, p.err
		}
		out[sh] = p.answer
	}
	return out, nil
}

// beatAt sends heartbeats and renewals of any members to one server, each kind in one round
// trip, and sets the answer or the error of each.
func (s *Store) beatAt(ctx context.Context, open func() redis.Pipeliner, pulses []*pulse) {
	var whole []*call[job.Beat]
	var light []*pulse
	for _, p := range pulses {
		if p.light {
			light = append(light, p)
		} else {
			whole = append(whole, p.call)
		}
	}
	if len(light) > 0 {
		s.renewAt(ctx, open, light)
	}
	if len(whole) > 0 {
		pipe(ctx, s, open, &s.scripts.heartbeat, whole, pipeline{})
	}
}

// renewal are the commands of one.
type renewal struct {
	lease  *redis.BoolCmd
	ring   *redis.SliceCmd // nil: not asked for
	change *redis.StringCmd
}

func (s *Store) renewAt(ctx context.Context, open func() redis.Pipeliner, pulses []*pulse) {
	sent := make([]renewal, len(pulses))
	p := open()
	for i, x := range pulses {
		inc := x.m.info.Incarnation
		sent[i].lease = p.PExpire(ctx, aliveKey(x.shard, inc), x.m.ttl)
		// The ring first: a change number that has not risen then speaks for all that was read.
		if x.ring {
			sent[i].ring = p.HMGet(ctx, x.shard+"ring", "epoch", "phase", "mode")
		}
		sent[i].change = p.HGet(ctx, x.shard+"change", inc)
	}
	_, failed := p.Exec(ctx)
	for i, x := range pulses {
		if x.err = sent[i].failure(failed); x.err == nil {
			x.answer = sent[i].compare(x.answer)
		}
	}
}

// failure is why a renewal is none. A set-up of the connection that failed leaves commands with
// neither answer nor error: see pipe.
func (r *renewal) failure(failed error) error {
	errs := []error{r.lease.Err(), r.change.Err()}
	if r.ring != nil {
		errs = append(errs, r.ring.Err())
	}
	for _, err := range errs {
		if err = wrap("renew lease", err); err != nil {
			return err
		}
	}
	if failed != nil && !r.lease.Val() && r.change.Err() == nil && r.change.Val() == "" {
		return unsent("renew lease", failed)
	}
	return nil
}

// compare returns what is known if the server has the lease and the same numbers, else another.
func (r *renewal) compare(known job.Beat) job.Beat {
	now := known
	if r.ring != nil {
		v := r.ring.Val()
		now.RingEpoch, now.Phase, now.Mode = recorded(field(v, 0)), int(recorded(field(v, 1))), field(v, 2)
	}
	if now.Change = recorded(r.change.Val()); !r.lease.Val() || r.change.Err() != nil {
		now.Fenced = true // as far as this tells: the heartbeat that follows looks whether it is
	}
	return now
}
