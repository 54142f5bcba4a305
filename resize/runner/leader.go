package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"ringmaster/resize"
)

// Sighting is what one look found of one member.
type Sighting struct {
	Incarnation string
	Subscribed  *bool         // nil: not asked this time
	Beat        string        // where it is not subscribed: names its last heartbeat
	Reach       time.Duration // likewise: how long it takes to connect, as it has measured
	LeaseLeft   time.Duration
	LeaseKnown  bool
}

// Look is one reading of the records.
type Look struct {
	Records    resize.Records
	Members    []Sighting // leases
	ServerTime time.Time
	ServerID   string
}

// Death is a failure detector's verdict.
type Death struct {
	Incarnation string
	Evidence    resize.Evidence
	Beat        string // connection: its last heartbeat when it was lost
}

// Detector decides who is dead. It belongs to the runner's goroutine.
type Detector interface {
	Observe(now time.Time, serverID string, serverTime time.Time, members []Sighting) []Death
	LeaderChanged(now time.Time)
}

// ErrStale: another dispatcher has a higher term. ErrConflict: the records are not as
// last read. A Store wraps one of them where it applies.
var (
	ErrStale    = errors.New("another dispatcher leads")
	ErrConflict = errors.New("records have changed")
)

// Store is the runner's view of the records. Its calls block for one round trip.
type Store interface {
	// Lead takes or renews the leadership; 0 while another leads. term is what the last call told.
	Lead(ctx context.Context, lease time.Duration, term uint64) (uint64, error)
	Resign(ctx context.Context) error
	Look(ctx context.Context) (Look, error)
	// Signs asks which members hold their liveness channel, and for a sign of life of those
	// that do not.
	Signs(ctx context.Context, incs []string) ([]Sighting, error)
	Evict(ctx context.Context, term uint64, a resize.EvictWorker) error
	WritePlan(ctx context.Context, term uint64, a resize.WritePlan) error
	// Steal flips partitions; the errors are parallel to the actions.
	Steal(ctx context.Context, term uint64, as []resize.StealPartition) []error
	Revoke(ctx context.Context, term uint64, a resize.RevokePermit) error
	Advance(ctx context.Context, term uint64, a resize.AdvanceBarrier) error
	// Repair makes groups and records agree and says what it mended.
	Repair(ctx context.Context, term uint64) ([]string, error)
	// Guard has the members, who were all found at that time, looked for together with those of other
	// rings, while this one is at rest: alarm gets word, once, when one is missed or nobody can tell.
	// false: nobody looks, the runner goes on itself. Seen is when all were last found; Unguard ends it.
	Guard(incs []string, seen time.Time, alarm chan<- struct{}) bool
	Unguard()
	Seen() time.Time
	// Hints sends on the channel whenever the control stream has news, until ctx ends.
	Hints(ctx context.Context, news chan<- struct{})
}

// Config are the runner's times.
type Config struct {
	Lease    time.Duration // of the leadership; 2 s, renewed when half of it is over
	Detect   time.Duration // between looks for lost connections; 30 ms
	Look     time.Duration // between readings of the records without a hint; 500 ms
	Repair   time.Duration // between comparisons of groups with records; 10 s
	Timeout  time.Duration // of one call; 2 s
	Protocol resize.Config
	Began    time.Time // from when the renewals of all rings of a process are counted
	// Rings is how many rings this process leads, nil: one. Of all of them together, at rest, the
	// records of ten a second are read, and the groups of one a second compared.
	Rings func() int
	// Step has the coordinator take an event; nil: resize.Coordinator.Step. The simulator checks here.
	Step func(c *resize.Coordinator, ev resize.CoordinatorEvent) ([]resize.CoordinatorAction, error)
}

// Default is a Config with every number set.
func Default() Config {
	return Config{Lease: 2 * time.Second, Detect: 30 * time.Millisecond, Look: 500 * time.Millisecond,
		Repair: 10 * time.Second, Timeout: 2 * time.Second, Protocol: resize.Default()}
}

// Woken is what a leader that waited was woken by.
type Woken int

const (
	ByTime  Woken = iota // nothing: the time is over, or its context
	ByLease              // the leadership was won or lost
	ByNews               // the control stream has news
	ByAlarm              // a guard misses somebody
)

