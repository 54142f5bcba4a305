package sim

import (
	"slices"

	"ringmaster/job"
	"ringmaster/resize"
)

// beatAt has the next heartbeat sent at a time, and not at one that was set before.
func (k *proc) beatAt(at int64) {
	k.beatDue++
	n := k.beatDue
	k.e.after(&k.node, max(1, at-k.e.now), func() {
		if n == k.beatDue {
			k.beat()
		}
	})
}

// beat renews the lease in every shard and compares numbers.
func (k *proc) beat() {
	e := k.e
	k.sent = e.now
	sent := e.now
	if k.deaf() && e.bug != BugDeafBeats {
		k.beatAt(e.now + beatEvery) // its lease shall end
		k.tellExpired()
		return
	}
	beats := make([]job.Beat, len(e.stores))
	member := true
	e.send(&call{from: &k.node, conn: k.beats, what: "beat", exec: func() {
		for sh, s := range e.stores {
			state, there := s.beat(k.inc)
			beats[sh] = beatOf(state)
			member = member && there
		}
	}, done: func(answered bool) {
		switch {
		case answered && !member:
			k.rejoin()
			return
		case answered:
			k.lease = sent + leaseTTL - leaseMargin
			for _, l := range k.shards {
				l.beaten(beats[l.number])
			}
			k.expired = false
		default:
			k.tellExpired()
		}
		if k.stopping > 0 {
			k.post(resize.StopAsked{})
		}
		k.dispatch()
		k.beatNext()
	}})
}

func beatOf(r resize.RingState) job.Beat {
	return job.Beat{RingEpoch: r.Epoch, Phase: int(r.Phase), Mode: r.Mode.String(), Change: r.Change}
}

// beaten takes the answer to a heartbeat. Now and then the machine is asked, too, where the driver
// keeps from it what it knows: it would have made no difference.
func (k *limb) beaten(b job.Beat) {
	k.d.Beaten(b)
	if k.e.chance(8) {
		mode, err := resize.ParseMode(b.Mode)
		if err != nil {
			panic(err) // the store's own
		}
		k.d.Post(resize.BeatAnswered{RingState: resize.RingState{Epoch: b.RingEpoch, Phase: resize.Phase(b.Phase), Mode: mode, Change: b.Change}})
	}
	if k.expired {
		k.d.Post(resize.LeaseRenewed{})
	}
}

// post tells all shards.
func (k *proc) post(ev resize.ParticipantEvent) {
	for _, l := range k.shards {
		l.d.Post(ev)
	}
}

// deaf: a reader has had no answer for long.
func (k *proc) deaf() bool {
	return slices.ContainsFunc(k.shards, func(l *limb) bool { return l.d.DeafFor(k.e.time(), 0).Milliseconds() > deafLimit })
}

func (k *proc) tellExpired() {
	if !k.expired && k.e.now >= k.lease {
		k.expired = true
		k.post(resize.LeaseExpired{})
	}
}

// beatNext has the next heartbeat sent: a third of a lease after the last, as long as the worker
// rests.
func (k *proc) beatNext() {
	if k.rests() {
		k.beatAt(k.sent + leaseTTL/3)
	} else {
		k.beatAt(k.sent + beatEvery)
	}
}

func (k *proc) rests() bool {
	moves := slices.ContainsFunc(k.shards, func(l *limb) bool { return !l.d.Rests() })
	return !moves && k.stopping == 0 && !k.expired && k.pool.Runs() == 0
}

// stop begins a graceful leave. The process comes back later.
func (k *proc) stop() {
	if k.inc == "" || k.stopping > 0 {
		return
	}
	e := k.e
	k.stopping = e.now
	k.post(resize.StopAsked{})
	inc := k.inc
	e.each(&k.node, k.beats, "leaving", e.forwards(), func(sh int) bool { e.stores[sh].leave(inc); return true }, func(bool) {})
	e.after(&k.node, 100, k.watchStop)
}

func (k *proc) watchStop() {
	e := k.e
	busy := slices.ContainsFunc(k.shards, func(l *limb) bool { return !l.d.Empty() })
	if busy || k.pool.Runs() > 0 {
		if e.now-k.stopping < drainLimit {
			e.after(&k.node, 100, k.watchStop)
			return
		}
	}
	inc := k.inc
	e.each(&k.node, k.beats, "left", e.forwards(), func(sh int) bool { e.stores[sh].left(inc); return true }, func(bool) { k.down() })
}

// down is the end of a process; another is started in its place.
func (k *proc) down() {
	k.e.log(k.name, "is down", 0, 0)
	k.leave(k.e.between(0, 20))
	k.life++
	k.e.after(&k.node, k.e.between(100, 800), k.start)
}
