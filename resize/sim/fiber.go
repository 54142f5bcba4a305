package sim

import (
	"context"
	"iter"
	"time"
)

// fiber is code of the product under a scheduler: a coroutine that runs until it waits, for an
// answer or for time to pass, and goes on when the scheduler lets that happen. It is the context
// that the code is given, which ends with the process.
type fiber struct {
	of    *fibers
	soon  func(run func()) // has something happen at its process right after the present step
	yield func(struct{}) bool
	next  func() (struct{}, bool)
	stop  func()
	dead  bool // its process is over: nothing that it still does counts
}

// fibers are those of one scheduler.
type fibers struct {
	graves []*fiber // whose process is over
	all    []*fiber
}

// spawn starts code of a process at once, up to where it first waits.
func (s *fibers) spawn(soon func(run func()), run func(f *fiber)) *fiber {
	f := &fiber{of: s, soon: soon}
	f.next, f.stop = iter.Pull(func(yield func(struct{}) bool) {
		f.yield = yield
		run(f)
	})
	s.all = append(s.all, f)
	f.goOn()
	return f
}

// bury ends the coroutines of those whose process is over.
func (s *fibers) bury() {
	for len(s.graves) > 0 {
		f := s.graves[0]
		s.graves = s.graves[1:]
		f.stop()
	}
}

// end ends what still runs.
func (s *fibers) end() {
	for _, f := range s.all {
		f.kill()
	}
	s.bury()
}

// goOn lets a fiber run that waits.
func (f *fiber) goOn() {
	if !f.dead {
		f.next()
	}
}

// wait lets others go on until goOn is called. It reports false if the process is over.
func (f *fiber) wait() bool { return !f.dead && f.yield(struct{}{}) && !f.dead }

// kill ends a fiber with its process. It may be the one that runs: its coroutine is ended after the
// present step.
func (f *fiber) kill() {
	if f != nil && !f.dead {
		f.dead = true
		f.of.graves = append(f.of.graves, f)
	}
}

// spawn starts code of the product at a node.
func (e *engine) spawn(n *node, run func(f *fiber)) *fiber {
	return e.fibers.spawn(func(run func()) { e.after(n, 0, run) }, run)
}

// ask sends a request of a fiber, which waits for the answer.
func (e *engine) ask(f *fiber, n *node, c *call) (answered bool) {
	if f.dead {
		return false
	}
	c.from = n
	c.done = func(got bool) { answered = got; f.goOn() }
	e.send(c)
	return f.wait() && answered
}

// sleep lets time pass for a fiber.
func (e *engine) sleep(f *fiber, n *node, d time.Duration) bool {
	if f.dead {
		return false
	}
	e.after(n, max(1, d.Milliseconds()), f.goOn)
	return f.wait()
}

// Deadline implements context.Context.
func (f *fiber) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context. Code under the scheduler waits for nothing but the scheduler.
func (f *fiber) Done() <-chan struct{} { return nil }

// Err implements context.Context.
func (f *fiber) Err() error {
	if f.dead {
		return context.Canceled
	}
	return nil
}

// Value implements context.Context.
func (f *fiber) Value(any) any { return nil }

// signal is a driver.Signal.
type signal struct {
	set     bool
	waiting *fiber
}

// Set implements driver.Signal: who waits goes on right after the present step.
func (s *signal) Set() {
	f := s.waiting
	if s.set = f == nil; s.set {
		return
	}
	s.waiting = nil
	f.soon(f.goOn)
}

// Wait implements driver.Signal.
func (s *signal) Wait(ctx context.Context) bool {
	if s.set {
		s.set = false
		return ctx.Err() == nil
	}
	f := ctx.(*fiber)
	s.waiting = f
	return f.wait()
}

// gate is a driver.Gate.
type gate struct {
	broken  bool // by a bug: it holds nobody
	readers int
	writer  bool
	wants   bool // a writer waits
	waiting []*fiber
}

func (g *gate) wait(ctx context.Context) bool {
	f := ctx.(*fiber)
	g.waiting = append(g.waiting, f)
	return f.wait()
}

func (g *gate) wake() {
	for _, f := range g.waiting {
		f.soon(f.goOn)
	}
	g.waiting = nil
}

// Enter implements driver.Gate.
func (g *gate) Enter(ctx context.Context) error {
	for !g.broken && (g.writer || g.wants) {
		if !g.wait(ctx) {
			return context.Canceled
		}
	}
	g.readers++
	return nil
}

// Leave implements driver.Gate.
func (g *gate) Leave() { g.readers--; g.wake() }

// Close implements driver.Gate.
func (g *gate) Close(ctx context.Context) error {
	for g.wants = true; !g.broken && g.readers > 0; {
		if !g.wait(ctx) {
			return context.Canceled
		}
	}
	g.wants, g.writer = false, true
	return nil
}

// Open implements driver.Gate.
func (g *gate) Open() { g.writer = false; g.wake() }

// unlocked is a driver.Locker: one thing happens at a time here.
type unlocked struct{}

func (unlocked) Lock()   {}
func (unlocked) Unlock() {}

// silent is a driver.Log, and a driver.Patience.
type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}
func (silent) Failed(error)         {}
func (silent) Answered()            {}
func (silent) Over()                {}
