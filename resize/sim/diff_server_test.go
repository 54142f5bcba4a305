package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
	"ringmaster/streams"
)

// serverSide is a server behind package streams, in the harness's terms.
type serverSide struct {
	t       *testing.T
	ctx     context.Context
	s       *streams.Store
	q       streams.Queue
	ring    *streams.Ring
	raw     *redis.Client
	members map[string]*streams.Member
	readers map[string]*streams.Reader
	heard   map[string][]job.ControlEntry // by incarnation: what its claims brought along
	feed    *streams.Producer
	ids     [][]job.EntryID  // by partition, in the order of the model's numbers
	numbers []map[string]int // and back
	parked  [diffParts]bool  // a job of it was ever set aside
}

func newServerSide(t *testing.T, url string) *serverSide {
	t.Helper()
	x := &serverSide{t: t, ctx: context.Background(), members: map[string]*streams.Member{}, readers: map[string]*streams.Reader{}, heard: map[string][]job.ControlEntry{}, ids: make([][]job.EntryID, diffParts)}
	for range diffParts {
		x.numbers = append(x.numbers, map[string]int{})
	}
	opts, err := redis.ParseURL(url)
	x.must(err)
	x.raw = redis.NewClient(opts)
	x.must(x.raw.FlushAll(x.ctx).Err())
	x.s, err = streams.Open(streams.Options{URL: url, ClientName: "differential"})
	x.must(err)
	x.q, err = x.s.CreateQueue(x.ctx, streams.Queue{Name: "q", Partitions: diffParts})
	x.must(err)
	x.ring = x.s.NewRing(x.q, "d")
	_, _, err = x.ring.Lead(x.ctx, time.Hour)
	x.must(err)
	x.feed = x.s.NewProducer(x.q)
	return x
}

func (x *serverSide) must(err error) {
	if err != nil {
		x.t.Helper()
		x.t.Fatal(err)
	}
}

func (x *serverSide) close() {
	x.feed.Close()
	for _, r := range x.readers {
		_ = r.Close()
	}
	_ = x.raw.Close()
	_ = x.s.Close()
}

func (x *serverSide) member(inc string) *streams.Member {
	if x.members[inc] == nil {
		name, _, _ := strings.Cut(inc, ".")
		x.members[inc] = x.s.NewMember(x.q, job.MemberInfo{Incarnation: inc, Name: name, Weight: 1, Slots: 1}, time.Hour)
	}
	return x.members[inc]
}

func (x *serverSide) reader(inc string) *streams.Reader {
	if x.readers[inc] == nil {
		x.readers[inc] = x.s.NewReader(x.q, 0, inc)
		x.must(x.readers[inc].Reset(x.ctx))
	}
	return x.readers[inc]
}

func (x *serverSide) id(p, n int) job.EntryID {
	if n < 1 || n > len(x.ids[p]) {
		return job.EntryID{}
	}
	return x.ids[p][n-1]
}

func (x *serverSide) number(p int, id string) int {
	if id == "0-0" || id == "0" {
		return 0
	}
	n, ok := x.numbers[p][id]
	if !ok {
		return -1
	}
	return n
}

// word is the model's word for an error of a leader's call.
func (x *serverSide) word(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, streams.ErrNotLeader):
		return "STALE"
	case errors.Is(err, streams.ErrMoved):
		return "CONFLICT"
	}
	return err.Error()
}