// Host is the process around a Leader: it tells the time, lets it pass, and wakes it. The runner
// gives it goroutines, channels and clocks, the simulator its scheduler.
type Host interface {
	Now() time.Time
	// Sleep waits, and reports false if ctx ended first.
	Sleep(ctx context.Context, d time.Duration) bool
	// Within is ctx with an end of its own, for a call.
	Within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
	// Wait waits for news, for d at most. term belongs to ByLease.
	Wait(ctx context.Context, d time.Duration) (by Woken, term uint64)
	// Led wakes who waits by a term that was won, or by 0. It waits until that is known, and reports
	// false if ctx ended first.
	Led(ctx context.Context, term uint64) bool
}

// Leader leads a ring when it can: what it asks of the store, in which order, and what becomes of the
// answers. It has no goroutine and no clock: Lead and KeepLease are two sequences of calls, to be run
// side by side, each once. Make it with NewLeader.
type Leader struct {
	cfg      Config
	store    Store
	detector Detector
	host     Host
	log      *slog.Logger
	brain    *resize.Coordinator
	start    time.Time

	givesUp atomic.Bool // a resignation is not answered
	forgets atomic.Bool // Lead has stepped down: whatever term KeepLease gets next is news, also the same again

	// Lead alone.
	term     uint64
	members  []string
	serverID string
	looked   time.Time
	repaired time.Time
	ticked   time.Time
	alarm    chan struct{} // capacity 1: a guard misses somebody
	guarded  bool
	lapsed   bool      // the last look found a lease that is over: a look after this one tells more
	found    time.Time // when the last look for connections found all members; zero: it did not
}

// NewLeader checks the configuration.
func NewLeader(cfg Config, store Store, detector Detector, host Host, log *slog.Logger) (*Leader, error) {
	brain, err := resize.NewCoordinator(cfg.Protocol)
	if err != nil {
		return nil, err
	}
	if cfg.Lease <= 0 || cfg.Detect <= 0 || cfg.Look <= 0 || cfg.Timeout <= 0 {
		return nil, errors.New("runner: every time must be positive")
	}
	now := host.Now()
	if cfg.Began.IsZero() {
		cfg.Began = now
	}
	if cfg.Step == nil {
		cfg.Step = (*resize.Coordinator).Step
	}
	return &Leader{cfg: cfg, store: store, detector: detector, host: host, log: log, brain: brain, start: now, alarm: make(chan struct{}, 1)}, nil
}

// Alarm is what a guard is given: the host wakes who waits when it has word.
func (r *Leader) Alarm() <-chan struct{} { return r.alarm }

// Lead stands by and leads until ctx ends. While the store does not answer it stands by.
func (r *Leader) Lead(ctx context.Context) {
	for pause := r.cfg.Detect; ctx.Err() == nil; pause = r.pause(ctx) {
		by, term := r.host.Wait(ctx, pause)
		switch {
		case by == ByLease: // as ctx ends, too: what was won is given up
			r.wake()
			r.leaseNews(ctx, term)
		case ctx.Err() != nil:
		case by == ByNews:
			r.wake()
			r.step(ctx, resize.RecordsChanged{Now: r.now()})
		case by == ByAlarm:
			r.wake()
			r.tick(ctx)
		default:
			r.tick(ctx)
		}
	}
	r.wake()
}

func (r *Leader) now() int64 { return r.host.Now().Sub(r.start).Milliseconds() }

func (r *Leader) deaths(ctx context.Context, dead []Death) {
	for _, d := range dead {
		r.step(ctx, r.died(d))
	}
}

func (r *Leader) died(d Death) resize.WorkerDied {
	return resize.WorkerDied{Now: r.now(), Incarnation: d.Incarnation, Evidence: d.Evidence, Beat: d.Beat}
}

func (r *Leader) repair(ctx context.Context) {
	r.repaired = r.host.Now()
	call, cancel := r.host.Within(ctx, r.cfg.Timeout)
	defer cancel()
	mended, err := r.store.Repair(call, r.term)
	for _, m := range mended {
		r.log.Error("state was lost at the server", "mended", m)
	}
	if err != nil {
		r.log.Debug("could not compare groups with records", "error", err)
	}
}

