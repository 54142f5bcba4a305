package streams

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"ringmaster/internal/redistest"
	"ringmaster/job"
	"ringmaster/resize"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// crew is a queue with a leader and any number of workers.
type crew struct {
	t    testing.TB
	ctx  context.Context
	url  string
	kind string
	s    *Store
	raw  *redis.Client
	q    Queue
	ring *Ring
	term uint64
}

// hand is one worker of a crew, with a reader for each shard.
type hand struct {
	*crew
	inc     string
	member  *Member
	readers []*Reader
}

// eachCrew runs f against both servers.
func eachCrew(t *testing.T, want Queue, f func(*crew)) {
	t.Helper()
	redistest.Each(t, func(t *testing.T, url, kind string) { f(newCrew(t, url, kind, want)) })
}

// realCrew runs on a real server alone; the caller says why.
func realCrew(t testing.TB, want Queue) *crew {
	t.Helper()
	return newCrew(t, redistest.Real(t).URL(), "real", want)
}

func newCrew(t testing.TB, url, kind string, want Queue) *crew {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	if want.Name == "" {
		want.Name = "q"
	}
	if want.Partitions == 0 {
		want.Partitions = 1
	}
	c := &crew{t: t, ctx: ctx, url: url, kind: kind, s: openStore(t, url)}
	opts, err := redis.ParseURL(url)
	must(t, err)
	c.raw = redis.NewClient(opts)
	t.Cleanup(func() { _ = c.raw.Close() })
	c.q, err = c.s.CreateQueue(ctx, want)
	must(t, err)
	c.ring = c.s.NewRing(c.q, "d1")
	c.term, _, err = c.ring.Lead(ctx, time.Minute)
	must(t, err)
	return c
}

func (c *crew) key(p int, name string) string { return c.s.shardOf(c.q, p) + name }
func (c *crew) stream(p int) string           { return jobsKey(c.s.shardOf(c.q, p), p) }

func (c *crew) join(inc string) *hand {
	c.t.Helper()
	return c.joinVia(c.s, inc)
}

// joinVia joins through another store, such as one behind a fault proxy.
func (c *crew) joinVia(s *Store, inc string) *hand {
	c.t.Helper()
	h := &hand{crew: c, inc: inc}
	h.member = s.NewMember(c.q, job.MemberInfo{Incarnation: inc, Name: inc, Weight: 1, Slots: 4}, time.Minute)
	_, err := h.member.Join(c.ctx)
	must(c.t, err)
	for sh := range c.q.Shards {
		r := s.NewReader(c.q, sh, inc)
		must(c.t, r.Reset(c.ctx))
		c.t.Cleanup(func() { _ = r.Close() })
		h.readers = append(h.readers, r)
	}
	return h
}

// plan writes a plan: one target for all partitions, or one for each.
func (c *crew) plan(mode string, targets ...string) error {
	c.t.Helper()
	rec, err := c.ring.Look(c.ctx)
	must(c.t, err)
	p := Plan{Term: c.term, BaseEpoch: rec.Epoch, Read: &rec, Mode: mode, Request: rec.Request}
	for n := range c.q.Partitions {
		p.Targets = append(p.Targets, targets[min(n, len(targets)-1)])
	}
	for _, m := range rec.Members {
		p.Members = append(p.Members, m.MemberInfo)
	}
	return c.ring.WritePlan(c.ctx, p)
}

func (c *crew) steal(p int, from string, epoch uint64, to string) error {
	_, errs := c.ring.StealAll(c.ctx, c.term, []Steal{{p, from, epoch, to}})
	return errs[0]
}

// give plans everything for h and hands it over from nobody.
func (c *crew) give(h *hand) *hand {
	c.t.Helper()
	must(c.t, c.plan("key", h.inc))
	for p := range c.q.Partitions {
		must(c.t, c.steal(p, "-", 0, h.inc))
	}
	return h
}

// evict removes a worker as dead, without looking at evidence.
func (c *crew) evict(h *hand) {
	c.t.Helper()
	gone, err := c.ring.Evict(c.ctx, c.term, h.inc, "dead", 0, 0, 0, 0, "")
	must(c.t, err)
	if !gone {
		c.t.Fatalf("%s was not evicted", h.inc)
	}
}

// add enqueues n jobs of one key in one batch and returns their entry ids.
func (c *crew) add(n int, key string) []job.EntryID {
	c.t.Helper()
	p := c.s.NewProducer(c.q)
	defer p.Close()
	jobs := make([]job.Job, n)
	for i := range jobs {
		jobs[i] = job.Job{Type: "t", Key: key, Payload: json.RawMessage(strconv.Itoa(i))}
	}
	receipts, errs := p.Enqueue(c.ctx, jobs...)
	if errs != nil {
		c.t.Fatal(errs)
	}
	out := make([]job.EntryID, n)
	for i, r := range receipts {
		id, err := job.ParseID(r.ID)
		must(c.t, err)
		out[i] = id.Entry
	}
	return out
}

func (h *hand) reader(p int) *Reader { return h.readers[p%h.q.Shards] }

// read hands out what waits in p, at most 5,000.
func (h *hand) read(p int) []job.EntryID {
	h.t.Helper()
	b, err := h.reader(p).Read(h.ctx, []int{p}, 5000, -1)
	must(h.t, err)
	if len(b.Jobs) == 0 {
		return nil
	}
	return idsOf(b.Jobs[0].Entries)
}

func (h *hand) release(p int, epoch uint64, running ...job.EntryID) job.ReleaseOutcome {
	h.t.Helper()
	out, errs := h.reader(p).Release(h.ctx, []job.Tenure{{Partition: p, Epoch: epoch}}, [][]job.EntryID{running}, false)
	must(h.t, errs[0])
	return out[0].Outcome
}

