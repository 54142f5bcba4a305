package sim

import "ringmaster/resize"

// request performs an action that the server answers.
func (k *proc) request(a resize.ParticipantAction) {
	s := func() *store { return k.e.store }
	switch a := a.(type) {
	case resize.ReadRecords:
		var snap resize.SnapshotRead
		member := false
		k.ask("snapshot", func() {
			if member = s().members[k.inc] != nil; member {
				snap = s().snapshot(k.inc)
			}
		}, func(answered bool) {
			switch {
			case !answered:
				k.todo = append([]resize.ParticipantAction{a}, k.todo...)
			case !member:
				k.events = append(k.events, resize.Evicted{})
			default:
				k.events = append(k.events, snap)
				k.recheck()
			}
		})
	case resize.ClaimPartition:
		k.claim(a)
	case resize.ReleasePartition:
		answer := resize.ReleaseAnswered{Part: a.Part, Epoch: a.Epoch, Outcome: resize.ReleaseUnknown}
		var runs []int
		if l := k.at(a.Part, a.Epoch); l != nil {
			runs = l.runs(k.e.store.bug)
		}
		alone := k.stopping > 0 && k.e.now-k.stopping > 1000
		out := resize.ReleaseUnknown
		k.ask("release", func() { out = s().release(k.inc, a.Part, a.Epoch, runs, alone) }, func(answered bool) {
			if answered {
				answer.Outcome = out
			}
			k.events = append(k.events, answer)
		})
	case resize.Unblock:
		if l := k.at(a.Part, a.Epoch); l != nil {
			k.page("unblock", l, 0, func(_ page, answered bool) {
				if !answered && k.e.store.bug != BugLookLost {
					k.again = append(k.again, a)
				}
			})
		}
	}
}

// page is what a claim brings.
type page struct {
	ids      []int
	entries  []entry
	next     int
	permits  map[int]string
	lastRead int
	fenced   bool
}

// page asks for one page of marked entries, and takes it in.
func (k *proc) page(what string, l *lanes, cursor int, then func(page, bool)) {
	var p page
	k.ask(what, func() {
		var ok bool
		s := k.e.store
		p = page{}
		if p.ids, p.next, ok = s.claim(k.inc, l.part, l.epoch, cursor, pageSize); !ok {
			p.fenced = true
			return
		}
		part := s.parts[l.part]
		for _, n := range p.ids {
			p.entries = append(p.entries, *part.at(n))
		}
		p.permits, p.lastRead = map[int]string{}, part.delivered
		for _, n := range s.drainers(l.part) {
			p.permits[n] = part.at(n).key
		}
	}, func(answered bool) {
		switch {
		case answered && !p.fenced:
			l.lastRead, l.permits = max(l.lastRead, p.lastRead), p.permits
			for i, n := range p.ids {
				l.arrive(n, &p.entries[i])
			}
			k.dispatch()
		case answered && what == "unblock":
			k.events = append(k.events, resize.PartitionFenced{Part: l.part, Epoch: l.epoch})
		}
		then(p, answered)
	})
}

func (k *proc) claim(a resize.ClaimPartition) {
	l := k.at(a.Part, a.Epoch)
	if l == nil {
		l = &lanes{part: a.Part, epoch: a.Epoch, era: k.e.audit.failovers}
		k.parts[a.Part] = l
	}
	if a.First {
		l.cursor = 0
	}
	if k.e.store.bug == BugReadEarly {
		l.reads = true
	}
	k.page("claim", l, l.cursor, func(p page, answered bool) {
		out := resize.ClaimAnswered{Part: a.Part, Epoch: a.Epoch}
		switch {
		case !answered:
			out.Outcome = resize.ClaimUnknown
		case p.fenced:
			out.Outcome = resize.ClaimFenced
		default:
			l.cursor, out.More = p.next, p.next != 0
			l.first = l.first || !out.More
		}
		k.events = append(k.events, out)
	})
}

