package driver

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
	"ringmaster/resize"
)

// ErrEvicted ends Run: the incarnation is no member any more, or must not go on as one. The
// worker joins again as a new incarnation.
var ErrEvicted = errors.New("incarnation was evicted")

// Reader makes the calls of Run, on the one connection on which an incarnation reads a shard.
// Its calls block for one round trip, Read for as long as it is told. See streams.Reader.
type Reader interface {
	Reset(ctx context.Context) error
	Read(ctx context.Context, parts []int, count int, block time.Duration) (job.ReadBatch, error)
	History(ctx context.Context, partition int) ([]job.Entry, error)
	Claim(ctx context.Context, tenures []job.Tenure, cursors []string, count int, also []int, each int) job.Claims
	Release(ctx context.Context, tenures []job.Tenure, running [][]job.EntryID, leaving bool) ([]job.ReleaseAnswer, []error)
	Skim(ctx context.Context, asks []job.Skim) ([]job.SkimPage, []error)
	Unpark(ctx context.Context, asks []job.Unpark) ([]job.UnparkPage, []error)
	Snapshot(ctx context.Context) (job.Snapshot, error)
	AckControl(ctx context.Context, ids []string) error
}

// Member makes the calls of RunAcks, and mends what somebody has deleted. See streams.Member.
type Member interface {
	Report(ctx context.Context, shard int, ringEpoch uint64, phase int, data string) error
	Ack(ctx context.Context, shard int, batches []job.PartitionAcks) ([][]job.Answer, error)
	Heal(ctx context.Context, parts []int) ([]string, error)
}

// Clock tells the time, and lets it pass.
type Clock interface {
	Now() time.Time
	// Sleep waits, and reports false if ctx ended first.
	Sleep(ctx context.Context, d time.Duration) bool
}

// Signal wakes who waits for it. One that was set before is not lost; several count as one.
type Signal interface {
	Set() // does not block; the lock is held
	// Wait reports false if ctx ended first.
	Wait(ctx context.Context) bool
}

// Gate lets the ends through that are on their way, or the merging of the own pending list alone:
// an end in flight would make its job look new.
type Gate interface {
	Enter(ctx context.Context) error // an end, waits while a merge is inside or waits
	Leave()
	Close(ctx context.Context) error // a merge, waits until no end is inside
	Open()
}

// Patience is told of a call that is repeated until it is answered, so that it can tell people of
// one that takes long.
type Patience interface {
	Failed(err error)
	Answered()
	Over() // whatever came of it; after Answered it is told, too
}

// Host is the process around a driver. No method blocks for a call to the store.
type Host interface {
	// Broken and Before are those of lanes.Host. The lock is held.
	Broken(it *lanes.Item) job.Completion
	Before(record string, now time.Time) lanes.Prior

	Poke()               // end the blocking read that is under way; Poked tells if that failed. The lock is held
	Stirred()            // the participant rests no more
	Asked(what string)   // a message of the worker's own inbox asks for a drain or a beat
	Alone() bool         // it is leaving, and no leader has planned without it for a while
	Arrived()            // new jobs have come
	Turns(now time.Time) // a turn of Run begins
	Waits(ctx context.Context, what string) Patience
}

// Log is where a driver tells what people should know. A *slog.Logger is one.
type Log interface {
	Debug(msg string, args ...any)
	Info(msg string, args ...any)
	Warn(msg string, args ...any)
	Error(msg string, args ...any)
}

// Locker guards the lanes, and what Run, RunAcks and others share. It is never held during a call.
type Locker interface {
	Lock()
	Unlock()
}

// Config are a driver's settings. All are required but Generation and Step.
type Config struct {
	Shard      int           // its number
	Block      time.Duration // how long a read waits; half as long again at rest
	Lease      time.Duration // of the incarnation: a read waits for half of it at most
	Drain      time.Duration // after which the contexts of runs end that keep a moved or moving partition
	Generation uint64        // of the shard, as the incarnation joined

	// Step has the participant take an event; nil: resize.Participant.Step. The simulator checks here.
	Step func(p *resize.Participant, ev resize.ParticipantEvent) ([]resize.ParticipantAction, error)
}

// Deps are what a driver works with. All are required.
type Deps struct {
	Reader Reader
	Member Member
	Clock  Clock
	Due    Signal // ends or reports wait for RunAcks
	Merge  Gate
	Host   Host
	Log    Log
	Lock   Locker
	Pool   *lanes.Pool // guarded by Lock
}

// Driver is one incarnation's part in one shard of the queue. Make it with New; run Run and
// RunAcks, each once, side by side. The other methods are safe for concurrent use, those that say
// so only with the lock held.
type Driver struct {
	cfg    Config
	reader Reader
	member Member
	clock  Clock
	due    Signal
	merge  Gate
	host   Host
	log    Log
	lock   Locker
	pool   *lanes.Pool         // guarded by the lock, as all that follows
	brain  *resize.Participant // Run alone

	lanes   *lanes.Shard
	events  []resize.ParticipantEvent
	ends    []ended
	flight  []ended // those of the present call, and of those that follow with the same batch
	reports []report
	heard   time.Time // when Run last had an answer, or a part of one
	bytes   uint64    // that it had received then
	blocked bool      // Run is in a blocking read
	woken   bool      // something came up since it last looked
	poked   bool      // and a poke is on its way
	epoch   uint64    // the newest ring epoch that heartbeats and records have told
	look    bool      // a heartbeat has stopped the starts: Run looks at the records
	resting bool      // the participant waits for nothing, and has seen the ring as it is in rest
	rest    resize.RingState

	// RunAcks alone: memory of a batch, used again for the next.
	completions []job.Completion
	items       []*lanes.Item

	// Run alone.
	held    []resize.ParticipantEvent // answers to claims that were not sent, for want of room
	stirred bool                      // the participant has had news since they were given
	news    []job.ControlEntry        // messages that claims have brought along
	unsure  bool                      // the last read's outcome is unknown
	gone    int                       // consecutive reads that found a group gone
}

