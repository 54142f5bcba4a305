package consumergroup

import (
	"container/heap"
	"time"

	"ringmaster/job"
)

// arrive takes entries into a tenure, in id order: claimed and new ones come through the
// same door. What is held already is left alone. The worker's lock is held.
func (w *Worker) arrive(t *tenure, entries []job.Entry, now time.Time) {
	for i := range entries {
		e := &entries[i]
		if it := t.items[e.ID]; it != nil {
			it.again = it.flight
			continue
		}
		if t.lastRead.Less(e.ID) {
			t.lastRead = e.ID
		}
		it := &item{t: t, entry: *e}
		t.items[e.ID] = it
		w.heldBytes += len(e.Payload)
		if e.Broken != "" {
			w.bury(it, "cannot be run: "+e.Broken)
			continue
		}
		if e.Retry != "" {
			it.prior = w.deps.Policy.Before(e.Retry)
		}
		if e.Key == "" {
			w.offer(it, now)
			continue
		}
		it.lane = t.lane(e.Key)
		if t.setAside(it.lane, e.ID, w.cfg.ParkBeyond, now) {
			w.park(it)
			continue
		}
		it.lane.insert(it)
		w.dispatch(t, it.lane, now)
	}
}

// park sends a job to wait in the store, behind those of its key.
func (w *Worker) park(it *item) {
	l := it.lane
	if l.parked == nil || it.entry.ID.Less(l.parked.first) {
		if l.parked == nil {
			l.parked = &parked{}
		}
		l.parked.first = it.entry.ID
	}
	l.parked.flight = append(l.parked.flight, it.entry.ID)
	it.state = parking
	w.end(it, job.Completion{Outcome: job.Parked})
}

// shed makes room in a full window: what waits behind a held key may have come before
// the key was held. First the long queues, then all but the head of each.
func (w *Worker) shed(t *tenure, now time.Time) {
	for _, it := range t.items {
		if it.state == parking {
			return // room is on its way
		}
	}
	for _, keep := range []int{w.cfg.ParkBeyond, 1} {
		found := false
		for _, l := range t.lanes {
			if len(l.queue) <= keep || !t.held(l, now) {
				continue
			}
			rest := l.queue[keep:]
			l.queue = l.queue[:keep:keep]
			for _, it := range rest {
				w.park(it)
			}
			found = true
		}
		if found {
			return
		}
	}
}

// dispatch offers the head of a lane, if it may start. The worker's lock is held.
func (w *Worker) dispatch(t *tenure, l *lane, now time.Time) {
	if l.busy != nil || len(l.queue) == 0 || t.blocked[l.key] > 0 {
		return
	}
	if head := l.queue[0]; head.state == waiting {
		w.offer(head, now)
	}
}

// dispatchAll offers all that may start in a tenure.
func (w *Worker) dispatchAll(t *tenure, now time.Time) {
	for _, l := range t.lanes {
		w.dispatch(t, l, now)
	}
	for _, it := range t.items {
		if it.lane == nil && it.state == waiting {
			w.offer(it, now)
		}
	}
}

// offer puts an item into the ready list, or sets an alarm for it.
func (w *Worker) offer(it *item, now time.Time) {
	if !it.t.gate || it.t.over {
		return
	}
	if it.prior.NotBefore.After(now) {
		heap.Push(&w.alarms, alarm{it.prior.NotBefore, it})
		if w.alarms[0].item == it {
			w.rearm()
		}
		return
	}
	it.state = ready
	if it.t.ready.empty() {
		w.ready.push(it.t)
	}
	it.t.ready.push(it)
	w.idle.Signal()
}

