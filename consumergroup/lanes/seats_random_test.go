package lanes

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ringmaster/job"
)

// walk is a worker with a limited type in a random world: a partition that comes and goes, jobs of
// several types and keys that end in every way, windows that fill.
type walk struct {
	*bench
	s       *stream
	r       *rand.Rand
	pending map[job.EntryID]job.Entry // handed out, and not ended; those set aside are the stream's
	atWork  []*Item
	epoch   uint64
}

var walked = map[string]int{"few": 1, "some": 3}

func newWalk(t *testing.T, seed uint64) *walk {
	w := &walk{r: rand.New(rand.NewPCG(seed, 7)), pending: map[job.EntryID]job.Entry{}, epoch: 1}
	w.bench = newBench(t, func(l *Limits) { smallPark(l); l.Seats, l.Backoff = walked, 12 })
	w.s = newStream(w.bench)
	w.s.acked = w.answers
	return w
}

func (w *walk) add() {
	e := entry(len(w.s.all)+1, []string{"", "a", "b", "c", "d", fmt.Sprint("k", w.r.IntN(40))}[w.r.IntN(6)])
	e.Type = []string{"few", "few", "some", "t"}[w.r.IntN(4)]
	w.s.unread, w.s.all[e.ID] = append(w.s.unread, e), e
}

// note remembers what was handed out.
func (w *walk) note() {
	for _, it := range w.ten.items {
		if _, known := w.pending[it.Entry.ID]; !known {
			w.pending[it.Entry.ID] = w.s.all[it.Entry.ID]
		}
	}
}

// turn is one of the reader's.
func (w *walk) turn() {
	if w.ten.gate {
		w.s.turn()
	}
}

// answers gives the store's answers: ends under an epoch that is over are refused.
func (w *walk) answers() {
	w.note()
	for _, e := range w.send() {
		_, open := w.pending[e.c.ID]
		a := job.NotPending
		switch {
		case e.c.Epoch != w.epoch:
			a = job.Refused
		case !open:
		default:
			a = job.ByOwner
			switch e.c.Outcome {
			case job.Done:
				delete(w.pending, e.c.ID)
			case job.Failed:
				again := w.pending[e.c.ID]
				again.Retry = "wait"
				w.pending[e.c.ID], w.s.all[e.c.ID] = again, again
			case job.Parked:
				list := w.s.aside[e.c.Key]
				at, _ := slices.BinarySearchFunc(list, e.c.ID, func(e job.Entry, id job.EntryID) int { return e.ID.Compare(id) })
				w.s.aside[e.c.Key] = slices.Insert(list, at, w.pending[e.c.ID])
				delete(w.pending, e.c.ID)
			case job.HandBack, job.Buried: // the first stays pending, the second does not come
			}
		}
		w.bench.s.Answered(e.it, &e.c, a, w.now)
		w.bench.s.Settled(e.it.Tenure, 1, w.now)
	}
}

// moves has the partition come back after it was lost, under a new epoch or that of a new generation.
func (w *walk) moves(epoch uint64, cancel bool) {
	w.answers() // what is under way comes to its answer before
	w.epoch = epoch
	w.bench.s.Confirm(map[int]uint64{0: epoch}, w.now)
	w.bench.s.Drop(0, w.ten.Epoch, cancel, w.now)
	page := &job.ClaimPage{Cursor: "0-0"}
	for _, e := range w.pending {
		page.Entries = append(page.Entries, e)
	}
	slices.SortFunc(page.Entries, func(a, b job.Entry) int { return a.ID.Compare(b.ID) })
	for key, list := range w.s.aside {
		if len(list) > 0 {
			page.Parked = append(page.Parked, job.ParkedKey{Key: key, First: list[0].ID})
		}
	}
	w.ten, _ = w.bench.s.Claim(0, epoch, true)
	w.bench.s.Claimed(0, epoch, page, w.now)
	w.bench.s.SetGate(0, epoch, true, w.now)
	w.bench.s.StartOpened(w.now)
	w.bench.s.StartReading(0, epoch)
}

// starts asks for jobs as executors do, until they all work or none may start, which must be true.
func (w *walk) starts(executors int) {
	for len(w.atWork) < executors {
		it := w.p.Next(w.now)
		if it == nil {
			w.mustBeStuck()
			return
		}
		it.Run = &heard{}
		w.atWork = append(w.atWork, it)
		w.check()
	}
}

func (w *walk) running(kind string) int {
	n := 0
	for _, it := range w.atWork {
		if it.Entry.Type == kind {
			n++
		}
	}
	return n
}

