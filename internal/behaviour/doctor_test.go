package behaviour

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ringmaster/internal/doctor"
	"ringmaster/internal/redistest"
	"ringmaster/internal/service"
	"ringmaster/job"
	"ringmaster/streams"
)

func quickDoctor() doctor.Config {
	return doctor.Config{Patience: 300 * time.Millisecond, Mending: 25 * time.Second, Blocked: 20}
}

// readByHand adds a job and takes it for a consumer that nobody is, before its owner
// can: a script is one step.
func (r *rig) readByHand(partition int, key, consumer string) string {
	r.t.Helper()
	const script = `local owner = string.match(redis.call('HGET', KEYS[2], ARGV[1]), '^(%S+)')
		local id = redis.call('XADD', KEYS[1], '*', 'type', 't', 'key', ARGV[2], 'payload', '{"N":0}')
		redis.call('XREADGROUP', 'GROUP', owner, ARGV[3], 'COUNT', 100, 'STREAMS', KEYS[1], '>')
		return id`
	id, err := r.raw.Eval(r.ctx, script, []string{r.key("jobs:" + itoa(partition)), r.key("owner")}, partition, key, consumer).Text()
	if err != nil {
		r.t.Fatal(err)
	}
	return itoa(partition) + "-" + id
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// checks are the kinds of what was found that answers f.
func checks(found []doctor.Finding, f func(doctor.Finding) bool) []string {
	var out []string
	for _, x := range found {
		if f(x) && !slices.Contains(out, x.Check) {
			out = append(out, x.Check)
		}
	}
	slices.Sort(out)
	return out
}

func mended(f doctor.Finding) bool { return f.Mended }

// verified waits until all jobs have ended, and then wants a clean audit.
func (r *rig) verified() {
	r.t.Helper()
	var v any
	r.until("a clean audit with nothing open", func() bool {
		got, err := doctor.Verify(r.ctx, r.store, r.queue.Name)
		v = got
		if err == nil && !got.Good() {
			r.t.Fatalf("audit: %+v", got)
		}
		return err == nil && got.Open == 0
	})
	if found, _, err := doctor.Inconsistencies(r.ctx, r.store, r.queue.Name, 5*time.Second); err != nil || len(found) > 0 {
		r.t.Errorf("records do not fit: %+v, %v (audit %+v)", found, err, v)
	}
}

func (r *rig) instant(context.Context, job.Delivery) (json.RawMessage, error) { return nil, nil }

// plant does each kind of damage to a partition of its own, from 0 to 4, and a member
// that is dead; the others stay whole.
func (r *rig) plant() {
	r.t.Helper()
	owners := r.owners()
	r.readByHand(0, r.keysOf(0, 1)[0], "me")
	r.readByHand(1, r.keysOf(1, 1)[0], "gone.1@3")
	r.must(r.raw.XGroupCreate(r.ctx, r.key("jobs:2"), "mine", "0").Err())
	r.must(r.raw.XGroupDestroy(r.ctx, r.key("jobs:3"), owners["3"]).Err())
	r.must(r.raw.HSet(r.ctx, r.key("owner"), "4", "gone.1 99").Err())
	r.must(r.raw.HSet(r.ctx, r.key("members"), "gone.2", `{"name":"gone","incarnation":"gone.2","state":"up","weight":1}`).Err())
}

func TestDoctorBesideALiveRing(t *testing.T) {
	r := newRig(t, redistest.Real(t, "--appendonly", "yes").URL(), streams.Queue{Partitions: 8, Journal: true})
	r.lead()
	r.start(spec{name: "a", t: r.instant})
	r.start(spec{name: "b", t: r.instant})
	r.settled("a", "b")
	r.send("", 50)
	r.verified()
	if found, err := doctor.Examine(r.ctx, r.store, quickDoctor()); err != nil || len(found) > 0 {
		t.Fatalf("a healthy ring: %+v, %v", found, err)
	}
	r.plant()
	found, err := doctor.Treat(r.ctx, r.store, quickDoctor(), r.log)
	if err != nil || slices.ContainsFunc(found, doctor.Finding.Open) {
		t.Errorf("left open: %+v, %v", found, err)
	}
	// What the leader or a worker mends faster than a doctor looks is not told; this none of them does.
	if want := "unknown holder"; !slices.Contains(checks(found, mended), want) {
		t.Errorf("%s is not among what was mended: %+v", want, found)
	}
	r.send("", 50)
	r.verified()
}

func TestDoctorWithoutADispatcher(t *testing.T) {
	r := newRig(t, redistest.Real(t, "--appendonly", "yes").URL(), streams.Queue{Partitions: 8, Journal: true})
	stop := r.lead()
	r.start(spec{name: "a", t: r.instant})
	r.start(spec{name: "b", t: r.instant})
	r.settled("a", "b")
	stop()
	r.plant()
	cfg := quickDoctor()
	found, err := doctor.Examine(r.ctx, r.store, cfg)
	r.must(err)
	want := "dead member,group without owner,no leader,owner is no member,owner without group,pending under the dead,unfinished plan,unknown holder"
	if got := strings.Join(checks(found, doctor.Finding.Open), ","); got != want {
		t.Errorf("found %s, want %s", got, want)
	}
	for _, f := range found {
		if f.Severity != doctor.SeverityInfo && (f.Finding == "" || f.Meaning == "" || f.Remedy == "" || f.Done != "") {
			t.Errorf("says too little, or did something: %+v", f)
		}
	}
	whole := map[string]string{}
	for _, p := range []string{"0", "1", "2", "5", "6", "7"} {
		whole[p] = r.raw.HGet(r.ctx, r.key("owner"), p).Val()
	}
	found, err = doctor.Treat(r.ctx, r.store, cfg, r.log)
	r.must(err)
	if got := checks(found, doctor.Finding.Open); !slices.Equal(got, []string{"no leader"}) {
		t.Errorf("left open: %v in %+v", got, found)
	}
	for _, f := range found {
		if f.Mended && f.Done == "" {
			t.Errorf("does not say what it did: %+v", f)
		}
	}
	for p, rec := range whole {
		if now := r.raw.HGet(r.ctx, r.key("owner"), p).Val(); now != rec {
			t.Errorf("healthy partition %s moved from %s to %s", p, rec, now)
		}
	}
	r.lead()
	r.send("", 50)
	r.verified()
}

// What the doctor finds is of the server alone: a ring that is led, and has nothing to do. A lease of
// the leader that lapses on a busy machine comes back within its own time, which a doctor in a hurry does
// not wait for.
func TestDoctorSetsSettings(t *testing.T) {
	r := newRig(t, redistest.Real(t, "--maxmemory-policy", "allkeys-lru").URL(), streams.Queue{Partitions: 1})
	r.lead()
	r.led()
	cfg := quickDoctor()
	cfg.Patience = doctor.Default().Patience
	found, err := doctor.Examine(r.ctx, r.store, cfg)
	if got := fmt.Sprint(checks(found, doctor.Finding.Open)); err != nil || got != "[appendonly maxmemory-policy]" {
		t.Fatalf("%s, %v", got, err)
	}
	found, err = doctor.Treat(r.ctx, r.store, cfg, r.log)
	if got := fmt.Sprint(checks(found, mended)); err != nil || got != "[appendonly maxmemory-policy]" || slices.ContainsFunc(found, doctor.Finding.Open) {
		t.Errorf("%+v, %v", found, err)
	}
	if p := r.raw.ConfigGet(r.ctx, "maxmemory-policy").Val()["maxmemory-policy"]; p != "noeviction" {
		t.Errorf("policy %s", p)
	}
	// What appendonly began would outlive its server, and write where the test has cleaned up.
	r.until("the file is written", func() bool {
		info := r.raw.Info(r.ctx, "persistence").Val()
		return strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0")
	})
}

func TestDoctorLeavesWhatItCannotMend(t *testing.T) {
	r := newRig(t, redistest.Real(t, "--appendonly", "yes").URL(), streams.Queue{Partitions: 2})
	r.lead()
	r.led()
	r.must(r.raw.Del(r.ctx, r.key("jobs:1")).Err())
	r.must(r.raw.Set(r.ctx, r.key("jobs:1"), "x", 0).Err())
	r.must(r.raw.HSet(r.ctx, "rm:queues", "bad", "{").Err())
	r.send(r.keysOf(0, 1)[0], 1)
	found, err := doctor.Treat(r.ctx, r.store, quickDoctor(), r.log)
	if got := fmt.Sprint(checks(found, doctor.Finding.Open)); err != nil || got != "[no live worker queue record wrong type]" {
		t.Errorf("%s, %v", got, err)
	}
	if got := r.raw.Get(r.ctx, r.key("jobs:1")).Val(); got != "x" {
		t.Errorf("what somebody wrote is %q now", got)
	}
}

func TestDoctorTellsWhyKeysWait(t *testing.T) {
	r := newRig(t, redistest.Real(t, "--appendonly", "yes").URL(), streams.Queue{Partitions: 2})
	r.lead()
	failing := func(context.Context, job.Delivery) (json.RawMessage, error) { return nil, fmt.Errorf("no ink") }
	policy := service.Policy{MaxAttempts: 5}
	policy.Backoff.Base, policy.Backoff.Max = time.Hour, time.Hour
	r.start(spec{name: "a", t: failing, policy: policy})
	r.settled("a")
	r.send("k", 2)
	r.until("the key told as blocked", func() bool {
		found, err := doctor.Examine(r.ctx, r.store, quickDoctor())
		return err == nil && len(found) == 1 && found[0].Severity == doctor.SeverityInfo && strings.Contains(found[0].Meaning, "no ink")
	})
}