func (x *serverSide) do(o op) string {
	switch o.verb {
	case "join":
		joined, err := x.member(o.inc).Join(x.ctx)
		if errors.Is(err, job.ErrConflict) {
			return "taken"
		}
		x.must(err)
		delete(x.heard, o.inc)
		return told(joined[0].RingEpoch, joined[0].Phase, cmpMode(joined[0].Mode), 0)
	case "beat":
		beats, err := x.member(o.inc).Heartbeat(x.ctx)
		x.must(err)
		return beatText(beats[0])
	case "leaving":
		x.must(x.member(o.inc).Leaving(x.ctx))
	case "left":
		x.must(x.member(o.inc).Left(x.ctx))
	case "silence":
		x.must(x.raw.Del(x.ctx, "rm:{q}:alive:"+o.inc).Err())
	case "enqueue":
		x.enqueue(o)
	case "report":
		x.must(x.member(o.inc).Report(x.ctx, 0, o.epoch, o.phase, `{"epoch":"`+strconv.FormatUint(o.epoch, 10)+`","ack":"ok"}`))
		return "-"
	case "snapshot":
		s, err := x.reader(o.inc).Snapshot(x.ctx)
		x.must(err)
		if s.Fenced {
			return "fenced"
		}
		owned, plan := map[int]uint64{}, map[int]string{}
		for _, p := range s.Owned {
			owned[p.Partition], plan[p.Partition] = p.Epoch, p.Planned
		}
		return beatText(s.Beat) + fmt.Sprint(owned, plan)
	case "plan":
		rec, err := x.ring.Look(x.ctx)
		x.must(err)
		return x.word(x.ring.WritePlan(x.ctx, streams.Plan{Term: o.term, BaseEpoch: o.epoch, Read: &rec, Mode: o.mode, Targets: o.targets}))
	case "advance":
		return x.word(x.ring.Advance(x.ctx, o.term, streams.Records{Shards: []streams.ShardRecord{{Epoch: o.epoch}}}))
	case "steal":
		_, errs := x.ring.StealAll(x.ctx, o.term, []streams.Steal{{Partition: o.p, From: o.inc, Epoch: o.epoch, To: o.to}})
		return x.word(errs[0])
	case "evict":
		beat := "another"
		if !o.flag {
			signs, err := x.ring.Signs(x.ctx, []string{o.inc}, func(string) bool { return false })
			if err != nil {
				return x.word(err)
			}
			beat = signs[0].Beat
		}
		gone, err := x.ring.Evict(x.ctx, o.term, o.inc, o.evidence, o.p, 0, o.epoch, o.phase, beat)
		if err != nil {
			return x.word(err)
		}
		return fmt.Sprint("gone ", gone)
	case "revoke":
		return x.revoke(o)
	default:
		return x.jobs(o)
	}
	return "ok"
}

func cmpMode(s string) string {
	if s == "" {
		return "key"
	}
	return s
}

func beatText(b job.Beat) string {
	if b.Fenced {
		return "fenced"
	}
	return told(b.RingEpoch, b.Phase, cmpMode(b.Mode), b.Change)
}

// revoke: the store answers a permit that is gone without an error, for the leader does
// not mind. What the model calls a conflict is that.
func (x *serverSide) revoke(o op) string {
	return x.word(x.ring.Revoke(x.ctx, o.term, streams.HeldPermit{Partition: o.p, ID: x.id(o.p, o.n), Incarnation: o.inc, Epoch: o.epoch}))
}

func (x *serverSide) enqueue(o op) {
	jobs := make([]job.Job, o.n)
	for i := range jobs {
		jobs[i] = job.Job{Type: "t", Key: o.key, Payload: json.RawMessage("1")}
	}
	receipts, errs := x.feed.Enqueue(x.ctx, jobs...)
	x.must(errors.Join(errs...))
	for _, r := range receipts {
		id, err := job.ParseID(r.ID)
		x.must(err)
		x.ids[id.Partition] = append(x.ids[id.Partition], id.Entry)
		x.numbers[id.Partition][id.Entry.String()] = len(x.ids[id.Partition])
	}
}

func (x *serverSide) jobs(o op) string {
	switch o.verb {
	case "release":
		ids := []job.EntryID{}
		for _, n := range o.ids {
			ids = append(ids, x.id(o.p, n))
		}
		out, errs := x.reader(o.inc).Release(x.ctx, []job.Tenure{{Partition: o.p, Epoch: o.epoch}}, [][]job.EntryID{ids}, o.flag)
		x.must(errs[0])
		return fmt.Sprint(map[job.ReleaseOutcome]string{job.Released: "flipped", job.ReleaseKept: "kept", job.ReleaseFenced: "fenced", job.ReleaseFailed: "failed"}[out[0].Outcome], out[0].Change)
	case "claim":
		return x.claim(o)
	case "read":
		if x.s.Embedded() && x.foreign(o) {
			return "gone"
		}
		b, err := x.reader(o.inc).Read(x.ctx, []int{o.p}, o.n, -1)
		if errors.Is(err, job.ErrGroupGone) {
			return "gone"
		}
		x.must(err)
		heard := append(x.heard[o.inc], b.Control...)
		delete(x.heard, o.inc)
		page := []int{}
		for _, j := range b.Jobs {
			page = append(page, x.entryNumbers(o.p, j.Entries)...)
		}
		return fmt.Sprint(page, " ", x.messages(heard))
	case "own":
		es, err := x.reader(o.inc).History(x.ctx, o.p)
		if errors.Is(err, job.ErrGroupGone) {
			return "gone"
		}
		x.must(err)
		return fmt.Sprint(x.entryNumbers(o.p, es))
	case "ack":
		return x.ack(o)
	case "skim":
		pages, errs := x.reader(o.inc).Skim(x.ctx, []job.Skim{{Tenure: job.Tenure{Partition: o.p, Epoch: o.epoch}, Room: o.n, Most: 2 * o.n}})
		x.must(errs[0])
		if pages[0].Fenced {
			return "fenced"
		}
		out := fmt.Sprint(pages[0].Read)
		for _, n := range x.entryNumbers(o.p, pages[0].Entries) {
			out += fmt.Sprint(" ", n)
		}
		for _, k := range pages[0].Parked {
			out += fmt.Sprint(" ", k.Key, k.Count, x.number(o.p, k.First.String()), x.number(o.p, k.Last.String()))
		}
		return out
	case "unpark":
		pages, errs := x.reader(o.inc).Unpark(x.ctx, []job.Unpark{{Tenure: job.Tenure{Partition: o.p, Epoch: o.epoch}, Key: o.key, Count: o.n}})
		page, err := pages[0], errs[0]
		x.must(err)
		if page.Fenced {
			return "fenced"
		}
		return fmt.Sprint(x.entryNumbers(o.p, page.Entries), page.Left, x.number(o.p, page.First.String()))
	}
	panic(o.verb)
}