// check: never more than may, and what is counted is there.
func (w *walk) check() {
	w.t.Helper()
	for kind, most := range walked {
		s, seated, lined := w.p.seats[kind], w.running(kind), 0
		if seated > most {
			w.t.Fatalf("%d of type %s run", seated, kind)
		}
		for _, it := range w.ten.items {
			if it.Entry.Type != kind {
				continue
			}
			if it.seated && it.state == ready {
				seated++
			}
			if it.lined {
				lined++
				if it.state != waiting || !it.held || it.seated || it.rests {
					w.t.Fatalf("%s is in line, state %d", describe(it), it.state)
				}
			}
		}
		if s.taken != seated || s.waits != lined {
			w.t.Fatalf("type %s: %d taken, %d run or are ready; %d in line, of %d", kind, s.taken, seated, s.waits, lined)
		}
	}
}

// mustBeStuck: no job could start.
func (w *walk) mustBeStuck() {
	w.t.Helper()
	for _, it := range w.ten.items {
		most, limited := walked[it.Entry.Type]
		l := it.lane
		switch {
		case it.state != waiting && it.state != ready, !w.ten.starts(), it.Prior.NotBefore.After(w.now):
		case l != nil && (l.busy != nil || !it.heads(l)), slices.ContainsFunc(w.p.former.runs, it.sameKey):
		case limited && w.running(it.Entry.Type) >= most:
		default:
			w.t.Fatalf("%s of type %s could start, and nothing does: state %d, lined %v", describe(it), it.Entry.Type, it.state, it.lined)
		}
	}
}

func (w *walk) ends(i int, how job.Outcome) {
	it := w.atWork[i]
	w.atWork = slices.Delete(w.atWork, i, i+1)
	if how == job.Failed {
		w.fail(it)
	} else {
		w.p.Finished(it, job.Completion{Outcome: how})
	}
	w.check()
}

func (w *walk) step() {
	switch n := w.r.IntN(20); {
	case n < 6:
		w.add()
	case n < 9 && len(w.atWork) > 0:
		w.ends(w.r.IntN(len(w.atWork)), []job.Outcome{job.Done, job.Done, job.Done, job.Failed, job.HandBack}[w.r.IntN(5)])
	case n < 12:
		w.answers()
	case n < 15:
		w.turn()
	case n == 15:
		w.now = w.now.Add(time.Duration(w.r.IntN(100)) * time.Millisecond)
	case n == 16 && w.r.IntN(4) == 0:
		w.now = w.now.Add(2 * time.Hour)
		w.p.Ring(w.now)
	case n == 17 && w.r.IntN(3) == 0:
		w.bench.s.SetGate(0, w.epoch, !w.ten.gate, w.now)
		w.bench.s.StartOpened(w.now)
	case n == 18 && w.r.IntN(3) == 0:
		w.bench.s.Doubt()
		w.starts(6)
		w.bench.s.Confirm(map[int]uint64{0: w.epoch}, w.now)
	case n == 19 && w.r.IntN(6) == 0:
		w.moves(w.epoch+1+999*uint64(w.r.IntN(2)), true)
	}
	w.check()
	w.starts(6)
}

// Any mix: never do more of a type run than may, what could start does, and all come to their end.
func TestSeatsInARandomWorld(t *testing.T) {
	for seed := range uint64(300) {
		w := newWalk(t, seed)
		for range 600 {
			w.step()
		}
		if !w.ten.gate {
			w.bench.s.SetGate(0, w.epoch, true, w.now)
			w.bench.s.StartOpened(w.now)
		}
		for range 20_000 {
			if len(w.pending)+len(w.s.unread)+len(w.atWork) == 0 && len(w.ten.items) == 0 {
				break
			}
			w.now = w.now.Add(time.Minute)
			w.p.Ring(w.now)
			w.turn()
			w.starts(6)
			for len(w.atWork) > 0 {
				w.ends(0, job.Done)
			}
			w.answers()
		}
		if len(w.pending)+len(w.s.unread)+len(w.atWork)+len(w.ten.items) > 0 {
			t.Fatalf("seed %d: left: %d pending, %d unread, %d at work, %d items", seed, len(w.pending), len(w.s.unread), len(w.atWork), len(w.ten.items))
		}
		for kind, s := range w.p.seats {
			if s.taken != 0 || s.waits != 0 || s.line.len() > mostGone {
				t.Fatalf("seed %d: of type %s %d seats are taken, %d wait, %d in line", seed, kind, s.taken, s.waits, s.line.len())
			}
		}
	}
}
