package lanes

import (
	"testing"
	"time"

	"ringmaster/job"
)

// Whatever becomes of a job, its seat is taken until its handler has returned, and given free once.
func TestASeatIsGivenFreeOnce(t *testing.T) {
	apart := few(1, "k")
	apart.Retry = "apart"
	for name, c := range map[string]struct {
		first job.Entry
		run   func(b *bench, it *Item) // from the start to the handler's return
		after func(b *bench)           // what comes then
	}{
		"done": {run: func(b *bench, it *Item) { b.finish(it) }, after: func(b *bench) { b.answer(job.ByOwner) }},
		"failed": {run: func(b *bench, it *Item) { b.fail(it) }, after: func(b *bench) {
			b.answer(job.ByOwner)
			b.now = b.now.Add(2 * time.Hour)
			b.p.Ring(b.now)
			b.complete(b.mustStart(1))
		}},
		"handed back": {run: func(b *bench, it *Item) { b.p.Finished(it, job.Completion{Outcome: job.HandBack}) }, after: func(b *bench) {
			b.answer(job.ByOwner)
			b.complete(b.mustStart(1))
		}},
		"refused": {run: func(b *bench, it *Item) { b.finish(it) }, after: func(b *bench) {
			b.answer(job.Refused)
			b.s.Drop(0, 1, true, b.now)
		}},
		"ended by a drainer": {
			run: func(b *bench, it *Item) {
				b.s.Naming(0, 1)
				b.s.Drop(0, 1, false, b.now)
				b.again(3, few(2, "other"))
				b.mustNotStart() // it counts as running of its type
				b.finish(it)
			},
			after: func(b *bench) { b.answer(job.ByDrainer); b.complete(b.mustStart(2)) },
		},
		"lost, and its handler takes its time": {
			run: func(b *bench, it *Item) {
				b.s.Drop(0, 1, true, b.now)
				b.again(3, few(2, "other"))
				b.mustNotStart()
				b.finish(it)
			},
			after: func(b *bench) { b.answer(job.Refused); b.complete(b.mustStart(2)) },
		},
		"of the incarnation before": {
			run: func(b *bench, it *Item) {
				b.s.AbandonAll()
				b.s.Stop()
				b.s = NewShard(b.p, b)
				b.again(7, few(2, "other"))
				b.mustNotStart()
				b.finish(it)
			},
			after: func(b *bench) { b.complete(b.mustStart(2)) },
		},
		"goes on in a new generation": {
			run: func(b *bench, it *Item) {
				for _, epoch := range []uint64{1001, 2001} {
					b.generation(epoch)
					b.again(epoch, few(1, "k"), few(2, "other"))
					b.mustNotStart()
				}
				b.finish(it)
			},
			after: func(b *bench) { b.answer(job.ByOwner); b.complete(b.mustStart(2)) },
		},
		"ends while a new generation begins": {
			// Its end was sent under the old epoch and is refused: it is an end anew for who goes on.
			run: func(b *bench, it *Item) { b.finish(it) },
			after: func(b *bench) {
				sent := b.send()
				b.generation(1001)
				b.again(1001, few(1, "k"), few(2, "a"), few(3, "b"))
				two := b.mustStart(2)
				b.reply(sent, job.Refused)
				b.mustNotStart()
				b.answer(job.ByOwner)
				b.mustNotStart()
				b.complete(two)
				b.complete(b.mustStart(3))
			},
		},
		"a suspect that did not start": {
			first: apart,
			run: func(b *bench, it *Item) {
				it.Prior = &Prior{}
				b.p.PutBack(it, b.now)
			},
			after: func(b *bench) { b.complete(b.mustStart(1)) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newLimited(t, 1, nil)
			if c.first.Type == "" {
				c.first = few(1, "k")
			}
			b.arrive(c.first)
			it := b.mustStart(1)
			it.Run = &heard{}
			b.seats(1, 0)
			c.run(b, it)
			if s := b.p.seats["few"]; name != "a suspect that did not start" && s.taken != 0 {
				t.Errorf("%d seats are taken when the handler has returned", s.taken)
			}
			c.after(b)
			b.mustNotStart()
			b.seats(0, 0)
		})
	}
}

// A job that is ready has its seat. If it does not start after all, the next in line does.
func TestWhoDoesNotStartGivesItsSeatFree(t *testing.T) {
	for name, leaves := range map[string]func(b *bench, it *Item){
		"its gate closes":   func(b *bench, _ *Item) { b.ten.gate = false },
		"it is in doubt":    func(b *bench, _ *Item) { b.s.DoubtOne(0, 1) },
		"its key is held":   func(b *bench, it *Item) { b.ten.block(eid(9), it.Entry.Key) },
		"it is set aside":   func(b *bench, it *Item) { it.lane.queue = nil; b.p.park(it) },
		"its tenure ends":   func(b *bench, _ *Item) { b.s.Drop(0, 1, true, b.now) },
		"its attempt ended": func(b *bench, it *Item) { it.permit = true; b.s.Drop(0, 1, false, b.now) },
	} {
		for _, suspect := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				b := newLimited(t, 1, nil)
				b.s.Claim(1, 1, true)
				b.s.SetGate(1, 1, true, b.now)
				first := few(1, "k")
				if suspect {
					first.Retry = "apart"
				}
				b.arrive(first)
				b.seats(1, 0)
				b.s.Arrive(1, []job.Entry{few(2, "other")}, b.now)
				b.seats(1, 1)
				leaves(b, b.ten.items[0])
				it := b.mustStart(2)
				b.seats(1, 0)
				b.finish(it)
				b.seats(0, 0)
			})
		}
	}
}

// Of those in line some are not to start when their turn comes: the seat goes to the next.
func TestTheLineGoesOnPastWhoMayNotStart(t *testing.T) {
	b := newLimited(t, 1, nil)
	b.s.Claim(1, 1, true)
	b.s.SetGate(1, 1, true, b.now)
	b.s.Arrive(1, []job.Entry{few(1, "")}, b.now)
	one := b.mustStart(1)
	b.arrive(few(2, "a"), few(3, ""))
	b.s.Arrive(1, []job.Entry{few(4, "b")}, b.now)
	b.seats(1, 3)
	b.s.SetGate(0, 1, false, b.now)
	b.finish(one)
	four := b.mustStart(4)
	b.mustNotStart()
	b.seats(1, 0)
	b.s.SetGate(0, 1, true, b.now)
	b.s.StartOpened(b.now)
	b.mustNotStart()
	b.seats(1, 2)
	b.finish(four)
	b.finish(b.mustStart(2))
	b.finish(b.mustStart(3))
	b.seats(0, 0)
}

// Somebody asks for the next job where a seat comes free and no handler has returned.
func TestASeatThatComesFreeIsTold(t *testing.T) {
	b := newLimited(t, 1, nil)
	calls := &told{bench: b}
	b.p.crew = calls
	b.s.Claim(1, 1, true)
	b.s.SetGate(1, 1, true, b.now)
	b.arrive(few(1, "k"))
	b.s.Arrive(1, []job.Entry{few(2, "")}, b.now)
	calls.n = 0
	b.s.Drop(0, 1, true, b.now)
	if calls.n == 0 {
		t.Error("nobody is told: executors at rest stay there")
	}
	b.mustStart(2)
}

// told counts how often an executor was told to look.
type told struct {
	*bench
	n int
}

func (r *told) Ready() { r.n++ }
