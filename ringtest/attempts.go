package ringtest

import (
	"context"
	"slices"
	"sync"
	"time"

	"ringmaster"
)

// Attempt is one attempt at a job by a worker of the ring, as the worker saw it.
type Attempt struct {
	Worker  string // its name
	Queue   string
	ID      string // of the job
	Type    string
	Key     string
	Payload []byte
	Number  int // 1 for the first
	Fence   uint64
	Began   time.Time

	// What follows is there once the handler has returned; see Over.

	Ended   time.Time
	Outcome ringmaster.Outcome // what the worker told the store, which may have refused it
	Err     error              // the handler's, or why there is none of its own
	Result  []byte             // the handler's, as JSON

	began, ended int // places in the order of all beginnings and ends: much happens at one virtual time
}

// Over reports whether it has ended. An attempt of a worker that was killed meanwhile never does.
func (a Attempt) Over() bool { return !a.Ended.IsZero() }

// Attempts are all so far, in the order in which they began. Safe for concurrent use.
func (r *Ring) Attempts() []Attempt { return r.runs.all() }

// book has the attempts. Safe for concurrent use.
type book struct {
	mu       sync.Mutex
	attempts []Attempt
	last     int
	news     chan struct{} // closed when something is written
}

func newBook() *book { return &book{news: make(chan struct{})} }

func (b *book) all() []Attempt {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.attempts)
}

// await waits until there is an attempt of that kind, or ctx ends.
func (b *book) await(ctx context.Context, is func(Attempt) bool) (Attempt, bool) {
	for {
		b.mu.Lock()
		i, news := slices.IndexFunc(b.attempts, is), b.news
		if i >= 0 {
			defer b.mu.Unlock()
			return b.attempts[i], true
		}
		b.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return Attempt{}, false
		}
	}
}

// settled waits until a worker of the ring has ended the job for good, as it believes, or for a while:
// asking the store all the time makes hours long.
func (b *book) settled(ctx context.Context, j Job) {
	for ctx.Err() == nil {
		some, cancel := context.WithTimeout(ctx, statusEvery)
		_, ok := b.await(some, func(a Attempt) bool { return a.ID == j.ID && a.Queue == j.Queue && a.forGood() })
		cancel()
		if ok {
			return
		}
		ask, cancel := context.WithTimeout(ctx, time.Minute)
		st, err := j.ring.client.Queue(j.Queue).Job(ask, j.ID)
		cancel()
		if err != nil || st.State.Terminal() {
			return
		}
	}
}

// statusEvery is how often the store is asked how a job stands that no worker has ended.
const statusEvery = 5 * time.Minute

func (a Attempt) forGood() bool {
	return a.Over() && (a.Outcome == ringmaster.OutcomeCompleted || a.Outcome == ringmaster.OutcomeDead)
}

func (b *book) begun(worker string, j ringmaster.Job[[]byte]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(worker, j)
	b.tell()
}

// add writes an attempt down. The lock is held.
func (b *book) add(worker string, j ringmaster.Job[[]byte]) *Attempt {
	b.last++
	b.attempts = append(b.attempts, Attempt{began: b.last, Worker: worker, Queue: j.Queue, ID: j.ID, Type: j.Type, Key: j.Key,
		Payload: slices.Clone(j.Payload), Number: j.Attempt, Fence: j.Fence, Began: time.Now()})
	return &b.attempts[len(b.attempts)-1]
}

func (b *book) tell() {
	close(b.news)
	b.news = make(chan struct{})
}

// open is the attempt of that worker that has not ended. The lock is held.
func (b *book) open(worker string, j ringmaster.Job[[]byte]) *Attempt {
	for i := range slices.Backward(b.attempts) {
		if a := &b.attempts[i]; a.Worker == worker && a.Queue == j.Queue && a.ID == j.ID && !a.Over() {
			return a
		}
	}
	return nil
}

func (b *book) returned(worker string, j ringmaster.Job[[]byte], result []byte, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.open(worker, j); a != nil {
		a.Result, a.Err = slices.Clone(result), err
	}
}

// ended writes down an end. Of a job without a handler it is all that is known.
func (b *book) ended(worker string, e ringmaster.Ended) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.open(worker, e.Job)
	if a == nil {
		a = b.add(worker, e.Job)
	}
	b.last++
	a.Ended, a.Outcome, a.ended = time.Now(), e.Outcome, b.last
	if a.Err == nil { // else it is the handler's own, of which the library keeps the text
		a.Err = e.Err
	}
	b.tell()
}
