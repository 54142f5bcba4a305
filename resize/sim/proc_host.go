package sim

import (
	"context"
	"time"

	"ringmaster/consumergroup/driver"
	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
	"ringmaster/resize"
)

// limits are small, so that windows fill and keys are parked.
var limits = lanes.Limits{Window: 6, ReadBudget: 6, HeldBytes: 1 << 20, ParkBeyond: 2, Backoff: 8, IdleLanes: 1}

// time is the present as the lanes are given it.
func (e *engine) time() time.Time { return time.UnixMilli(e.now) }

// hold makes the process's lanes, which hold nothing yet.
func (k *proc) hold() {
	own := limits
	if k.e.limited > 0 {
		own.Seats = map[string]int{limitedType: k.e.limited}
	}
	k.pool = lanes.NewPool(own, k)
	k.atWork = nil
	k.alarm++
}

// limbOf is the part of its worker that a job was read by.
func limbOf(it *lanes.Item) *limb { return it.Tenure.Shard.Host().(*driver.Driver).Host().(*limb) }

// known is what the checks know of a tenure.
type known struct {
	era     int          // of the store when it began
	refused []string     // keys of ends that were refused
	robbed  map[int]bool // jobs started when it had another owner
}

func (k *limb) of(t *lanes.Tenure) *known {
	n := k.known[t]
	if n == nil {
		n = &known{era: k.e.audit.failovers, robbed: map[int]bool{}}
		k.known[t] = n
	}
	return n
}

// Before implements driver.Host. There is one clock.
func (k *limb) Before(record string, _ time.Time) lanes.Prior { return before(record) }

// before judges a job with a past as a worker does. A suspect is held apart from its first
// crash on: the store has no marks.
func before(record string) lanes.Prior {
	r, err := job.ParseRetry(record)
	if err != nil {
		panic(err) // nobody but the store writes them
	}
	prior := lanes.Prior{Attempts: r.Attempts, Crashes: r.Crashes, NotBefore: r.NotBefore, Suspect: r.Crashes > 0}
	if prior.Suspect {
		prior.Apart = time.Second
	}
	return prior
}

// record is what the store keeps of a job that was tried or whose worker died.
func (e *entry) record() string {
	if e.attempts == 0 && e.crashes == 0 {
		return ""
	}
	r := job.RetryRecord{Attempts: e.attempts, Crashes: e.crashes}
	if e.notBefore > 0 {
		r.NotBefore = time.UnixMilli(e.notBefore)
	}
	return r.String()
}

// limitedType is the type of every other job of a producer.
const limitedType = "limited"

// jobAt is an entry as it is read.
func jobAt(n int, e *entry) job.Entry {
	kind := "other"
	if e.serial%2 == 0 {
		kind = limitedType
	}
	return job.Entry{ID: job.EntryID{Ms: uint64(n)}, Type: kind, Key: e.key, Retry: e.record()}
}

func numberOf(it *lanes.Item) int { return int(it.Entry.ID.Ms) }

// backoff is how long a failed job waits.
func (e *engine) backoff() time.Duration { return time.Duration(e.between(20, 300)) * time.Millisecond }

// Broken implements driver.Host. No entry of this store is.
func (k *limb) Broken(*lanes.Item) job.Completion { return job.Completion{Outcome: job.Buried} }

// Poke implements driver.Host.
func (k *limb) Poke() {
	inc, d := k.inc, k.d
	k.e.send(&call{from: &k.node, conn: k.beats, what: "poke", exec: func() {
		k.store().tell(inc, false, resize.Message{Type: resize.TypePoke, Part: -1})
	}, done: d.Poked})
}

// Stirred implements driver.Host: a heartbeat that was put off is not any more.
func (k *limb) Stirred() {
	if k.inc != "" && !k.rests() {
		k.beatNext()
	}
}

// Asked implements driver.Host. Nobody asks here.
func (k *limb) Asked(string) {}

// Alone implements driver.Host.
func (k *limb) Alone() bool { return k.stopping > 0 && k.e.now-k.stopping > 1000 }

// Arrived implements driver.Host.
func (k *limb) Arrived() {}

// Turns implements driver.Host.
func (k *limb) Turns(time.Time) {}

// Waits implements driver.Host.
func (k *limb) Waits(context.Context, string) driver.Patience { return silent{} }

// Now implements driver.Clock.
func (k *limb) Now() time.Time { return k.e.time() }

// Sleep implements driver.Clock.
func (k *limb) Sleep(ctx context.Context, d time.Duration) bool {
	return k.e.sleep(ctx.(*fiber), &k.node, d)
}

// Ready implements lanes.Crew: handlers are started right after the present step.
func (k *proc) Ready() {
	if !k.starting {
		k.starting = true
		k.e.after(&k.node, 0, func() { k.starting = false; k.dispatch() })
	}
}

// Quiet implements lanes.Crew.
func (k *proc) Quiet() { k.Ready() }

// Alarm implements lanes.Crew.
func (k *proc) Alarm() {
	k.alarm++
	k.ringAt(k.alarm, 0)
}

// ringAt offers the jobs whose backoff is over, as long as no earlier alarm is set.
func (k *proc) ringAt(n int, ms int64) {
	k.e.after(&k.node, ms, func() {
		if n != k.alarm || k.inc == "" {
			return
		}
		if at, set := k.pool.Ring(k.e.time()); set && n == k.alarm {
			k.ringAt(n, max(1, at.UnixMilli()-k.e.now))
		}
		k.dispatch()
	})
}
