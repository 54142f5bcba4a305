package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"ringmaster/job"
)

// trace is what a run leaves behind up to a quiet moment.
type trace struct {
	files   map[string][]Record
	journal [][]Commit
}

// world makes ledgers of a queue that works: producers, workers that run, fail, are
// killed, cut off and moved, and a sink. It holds to the guarantees and to nothing else.
type world struct {
	rnd     *rand.Rand
	now     int64
	out     trace
	seq     map[string]uint64
	tokens  map[string]int
	workers []string
	made    int
	owner   []string // by partition
	epoch   []uint64
	entry   uint64
	keys    []string
	part    map[string]int
	waiting map[string][]waitingJob
	running []*running
	busy    map[string]bool // keys with a run that may complete
	sink    map[job.ID]bool
	ring    uint64
}

type waitingJob struct {
	id    job.ID
	token string
}

type running struct {
	waitingJob
	key, process string
	run, epoch   uint64
	zombie       bool
}

func newWorld(seed uint64, partitions, keys int) *world {
	w := &world{rnd: rand.New(rand.NewPCG(seed, 7)), now: 1e18, seq: map[string]uint64{}, tokens: map[string]int{}, part: map[string]int{},
		waiting: map[string][]waitingJob{}, busy: map[string]bool{}, sink: map[job.ID]bool{},
		owner: make([]string, partitions), epoch: make([]uint64, partitions)}
	for i := range keys {
		key := fmt.Sprintf("k%d", i)
		w.keys = append(w.keys, key)
		w.part[key] = w.rnd.IntN(partitions)
	}
	w.reset()
	for range 3 {
		w.join()
	}
	for p := range partitions {
		w.move(p)
	}
	return w
}

func (w *world) reset() {
	w.out = trace{files: map[string][]Record{}, journal: make([][]Commit, len(w.owner))}
}

func (w *world) put(process string, r Record) uint64 {
	if w.seq[process] == 0 && r.Kind != Open {
		w.put(process, Record{Kind: Open})
	}
	w.now += 1000 + w.rnd.Int64N(1000)
	w.seq[process]++
	r.Seq, r.At = w.seq[process], w.now
	if r.Kind == Start {
		r.Run = r.Seq
	}
	w.out.files[process] = append(w.out.files[process], r)
	return r.Seq
}

func (w *world) join() {
	w.made++
	name := fmt.Sprintf("w%d", w.made)
	w.put(name, Record{Kind: Join, Worker: name + ".1"})
	w.workers = append(w.workers, name)
}

func (w *world) move(p int) {
	w.owner[p] = w.workers[w.rnd.IntN(len(w.workers))]
	w.epoch[p]++
	w.ring++
	w.put("r", Record{Kind: Phase, Epoch: w.ring, Attempt: 1})
	w.put("r", Record{Kind: Phase, Epoch: w.ring, Attempt: 3})
}

// leave takes a worker away: killed, or cut off, so that its handlers go on for nothing.
func (w *world) leave(killed bool) {
	i := w.rnd.IntN(len(w.workers))
	gone := w.workers[i]
	w.workers = slices.Delete(w.workers, i, i+1)
	w.join()
	w.put("r", Record{Kind: Fault, Note: "gone", Worker: gone})
	for _, x := range w.running {
		if x.process == gone && !x.zombie {
			x.zombie = true
			w.busy[x.key] = false
			w.waiting[x.key] = slices.Insert(w.waiting[x.key], 0, x.waitingJob)
		}
	}
	if killed {
		w.running = slices.DeleteFunc(w.running, func(x *running) bool { return x.process == gone })
	}
	for p, o := range w.owner {
		if o == gone {
			w.move(p)
		}
	}
}

