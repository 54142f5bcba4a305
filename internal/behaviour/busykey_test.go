package behaviour

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"ringmaster/consumergroup"
	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/streams"
)

// parkings counts, from the answers of the store, how often each job was set aside and
// brought back by one worker.
type parkings struct {
	mu        sync.Mutex
	out, back map[job.ID]int
}

func (ps *parkings) counted(s consumergroup.Store) consumergroup.Store { return &parkingStore{s, ps} }

func (ps *parkings) most() (out, back, jobs int) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, n := range ps.out {
		out = max(out, n)
	}
	for _, n := range ps.back {
		back = max(back, n)
	}
	return out, back, len(ps.out)
}

type parkingStore struct {
	consumergroup.Store
	ps *parkings
}

func (s *parkingStore) Member(info job.MemberInfo, ttl time.Duration) consumergroup.Member {
	return &parkingMember{s.Store.Member(info, ttl), s.ps}
}

func (s *parkingStore) Reader(shard int, inc string) consumergroup.Reader {
	return &parkingReader{s.Store.Reader(shard, inc), s.ps}
}

type parkingMember struct {
	consumergroup.Member
	ps *parkings
}

func (m *parkingMember) Ack(ctx context.Context, shard int, batches []job.PartitionAcks) ([][]job.Answer, error) {
	answers, err := m.Member.Ack(ctx, shard, batches)
	if err != nil {
		return nil, err
	}
	m.ps.mu.Lock()
	defer m.ps.mu.Unlock()
	for i, b := range batches {
		for k, c := range b.Completions {
			if c.Outcome == job.Parked && answers[i][k] == job.ByOwner {
				m.ps.out[job.ID{Partition: b.Partition, Entry: c.ID}]++
			}
		}
	}
	return answers, nil
}

type parkingReader struct {
	consumergroup.Reader
	ps *parkings
}

func (r *parkingReader) Unpark(ctx context.Context, asks []job.Unpark) ([]job.UnparkPage, []error) {
	pages, errs := r.Reader.Unpark(ctx, asks)
	r.ps.mu.Lock()
	defer r.ps.mu.Unlock()
	for i, p := range pages {
		for _, e := range p.Entries {
			r.ps.back[job.ID{Partition: asks[i].Tenure.Partition, Entry: e.ID}]++
		}
	}
	return pages, errs
}

// busyRig is a partition with busy keys, and jobs of other keys that are to start soon.
type busyRig struct {
	*rig
	takes   time.Duration
	ps      map[string]*parkings // of each worker
	mu      sync.Mutex
	probes  map[string]chan time.Time // key -> when its job started
	last    map[string]int            // of each busy key
	began   chan string               // the first start of each worker
	started map[string]bool
	wrong   string
}

func newBusyRig(t *testing.T, takes time.Duration) *busyRig {
	c := &busyRig{rig: newRig(t, redistest.Real(t).URL(), streams.Queue{Partitions: 1}), takes: takes,
		ps:     map[string]*parkings{},
		probes: map[string]chan time.Time{}, last: map[string]int{}, began: make(chan string, 10), started: map[string]bool{}}
	c.lead()
	return c
}

