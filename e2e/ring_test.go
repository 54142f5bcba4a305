package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

const queue = "q"

// process is one started role.
type process struct {
	role
	cmd    *exec.Cmd
	log    string
	exited chan struct{}
}

func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal %s: %v", p.Name, err)
	}
}

// kill ends it at once and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.exited
}

// stop asks it to end gracefully and waits for that.
func (p *process) stop(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(40 * time.Second):
		t.Fatalf("%s did not stop", p.Name)
	}
}

// ring is a queue on a server with the processes around it.
type ring struct {
	t      testing.TB
	ctx    context.Context
	dir    string
	server *redistest.Server
	store  *streams.Store
	q      streams.Queue
	procs  []*process
	names  int
	slots  int // of each worker; 0: the default
	load   *load
	plain  *redis.Client
}

func newRing(t testing.TB, partitions int, serverArgs ...string) *ring {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	t.Cleanup(cancel)
	server := redistest.Real(t, serverArgs...)
	store, err := streams.Open(streams.Options{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	q, err := store.CreateQueue(ctx, streams.Queue{Name: queue, Partitions: partitions, Journal: true})
	if err != nil {
		t.Fatal(err)
	}
	r := &ring{t: t, ctx: ctx, dir: t.TempDir(), server: server, store: store, q: q}
	t.Cleanup(r.end)
	return r
}

// end kills what is left, and shows the logs of a failed test.
func (r *ring) end() {
	if r.load != nil {
		r.load.stop()
	}
	for _, p := range r.procs {
		p.kill()
	}
	if !r.t.Failed() {
		return
	}
	for _, p := range r.procs {
		raw, _ := os.ReadFile(p.log)
		r.t.Logf("--- %s (pid %d)\n%s", p.Name, p.cmd.Process.Pid, tail(string(raw), 4000))
	}
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func (r *ring) start(kind string, mode string) *process {
	r.t.Helper()
	r.names++
	p := &process{role: role{Kind: kind, URL: r.server.URL(), Queue: queue, Name: fmt.Sprintf("%s%d", kind, r.names), Mode: mode, Slots: r.slots}}
	p.Ledger = filepath.Join(r.dir, p.Name+".ledger")
	p.log = filepath.Join(r.dir, p.Name+".log")
	raw, err := json.Marshal(p.role)
	if err != nil {
		r.t.Fatal(err)
	}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), roleVariable+"="+string(raw))
	out, err := os.Create(p.log)
	if err != nil {
		r.t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	dieWithParent(p.cmd)
	if err := p.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	_ = out.Close()
	p.exited = make(chan struct{})
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	r.procs = append(r.procs, p)
	return p
}

func (r *ring) worker() *process     { return r.start("worker", "") }
func (r *ring) dispatcher() *process { return r.start("dispatcher", "key") }

// until waits for a fact.
func (r *ring) until(what string, limit time.Duration, fact func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(limit)
	for !fact() {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited %v for: %s", limit, what)
		}
		select {
		case <-time.After(15 * time.Millisecond): // looking costs the server and the machine something

		case <-r.ctx.Done():
			r.t.Fatalf("test is out of time, waiting for: %s", what)
		}
	}
}

func (r *ring) view() job.RingView {
	v, err := r.store.Inspect().RingView(r.ctx, queue)
	if err != nil {
		return job.RingView{}
	}
	return v
}

// settled waits until the ring is at rest with so many members, all partitions at them.
func (r *ring) settled(members int) {
	r.t.Helper()
	r.until(fmt.Sprintf("ring settled with %d members", members), 30*time.Second, func() bool {
		v := r.view()
		if v.Phase != 0 || len(v.Members) != members || v.Epoch == 0 {
			return false
		}
		owners := map[string]bool{}
		for _, p := range v.Partitions {
			owners[p.Owner] = true
		}
		for _, m := range v.Members {
			if !owners[m.Incarnation] && len(v.Partitions) >= members {
				return false
			}
			delete(owners, m.Incarnation)
		}
		return len(owners) == 0
	})
}

// load hands in jobs of many keys, numbered per key, until it is stopped.
type load struct {
	cancel context.CancelFunc
	done   chan struct{}
	mu     sync.Mutex
	sent   map[string]int // key -> jobs handed in
	total  int
	err    error
}

// upTo is a job's time, in milliseconds: anything up to ms.
func upTo(ms int) func(*rand.Rand) int { return func(rnd *rand.Rand) int { return rnd.IntN(ms + 1) } }

// startLoad hands in about perSecond jobs in all; ms is how long each takes.
func (r *ring) startLoad(keys, perSecond int, ms func(*rand.Rand) int) *load {
	ctx, cancel := context.WithCancel(r.ctx)
	l := &load{cancel: cancel, done: make(chan struct{}), sent: map[string]int{}}
	r.load = l
	go func() {
		defer close(l.done)
		p := r.store.NewProducer(r.q)
		defer p.Close()
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		rnd := rand.New(rand.NewPCG(1, 2))
		for ctx.Err() == nil {
			var batch []job.Job
			counts := map[string]int{}
			for range max(1, perSecond/100) {
				key := "k" + strconv.Itoa(rnd.IntN(keys))
				raw, _ := json.Marshal(work{N: l.sent[key] + counts[key], Ms: ms(rnd)})
				counts[key]++
				batch = append(batch, job.Job{Type: "work", Key: key, Payload: raw})
			}
			// An idempotent producer: what is unanswered is repeated until it is answered.
			if _, errs := p.Enqueue(context.WithoutCancel(ctx), batch...); errs != nil {
				l.err = fmt.Errorf("enqueue: %v", errs)
				return
			}
			l.mu.Lock()
			for key, n := range counts {
				l.sent[key] += n
				l.total += n
			}
			l.mu.Unlock()
			select {
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
	}()
	return l
}

func (l *load) stop() {
	l.cancel()
	<-l.done
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// commits reads the journal: per key the ids in the order they completed.
func (r *ring) commits() (map[string][]string, int) {
	byKey, total := map[string][]string{}, 0
	for p := range r.q.Partitions {
		after := ""
		for {
			page, err := r.store.Inspect().Journal(r.ctx, queue, p, after, 1000)
			if err != nil {
				r.t.Fatalf("journal: %v", err)
			}
			for _, e := range page {
				byKey[e.Key] = append(byKey[e.Key], e.JobID)
				total++
				after = e.ID
			}
			if len(page) < 1000 {
				break
			}
		}
	}
	return byKey, total
}

// audit waits until all is done, and checks that every job completed once, in key order.
func (r *ring) audit(l *load, limit time.Duration) {
	r.t.Helper()
	l.stop()
	if l.err != nil {
		r.t.Fatal(l.err)
	}
	r.until("all jobs completed", limit, func() bool { return r.committed() >= l.total })
	byKey, n := r.commits()
	if n != l.total {
		r.t.Fatalf("%d commits of %d jobs", n, l.total)
	}
	for key, ids := range byKey {
		if len(ids) != l.sent[key] {
			r.t.Fatalf("key %s: %d commits of %d jobs", key, len(ids), l.sent[key])
		}
		var last job.EntryID
		for _, raw := range ids {
			id, err := job.ParseID(raw)
			if err != nil {
				r.t.Fatal(err)
			}
			if !last.Less(id.Entry) {
				r.t.Fatalf("key %s: %s completed after %s", key, id.Entry, last)
			}
			last = id.Entry
		}
	}
}

// committed counts the journal's entries.
func (r *ring) committed() int {
	r.t.Helper()
	p := r.raw().Pipeline()
	cmds := make([]*redis.IntCmd, r.q.Partitions)
	for n := range cmds {
		cmds[n] = p.XLen(r.ctx, fmt.Sprintf("rm:{%s}:journal:%d", queue, n))
	}
	if _, err := p.Exec(r.ctx); err != nil {
		return 0 // the server is away
	}
	total := 0
	for _, c := range cmds {
		total += int(c.Val())
	}
	return total
}

// raw is a plain client, as redis-cli is.
func (r *ring) raw() *redis.Client {
	if r.plain == nil {
		r.plain = redis.NewClient(&redis.Options{Addr: r.server.Addr(), MaxRetries: -1})
		r.t.Cleanup(func() { _ = r.plain.Close() })
	}
	return r.plain
}

// line is one line of a ledger.
type line struct {
	what, id, key string
	at            time.Time
}

func readLedger(t testing.TB, path string) []line {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []line
	for s := bufio.NewScanner(f); s.Scan(); {
		x := strings.Fields(s.Text())
		if len(x) != 6 {
			continue
		}
		ns, err := strconv.ParseInt(x[5], 10, 64)
		if err != nil {
			t.Fatalf("ledger %s: %v", path, err)
		}
		out = append(out, line{x[0], x[1], x[2], time.Unix(0, ns)})
	}
	return out
}

// held are the jobs a process had started and not ended, by its ledger.
func held(lines []line) map[string]bool {
	open := map[string]bool{}
	for _, l := range lines {
		if l.what == "start" {
			open[l.id] = true
		} else {
			delete(open, l.id)
		}
	}
	return open
}