// step feeds the coordinator and does what it wants, until nothing is left.
func (r *Leader) step(ctx context.Context, ev resize.CoordinatorEvent) {
	todo := []resize.CoordinatorEvent{ev}
	for len(todo) > 0 && ctx.Err() == nil {
		ev := todo[0]
		todo = todo[1:]
		actions, err := r.cfg.Step(r.brain, ev)
		if err != nil {
			r.log.Error("records contradict themselves", "error", err)
			if contradiction(ev) {
				r.repaired = time.Time{}
			}
			continue
		}
		todo = append(todo, r.perform(ctx, actions)...)
	}
}

func contradiction(ev resize.CoordinatorEvent) bool {
	_, is := ev.(resize.RecordsRead)
	return is
}

// perform does a batch of actions in order; the first refusal ends it.
func (r *Leader) perform(ctx context.Context, actions []resize.CoordinatorAction) []resize.CoordinatorEvent {
	ctx, cancel := r.host.Within(ctx, r.cfg.Timeout)
	defer cancel()
	for i := 0; i < len(actions); i++ {
		var err error
		switch a := actions[i].(type) {
		case resize.ReadRecords:
			return r.look(ctx)
		case resize.StealPartition:
			steals := []resize.StealPartition{a}
			for ; i+1 < len(actions); i++ {
				next, ok := actions[i+1].(resize.StealPartition)
				if !ok {
					break
				}
				steals = append(steals, next)
			}
			err = r.steal(ctx, steals)
		case resize.EvictWorker:
			r.log.Warn("evicting worker", "incarnation", a.Incarnation, "evidence", string(a.Evidence))
			err = r.store.Evict(ctx, r.term, a)
		case resize.WritePlan:
			err = r.store.WritePlan(ctx, r.term, a)
			if err == nil {
				r.log.Info("plan", "ring_epoch", a.BaseEpoch+1, "mode", a.Mode.String())
			}
		case resize.RevokePermit:
			r.log.Info("permit revoked", "partition", a.Partition, "entry_id", a.ID, "incarnation", a.Incarnation)
			err = r.store.Revoke(ctx, r.term, a)
		case resize.AdvanceBarrier:
			err = r.store.Advance(ctx, r.term, a)
		case resize.StepDown:
			r.stepDown(ctx)
		default:
			err = fmt.Errorf("coordinator wants %v, which is not known here", a)
		}
		if err != nil {
			// The rest of the batch rests on what was refused; but records that were asked for are read.
			events := r.refused(actions[i], err)
			if _, read := actions[len(actions)-1].(resize.ReadRecords); read {
				events = append(r.look(ctx), events...)
			}
			return events
		}
	}
	return nil
}

func (r *Leader) steal(ctx context.Context, as []resize.StealPartition) error {
	errs := r.store.Steal(ctx, r.term, as)
	done := 0
	var first error
	for i, err := range errs {
		if err == nil {
			done++
		} else if first == nil {
			first = fmt.Errorf("%v: %w", as[i], err)
		}
	}
	if done > 0 {
		r.log.Info("partitions of no owner handed out", "partitions", done)
	}
	return first
}

func (r *Leader) refused(a resize.CoordinatorAction, err error) []resize.CoordinatorEvent {
	kind := resize.Conflict
	if errors.Is(err, ErrStale) {
		kind = resize.Stale
	}
	level := slog.LevelDebug
	if !errors.Is(err, ErrStale) && !errors.Is(err, ErrConflict) {
		level = slog.LevelWarn
	}
	r.log.Log(context.Background(), level, "not done", "action", a.String(), "error", err)
	return []resize.CoordinatorEvent{resize.Refused{Now: r.now(), Kind: kind}}
}

// look reads the records. If it cannot, the coordinator asks again after its own time.
func (r *Leader) look(ctx context.Context) []resize.CoordinatorEvent {
	now := r.host.Now()
	l, err := r.store.Look(ctx)
	if err != nil {
		r.log.Debug("could not read the records", "error", err)
		return nil
	}
	r.looked, r.serverID = now, l.ServerID
	r.listed(l.Members)
	events := []resize.CoordinatorEvent{resize.RecordsRead{Now: r.now(), Records: l.Records}}
	for _, d := range r.detector.Observe(now, l.ServerID, l.ServerTime, l.Members) {
		events = append(events, r.died(d))
	}
	return events
}

// String is where it stands, for who looks for a fault.
func (r *Leader) String() string { return fmt.Sprintf("term=%d %v", r.term, r.brain) }