func (c *busyRig) worker(name string) *proc {
	c.ps[name] = &parkings{out: map[job.ID]int{}, back: map[job.ID]int{}}
	return c.start(spec{name: name, count: c.ps[name].counted, tune: func(cfg *consumergroup.Config) { cfg.Concurrency, cfg.Heartbeat = 16, 500*time.Millisecond },
		t: func(ctx context.Context, d job.Delivery) (json.RawMessage, error) {
			c.note(name, d)
			select {
			case <-time.After(c.takes):
				return nil, nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}})
}

func (c *busyRig) note(worker string, d job.Delivery) {
	var p payload
	_ = json.Unmarshal(d.Payload, &p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.started[worker] {
		c.started[worker] = true
		c.began <- worker
	}
	if ch := c.probes[d.Key]; ch != nil {
		select {
		case ch <- time.Now():
		default:
		}
		return
	}
	// A job may run again after its worker was killed, and then only the last that had started.
	if n := c.last[d.Key]; p.N != n && p.N != n-1 {
		c.wrong = fmt.Sprintf("job %d of %s started, and job %d is next", p.N, d.Key, n)
	}
	c.last[d.Key] = p.N + 1
}

// flood sends so many jobs of the busy keys, in turn.
func (c *busyRig) flood(keys, jobs int) {
	c.t.Helper()
	var all []job.Job
	for i := range jobs {
		all = append(all, job.Job{Type: "t", Key: fmt.Sprint("busy", i%keys), Payload: json.RawMessage(fmt.Sprintf(`{"N":%d}`, i/keys))})
	}
	for len(all) > 0 {
		n := min(len(all), 1000)
		c.sendJobs(all[:n]...)
		all = all[n:]
	}
}

// probe sends a job of a new key.
func (c *busyRig) probe(key string) (started chan time.Time, sent time.Time) {
	c.t.Helper()
	started = make(chan time.Time, 1)
	c.mu.Lock()
	c.probes[key] = started
	c.mu.Unlock()
	sent = time.Now()
	c.send(key, 1)
	return started, sent
}

// soon wants a job to have started within its own time, and what it takes to read so many jobs
// that nobody had read before it: on an idle machine a tenth of a second. A machine that has much
// to do takes longer, but not as long as the busy keys do.
func (c *busyRig) soon(what string, started chan time.Time, since time.Time, unread int) time.Duration {
	c.t.Helper()
	limit := c.takes + slack + time.Duration(unread)*readTime
	took := receive(c.rig, started, what).Sub(since)
	if took > limit {
		c.t.Errorf("%s: started after %v, more than %v", what, took, limit)
	} else {
		c.t.Logf("%s: started after %v", what, took.Round(100*time.Microsecond))
	}
	return took
}

// readTime is for one job: to read it and to set it aside, while its key is at work too.
const readTime = 100 * time.Microsecond

// slack is for whatever else the machine does.
const slack = time.Second

const flooded = 3000

func TestABusyKeyKeepsNoOtherWaiting(t *testing.T) {
	for _, takes := range []time.Duration{time.Millisecond, 50 * time.Millisecond, 500 * time.Millisecond} {
		for _, keys := range []int{1, 10, 100} {
			t.Run(fmt.Sprintf("%d keys of %v", keys, takes), func(t *testing.T) { busyKeys(t, keys, takes) })
		}
	}
}

func busyKeys(t *testing.T, keys int, takes time.Duration) {
	c := newBusyRig(t, takes)
	one := c.worker("w1")
	c.settled("w1")
	c.flood(keys, flooded)
	started, sent := c.probe("first")
	c.soon("right behind the busy ones", started, sent, flooded)
	var took []time.Duration
	for i := range 5 {
		started, sent = c.probe(fmt.Sprint("probe", i))
		took = append(took, c.soon("while they are busy", started, sent, 0))
	}
	slices.Sort(took)
	if limit := c.takes + 100*time.Millisecond; took[2] > limit {
		t.Errorf("while they are busy: started after %v, more than %v", took, limit)
	}
	// What a new owner takes over, and a job that nobody has read behind it.
	two := c.worker("w2")
	receive(c.rig, two.ready, "the second worker")
	one.kill()
	receive(c.rig, one.ended, "the end of the first")
	taken, _ := c.probe("taken over")
	for receive(c.rig, c.began, "a start") != "w2" {
	}
	c.soon("after a kill", taken, time.Now(), 0)
	started, sent = c.probe("late")
	c.soon("some time after the kill", started, sent, 0)
	for name, ps := range c.ps {
		out, back, jobs := ps.most()
		t.Logf("%s: %d jobs were set aside", name, jobs)
		if out > 1 || back > 1 {
			t.Errorf("%s: a job was set aside %d times and brought back %d times", name, out, back)
		}
	}
	if n := c.pending(0); n > int64(consumergroup.Default().Window) {
		t.Errorf("%d are held", n)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wrong != "" {
		t.Error(c.wrong)
	}
}
