package consumergroup

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"ringmaster/consumergroup/driver"
	"ringmaster/consumergroup/lanes"
	"ringmaster/internal/pause"
	"ringmaster/job"
	"ringmaster/resize"
)

// shard is one incarnation's part in one shard of the queue: a driver, and what the worker gives it
// of goroutines, channels and clocks. It implements driver.Host and driver.Clock.
type shard struct {
	w       *Worker
	session *session
	number  int
	reader  Reader
	driver  *driver.Driver
	lanes   *lanes.Shard // the driver's; guarded by the worker's mutex

	pokes  chan struct{} // capacity 1: asks the poker to write a poke
	stands time.Time     // reader goroutine only: when it was told last that partitions are not read
	lined  time.Time     // reader goroutine only: likewise, that jobs wait for others of their type
}

func (n *session) newShard(number int, joined job.Joined) *shard {
	w := n.w
	s := &shard{w: w, session: n, number: number, reader: w.deps.Store.Reader(number, n.inc), pokes: make(chan struct{}, 1)}
	mode, err := resize.ParseMode(joined.Mode)
	if err != nil {
		mode = resize.ModeKey
	}
	s.driver = driver.New(
		driver.Config{Shard: number, Block: w.cfg.Block, Lease: w.cfg.LeaseTTL, Drain: w.cfg.DrainTimeout - w.cfg.grace(), Generation: joined.Generation},
		driver.Deps{Reader: s.reader, Member: n.member, Clock: s, Due: make(signal, 1), Merge: new(Gate), Host: s, Log: w.deps.Log, Lock: &w.mu, Pool: w.pool},
		resize.Joined{Incarnation: n.inc, RingState: resize.RingState{Epoch: joined.RingEpoch, Phase: resize.Phase(joined.Phase), Mode: mode}})
	s.lanes = s.driver.Lanes()
	return s
}

// run is the reader: it ends with the session, or with an error that ends it.
func (s *shard) run(ctx context.Context) error {
	defer func() { _ = s.reader.Close() }()
	return s.driver.Run(ctx) //nolint:wrapcheck // it says what it was doing
}

// signal is a driver.Signal of capacity 1.
type signal chan struct{}

// Set implements driver.Signal.
func (c signal) Set() {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Wait implements driver.Signal.
func (c signal) Wait(ctx context.Context) bool {
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}

// Now implements driver.Clock.
func (s *shard) Now() time.Time { return time.Now() }

// Sleep implements driver.Clock.
func (s *shard) Sleep(ctx context.Context, d time.Duration) bool { return pause.For(ctx, d) }

// Poke implements driver.Host.
func (s *shard) Poke() {
	select {
	case s.pokes <- struct{}{}:
	default:
	}
}

// runPoker writes pokes, so that nobody who makes room has to wait for the store.
func (s *shard) runPoker(ctx context.Context) {
	for {
		select {
		case <-s.pokes:
		case <-ctx.Done():
			return
		}
		call, cancel := context.WithTimeout(ctx, s.w.cfg.Block)
		err := s.session.member.Poke(call, s.number)
		cancel()
		s.driver.Poked(err == nil)
	}
}

// Stirred implements driver.Host.
func (s *shard) Stirred() {
	select {
	case s.session.stirred <- struct{}{}:
	default:
	}
}

// Asked implements driver.Host.
func (s *shard) Asked(what string) {
	if what == "drain" {
		s.session.drain()
	} else {
		s.session.beatSoon()
	}
}

// Alone implements driver.Host.
func (s *shard) Alone() bool { return s.session.alone() }

// Arrived implements driver.Host: an executor that was woken starts its job before the next read is
// made ready.
func (s *shard) Arrived() { runtime.Gosched() }

// Turns implements driver.Host.
func (s *shard) Turns(now time.Time) {
	s.tellHung(now)
	s.tellStanding(now)
}

// tellAfter is how long a call may go unanswered before that is logged.
const tellAfter = 2 * time.Second

var errOnItsWay = errors.New("it is on its way: it is large, the link is slow, or the server is busy")

// patience tells, after a while, of a call that is not answered: of one too that is on its way for
// long, as one with large results over a slow link.
type patience struct {
	w     *Worker
	what  string
	begun time.Time
	timer *time.Timer

	mu   sync.Mutex
	told bool
	over bool
	last error
}

// Waits implements driver.Host.
func (s *shard) Waits(ctx context.Context, what string) driver.Patience {
	p := &patience{w: s.w, what: what, begun: time.Now(), last: errOnItsWay}
	p.timer = time.AfterFunc(tellAfter, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.over && ctx.Err() == nil {
			p.told = true
			s.w.deps.Log.Warn(what+" is not answered: trying until it is", "for", p.took(), "error", p.last)
		}
	})
	return p
}

func (p *patience) took() time.Duration { return time.Since(p.begun).Round(time.Millisecond) }

// Failed implements driver.Patience.
func (p *patience) Failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = err
}

// Answered implements driver.Patience.
func (p *patience) Answered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.told {
		p.w.deps.Log.Info(p.what+" was answered", "after", p.took())
	}
}

// Over implements driver.Patience.
func (p *patience) Over() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.timer.Stop()
}
