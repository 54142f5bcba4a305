package recovery

import (
	"errors"
	"fmt"
	"time"
)

// Evidence is what a verdict rests on. Whoever evicts checks the same evidence again
// in the step that removes the member, since it may have returned in between.
type Evidence int

// The kinds of evidence.
const (
	// Connection: nobody is subscribed to the member's own channel, and since then it has
	// not beaten either. A killed process shows it at once.
	Connection Evidence = iota + 1
	// Lease: the member's lease has run out. A process that hangs or is cut off shows
	// it after one LeaseTTL, even though its connection may still stand.
	Lease
)

// String is "connection" or "lease".
func (e Evidence) String() string {
	switch e {
	case Connection:
		return "connection"
	case Lease:
		return "lease"
	}
	return fmt.Sprintf("evidence(%d)", int(e))
}

// Config is how patient a Detector is.
type Config struct {
	// LeaseTTL is how long a member's lease lasts without renewal, and the length of
	// every grace and hold: whoever is alive has renewed once within it.
	LeaseTTL time.Duration
	// Misses is how many probes in a row must find a member unsubscribed. One may be
	// a reconnect caught in the act.
	Misses int
	// Crowd is how long members have to show themselves that lost their connections
	// together: they may have a path in common, which is being restarted.
	Crowd time.Duration
	// MassFraction is the part of all members above which missing together is taken
	// for a fault between them and the server rather than that many deaths.
	MassFraction float64
}

// Default is LeaseTTL 3 s (six heartbeats of 500 ms; longer than the usual stall of a
// server that forks or waits for its disk), Misses 2, Crowd 1 s (two heartbeats),
// MassFraction 0.5.
func Default() Config {
	return Config{LeaseTTL: 3 * time.Second, Misses: 2, Crowd: time.Second, MassFraction: 0.5}
}

// Validate returns every problem of c, joined, or nil.
func (c Config) Validate() error {
	var errs []error
	if c.LeaseTTL <= 0 {
		errs = append(errs, fmt.Errorf("lease ttl %v: want more than 0", c.LeaseTTL))
	}
	if c.Misses < 1 {
		errs = append(errs, fmt.Errorf("misses %d: want at least 1", c.Misses))
	}
	if c.Crowd < 0 {
		errs = append(errs, fmt.Errorf("crowd %v: want 0 or more", c.Crowd))
	}
	if !(c.MassFraction > 0 && c.MassFraction <= 1) {
		errs = append(errs, fmt.Errorf("mass fraction %v: want more than 0, at most 1", c.MassFraction))
	}
	return errors.Join(errs...)
}

// Observation is one look at all members of a queue.
type Observation struct {
	// Now is the leader's own monotonic clock, taken before it asked.
	Now time.Time
	// ServerID is the server's run id; empty if the server does not tell.
	ServerID string
	// ServerTime is the server's wall clock; zero if unknown.
	ServerTime time.Time
	// Members is the whole list. Who is not in it is forgotten.
	Members []Seen
}

// Seen is what one look found of one member.
type Seen struct {
	Incarnation string
	// Subscribed: somebody listens on the member's own channel. Nil: not asked this time.
	Subscribed *bool
	// Beat names the member's last heartbeat, and is another after each; it is told with
	// Subscribed, at the same moment, where that is false. Empty: it has none.
	Beat string
	// Reach is how long the member itself takes to connect, measured by it; told likewise.
	// 0: not known.
	Reach time.Duration
	// LeaseLeft is what is left of the lease; 0 or less: it is gone. It counts only
	// if LeaseKnown; otherwise the lease was not asked for this time.
	LeaseLeft  time.Duration
	LeaseKnown bool
}

// Verdict says that a member is dead. It is repeated at every look that shows the same
// evidence, until the member is gone from the list or seen again: an eviction that
// failed is tried again.
type Verdict struct {
	Incarnation string
	Evidence    Evidence
	Beat        string // Connection: its last heartbeat then; a later one would be proof that it lives
}

// Detector decides which members of one queue are dead, for the leader of that queue.
//
// What it says is never needed for safety: a member evicted in error is fenced, and its
// jobs run again. So it is quick where evidence is strong, and waits where many members
// at once, a changed server or the leader's own pause make evidence weak.
//
// A Detector belongs to one goroutine. It keeps nothing it is given but strings.
type Detector struct {
	cfg     Config
	members map[string]*track

	last       time.Time // Now of the last look; zero: none yet
	late       bool      // the next look only starts the counts
	inherit    bool      // the next look finds members that an earlier leader knew
	graceUntil time.Time // no verdict of any kind before
	leaseGrace time.Time // no Lease verdict before
	holdUntil  time.Time // the mass guard holds every verdict until then

	serverID   string
	serverTime time.Time // last known server clock, read at serverNow
	serverNow  time.Time
}

