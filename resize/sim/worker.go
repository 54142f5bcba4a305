package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ringmaster/consumergroup/driver"
	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
	"ringmaster/resize"
)

// drainTime is after which a worker ends the contexts of runs that keep a moved partition.
const drainTime = 30 * time.Second

// worker is a worker's process in a World: the product's driver and lanes. Its requests, heartbeats
// and handlers come and go as the scenario says.
type worker struct {
	party
	inc     string
	d       *driver.Driver
	p       *resize.Participant // the driver's, once it has taken an event
	pool    *lanes.Pool
	runs    []*handler
	dead    bool // the process is gone
	made    bool // its first connection is
	ahead   time.Duration
	lapsed  bool // its lease is over by its own clock
	poked   bool
	reading *reading // that waits
}

// handler is one at work. One that is told to end goes on until the scenario has it return.
type handler struct {
	it   *lanes.Item
	told bool
}

// End implements lanes.Run.
func (h *handler) End(error) { h.told = true }

func (h *handler) part() int { return h.it.Tenure.Partition }

// begin has the driver of an incarnation run that has joined.
func (w *World) begin(inc string, state resize.RingState) {
	k := &worker{party: party{w: w, name: inc, faults: map[string]string{}}, inc: inc}
	k.pool = lanes.NewPool(w.limits, k)
	k.d = driver.New(
		driver.Config{Block: blockTimeout * time.Millisecond, Lease: leaseTTL * time.Millisecond, Drain: drainTime, Step: k.step},
		driver.Deps{Reader: k, Member: k, Clock: k, Due: &signal{}, Merge: &gate{}, Host: k, Log: silent{}, Lock: unlocked{}, Pool: k.pool},
		resize.Joined{Incarnation: inc, RingState: state})
	w.workers[inc] = k
	k.fibers = append(k.fibers, w.spawn(w.soon, func(f *fiber) { k.d.RunAcks(f) }))
	k.fibers = append(k.fibers, w.spawn(w.soon, k.run))
}

// run is the reader, until the incarnation is over.
func (k *worker) run(f *fiber) {
	err := k.d.Run(f)
	switch {
	case f.dead:
	case errors.Is(err, driver.ErrEvicted):
		k.w.soon(func() { k.w.rejoin(k) })
	default:
		k.w.fail("%s: its reader has ended: %v", k.inc, err)
	}
}

// step has the machine take an event, and checks it. What it wants is told here, unless it is told
// when the store executes it.
func (k *worker) step(p *resize.Participant, ev resize.ParticipantEvent) ([]resize.ParticipantAction, error) {
	k.p = p
	idle := restful(p, ev)
	actions, err := p.Step(ev)
	if err == nil {
		err = p.CheckInvariants()
	}
	if err == nil && idle {
		err = stillRests(p, ev, actions)
	}
	if err != nil {
		k.w.fail("%s on %T%+v: %v", k.inc, ev, ev, err)
	}
	for _, a := range actions {
		switch a.(type) {
		case resize.ReadRecords, resize.ClaimPartition, resize.ReleasePartition, resize.Report:
		default:
			k.w.log("%s: %s", k.inc, a)
		}
	}
	return actions, nil
}

// perform executes the next request, or ends a read that waits for no longer.
func (k *worker) perform() bool {
	if k.party.perform() {
		return true
	}
	if k.reading == nil || !k.poked && k.Now().Before(k.reading.until) {
		return false
	}
	return k.answerRead(k.reading.more, 0)
}

// start runs the next job that may start.
func (k *worker) start() bool {
	if k.lapsed {
		return false
	}
	k.pool.Ring(k.Now())
	it := k.pool.Next(k.Now())
	if it == nil {
		return false
	}
	h := &handler{it: it}
	it.Run = h
	k.runs = append(k.runs, h)
	k.w.log("%s: starts %d/%d", k.inc, h.part(), numberOf(it))
	k.w.started(k, h)
	k.w.goOn()
	return true
}

// finish lets a handler return, and its end be sent.
func (k *worker) finish(h *handler, how job.Outcome) {
	k.runs = slices.DeleteFunc(k.runs, func(x *handler) bool { return x == h })
	k.pool.Finished(h.it, job.Completion{Outcome: how})
	k.w.goOn()
	for r := k.next(k.fibers[0]); r != nil; r = k.next(k.fibers[0]) {
		k.execute(r)
		if r.kind == "ack" {
			return
		}
	}
}

// kill ends the process.
func (k *worker) kill() {
	k.dead = true
	k.party.kill()
	k.reading = nil
	delete(k.w.workers, k.inc)
	k.w.store.silence(k.inc)
}

// handlers are those at work, in order.
func (k *worker) handlers() []*handler {
	return slices.SortedFunc(slices.Values(k.runs), func(a, b *handler) int {
		if a.part() != b.part() {
			return a.part() - b.part()
		}
		return numberOf(a.it) - numberOf(b.it)
	})
}

// String tells of a handler what a failure should show.
func (h *handler) String() string {
	return fmt.Sprintf("%d/%d@%d", h.part(), numberOf(h.it), h.it.Tenure.Epoch)
}

// Broken implements driver.Host. No entry of this store is.
func (k *worker) Broken(*lanes.Item) job.Completion { return job.Completion{Outcome: job.Buried} }

// Before implements driver.Host. Nobody is suspected here.
func (k *worker) Before(record string, _ time.Time) lanes.Prior {
	prior := before(record)
	prior.Suspect, prior.Apart = false, 0
	return prior
}

// Poke implements driver.Host: the read that waits ends when its worker's turn comes.
func (k *worker) Poke() { k.poked = true }

// Stirred implements driver.Host.
func (k *worker) Stirred() {}

// Asked implements driver.Host. Nobody asks here.
func (k *worker) Asked(string) {}

// Alone implements driver.Host.
func (k *worker) Alone() bool {
	m := k.w.store.members[k.inc]
	return m != nil && m.Leaving && !k.w.store.anyUp()
}

// Arrived implements driver.Host.
func (k *worker) Arrived() {}

// Turns implements driver.Host.
func (k *worker) Turns(time.Time) {}

// Waits implements driver.Host.
func (k *worker) Waits(context.Context, string) driver.Patience { return silent{} }

// Now implements driver.Clock.
func (k *worker) Now() time.Time { return k.w.time().Add(k.ahead) }

// Sleep implements driver.Clock. It takes no time: what is repeated waits to be executed.
func (k *worker) Sleep(ctx context.Context, _ time.Duration) bool { return ctx.Err() == nil }

// Ready implements lanes.Crew: jobs start when the scenario says so.
func (k *worker) Ready() {}

// Quiet implements lanes.Crew.
func (k *worker) Quiet() {}

// Alarm implements lanes.Crew.
func (k *worker) Alarm() {}