// recheck looks again at what blocks keys: a message about it may have been lost.
func (k *proc) recheck() {
	if k.e.store.bug == BugLostHint {
		return
	}
	for _, l := range k.parts {
		if l != nil && l.first && len(l.permits) > 0 {
			k.events = append(k.events, resize.MessageReceived{Message: resize.Message{
				Type: resize.TypeUndrained, Name: resize.Master, Part: l.part, PartEpoch: l.epoch}})
		}
	}
}

// read is the one blocking read of inbox and partitions. An inbox or a group that is
// gone fails the whole of it.
func (k *proc) read() {
	var parts []int
	for p, l := range k.parts {
		if l != nil && l.reads && len(l.items) < 6 && (l.gate || k.e.store.bug == BugReadEarly) {
			parts = append(parts, p)
		}
	}
	var r batchRead
	c := &call{from: &k.node, conn: k.reader, what: "read"}
	inc := k.inc
	c.block = func() bool { return r.fill(k.e.store, inc, parts) }
	c.done = func(answered bool) {
		k.busy, k.reading = false, nil
		if answered {
			k.heard = k.e.now
		}
		switch {
		case !answered:
			k.unsure = true
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
	parts    []int
	ids      []int
	entries  []entry
	gone     bool
}

func (r *batchRead) fill(s *store, inc string, parts []int) bool {
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
		ids, _ := s.read(inc, p, pageSize)
		for _, n := range ids {
			r.parts, r.ids = append(r.parts, p), append(r.ids, n)
			r.entries = append(r.entries, *s.parts[p].at(n))
		}
	}
	return len(r.messages)+len(r.ids) > 0
}

// take hands jobs to their lanes and messages to the machine.
func (k *proc) take(r *batchRead) {
	for i, n := range r.ids {
		if l := k.parts[r.parts[i]]; l != nil {
			l.arrive(n, &r.entries[i])
		}
	}
	if len(r.ids) > 0 {
		k.dispatch()
	}
	for _, m := range r.messages {
		k.e.log(k.inc, string(m.Type), int64(m.Phase), int64(m.Part))
		k.events = append(k.events, resize.MessageReceived{Message: m})
	}
}

// groupGone: a partition, or the membership, is lost. The records tell which.
func (k *proc) groupGone() {
	if k.gone++; k.gone > 3 {
		k.rejoin()
		return
	}
	k.todo = append(k.todo, resize.ReadRecords{})
	k.events = append(k.events, resize.MessageReceived{Message: resize.Message{Type: resize.TypePoke, Part: -1}})
}

// reset replaces the connection after a call without an answer: the old one is ended at
// the server, then the own pending list is read, while no ack is under way.
func (k *proc) reset() {
	old := k.reader
	k.reader = k.dial()
	k.reader.deaf, k.reader.server = old.deaf, old.server
	k.ask("hang up", func() {
		if k.e.store.bug != BugOldConnection {
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
		if k.e.store.bug == BugNoMerge {
			return
		}
		k.merging = true
		k.merge()
	})
}

// merge reads the own pending list of each partition.
func (k *proc) merge() {
	if len(k.flight) > 0 && k.e.store.bug != BugMergeInFlight {
		k.busy, k.waits = true, true // the acker goes on with it
		return
	}
	var parts []int
	for p, l := range k.parts {
		if l != nil {
			parts = append(parts, p)
		}
	}
	lists, entries := make([][]int, len(parts)), make([][]entry, len(parts))
	k.ask("history", func() {
		for i, p := range parts {
			lists[i], _ = k.e.store.own(k.inc, p)
			entries[i] = nil
			for _, n := range lists[i] {
				entries[i] = append(entries[i], *k.e.store.parts[p].at(n))
			}
		}
	}, func(answered bool) {
		k.merging = false
		if answered {
			for i, p := range parts {
				for j, n := range lists[i] {
					k.parts[p].arrive(n, &entries[i][j])
				}
			}
			k.dispatch()
		}
		k.flush()
	})
}