// foreign: the caller does not own the partition. The store in memory takes the streams of
// a read one by one, and hands out those before the one that has no such group; a server
// looks at all groups first.
func (x *serverSide) foreign(o op) bool {
	owner, err := x.raw.HGet(x.ctx, "rm:{q}:owner", strconv.Itoa(o.p)).Result()
	x.must(err)
	inc, _, _ := strings.Cut(owner, " ")
	return inc != o.inc
}

func (x *serverSide) entryNumbers(p int, es []job.Entry) []int {
	out := []int{}
	for _, e := range es {
		out = append(out, x.number(p, e.ID.String()))
	}
	return out
}

func (x *serverSide) claim(o op) string {
	all := []int{}
	for cursor := "0-0"; ; {
		got := x.reader(o.inc).Claim(x.ctx, []job.Tenure{{Partition: o.p, Epoch: o.epoch}}, []string{cursor}, o.n, nil, 16)
		x.must(got.Errs[0])
		if !errors.Is(got.AlongErr, job.ErrGroupGone) {
			x.must(got.AlongErr)
		}
		x.heard[o.inc] = append(x.heard[o.inc], got.Along.Control...)
		page := got.Pages[0]
		if page.Fenced {
			return "fenced"
		}
		all = append(all, x.entryNumbers(o.p, page.Entries)...)
		if cursor = page.Cursor; cursor == "0-0" {
			var permits []string
			for _, p := range page.Permits {
				permits = append(permits, fmt.Sprint(x.number(o.p, p.ID.String()), " ", p.Holder, " ", p.Key))
			}
			slices.Sort(permits)
			return fmt.Sprint(all, permits, x.number(o.p, page.LastDelivered.String()))
		}
	}
}

func (x *serverSide) ack(o op) string {
	if o.n == 0 || o.n > len(x.ids[o.p]) {
		return "nothing"
	}
	record, _ := x.raw.HGet(x.ctx, "rm:{q}:retry:"+strconv.Itoa(o.p), x.id(o.p, o.n).String()).Result()
	c := job.Completion{ID: x.id(o.p, o.n), Outcome: job.Done, Attempt: 1, Key: o.key, Type: "t"}
	switch o.how {
	case "plain":
		c.HasRetry = record != ""
	case "result":
		c.Data, c.HasRetry = `{"result":1}`, record != ""
	case "dead":
		c.Outcome, c.Data, c.HasRetry = job.Buried, "{}", record != ""
	case "back":
		c.Outcome = job.HandBack
	case "parked":
		c.Outcome = job.Parked
		x.parked[o.p] = true
	case "failed":
		attempts, crashes := retryOf(record)
		c.Outcome, c.Data = job.Failed, job.RetryRecord{Attempts: attempts + 1, NotBefore: time.UnixMilli(7), Crashes: crashes, Error: "e"}.String()
	}
	answers, err := x.member(o.inc).Ack(x.ctx, 0, []job.PartitionAcks{{Partition: o.p, Epoch: o.epoch, Completions: []job.Completion{c}}})
	x.must(err)
	return map[job.Answer]string{job.ByOwner: "OWNER", job.ByDrainer: "DRAINER", job.NotPending: "DUP", job.Gone: "GONE", job.Refused: "FENCED"}[answers[0][0]]
}

func retryOf(record string) (attempts, crashes int) {
	r, _ := job.ParseRetry(record)
	return r.Attempts, r.Crashes
}
