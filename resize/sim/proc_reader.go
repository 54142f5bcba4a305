package sim

import (
	"slices"
	"time"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
	"ringmaster/resize"
)

// request performs an action that the server answers.
func (k *limb) request(a resize.ParticipantAction) {
	switch a := a.(type) {
	case resize.ReadRecords:
		var snap resize.SnapshotRead
		member := false
		k.ask("snapshot", func() {
			if member = k.store().members[k.inc] != nil; member {
				snap = k.store().snapshot(k.inc)
			}
		}, func(answered bool) {
			switch {
			case !answered:
				k.todo = append([]resize.ParticipantAction{a}, k.todo...)
			case !member:
				k.events = append(k.events, resize.Evicted{})
			default:
				k.events = append(k.events, snap)
				k.lanes.Confirm(snap.Owned, k.e.time())
				k.recheck()
			}
		})
	case resize.ClaimPartition:
		k.claim(a)
	case resize.ReleasePartition:
		answer := resize.ReleaseAnswered{Part: a.Part, Epoch: a.Epoch, Outcome: resize.ReleaseUnknown}
		runs := numbers(k.lanes.Naming(a.Part, a.Epoch))
		if k.e.bug == BugStalePermits {
			runs = numbers(k.listed[a.Part])
		}
		alone := k.stopping > 0 && k.e.now-k.stopping > 1000
		var out resize.ReleaseAnswered
		k.ask("release", func() { out = k.store().release(k.inc, a.Part, a.Epoch, runs, alone) }, func(answered bool) {
			if answered {
				answer = out
			}
			k.events = append(k.events, answer)
		})
	case resize.Unblock:
		k.look(a)
	}
}

func numbers(ids []job.EntryID) []int {
	var out []int
	for _, id := range ids {
		out = append(out, int(id.Ms))
	}
	return out
}

// page asks for one page of marked entries.
func (k *limb) page(what string, part int, epoch uint64, cursor string, then func(page *job.ClaimPage, answered bool)) {
	var p *job.ClaimPage
	k.ask(what, func() { p = k.store().claimPage(k.inc, part, epoch, cursor, pageSize) }, func(answered bool) {
		if answered && k.e.bug == BugDrainersKey {
			p.Permits = nil
		}
		if answered && k.e.bug == BugNothingKept {
			for i := range p.Entries {
				p.Entries[i].Type = "another"
			}
		}
		then(p, answered)
		k.dispatch()
	})
}

// look: former owners may be done with jobs whose keys wait here.
func (k *limb) look(a resize.Unblock) {
	if k.lanes.Paged(a.Part, a.Epoch) == nil {
		k.turn()
		return
	}
	if k.unsure {
		k.events = append(k.events, lookAgain(a.Part, a.Epoch))
		k.turn()
		return
	}
	k.page("unblock", a.Part, a.Epoch, "", func(p *job.ClaimPage, answered bool) {
		switch {
		case !answered && k.e.bug == BugLookLost:
		case !answered:
			k.events = append(k.events, lookAgain(a.Part, a.Epoch))
		case p.Fenced:
			k.events = append(k.events, resize.PartitionFenced{Part: a.Part, Epoch: a.Epoch})
		case k.lanes.Looked(a.Part, a.Epoch, p, k.e.time()):
			k.events = append(k.events, lookAgain(a.Part, a.Epoch))
		}
	})
}

// lookAgain has a partition's pending jobs claimed once more, as a message would.
func lookAgain(part int, epoch uint64) resize.ParticipantEvent {
	return resize.MessageReceived{Message: resize.Message{Type: resize.TypeUndrained, Name: resize.Master, Part: part, PartEpoch: epoch}}
}

func (k *limb) claim(a resize.ClaimPartition) {
	t, cursor := k.lanes.Claim(a.Part, a.Epoch, a.First)
	k.of(t)
	if k.e.bug == BugReadEarly {
		k.lanes.StartReading(a.Part, a.Epoch)
	}
	if k.unsure {
		// What an unanswered call took is marked no more, and not known: a page without it would free its key.
		k.events = append(k.events, resize.ClaimAnswered{Part: a.Part, Epoch: a.Epoch, Outcome: resize.ClaimUnknown})
		k.turn()
		return
	}
	k.page("claim", a.Part, a.Epoch, cursor, func(p *job.ClaimPage, answered bool) {
		out := resize.ClaimAnswered{Part: a.Part, Epoch: a.Epoch}
		switch {
		case !answered:
			out.Outcome = resize.ClaimUnknown
		case p.Fenced:
			out.Outcome = resize.ClaimFenced
		default:
			out.More = k.lanes.Claimed(a.Part, a.Epoch, p, k.e.time())
			out.Runs = k.lanes.Adopted(a.Part, a.Epoch)
		}
		k.events = append(k.events, out)
	})
}

// recheck looks again at what blocks keys: a message about it may have been lost.
func (k *limb) recheck() {
	if k.e.bug == BugLostHint {
		return
	}
	for _, t := range k.lanes.Blocked() {
		k.events = append(k.events, lookAgain(t.Partition, t.Epoch))
	}
}

// toRead are the partitions to read, how much of each, and how long to wait, if not as ever.
func (k *limb) toRead() ([]int, int, time.Duration) {
	parts, count, wait := k.lanes.ToRead(k.e.time())
	if k.e.bug == BugReadEarly {
		parts = nil
		for _, t := range k.lanes.Tenures() {
			parts = append(parts, t.Partition)
		}
	}
	return parts, min(count, pageSize), wait
}

