package resize

import (
	"fmt"
	"maps"
	"slices"
)

// Participant is the brain of one worker for one shard: which partitions are its own,
// and which of their gates are open. It lives as long as the incarnation; Joined starts
// it over.
type Participant struct {
	joined   bool
	inc      string
	tenures  map[int]*tenure
	seen     map[int]uint64 // highest epoch heard of, per partition; at or below it a phase 2 is old
	plan     uint64         // newest ring epoch whose phase 1, or whose records, were seen
	change   uint64         // change number up to which everything was seen
	expired  bool           // the worker's own lease is over
	stopping bool
	barrier  barrier
	reading  reading
	syncing  uint64 // ring epoch to report phase 2 for once all is claimed, 0: none
	heard    uint64 // highest change number any message carried
	finished uint64 // newest ring epoch known to have no barrier up any more
	idle     bool   // nothing of the shard runs in this worker, or it is not waited for any more
	overdue  bool   // since the gates closed a drain has taken too long: its runs may go on for ever

	out []ParticipantAction
	err error
}

// tenure is one partition from the moment it is ours until it is not.
type tenure struct {
	state   State
	epoch   uint64
	claim   claimState
	again   bool // one more pass is needed: a mark appeared behind the cursor, or while closing
	paged   bool // the first page is claimed: jobs may start
	claimed bool // a whole pass came to its end: new jobs may be read
	opened  bool // OpenGate was given
	reads   bool // StartReading was given
	gate    bool // the gate is open
	mode    Mode // Closing: what the release waits for
	idle    bool // gate closed: nothing of it runs, or it is not waited for any more
	release releaseState
	reclose bool // told to close again while a release was in flight
}

type claimState uint8

const (
	claimIdle     claimState = iota
	claimInFlight            // a page was asked for
	claimUnsure              // it was not answered; the records are being read
)

type releaseState uint8

const (
	releaseIdle     releaseState = iota
	releaseInFlight              // asked for
	releaseUnsure                // not answered; the records are being read
	releaseKept                  // refused while the worker stops: tried again at the next news
)

// barrier is what mode ring adds: while it is up every gate is closed.
type barrier struct {
	epoch    uint64 // ring epoch it belongs to, 0: none is up
	phase    Phase
	reported Phase
}

// reading is an outstanding ReadRecords, with what was known when it was asked for:
// records that say less have gone back in time.
type reading struct {
	active bool
	void   bool // what it finds may be older than what happened here meanwhile
	plan   uint64
	change uint64 // the highest known or heard
	beats  int
}

// NewParticipant returns a participant that has not joined yet.
func NewParticipant() *Participant {
	p := &Participant{}
	p.reset()
	return p
}

func (p *Participant) reset() {
	*p = Participant{tenures: map[int]*tenure{}, seen: map[int]uint64{}}
}

// Step applies one event and returns what is now to be done, in this order. Events
// about a tenure that has ended are ignored. An error means a fault in this package or
// an event of an unknown type, never bad input.
func (p *Participant) Step(ev ParticipantEvent) ([]ParticipantAction, error) {
	p.out, p.err = nil, nil
	if j, ok := ev.(Joined); ok {
		p.join(j)
	} else if p.joined {
		p.apply(ev)
	}
	if p.joined {
		p.settle()
	}
	return p.out, p.err
}

func (p *Participant) apply(ev ParticipantEvent) {
	switch ev := ev.(type) {
	case MessageReceived:
		p.messageReceived(ev.Message)
	case SnapshotRead:
		p.snapshotRead(ev)
	case ClaimAnswered:
		p.claimAnswered(ev)
	case ReleaseAnswered:
		p.releaseAnswered(ev)
	case PartitionIdle:
		if t := p.at(ev.Part, ev.Epoch); t != nil {
			t.idle = !t.gate
		}
	case DrainTimedOut:
		if t := p.at(ev.Part, ev.Epoch); t != nil {
			t.idle = !t.gate
		}
		p.overdue = !p.anyGate()
	case RunsEnded:
		p.idle = !p.anyGate()
	case BeatAnswered:
		p.beatAnswered(ev.RingState)
	case Evicted:
		p.rejoin()
	case LeaseExpired:
		p.expired = true
	case LeaseRenewed:
		p.expired = false
	case PartitionFenced:
		// With a release in flight its answer tells more: what runs may hold permits.
		if t := p.at(ev.Part, ev.Epoch); t != nil && t.release != releaseInFlight && t.release != releaseUnsure {
			p.drop(ev.Part, true)
			p.askRecords()
		}
	case StopAsked:
		p.stop()
	default:
		p.err = fmt.Errorf("participant: unknown event %T", ev)
	}
}

