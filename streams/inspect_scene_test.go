package streams

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/internal/redistest"
	"ringmaster/job"
)

// scene is a queue with one worker that owns all of it.
type scene struct {
	t      *testing.T
	ctx    context.Context
	s      *Store
	raw    *redis.Client
	q      Queue
	inc    string
	member *Member
	reader *Reader
	ring   *Ring
	term   uint64
}

const sceneQueue = "q"

// eachScene runs f against both servers.
func eachScene(t *testing.T, want Queue, f func(*scene)) {
	t.Helper()
	redistest.Each(t, func(t *testing.T, url, _ string) {
		want := want
		want.Name = sceneQueue
		f(newScene(t, url, want))
	})
}

func newScene(t *testing.T, url string, want Queue) *scene {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	s := openStore(t, url)
	opts, err := redis.ParseURL(url)
	must(t, err)
	raw := redis.NewClient(opts)
	t.Cleanup(func() { _ = raw.Close() })
	q, err := s.CreateQueue(ctx, want)
	must(t, err)
	sc := &scene{t: t, ctx: ctx, s: s, raw: raw, q: q, inc: "w.1", ring: s.NewRing(q, "d1")}
	sc.member = s.NewMember(q, job.MemberInfo{Incarnation: sc.inc, Name: "w", Host: "here", PID: 7, Slots: 3, Weight: 1}, time.Minute)
	_, err = sc.member.Join(ctx)
	must(t, err)
	sc.term, _, err = sc.ring.Lead(ctx, time.Minute)
	must(t, err)
	sc.giveAll(sc.inc, "-", 0)
	sc.reader = s.NewReader(q, 0, sc.inc)
	must(t, sc.reader.Reset(ctx))
	t.Cleanup(func() { _ = sc.reader.Close() })
	return sc
}

func openStore(t testing.TB, url string) *Store {
	t.Helper()
	s, err := Open(Options{URL: url})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// giveAll plans everything for inc and steals it from the owner before.
func (sc *scene) giveAll(inc, from string, epoch uint64) {
	sc.t.Helper()
	rec, err := sc.ring.Look(sc.ctx)
	must(sc.t, err)
	p := Plan{Term: sc.term, BaseEpoch: rec.Epoch, Mode: "key", Request: rec.Request}
	var steals []Steal
	for n := range sc.q.Partitions {
		p.Targets = append(p.Targets, inc)
		steals = append(steals, Steal{n, from, epoch, inc})
	}
	must(sc.t, sc.ring.WritePlan(sc.ctx, p))
	_, errs := sc.ring.StealAll(sc.ctx, sc.term, steals)
	for _, err := range errs {
		must(sc.t, err)
	}
}

// enqueue adds one job and returns its id.
func (sc *scene) enqueue(j job.Job) job.ID {
	sc.t.Helper()
	p := sc.s.NewProducer(sc.q)
	defer p.Close()
	r, errs := p.Enqueue(sc.ctx, j)
	if errs != nil {
		sc.t.Fatal(errs)
	}
	id, err := job.ParseID(r[0].ID)
	must(sc.t, err)
	return id
}

// read hands out what waits in the job's partition.
func (sc *scene) read(id job.ID) {
	sc.t.Helper()
	b, err := sc.reader.Read(sc.ctx, []int{id.Partition}, 100, -1)
	must(sc.t, err)
	if len(b.Jobs) == 0 {
		sc.t.Fatalf("nothing was handed out of partition %d", id.Partition)
	}
}

// end ends a run as the owner at epoch 1.
func (sc *scene) end(id job.ID, c job.Completion) {
	sc.t.Helper()
	c.Partition, c.Epoch, c.ID = id.Partition, 1, id.Entry
	a, err := sc.member.Ack(sc.ctx, id.Partition%sc.q.Shards, []job.PartitionAcks{{Partition: id.Partition, Epoch: 1, Completions: []job.Completion{c}}})
	must(sc.t, err)
	if a[0][0] != job.ByOwner {
		sc.t.Fatalf("ack of %s: %c", id, a[0][0])
	}
}

func (sc *scene) status(id job.ID) job.Status {
	sc.t.Helper()
	st, err := sc.s.Inspect().Job(sc.ctx, sceneQueue, id.String())
	must(sc.t, err)
	return st
}

func (sc *scene) key(p int, name string) string { return sc.s.shardOf(sc.q, p) + name }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func asJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