// track is what is remembered of one member.
type track struct {
	firstSeen  time.Time
	subscribed bool // has been subscribed at least once
	misses     int  // probes in a row without a subscription
	missSince  time.Time
	lost       bool   // its subscription is gone, and beat was its last heartbeat then
	beat       string // as first seen without a subscription
	beats      bool   // and has beaten since: it lives, and its lease alone can say otherwise
	reach      time.Duration
	crowd      bool // others were missed together with it
	leaseGone  bool
	held       bool // was missing when the mass guard closed: it has waited its hold
	judged     bool // a verdict was given
}

func (t *track) missing() bool { return t.unheard() || t.leaseGone }

// unheard: the subscription is gone, and nothing else was heard of it either.
func (t *track) unheard() bool { return t.misses > 0 && !t.beats }

// clear forgets all evidence against the member, not the member.
func (t *track) clear() {
	t.found()
	t.leaseGone, t.held, t.judged = false, false, false
}

// found ends the suspicion that a lost subscription is.
func (t *track) found() { t.misses, t.lost, t.beats, t.crowd = 0, false, false, false }

// reconnects is in how many of its reaches a member that lost all connections must have
// shown itself again: the first half is for the loss to be noticed and a common delay.
const reconnects = 2

// patience is how long the member may be missed before it is dead.
func (t *track) patience(c Config) time.Duration {
	d := min(reconnects*t.reach, c.LeaseTTL)
	if t.crowd {
		d = max(d, c.Crowd)
	}
	return d
}

// NewDetector returns a Detector that knows no members. Config must be valid.
func NewDetector(cfg Config) *Detector {
	return &Detector{cfg: cfg, members: make(map[string]*track)}
}

// LeaderChanged tells the detector that the leadership is new, before its first look.
//
// The old leader may have been gone for long, and workers that were waiting for its
// answer may have missed a beat, so leases get one LeaseTTL of grace. A closed
// connection is no such matter: a worker killed together with the leader is found by
// fresh misses alone, as many as ever, without grace. For the same reason members found
// at the next look count as having been subscribed: a worker subscribes before it joins.
func (d *Detector) LeaderChanged(now time.Time) {
	d.clear()
	d.inherit = true
	d.leaseGrace = now.Add(d.cfg.LeaseTTL)
}

// Late tells the detector that its owner was not looking for a while. All misses are
// reset and the next look gives no verdict, it only starts the counts: what happened
// in the leader's own pause (a stopped process, a stalled network or server) says
// nothing about the members. Observe does this by itself when the gap since the last
// look is over LeaseTTL/2.
func (d *Detector) Late() {
	for _, t := range d.members {
		t.misses, t.leaseGone = 0, false
	}
	d.late = true
}

func (d *Detector) clear() {
	for _, t := range d.members {
		t.clear()
	}
	d.holdUntil = time.Time{}
}

// Observe takes one look into account and returns who is dead, in the order of
// o.Members. Looks are 25-50 ms apart in practice; they may skip the probe or the lease
// of any member.
//
//   - Connection: a lost subscription is a reason to look. A member that has been
//     subscribed before, or is known for longer than one LeaseTTL, is dead after Misses
//     probes in a row without a subscription and without a heartbeat in between, and
//     not before it could have connected anew: twice its Reach. A member that has only
//     just joined may not be subscribed yet. Any probe that finds it again clears the
//     suspicion, so a flapping connection is not a death. A heartbeat since the loss is
//     proof that the process lives: until it is subscribed again only its lease tells.
//   - Crowd: at least two that are missed so together have Crowd at least.
//   - Lease: a member whose lease is gone is dead at once; the TTL was the waiting.
//   - Mass guard: if at least two members and more than MassFraction of all are newly
//     missing, every verdict is held for one LeaseTTL. Then those still missing since
//     are dead. So many at once is more often a broken link, a restarted proxy or an
//     expiry wave than that many deaths. "Newly" is: missing, and neither judged nor
//     held yet, so that deaths a few milliseconds apart count together although a look
//     fell between them. A single member has no crowd to be judged by: never held.
//   - Server: another run id, or a server clock that moved against the leader's by more
//     than max(1 s, LeaseTTL/4) either way, forgets all evidence and gives one LeaseTTL
//     of grace for every kind: a new server has no connections yet, and leases end by
//     its wall clock. The same rule catches a leader that was suspended, whose monotonic
//     clock stood still.
//   - Lateness: see Late.
func (d *Detector) Observe(o Observation) []Verdict {
	if !d.last.IsZero() && o.Now.Sub(d.last) > d.cfg.LeaseTTL/2 {
		d.Late()
	}
	d.last = o.Now
	if d.serverChanged(o) {
		d.clear()
		d.graceUntil = o.Now.Add(d.cfg.LeaseTTL)
	}
	late := d.late
	d.update(o)
	d.late, d.inherit = false, false

	if o.Now.Before(d.holdUntil) {
		return nil
	}
	fresh := d.closeGuard(o)
	if late || o.Now.Before(d.graceUntil) {
		return nil
	}
	return d.judge(o, fresh)
}