// New makes a driver for an incarnation that has joined: joined is what the shard has answered.
func New(cfg Config, deps Deps, joined resize.Joined) *Driver {
	if cfg.Step == nil {
		cfg.Step = (*resize.Participant).Step
	}
	d := &Driver{cfg: cfg, reader: deps.Reader, member: deps.Member, clock: deps.Clock, due: deps.Due, merge: deps.Merge, host: deps.Host,
		log: deps.Log, lock: deps.Lock, pool: deps.Pool, brain: resize.NewParticipant(), heard: deps.Clock.Now()}
	d.lanes = lanes.NewShard(deps.Pool, d)
	d.events = append(d.events, joined)
	return d
}

// Host is what New was given.
func (d *Driver) Host() Host { return d.host }

// Lanes are what the incarnation holds of the shard. The lock is held.
func (d *Driver) Lanes() *lanes.Shard { return d.lanes }

// Rests reports whether nothing is under way, and nothing waited for. The lock is held.
func (d *Driver) Rests() bool {
	return d.resting && len(d.events) == 0 && !d.look && len(d.ends) == 0
}

// Empty reports whether nothing is owned, and no end waits to be sent. The lock is held.
func (d *Driver) Empty() bool { return d.lanes.Empty() && len(d.ends) == 0 }

// Endings are the runs whose end waits to be sent, or to be answered, and how they have ended. The
// lock is held.
func (d *Driver) Endings() iter.Seq2[*lanes.Item, *job.Completion] {
	return func(yield func(*lanes.Item, *job.Completion) bool) {
		for _, es := range [][]ended{d.ends, d.flight} {
			for i := range es {
				if es[i].it != nil && !yield(es[i].it, &es[i].c) {
					return
				}
			}
		}
	}
}

// String is where it stands, for who looks for a fault.
func (d *Driver) String() string {
	return fmt.Sprintf("%v unsure=%v blocked=%v events=%d held=%d ends=%d/%d", d.brain, d.unsure, d.blocked, len(d.events), len(d.held), len(d.ends), len(d.flight))
}

// Post hands Run an event for the participant, and wakes it.
func (d *Driver) Post(ev resize.ParticipantEvent) {
	d.lock.Lock()
	d.Tell(ev)
	d.lock.Unlock()
}

// Fenced tells Run that a tenure is not ours.
func (d *Driver) Fenced(t job.Tenure) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.lanes.DoubtOne(t.Partition, t.Epoch)
	d.Tell(resize.PartitionFenced{Part: t.Partition, Epoch: t.Epoch})
}

// Beaten takes the answer to a heartbeat. It may tell of a new generation before the reader's
// own connection is known to be lost, as where the server before hangs: no tenure has the epoch
// any more that it had. Or a plan has brought this shard to the epoch of another that had a new
// generation, and the participant may know of it. So Run looks, whatever the numbers say.
func (d *Driver) Beaten(b job.Beat) {
	d.lock.Lock()
	defer d.lock.Unlock()
	if b.RingEpoch >= d.epoch+job.GenerationJump && d.epoch > 0 {
		d.lanes.Doubt()
		d.look = true
	}
	d.epoch = max(d.epoch, b.RingEpoch)
	if d.look || !d.resting || len(d.events) > 0 || !ringState(b).Same(d.rest) {
		d.Tell(resize.BeatAnswered{RingState: ringState(b)})
	}
}

// DeafFor is how long Run has had no answer, and nothing of one: received is how many bytes of large
// answers have come in all.
func (d *Driver) DeafFor(now time.Time, received uint64) time.Duration {
	d.lock.Lock()
	defer d.lock.Unlock()
	if received != d.bytes {
		d.bytes, d.heard = received, now
	}
	return now.Sub(d.heard)
}

// Poked tells whether the poke that the host was asked for was written: if not, the next that comes
// up asks for another.
func (d *Driver) Poked(ok bool) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.poked = d.poked && ok
}

// Tell implements lanes.Host: an event for the participant. The lock is held.
func (d *Driver) Tell(ev resize.ParticipantEvent) {
	d.events = append(d.events, ev)
	d.Wake()
}

// Wake implements lanes.Host: it ends a blocking read, by a message to the incarnation itself. The
// lock is held.
func (d *Driver) Wake() {
	if !d.blocked {
		d.woken = true
		return
	}
	if !d.poked {
		d.poked = true
		d.host.Poke()
	}
}

// End implements lanes.Host: it queues a completion. The lock is held.
func (d *Driver) End(it *lanes.Item, c job.Completion) {
	d.ends = append(d.ends, ended{it, c})
	if len(d.ends) == 1 {
		d.due.Set() // until it has taken them all RunAcks asks by itself
	}
}

// Broken implements lanes.Host.
func (d *Driver) Broken(it *lanes.Item) job.Completion { return d.host.Broken(it) }

// Before implements lanes.Host.
func (d *Driver) Before(record string, now time.Time) lanes.Prior { return d.host.Before(record, now) }