// read is the one blocking read of inbox and partitions. An inbox or a group that is
// gone fails the whole of it.
func (k *limb) read() {
	parts, count, wait := k.toRead()
	asks := k.lanes.Skims()
	if len(asks) > 0 && !k.skimmed {
		k.skim(asks)
		return
	}
	k.skimmed = false
	var r batchRead
	c := &call{from: &k.node, conn: k.reader, what: "read", wait: blockTimeout}
	switch {
	case wait < 0, k.lanes.UnparkWanted():
		c.wait = 0
	case wait > 0:
		c.wait = wait.Milliseconds()
	}
	inc := k.inc
	c.block = func() bool { return r.fill(k.store(), inc, parts, count) }
	c.done = func(answered bool) {
		k.busy, k.reading = false, nil
		k.lanes.ReadEnded()
		if answered {
			k.heard = k.e.now
		}
		switch {
		case !answered:
			k.doubt()
		case r.gone:
			k.groupGone()
		default:
			k.gone = 0
			k.take(&r)
		}
		k.turn()
	}
	k.busy, k.reading = true, c
	k.e.send(c)
}

// batchRead is what one read brings.
type batchRead struct {
	messages []resize.Message
	jobs     []job.PartitionEntries
	gone     bool
}

func (r *batchRead) fill(s *store, inc string, parts []int, count int) bool {
	if s.members[inc] == nil {
		r.gone = true
		return true
	}
	for _, p := range parts {
		if s.parts[p].owner.Incarnation != inc {
			r.gone = true
			return true
		}
	}
	if len(s.inbox[inc]) > 0 {
		r.messages, s.inbox[inc] = s.inbox[inc], nil
	}
	for _, p := range parts {
		if ids, _ := s.read(inc, p, count); len(ids) > 0 {
			r.jobs = append(r.jobs, job.PartitionEntries{Partition: p, Entries: s.parts[p].jobs(ids)})
		}
	}
	return len(r.messages)+len(r.jobs) > 0
}

// take hands jobs to their lanes and messages to the machine.
func (k *limb) take(r *batchRead) {
	for _, j := range r.jobs {
		k.lanes.Arrive(j.Partition, j.Entries, k.e.time())
	}
	if len(r.jobs) > 0 {
		k.dispatch()
	}
	for _, m := range r.messages {
		k.e.log(k.inc, string(m.Type), int64(m.Phase), int64(m.Part))
		k.events = append(k.events, resize.MessageReceived{Message: m})
	}
}

// groupGone: a partition, or the membership, is lost. The records tell which.
func (k *limb) groupGone() {
	if k.gone++; k.gone > 3 {
		k.rejoin()
		return
	}
	k.todo = append(k.todo, resize.ReadRecords{})
	k.events = append(k.events, resize.MessageReceived{Message: resize.Message{Type: resize.TypePoke, Part: -1}})
}

// reset replaces the connection after a call without an answer: the old one is ended at
// the server, then the own pending list is read, while no ack is under way.
func (k *limb) reset() {
	old := k.reader
	k.reader = k.dial()
	k.reader.deaf = old.deaf
	k.ask("hang up", func() {
		if k.e.bug != BugOldConnection {
			k.e.hangUp(old)
		}
	}, func(answered bool) {
		if !answered {
			k.e.hangUp(k.reader)
			k.reader = old
			k.busy = true
			k.e.after(&k.node, 30, func() { k.busy = false; k.turn() })
			return
		}
		k.unsure = false
		if k.e.bug == BugNoMerge {
			k.goOn()
			return
		}
		k.takeStock()
	})
}

// goOn ends every doubt, whatever the records say.
func (k *limb) goOn() {
	all := map[int]uint64{}
	for _, t := range k.lanes.Tenures() {
		all[t.Partition] = t.Epoch
	}
	k.lanes.Confirm(all, k.e.time())
	k.dispatch()
}

// doubt: nothing starts until the records were read.
func (k *limb) doubt() {
	k.unsure = true
	k.lanes.Doubt()
}

// takeStock reads the records over the new connection. What they do not have any more is not
// merged, and starts nothing.
func (k *limb) takeStock() {
	var snap resize.SnapshotRead
	member := false
	k.ask("stock", func() {
		if member = k.store().members[k.inc] != nil; member {
			snap = k.store().snapshot(k.inc)
		}
	}, func(answered bool) {
		switch {
		case !answered:
		case !member:
			k.events = append(k.events, resize.Evicted{})
		default:
			k.events = append(k.events, resize.BeatAnswered{RingState: snap.RingState})
			k.stock, k.merging = snap.Owned, true
			k.merge()
		}
	})
}

// merge reads the own pending list of each partition that the records still have.
func (k *limb) merge() {
	if len(k.flight) > 0 && k.e.bug != BugMergeInFlight {
		k.busy, k.waits = true, true // the acker goes on with it
		return
	}
	owned := k.stock
	over := func(t *lanes.Tenure) bool { return owned[t.Partition] != t.Epoch }
	tenures := slices.DeleteFunc(slices.Clone(k.lanes.Tenures()), over)
	lists := make([][]job.Entry, len(tenures))
	k.ask("history", func() {
		for i, t := range tenures {
			ids, _ := k.store().own(k.inc, t.Partition)
			lists[i] = k.store().parts[t.Partition].jobs(ids)
		}
	}, func(answered bool) {
		k.merging = false
		if answered {
			for i, t := range tenures {
				k.lanes.Merge(t, lists[i], k.e.time())
			}
			k.lanes.Confirm(owned, k.e.time())
			for _, t := range k.lanes.Tenures() {
				if over(t) {
					k.events = append(k.events, resize.PartitionFenced{Part: t.Partition, Epoch: t.Epoch})
				} else if k.e.bug != BugLookLost { // this look alone would make up for a lost one
					k.events = append(k.events, lookAgain(t.Partition, t.Epoch))
				}
			}
			k.dispatch()
		}
		k.flush()
	})
}
