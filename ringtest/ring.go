package ringtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ringmaster"
	"ringmaster/embedded"
	"ringmaster/internal/pause"
)

// Options change what a ring is made of. The zero value of a field is its default.
type Options struct {
	// Partitions of each queue that the ring creates; 8.
	Partitions int
	// LeaseTTL and Heartbeat are those of ringmaster.Config; 15 s, and a third of LeaseTTL, 1 min at
	// most. They are longer than in production, and the dispatcher looks at the ring only once in a
	// fifth of LeaseTTL, 10 s at most, so that an hour of virtual time has fewer of all that.
	LeaseTTL, Heartbeat time.Duration
	// ResizeMode is what waits while partitions move: "key" (the default), "partition" or "ring".
	ResizeMode string
	// Patience is how much virtual time whoever waits gives it before the test fails; 6 h, in which
	// a job with the default backoff has had all its attempts.
	Patience time.Duration
	// Logger gets what the library logs. Without one the last lines are kept, and are shown if the
	// test fails.
	Logger *slog.Logger
}

func (o Options) filled() Options {
	set(&o.Partitions, 8)
	set(&o.LeaseTTL, 15*time.Second)
	set(&o.Heartbeat, min(o.LeaseTTL/3, time.Minute))
	set(&o.Patience, 6*time.Hour)
	return o
}

// dispatcher has leases and looks in proportion: an hour at rest is some thousands of calls.
func (o Options) dispatcher() ringmaster.DispatcherConfig {
	return ringmaster.DispatcherConfig{ResizeMode: o.ResizeMode, LeaderLease: max(2*o.LeaseTTL/3, 500*time.Millisecond),
		DetectInterval: min(o.LeaseTTL/5, 10*time.Second)}
}

// set fills a field that has no value yet.
func set[T comparable](field *T, v T) {
	var zero T
	if *field == zero {
		*field = v
	}
}

// Ring is a store in memory with a dispatcher, a client, and the workers that a test adds. It ends
// with the test, as by Worker.Kill: what is to happen before that the test waits for. Its methods fail the test on an error, and are for the test's own goroutine, unless
// they say otherwise.
type Ring struct {
	t     testing.TB
	o     Options
	store *embedded.Store
	runs  *book
	lines *lines

	ctx    context.Context // of everything that runs
	end    context.CancelFunc
	all    sync.WaitGroup // dispatchers, and workers that are stopped
	admin  *party
	front  *party // of the client and of what Config is given to
	client *ringmaster.Client

	created map[string]bool // queues that are known to be there; the test's goroutine only

	mu          sync.Mutex
	parties     []*party
	workers     []*Worker
	leaders     []*Dispatcher
	dispatchers int
}

// Run is a test in a bubble of virtual time (see testing/synctest) with a ring in it: time passes
// when all wait, and then at once. Everything that f starts must have ended when it returns, but for
// what the ring has: that is ended after f, and after the functions given to t.Cleanup since.
func Run(t *testing.T, f func(t *testing.T, r *Ring)) {
	t.Helper()
	RunWith(t, Options{}, f)
}

// RunWith is Run with other options.
func RunWith(t *testing.T, o Options, f func(t *testing.T, r *Ring)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		f(t, New(t, o))
	})
}

