package streams

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"ringmaster/job"
)

func TestSightingsShowWhatIsThere(t *testing.T) {
	eachScene(t, Queue{Partitions: 3, Journal: true}, func(sc *scene) {
		var ids []job.ID
		for range 4 {
			ids = append(ids, sc.enqueue(job.Job{Type: "a", Key: "k"}))
		}
		p := ids[0].Partition
		sc.read(ids[0])
		sc.end(ids[0], job.Completion{Outcome: job.Done})
		late := sc.enqueue(job.Job{Type: "a", Key: "k"})
		seen, err := sc.s.Inspect().Sightings(sc.ctx, sceneQueue)
		must(sc.t, err)
		v := seen[p]
		if v.Partition != p || v.Owner != (OwnerRecord{"w.1", 1}) || v.Planned != "w.1" || !slices.Equal(v.Groups, []string{"w.1"}) {
			sc.t.Errorf("%+v", v)
		}
		if v.Last != ids[3].Entry || v.Top != late.Entry || len(v.Pending) != 1 || v.Pending[0] != (Holding{Consumer: "w.1", Count: 3}) {
			sc.t.Errorf("%+v", v)
		}
		if want := map[bool]int64{true: -1, false: 5}[sc.s.Embedded()]; v.Added != want {
			sc.t.Errorf("added %d, want %d", v.Added, want)
		}
		var open []OpenJob
		must(sc.t, sc.s.Inspect().OpenJobs(sc.ctx, sceneQueue, p, v.Top, func(page []OpenJob) { open = append(open, page...) }))
		if want := []OpenJob{{ids[1].Entry, "k"}, {ids[2].Entry, "k"}, {ids[3].Entry, "k"}, {late.Entry, "k"}}; !slices.Equal(open, want) {
			sc.t.Errorf("open %v, want %v", open, want)
		}
		other := seen[(p+1)%3]
		if len(other.Pending) != 0 || other.Top.Less(other.Last) || other.Added > 0 {
			sc.t.Errorf("%+v", other)
		}
	})
}

func TestOpenJobsGoesOverPages(t *testing.T) {
	eachScene(t, Queue{Partitions: 1}, func(sc *scene) {
		want := 250
		for range want {
			sc.enqueue(job.Job{Type: "a"})
		}
		got := 0
		top := job.EntryID{Ms: 1 << 60}
		must(sc.t, sc.s.Inspect().OpenJobs(sc.ctx, sceneQueue, 0, top, func(page []OpenJob) { got += len(page) }))
		if got != want {
			sc.t.Errorf("%d open jobs, want %d", got, want)
		}
		if err := sc.s.Inspect().OpenJobs(sc.ctx, sceneQueue, 1, top, nil); err == nil {
			sc.t.Error("a partition that is not there")
		}
	})
}

func TestHeldKeys(t *testing.T) {
	eachScene(t, Queue{Partitions: 1}, func(sc *scene) {
		free := sc.enqueue(job.Job{Type: "a", Key: "free"})
		fails := sc.enqueue(job.Job{Type: "a", Key: "fails"})
		aside := sc.enqueue(job.Job{Type: "a", Key: "aside"})
		runs := sc.enqueue(job.Job{Type: "a", Key: "runs"})
		sc.read(free)
		sc.end(fails, job.Completion{Outcome: job.Failed, Data: job.RetryRecord{Attempts: 1, NotBefore: time.UnixMilli(99), Error: "no"}.String()})
		sc.end(aside, job.Completion{Outcome: job.Parked, Key: "aside"})
		m := sc.s.NewMember(sc.q, job.MemberInfo{Incarnation: "v.1", Name: "v"}, time.Minute)
		_, err := m.Join(sc.ctx)
		must(sc.t, err)
		must(sc.t, sc.ring.WritePlan(sc.ctx, Plan{Term: sc.term, BaseEpoch: 1, Mode: "key", Targets: []string{"v.1"}}))
		_, errs := sc.reader.Release(sc.ctx, []job.Tenure{{Partition: 0, Epoch: 1}}, [][]job.EntryID{{runs.Entry}}, false)
		must(sc.t, errs[0])
		keys, err := sc.s.Inspect().HeldKeys(sc.ctx, sceneQueue, 10)
		must(sc.t, err)
		slices.Sort(keys)
		if !slices.Equal(keys, []string{"aside", "fails", "runs"}) {
			sc.t.Errorf("%v", keys)
		}
		for _, who := range []string{"w.1@1", "v.1", reclaim, "nobody"} {
			if n, err := sc.s.Reclaim(sc.ctx, sceneQueue, 0, who); err != nil || n != 0 {
				sc.t.Errorf("%d jobs were taken from %s, who may end them: %v", n, who, err)
			}
		}
		if few, err := sc.s.Inspect().HeldKeys(sc.ctx, sceneQueue, 1); err != nil || len(few) != 1 {
			sc.t.Error(few, err)
		}
	})
}

func TestEntriesAreWhatWasHandedIn(t *testing.T) {
	eachScene(t, Queue{Partitions: 3, Shards: 2}, func(sc *scene) {
		want := map[job.ID]job.Job{}
		for _, key := range []string{"a", "b", "c", "d", ""} {
			j := job.Job{Type: "t-" + key, Key: key, Payload: json.RawMessage(`{"of":"` + key + `"}`)}
			want[sc.enqueue(j)] = j
		}
		got, err := sc.s.Inspect().Entries(sc.ctx, sceneQueue)
		must(sc.t, err)
		for id, j := range want {
			if e := got[id]; e.Type != j.Type || e.Key != j.Key || string(e.Payload) != string(j.Payload) {
				sc.t.Errorf("%v: %+v, want %+v", id, e, j)
			}
		}
		if len(got) != len(want) {
			sc.t.Errorf("%d entries, want %d", len(got), len(want))
		}
		if _, err := sc.s.Inspect().Entries(sc.ctx, "none"); !errors.Is(err, job.ErrNotFound) {
			sc.t.Error(err)
		}
	})
}