func (p *Participant) join(j Joined) {
	p.reset()
	p.joined, p.inc = true, j.Incarnation
	p.plan, p.change, p.heard = j.Epoch, j.Change, j.Change
	p.idle = true // a new incarnation runs nothing
	p.follow(j.RingState)
}

// rejoin drops everything: an evicted incarnation never comes back.
func (p *Participant) rejoin() {
	for _, part := range p.parts() {
		p.drop(part, true)
	}
	err, out := p.err, p.out
	p.reset()
	p.err, p.out = err, append(out, Rejoin{})
}

// stop gives every partition away: the intake ends, and what runs goes on.
func (p *Participant) stop() {
	p.stopping = true
	for _, part := range p.parts() {
		p.close(part, ModeKey)
	}
}

// at is the tenure of a partition if it has that epoch, else nil.
func (p *Participant) at(part int, epoch uint64) *tenure {
	if t := p.tenures[part]; t != nil && t.epoch == epoch {
		return t
	}
	return nil
}

func (p *Participant) parts() []int { return slices.Sorted(maps.Keys(p.tenures)) }

func (p *Participant) do(a ParticipantAction) { p.out = append(p.out, a) }

// to changes the state of a partition as the table allows.
func (p *Participant) to(part int, next State) {
	t := p.tenures[part]
	from := None
	if t != nil {
		from = t.state
	}
	if err := checkTransition(part, from, next); err != nil {
		p.err = err
		return
	}
	if t != nil {
		t.state = next
	}
	if next == None {
		delete(p.tenures, part)
	}
}

// gain starts a tenure, if its epoch is above all that was heard of the partition.
func (p *Participant) gain(part int, epoch uint64) {
	if epoch <= p.seen[part] {
		return
	}
	p.seen[part] = epoch
	if p.tenures[part] != nil {
		p.drop(part, false) // a release whose answer never came has flipped it
	}
	if err := checkTransition(part, None, Claiming); err != nil {
		p.err = err
		return
	}
	p.tenures[part] = &tenure{state: Claiming, epoch: epoch, idle: true}
	p.reading.void = true
	p.claim(part, true)
	if p.stopping {
		p.close(part, ModeKey)
	}
}

// drop ends a tenure.
func (p *Participant) drop(part int, cancel bool) {
	t := p.tenures[part]
	p.do(DropPartition{Part: part, Epoch: t.epoch, Cancel: cancel})
	p.reading.void = true
	p.to(part, None)
}

// close puts a partition on its way out, at the pace of the newest word about it.
func (p *Participant) close(part int, mode Mode) {
	t := p.tenures[part]
	switch {
	case t == nil:
	case t.state != Closing:
		t.mode, t.release, t.reclose = mode, releaseIdle, false
		p.to(part, Closing)
	case t.release == releaseKept:
		t.mode, t.release = mode, releaseIdle
	default:
		t.mode, t.reclose = mode, t.release != releaseIdle
	}
}

// reopen takes a partition back from its way out.
func (p *Participant) reopen(part int) {
	t := p.tenures[part]
	t.release, t.reclose = releaseIdle, false
	next := Claiming
	if t.claimed {
		next = Open
	}
	p.to(part, next)
	if t.claim == claimIdle && (t.again || !t.claimed) {
		p.claim(part, true)
	}
}

func (p *Participant) claim(part int, first bool) {
	t := p.tenures[part]
	t.claim = claimInFlight
	if first {
		t.again = false
	}
	p.do(ClaimPartition{Part: part, Epoch: t.epoch, First: first})
}

// noteIdle: when a drain has taken too long, the worker as a whole waits no longer than for
// the drains of all its other partitions.
func (p *Participant) noteIdle() {
	if !p.overdue || p.anyGate() {
		return
	}
	for _, t := range p.tenures {
		if !t.idle {
			return
		}
	}
	p.idle = true
}

func (p *Participant) anyGate() bool {
	for _, t := range p.tenures {
		if t.gate {
			return true
		}
	}
	return false
}

// State tells where the participant stands with a partition, and under which epoch.
func (p *Participant) State(part int) (State, uint64) {
	if t := p.tenures[part]; t != nil {
		return t.state, t.epoch
	}
	return None, 0
}