// New makes a ring in a bubble that is there already: call it within synctest.Test. The ring ends
// with the test.
func New(t testing.TB, o Options) *Ring {
	t.Helper()
	synctest.Wait() // panics outside of a bubble, where the ring would wait in real time
	o = o.filled()
	store, err := embedded.New()
	if err != nil {
		t.Fatalf("ringtest: %v", err)
	}
	r := &Ring{t: t, o: o, store: store, runs: newBook(), lines: &lines{}, created: map[string]bool{}}
	if r.o.Logger == nil {
		r.o.Logger = slog.New(slog.NewTextHandler(r.lines, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	r.ctx, r.end = context.WithCancel(context.Background())
	r.admin, r.front = r.party("ringtest"), r.party("client")
	t.Cleanup(r.stop)
	if r.client, err = ringmaster.NewClient(r.Config()); err != nil {
		t.Fatalf("ringtest: %v", err)
	}
	r.Dispatcher()
	return r
}

func (r *Ring) party(name string) *party {
	p := newParty(name, r.store)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parties = append(r.parties, p)
	return p
}

func (r *Ring) config(p *party) ringmaster.Config {
	return ringmaster.Config{Redis: p.redis, LeaseTTL: r.o.LeaseTTL, Heartbeat: r.o.Heartbeat, Logger: r.o.Logger.With("party", p.name)}
}

// Config is for clients that code under test makes itself. FreezeClients and LoseAnswer concern them
// too. Close them within the test.
func (r *Ring) Config() ringmaster.Config { return r.config(r.front) }

// Client is the ring's client, for code under test. It is closed with the ring.
func (r *Ring) Client() *ringmaster.Client { return r.client }

// Queue is a queue of the ring's client. It need not exist.
func (r *Ring) Queue(name string) *ringmaster.Queue { return r.client.Queue(name) }

// CreateQueue creates a queue, unless it is there. Worker and Submit do so by themselves, with
// Options.Partitions.
func (r *Ring) CreateQueue(name string) {
	r.t.Helper()
	if r.created[name] {
		return
	}
	ctx, cancel := r.patient()
	defer cancel()
	_, err := r.client.Queue(name).Info(ctx)
	if errors.Is(err, ringmaster.ErrNotFound) {
		_, err = r.client.CreateQueue(ctx, name, ringmaster.QueueConfig{Partitions: r.o.Partitions})
	}
	if err != nil {
		r.t.Fatalf("create queue %s: %v", name, err)
	}
	r.created[name] = true
}

// Job is a job that was handed in.
type Job struct {
	ringmaster.Receipt
	Queue string

	ring *Ring
}

// Job is a job that was handed in otherwise than with Submit, by its id.
func (r *Ring) Job(queue, id string) Job {
	return Job{Receipt: ringmaster.Receipt{ID: id}, Queue: queue, ring: r}
}

// Submit hands a job in.
func (r *Ring) Submit(queue, jobType string, payload any, opts ...ringmaster.Option) Job {
	r.t.Helper()
	r.CreateQueue(queue)
	ctx, cancel := r.patient()
	defer cancel()
	receipt, err := r.client.Queue(queue).Submit(ctx, jobType, payload, opts...)
	if err != nil {
		r.t.Fatalf("submit a job of type %s to %s: %v", jobType, queue, err)
	}
	return Job{Receipt: receipt, Queue: queue, ring: r}
}

// Work hands a job in and waits until an attempt at it has ended, whatever that leads to: its
// outcome, the handler's result and its error, as the handler returned them. A Worker must have a
// handler for the type.
func (r *Ring) Work(queue, jobType string, payload any, opts ...ringmaster.Option) Attempt {
	r.t.Helper()
	j := r.Submit(queue, jobType, payload, opts...)
	a, ok := r.await(func(a Attempt) bool { return a.ID == j.ID && a.Queue == queue && a.Over() })
	if !ok {
		r.t.Fatalf("no attempt at job %s has ended%s", j.ID, r.why(j))
	}
	return a
}

// Resize has the ring of a queue planned anew, in the mode "key", "partition" or "ring", or "" for
// that of Options, and waits until it is carried out. Partitions move if workers have come or gone.
func (r *Ring) Resize(queue, mode string) {
	r.t.Helper()
	ctx, cancel := r.patient()
	defer cancel()
	epoch, err := r.client.Queue(queue).Resize(ctx, mode)
	for err == nil {
		var ring ringmaster.RingInfo
		if ring, err = r.client.Queue(queue).Ring(ctx); err == nil && ring.Epoch >= epoch && ring.Phase == 0 {
			return
		}
		pause.For(ctx, 10*time.Millisecond)
	}
	r.t.Fatalf("resize %s: %v", queue, err)
}

// FreezeClients has the network of the clients deliver nothing, in neither direction, until
// ThawClients. Safe for concurrent use.
func (r *Ring) FreezeClients() { r.front.freeze() }

// ThawClients has it deliver again, what was held first. Safe for concurrent use.
func (r *Ring) ThawClients() { r.front.thaw() }

// LoseAnswer has the answer to the clients' next request that contains the text lost: the store has
// executed the request, and the connection breaks. The text may be a part of a job's type, key,
// payload or idempotency key. That no request had it fails the test at its end. Safe for concurrent
// use.
func (r *Ring) LoseAnswer(text string) { r.front.loseAnswer(text) }

// goRedisRests is more than the second that go-redis sleeps between two attempts to connect, before
// it sees that its client was closed.
const goRedisRests = 2 * time.Second

// patient is a context for whoever waits.
func (r *Ring) patient() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.Background(), r.o.Patience, fmt.Errorf("%v of virtual time have passed", r.o.Patience))
}

// await waits for an attempt.
func (r *Ring) await(is func(Attempt) bool) (Attempt, bool) {
	ctx, cancel := r.patient()
	defer cancel()
	return r.runs.await(ctx, is)
}

// why is what is known of a job that does not get on, as the end of a sentence.
func (r *Ring) why(j Job) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	st, err := r.client.Queue(j.Queue).Job(ctx, j.ID)
	if err != nil {
		return fmt.Sprintf(": %v", err)
	}
	out := fmt.Sprintf(": it is %s after %d attempt(s)", st.State, st.Attempts)
	if st.Error != "" {
		out += ", error: " + st.Error
	}
	if st.Why != "" {
		out += "; " + st.Why
	}
	return out
}

// stop ends everything. Workers and dispatchers are killed: to leave in good order takes them longer
// than most tests.
func (r *Ring) stop() {
	r.t.Helper()
	last := r.lines.String() // what follows is of the end, and no cause
	r.mu.Lock()
	workers, leaders, parties := r.workers, r.leaders, r.parties
	r.mu.Unlock()
	r.front.thaw()
	if r.client != nil {
		_ = r.client.Close() // all was answered, or was not to be
	}
	for _, d := range leaders { // first: they would bury the workers
		d.Kill()
	}
	for _, w := range workers {
		w.Kill()
	}
	for _, w := range workers {
		w.Stop()
	}
	r.end()
	r.all.Wait()
	for _, p := range parties {
		for _, text := range p.unlost() {
			r.t.Errorf("LoseAnswer(%q): %s has made no such request", text, p.name)
		}
		_ = p.redis.Close()
	}
	r.store.Close()
	pause.For(context.Background(), goRedisRests) // no time passes in a bubble once its test has returned
	if r.t.Failed() {
		r.t.Logf("the ring's last log lines:\n%s", last)
	}
}