// serverChanged compares the server with the one of the last look that told.
func (d *Detector) serverChanged(o Observation) bool {
	changed := false
	if o.ServerID != "" {
		changed = d.serverID != "" && d.serverID != o.ServerID
		d.serverID = o.ServerID
	}
	if o.ServerTime.IsZero() {
		return changed
	}
	if !d.serverTime.IsZero() {
		// Only neighbouring looks are compared, so slow drift never adds up to a jump.
		jump := o.ServerTime.Sub(d.serverTime) - o.Now.Sub(d.serverNow)
		changed = changed || jump.Abs() > max(time.Second, d.cfg.LeaseTTL/4)
	}
	d.serverTime, d.serverNow = o.ServerTime, o.Now
	return changed
}

// update brings every member's track up to date and forgets who is not listed.
func (d *Detector) update(o Observation) {
	listed := make(map[string]bool, len(o.Members))
	for _, m := range o.Members {
		listed[m.Incarnation] = true
		t := d.members[m.Incarnation]
		if t == nil {
			t = &track{firstSeen: o.Now, subscribed: d.inherit}
			d.members[m.Incarnation] = t
		}
		t.subscribed = t.subscribed || d.inherit
		t.see(m, o.Now, d.cfg.LeaseTTL)
	}
	var unheard []*track
	for inc, t := range d.members {
		switch {
		case !listed[inc]:
			delete(d.members, inc)
		case t.unheard() && !t.judged:
			unheard = append(unheard, t)
		}
	}
	for _, t := range unheard {
		t.crowd = t.crowd || len(unheard) > 1
	}
}

func (t *track) see(m Seen, now time.Time, ttl time.Duration) {
	switch {
	case m.Subscribed == nil:
	case *m.Subscribed:
		t.subscribed = true
		t.found()
	case t.subscribed || now.Sub(t.firstSeen) > ttl:
		if !t.lost {
			t.lost, t.beat = true, m.Beat
		}
		t.beats = t.beats || m.Beat != t.beat
		t.reach = m.Reach
		if t.misses == 0 {
			t.missSince = now
		}
		t.misses++
	}
	if m.LeaseKnown {
		t.leaseGone = m.LeaseLeft <= 0
	}
	if !t.missing() {
		t.held, t.judged = false, false
	}
}

// closeGuard applies the mass guard. If it closes, the result holds the members that
// are to wait; those that have waited a hold already are not in it.
func (d *Detector) closeGuard(o Observation) map[string]bool {
	fresh := make(map[string]bool)
	for inc, t := range d.members {
		if t.missing() && !t.held && !t.judged {
			fresh[inc] = true
		}
	}
	if len(fresh) < 2 || float64(len(fresh)) <= d.cfg.MassFraction*float64(len(d.members)) {
		return nil
	}
	d.holdUntil = o.Now.Add(d.cfg.LeaseTTL)
	for inc := range fresh {
		d.members[inc].held = true
	}
	return fresh
}

// judge gives the verdicts of a look. A verdict always rests on what this very look
// asked and found, never on a remembered answer.
func (d *Detector) judge(o Observation, waiting map[string]bool) []Verdict {
	var dead []Verdict
	for _, m := range o.Members {
		t := d.members[m.Incarnation]
		if waiting[m.Incarnation] {
			continue
		}
		switch {
		case m.Subscribed != nil && !*m.Subscribed && t.unheard() && t.misses >= d.cfg.Misses &&
			o.Now.Sub(t.missSince) >= t.patience(d.cfg):
			dead = append(dead, Verdict{m.Incarnation, Connection, t.beat})
		case m.LeaseKnown && t.leaseGone && !o.Now.Before(d.leaseGrace):
			dead = append(dead, Verdict{m.Incarnation, Lease, ""})
		default:
			continue
		}
		t.judged = true
	}
	return dead
}