func (w *world) submit() {
	producer := fmt.Sprintf("p%d", w.rnd.IntN(2)+1)
	key := w.keys[w.rnd.IntN(len(w.keys))]
	w.tokens[producer]++
	token := fmt.Sprintf("%s-%d", producer, w.tokens[producer])
	w.put(producer, Record{Kind: Invoke, Token: token, Key: key})
	fate := w.rnd.IntN(100)
	if fate < 96 {
		w.entry++
		j := waitingJob{job.ID{Partition: w.part[key], Entry: job.EntryID{Ms: w.entry}}, token}
		w.waiting[key] = append(w.waiting[key], j)
		if fate < 92 {
			w.put(producer, Record{Kind: Accepted, Token: token, Job: j.id})
			return
		}
	}
	if fate == 99 {
		w.put(producer, Record{Kind: Refused, Token: token})
		return
	}
	w.put(producer, Record{Kind: Unknown, Token: token})
}

func (w *world) start() { w.startOf(w.keys[w.rnd.IntN(len(w.keys))]) }

func (w *world) startOf(key string) {
	if w.busy[key] || len(w.waiting[key]) == 0 {
		return
	}
	j := w.waiting[key][0]
	w.waiting[key] = w.waiting[key][1:]
	p := w.part[key]
	x := &running{waitingJob: j, key: key, process: w.owner[p], epoch: w.epoch[p]}
	x.run = w.put(x.process, Record{Kind: Start, Job: j.id, Key: key, Token: j.token, Worker: x.process + ".1", Epoch: x.epoch, Fence: x.epoch, Attempt: 1})
	w.busy[key] = true
	w.running = append(w.running, x)
}

func (w *world) end() {
	if len(w.running) == 0 {
		return
	}
	i := w.rnd.IntN(len(w.running))
	x := w.running[i]
	w.running = slices.Delete(w.running, i, i+1)
	if w.rnd.IntN(20) == 0 {
		w.put(x.process, Record{Kind: Fail, Run: x.run})
		if !x.zombie {
			w.busy[x.key] = false
			w.waiting[x.key] = slices.Insert(w.waiting[x.key], 0, x.waitingJob)
		}
		return
	}
	kind := Effect
	if w.sink[x.id] || x.zombie {
		kind = Kept
	}
	if kind == Effect {
		w.sink[x.id] = true
	}
	w.put("s", Record{Kind: kind, Job: x.id, Key: x.key, Fence: x.epoch})
	w.put(x.process, Record{Kind: End, Run: x.run})
	if x.zombie {
		return
	}
	w.busy[x.key] = false
	w.out.journal[x.id.Partition] = append(w.out.journal[x.id.Partition], Commit{Job: x.id, Key: x.key, Worker: x.process + ".1", Epoch: x.epoch})
}

// step does one random thing.
func (w *world) step() {
	switch n := w.rnd.IntN(1000); {
	case n < 300:
		w.submit()
	case n < 650:
		w.start()
	case n < 990:
		w.end()
	case n < 998:
		w.move(w.rnd.IntN(len(w.owner)))
	default:
		w.leave(n == 998)
	}
}

// window makes n submissions or so, lets everything come to its end, and returns it.
func (w *world) window(n int) trace {
	for range n * 10 / 3 {
		w.step()
	}
	for left := 1; left > 0; {
		for _, key := range w.keys {
			w.startOf(key)
		}
		for len(w.running) > 0 {
			w.end()
		}
		left = 0
		for _, q := range w.waiting {
			left += len(q)
		}
	}
	out := w.out
	w.reset()
	return out
}

// close ends all processes in their own time, except those that are gone.
func (w *world) close(t *trace) {
	for _, name := range append([]string{"p1", "p2", "r", "s"}, w.workers...) {
		if w.seq[name] > 0 {
			w.put(name, Record{Kind: Close})
			t.files[name] = append(t.files[name], w.out.files[name]...)
		}
	}
	w.reset()
}

// feed gives a trace to a checker and settles.
func (t *trace) feed(c *Checker) {
	for name, records := range t.files {
		for _, r := range records {
			c.Record(name, r)
		}
	}
	for _, entries := range t.journal {
		for _, e := range entries {
			c.Commit(e)
		}
	}
	c.Settle(true)
}