// next hands over how the last job ended, if there is one, and waits for the next to run.
// It returns nil when the worker is done. The alone rule: a suspect runs when nothing else
// does, and nothing starts beside it.
func (w *Worker) next(last *item, c job.Completion) *item {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last != nil {
		w.finished(last, c)
	}
	for {
		if w.done {
			return nil
		}
		it := w.head()
		if it == nil || !w.leaseValid() || w.alone != nil || (it.prior.Alone && w.runs > 0) {
			w.idle.Wait()
			continue
		}
		w.advance()
		if it.state != ready {
			continue
		}
		if !it.t.gate || it.t.over {
			it.state = waiting
			continue
		}
		// A smaller id of the key may have arrived since.
		if l := it.lane; l != nil {
			if l.busy != nil || l.queue[0] != it || it.t.blocked[l.key] > 0 {
				it.state = waiting
				w.dispatch(it.t, l, time.Now())
				continue
			}
			if l.queue = l.queue[1:]; len(l.queue) == 0 {
				l.queue = l.few[:0]
			}
			l.busy = it
		}
		w.start(it)
		if it.prior.Alone {
			w.alone = it
		}
		return it
	}
}

// start makes an item ready to be run. The lock is held.
func (w *Worker) start(it *item) {
	it.state, it.since = running, time.Now()
	it.fence = job.NewFence(it.t.generation, it.t.Epoch)
	it.ctx = newRunContext(it.t.shard.session.work)
	w.began(it)
}

// began counts a run; ceased ends the count. The lock is held.
func (w *Worker) began(it *item) {
	it.t.running++
	w.runs++
	s := it.t.shard
	it.slot = len(s.started)
	s.started = append(s.started, it)
}

func (w *Worker) ceased(it *item) {
	it.t.running--
	w.runs--
	s := it.t.shard
	last := s.started[len(s.started)-1]
	s.started[it.slot], last.slot = last, it.slot
	s.started[len(s.started)-1] = nil
	s.started = s.started[:len(s.started)-1]
	if w.alone == it {
		w.alone = nil
	}
	if w.runs == 0 {
		w.idle.Broadcast()
	}
}

// head is the next ready item, nil if there is none. Partitions take turns, so that one
// with much to do does not keep the others waiting.
func (w *Worker) head() *item {
	if w.ready.empty() {
		return nil
	}
	return w.ready.peek().ready.peek()
}

// advance takes the head off, and puts its partition last.
func (w *Worker) advance() {
	t := w.ready.pop()
	t.ready.pop()
	if !t.ready.empty() {
		w.ready.push(t)
	}
}

// fifo is a queue that does not let its memory grow.
type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) empty() bool { return f.head == len(f.items) }
func (f *fifo[T]) push(x T)    { f.items = append(f.items, x) }
func (f *fifo[T]) peek() T     { return f.items[f.head] }

func (f *fifo[T]) pop() T {
	var zero T
	x := f.items[f.head]
	f.items[f.head] = zero
	if f.head++; f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	} else if f.head > 1024 && f.head*2 > len(f.items) {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	return x
}

// alarm wakes a job whose backoff ends.
type alarm struct {
	at   time.Time
	item *item
}

type alarms []alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)        { *a = append(*a, x.(alarm)) }
func (a *alarms) Pop() any {
	old := *a
	x := old[len(old)-1]
	old[len(old)-1] = alarm{}
	*a = old[:len(old)-1]
	return x
}

// rearm tells the alarm goroutine that an earlier alarm was set.
func (w *Worker) rearm() {
	select {
	case w.alarmSet <- struct{}{}:
	default:
	}
}

// ring offers jobs when their backoff is over, until done is closed.
func (w *Worker) ringAlarms(done <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		w.mu.Lock()
		now := time.Now()
		for len(w.alarms) > 0 && !w.alarms[0].at.After(now) {
			it := heap.Pop(&w.alarms).(alarm).item
			if it.state != waiting || it.t.items[it.entry.ID] != it {
				continue
			}
			if it.lane != nil {
				w.dispatch(it.t, it.lane, now)
			} else {
				w.offer(it, now)
			}
		}
		wait := time.Hour
		if len(w.alarms) > 0 {
			wait = w.alarms[0].at.Sub(now)
		}
		w.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-w.alarmSet:
		case <-done:
			return
		}
	}
}
