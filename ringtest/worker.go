package ringtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ringmaster"
	"ringmaster/job"
)

// Point is a moment in a worker's work at one job.
type Point int

// The points at which something can be done to a worker.
const (
	BeforeHandler Point = iota // the worker has begun an attempt; its handler was not called yet
	AfterHandler               // the handler has returned; the store does not know
)

// Worker is a worker of the ring. Its methods are safe for concurrent use: handlers may call them,
// but for Stop.
type Worker struct {
	Name string

	ring   *Ring
	before map[string]bool // incarnations that were there before it
	p      *party
	inner  *ringmaster.Worker
	over   chan struct{} // closed when it has ended

	mu     sync.Mutex
	points map[Point][]func(id string)
}

// Worker adds a worker and waits until it owns what it should of each of its queues, which it
// creates. setUp gets it before it runs, to add handlers and middleware. Without a name it is "w1",
// the next one "w2".
func (r *Ring) Worker(own ringmaster.WorkerConfig, setUp func(w *ringmaster.Worker)) *Worker {
	r.t.Helper()
	for _, q := range own.Queues {
		r.CreateQueue(q)
	}
	set(&own.Name, r.freeName())
	before := r.incarnations(own.Queues)
	w := &Worker{Name: own.Name, before: before, ring: r, p: r.party(own.Name), over: make(chan struct{}), points: map[Point][]func(string){}}
	users := own.OnEnd
	own.OnEnd = func(e ringmaster.Ended) {
		w.ended(e)
		if users != nil {
			users(e)
		}
	}
	var err error
	if w.inner, err = ringmaster.NewWorker(r.config(w.p), own); err != nil {
		r.t.Fatalf("worker %s: %v", w.Name, err)
	}
	w.inner.Use(w.around)
	setUp(w.inner)
	r.mu.Lock()
	r.workers = append(r.workers, w)
	r.mu.Unlock()
	failed := make(chan error, 1)
	r.all.Go(func() {
		defer close(w.over)
		err := w.inner.Run(r.ctx)
		failed <- err
		select {
		case <-w.inner.Ready():
			if err != nil && !w.p.killed() {
				r.t.Errorf("worker %s has ended: %v", w.Name, err)
			}
		default: // Worker says it
		}
	})
	ctx, cancel := r.patient()
	defer cancel()
	for _, q := range own.Queues {
		for asked := false; ; {
			joined, owns := w.standing(ctx, q)
			if owns {
				break
			}
			if joined && !asked {
				r.plan(ctx, q)
				asked = true
			}
			select {
			case err := <-failed:
				r.t.Fatalf("worker %s has ended: %v", w.Name, err)
			case <-ctx.Done():
				r.t.Fatalf("worker %s does not get its partitions of %s: %v", w.Name, q, context.Cause(ctx))
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return w
}

// freeName is w and a number that no worker has yet.
func (r *Ring) freeName() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := len(r.workers) + 1; ; n++ {
		name := fmt.Sprintf("w%d", n)
		if !slices.ContainsFunc(r.workers, func(w *Worker) bool { return w.Name == name }) {
			return name
		}
	}
}

// incarnations are those that queues know: of a worker that was killed, and comes back under its name.
func (r *Ring) incarnations(queues []string) map[string]bool {
	ctx, cancel := r.patient()
	defer cancel()
	all := map[string]bool{}
	for _, q := range queues {
		ring, err := r.client.Queue(q).Ring(ctx)
		if err != nil {
			continue // nobody can have joined
		}
		for _, m := range ring.Members {
			all[m.Incarnation] = true
		}
		for _, p := range ring.Partitions {
			all[p.Owner] = true
		}
	}
	return all
}

// standing reports whether the worker is a member of a queue's ring, and whether it has its share of
// the partitions. That the library says it is ready does not tell: where the leader has died a moment
// ago, it is not to have any yet.
func (w *Worker) standing(ctx context.Context, queue string) (joined, owns bool) {
	ring, err := w.ring.client.Queue(queue).Ring(ctx)
	if err != nil {
		return false, false
	}
	for _, m := range ring.Members {
		joined = joined || m.Name == w.Name && m.State == "up" && !w.before[m.Incarnation]
	}
	for _, p := range ring.Partitions {
		owns = owns || strings.HasPrefix(p.Owner, w.Name+".") && !w.before[p.Owner]
	}
	return joined, ring.Phase == 0 && (owns || joined && len(ring.Members) > len(ring.Partitions))
}

// plan has a queue's ring planned at once, if there is a leader: it looks for who has joined every
// few seconds only.
func (r *Ring) plan(ctx context.Context, queue string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, _ = r.client.Queue(queue).Resize(ctx, "") // without a leader it will be planned when there is one
}

// Stop has the worker leave in good order, and waits until it has. One that is frozen, or was killed,
// leaves without a word.
func (w *Worker) Stop() {
	w.p.mu.Lock()
	frozen := w.p.frozen
	w.p.mu.Unlock()
	if frozen {
		w.Kill()
	}
	_ = w.inner.Stop(context.Background()) // of one that was killed: at once
	<-w.over
}

// Kill ends the worker as SIGKILL does: its connections are gone for good, it says and hears nothing
// more, no handler is called by it any more. The rest of the ring sees it die. The contexts of its
// running handlers end; what they do after that, a process that was killed would not have done.
func (w *Worker) Kill() {
	w.p.kill()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	w.ring.all.Go(func() { _ = w.inner.Stop(now) })
}

// Freeze has the network deliver nothing from and to the worker, which goes on by itself. It loses its
// lease, and its partitions; after Thaw it is a zombie whose every word is refused.
func (w *Worker) Freeze() { w.p.freeze() }

// Thaw has the network deliver again, what was held first.
func (w *Worker) Thaw() { w.p.thaw() }

// LoseAnswer has the answer to the worker's next request that contains the text lost: the store has
// executed the request, and the connection breaks. That no request had it fails the test at its end.
func (w *Worker) LoseAnswer(text string) { w.p.loseAnswer(text) }

// LoseEnd is LoseAnswer for the request that tells the store how the next attempt has ended.
func (w *Worker) LoseEnd() {
	w.at(AfterHandler, func(id string) {
		if parsed, err := job.ParseID(id); err == nil {
			w.LoseAnswer(parsed.Entry.String())
		}
	})
}

// At has do called once, when the worker next comes to the point, which waits for it. Several are
// called one at a time, each at a point of its own. For example
//
//	w.At(ringtest.AfterHandler, w.Kill)
//
// has the work done and nobody told.
func (w *Worker) At(p Point, do func()) { w.at(p, func(string) { do() }) }

func (w *Worker) at(p Point, do func(id string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.points[p] = append(w.points[p], do)
}

func (w *Worker) reached(p Point, id string) {
	w.mu.Lock()
	var do func(string)
	if all := w.points[p]; len(all) > 0 {
		do, w.points[p] = all[0], all[1:]
	}
	w.mu.Unlock()
	if do != nil && !w.p.killed() {
		do(id)
	}
}

// around is the middleware that writes down what happens.
func (w *Worker) around(next ringmaster.Handler) ringmaster.Handler {
	return func(ctx context.Context, j ringmaster.Job[[]byte]) ([]byte, error) {
		w.reached(BeforeHandler, j.ID)
		if w.p.killed() {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		w.ring.runs.begun(w.Name, j)
		result, err := next(ctx, j)
		w.ring.runs.returned(w.Name, j, result, err)
		return result, err
	}
}

func (w *Worker) ended(e ringmaster.Ended) {
	if w.p.killed() {
		return
	}
	w.ring.runs.ended(w.Name, e)
	w.reached(AfterHandler, e.Job.ID)
}

// Dispatcher is one that leads the rings, or stands by.
type Dispatcher struct {
	Name string

	p   *party
	end context.CancelFunc
}

// Dispatcher adds a dispatcher to the one that each ring has from the start.
func (r *Ring) Dispatcher() *Dispatcher {
	r.t.Helper()
	r.mu.Lock()
	r.dispatchers++
	name := fmt.Sprintf("d%d", r.dispatchers)
	r.mu.Unlock()
	p := r.party(name)
	inner, err := ringmaster.NewDispatcher(r.config(p), r.o.dispatcher())
	if err != nil {
		r.t.Fatalf("dispatcher %s: %v", name, err)
	}
	ctx, end := context.WithCancel(r.ctx)
	d := &Dispatcher{Name: name, p: p, end: end}
	r.mu.Lock()
	r.leaders = append(r.leaders, d)
	r.mu.Unlock()
	r.all.Go(func() {
		defer end()
		if err := inner.Run(ctx); err != nil && !p.killed() {
			r.t.Errorf("dispatcher %s has ended: %v", name, err)
		}
	})
	return d
}

// Dispatchers are all that the ring was given, the one from the start first.
func (r *Ring) Dispatchers() []*Dispatcher {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*Dispatcher(nil), r.leaders...)
}

// Kill ends the dispatcher as SIGKILL does. Another one leads once its lease is over.
func (d *Dispatcher) Kill() {
	d.p.kill()
	d.end()
}

// Freeze has the network deliver nothing from and to the dispatcher.
func (d *Dispatcher) Freeze() { d.p.freeze() }

// Thaw has it deliver again, what was held first.
func (d *Dispatcher) Thaw() { d.p.thaw() }