// handTo plans p's queue for the other worker and releases p to it.
func (h *hand) handTo(to *hand, p int, epoch uint64, running ...job.EntryID) {
	h.t.Helper()
	must(h.t, h.plan("key", to.inc))
	if got := h.release(p, epoch, running...); got != job.Released {
		h.t.Fatalf("release of %d at epoch %d: outcome %d", p, epoch, got)
	}
}

func done(id job.EntryID) job.Completion {
	return job.Completion{ID: id, Outcome: job.Done, Attempt: 1, Key: "k", Type: "t"}
}

// kept is a completion that leaves a result.
func kept(id job.EntryID) job.Completion {
	c := done(id)
	c.Data = `{"result":1}`
	return c
}

// ack ends runs of one tenure; the answers are letters, in order.
func (h *hand) ack(p int, epoch uint64, cs ...job.Completion) string {
	h.t.Helper()
	a, err := h.member.Ack(h.ctx, p%h.q.Shards, []job.PartitionAcks{{Partition: p, Epoch: epoch, Completions: cs}})
	must(h.t, err)
	out := ""
	for _, x := range a[0] {
		out += string(rune(x))
	}
	return out
}

// claimAll takes over everything, page by page, and returns the pages.
func (h *hand) claimAll(p int, epoch uint64, size int) []job.ClaimPage {
	h.t.Helper()
	var out []job.ClaimPage
	for cursor := ""; cursor != "0-0"; {
		got := h.reader(p).Claim(h.ctx, []job.Tenure{{Partition: p, Epoch: epoch}}, []string{cursor}, size, nil, 16)
		must(h.t, got.Errs[0])
		if got.Pages[0].Fenced {
			h.t.Fatalf("claim of %d at epoch %d: fenced", p, epoch)
		}
		out = append(out, got.Pages[0])
		cursor = got.Pages[0].Cursor
	}
	return out
}

func claimed(pages []job.ClaimPage) []job.EntryID {
	var out []job.EntryID
	for _, p := range pages {
		out = append(out, idsOf(p.Entries)...)
	}
	return out
}

func idsOf(es []job.Entry) []job.EntryID {
	out := make([]job.EntryID, len(es))
	for i, e := range es {
		out[i] = e.ID
	}
	return out
}

// owner is the record of a partition.
func (c *crew) owner(p int) string {
	c.t.Helper()
	v, err := c.raw.HGet(c.ctx, c.key(p, "owner"), strconv.Itoa(p)).Result()
	must(c.t, err)
	return v
}

// holder is whom an entry is pending for in the owner's group, "" for nobody.
func (c *crew) holder(p int, id job.EntryID) string {
	c.t.Helper()
	inc, _, _ := ownerRecord(c.owner(p))
	l, err := c.raw.XPendingExt(c.ctx, &redis.XPendingExtArgs{Stream: c.stream(p), Group: inc, Start: id.String(), End: id.String(), Count: 1}).Result()
	must(c.t, err)
	if len(l) == 0 {
		return ""
	}
	return l[0].Consumer
}

func (c *crew) xlen(p int) int64 {
	c.t.Helper()
	n, err := c.raw.XLen(c.ctx, c.stream(p)).Result()
	must(c.t, err)
	return n
}

// exists reports how many of the keys of a partition's shard exist.
func (c *crew) exists(p int, names ...string) int64 {
	c.t.Helper()
	var n int64
	for _, name := range names {
		k, err := c.raw.Exists(c.ctx, c.key(p, name)).Result()
		must(c.t, err)
		n += k
	}
	return n
}

// messages decodes all entries of a control stream; each must be what resize accepts.
func (c *crew) messages(key string) []resize.Message {
	c.t.Helper()
	rows, err := c.raw.XRange(c.ctx, key, "-", "+").Result()
	must(c.t, err)
	var out []resize.Message
	for _, row := range rows {
		fields := map[string]string{}
		for k, v := range row.Values {
			fields[k] = fmt.Sprint(v)
		}
		if fields["type"] == "alarm" {
			if !json.Valid([]byte(fields["data"])) {
				c.t.Errorf("alarm %s: data is not JSON", fields["data"])
			}
			continue // for people, no message of the protocol
		}
		m, err := resize.Decode(fields)
		if err != nil {
			c.t.Errorf("%v in %v", err, fields)
		}
		out = append(out, m)
	}
	return out
}

func (h *hand) inbox() []resize.Message { return h.messages(inboxKey(h.s.shard(h.q, 0), h.inc)) }
func (c *crew) control() []resize.Message {
	return c.messages(controlKey(c.s.shard(c.q, 0)))
}

// alarms are the texts of the alarms that were announced.
func (c *crew) alarms() []string {
	c.t.Helper()
	rows, err := c.raw.XRange(c.ctx, controlKey(c.s.shard(c.q, 0)), "-", "+").Result()
	must(c.t, err)
	var out []string
	for _, row := range rows {
		if row.Values["type"] == "alarm" {
			out = append(out, fmt.Sprint(row.Values["data"]))
		}
	}
	return out
}

// change is the number that the worker's heartbeat shows.
func (h *hand) change() uint64 {
	h.t.Helper()
	beats, err := h.member.Heartbeat(h.ctx)
	must(h.t, err)
	return beats[0].Change
}

func (c *crew) expect(what string, got, want any) {
	c.t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		c.t.Errorf("%s: got %s, want %s", what, g, w)
	}
}

// record writes a retry record.
func (c *crew) record(p int, id job.EntryID, record string) {
	c.t.Helper()
	must(c.t, c.raw.HSet(c.ctx, c.key(p, "retry:"+strconv.Itoa(p)), id.String(), record).Err())
}
