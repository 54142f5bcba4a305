package sim

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"ringmaster/job"
	"ringmaster/resize"
)

var (
	seed  = flag.Uint64("seed", 0, "walk this one seed and print its trace")
	seeds = flag.Uint64("seeds", 1500, "number of seeds to walk")
)

const walkSteps = 250

// TestRandomWalk takes random steps, faults among them, checks every invariant after
// each, then lets the faults end and wants everything complete.
func TestRandomWalk(t *testing.T) {
	if *seed != 0 {
		trace, err := walk(*seed)
		t.Logf("trace of seed %d:\n%s", *seed, strings.Join(trace, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	const lanes = 4
	for lane := range uint64(lanes) {
		t.Run(fmt.Sprint("lane", lane), func(t *testing.T) {
			t.Parallel()
			for s := lane + 1; s <= *seeds; s += lanes {
				if trace, err := walk(s); err != nil {
					tail := trace[max(0, len(trace)-60):]
					t.Fatalf("seed %d: %v\nthe end of its trace:\n%s\nthe whole: go test ./resize/sim -run RandomWalk -seed %d",
						s, err, strings.Join(tail, "\n"), s)
				}
			}
		})
	}
}

// walker is a world with a source of chance.
type walker struct {
	*World
	rng    *rand.Rand
	joined int
}

func walk(seed uint64) ([]string, error) {
	cfg := resize.Default()
	rng := rand.New(rand.NewPCG(seed, 7))
	cfg.Mode = resize.Mode(rng.IntN(3))
	w, err := NewWorld(1+rng.IntN(4), cfg)
	if err != nil {
		return nil, err
	}
	defer w.end()
	w.limits = limits // so that windows fill and keys are parked
	k := &walker{World: w, rng: rng}
	k.lead(w.dispatchers["d1"])
	k.join()
	for range walkSteps {
		k.step()
		if err := w.Check(); err != nil {
			return w.trace, err
		}
	}
	err = k.heal()
	return w.trace, err
}

func (k *walker) join() {
	if k.joined++; k.joined <= 20 {
		k.Join(fmt.Sprintf("w%d.a", k.joined), 1+k.rng.IntN(2))
	}
}

func (k *walker) dispatcher() *dispatcher {
	return k.dispatchers[[]string{"d1", "d2"}[k.rng.IntN(2)]]
}

// step is one thing that happens: mostly progress, now and then a fault.
func (k *walker) step() {
	d := k.dispatcher()
	names := k.names()
	switch n := k.rng.IntN(100); {
	case n < 30:
		_ = d.perform() || d.answer()
		return
	case n < 38:
		k.tick(int64(k.rng.IntN(150)))
		return
	case n < 41:
		k.enqueue()
		return
	case n < 43 && len(names) < 4:
		k.join()
		return
	case n == 43:
		k.lead(d)
		return
	case n == 44:
		d.lead(0)
		return
	case n == 45 && k.rng.IntN(4) == 0:
		k.store.request = resize.Request{ID: fmt.Sprint("r", k.now), Mode: resize.Mode(k.rng.IntN(3))}
		return
	case n == 46:
		k.tick(40_000)
		return
	}
	if len(names) > 0 {
		k.stepWorker(k.workers[names[k.rng.IntN(len(names))]])
	}
}

func (k *walker) enqueue() {
	p := k.store.parts[k.rng.IntN(len(k.store.parts))]
	p.entries = append(p.entries, entry{key: string(rune('A' + k.rng.IntN(3)))})
}

func (k *walker) stepWorker(w *worker) {
	switch n := k.rng.IntN(100); {
	case n < 35:
		w.perform()
	case n < 45:
		w.answerRead(nil, 1+k.rng.IntN(3))
	case n < 52:
		w.answer()
	case n < 60:
		k.read(w)
	case n < 70:
		w.start()
	case n < 80:
		k.end(w)
	case n < 88:
		k.sign(w)
	default:
		k.disturb(w)
	}
}

// read answers the read of a worker with new jobs of some partition that it asks for.
func (k *walker) read(w *worker) {
	if w.reading != nil && len(w.reading.parts) > 0 {
		w.answerRead([]int{w.reading.parts[k.rng.IntN(len(w.reading.parts))]}, 0)
	}
}

// sign is a heartbeat, whose answer is on the way, and a sign of life. Now and then the machine is
// asked where the driver keeps from it what it knows.
func (k *walker) sign(w *worker) {
	if k.store.members[w.inc] != nil {
		k.store.watched[w.inc] = true
		if k.rng.IntN(8) == 0 {
			w.d.Post(resize.BeatAnswered{RingState: k.store.ringState(w.inc)})
		}
	}
	k.beat(w)
}

// end lets one handler of a worker return. One that was told to end has done its work, or not.
func (k *walker) end(w *worker) {
	hs := w.handlers()
	if len(hs) == 0 {
		return
	}
	h, how := hs[k.rng.IntN(len(hs))], job.Done
	if h.told && k.rng.IntN(2) == 0 {
		how = job.HandBack
	}
	w.finish(h, how)
}

// losable are the kinds of requests that a walk loses.
var losable = []string{"claim", "claim", "release", "release", "ack", "ack", "read", "read-records", "history", "reset", "report", "skim", "unpark"}

// disturb is what goes wrong at a worker.
func (k *walker) disturb(w *worker) {
	box := k.store.inbox[w.inc]
	switch k.rng.IntN(13) {
	case 0, 1:
		w.faults[losable[k.rng.IntN(len(losable))]] = []string{"before", "after"}[k.rng.IntN(2)]
	case 2:
		if len(box) > 0 {
			k.log("%s: loses %s", w.inc, box[0])
			k.store.inbox[w.inc] = box[1:]
		}
	case 3:
		if len(box) > 0 {
			k.receive(w, box[0])
		}
	case 4:
		if len(box) > 1 {
			k.receive(w, box[len(box)-1])
		}
	case 5:
		if k.rng.IntN(3) == 0 {
			k.crash(w)
		}
		k.died(k.dispatcher(), w.inc, resize.EvidenceConnection)
	case 6:
		k.store.silence(w.inc) // it only looks dead
		k.died(k.dispatcher(), w.inc, resize.EvidenceTTL)
	case 7, 8:
		k.expire(w)
	case 9:
		k.renew(w)
	case 10:
		w.ahead += drainTime
	case 11:
		if k.rng.IntN(4) == 0 {
			k.log("%s: stops", w.inc)
			k.stop(w)
		}
	case 12:
		k.beat(w)
	}
}

// heal ends all faults: one leader, one fresh worker at least, everybody beats and
// everything that is due gets done. Then every job must complete.
func (k *walker) heal() error {
	k.log("-- heal")
	k.dispatchers["d2"].lead(0)
	k.lead(k.dispatchers["d1"])
	k.Join("last.a", 1)
	for range 400 {
		k.healRound()
		if err := k.Check(); err != nil {
			return err
		}
		if k.settled() {
			return nil
		}
	}
	k.show()
	for _, inc := range k.names() {
		k.log("%s runs %v", k.workers[inc].d, k.workers[inc].handlers())
	}
	return fmt.Errorf("it never comes to rest: %s", k.dispatchers["d1"].l)
}

func (k *walker) healRound() {
	for _, m := range k.store.records().Members {
		if k.workers[m.Incarnation] == nil {
			k.store.silence(m.Incarnation)
			k.died(k.dispatchers["d1"], m.Incarnation, resize.EvidenceTTL)
		}
	}
	for _, inc := range k.names() {
		if w := k.workers[inc]; w != nil {
			clear(w.faults)
			k.store.watched[inc] = true
			k.renew(w)
			k.beat(w)
		}
	}
	k.settle()
	for _, inc := range k.names() {
		if w := k.workers[inc]; w != nil && len(w.runs) > 0 {
			k.end(w)
		}
	}
	k.tick(100)
}

// settled: every job complete, every partition where it belongs, no resize under way.
func (k *walker) settled() bool {
	for _, p := range k.store.parts {
		if len(p.pending()) > 0 || p.owner.Incarnation != p.plan || p.delivered < len(p.entries) {
			return false
		}
		for i := range p.entries {
			if p.entries[i].acked == 0 {
				return false
			}
		}
	}
	return k.store.phase == resize.Stable
}
