package sim

import (
	"slices"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
	"ringmaster/resize"
)

// attempt is a handler at work.
type attempt struct {
	k    *proc
	it   *lanes.Item
	told bool // to end
	deaf bool // and does not listen
	over bool
	how  job.Outcome // it is over

	handed bool // its end was given to the lanes

	began int64
	apart bool // nothing else may start at first
}

// End implements lanes.Run: the handler's context ends, and the handler soon after, unless it
// listens to nothing. Its job goes back without an attempt counted.
func (a *attempt) End(error) {
	a.told = true
	if a.k.e.bug == BugBesideItself {
		a.k.e.after(&a.k.node, 0, func() { a.hand(job.HandBack) })
	}
	if !a.deaf {
		a.k.e.after(&a.k.node, a.k.e.between(0, 20), func() { a.end(job.HandBack) })
	}
}

// end is the handler's return.
func (a *attempt) end(how job.Outcome) {
	if a.over {
		return
	}
	a.over, a.how = true, how
	a.k.atWork = slices.DeleteFunc(a.k.atWork, func(b *attempt) bool { return a == b })
	a.hand(how)
}

// hand gives the end of an attempt to the lanes.
func (a *attempt) hand(how job.Outcome) {
	k, it := a.k, a.it
	if a.handed {
		k.dispatch()
		return
	}
	a.handed = true
	c := job.Completion{Outcome: how}
	if how == job.Failed {
		r := job.RetryRecord{Attempts: it.Prior.Attempts + 1, Crashes: it.Prior.Crashes, NotBefore: k.e.time().Add(k.e.backoff())}
		c.Data = r.String()
		prior := before(c.Data)
		it.Prior = &prior
	}
	k.pool.Finished(it, c)
	k.dispatch()
}

// gate opens or closes.
func (k *limb) gate(part int, epoch uint64, open bool) {
	if k.e.bug == BugStalePermits {
		k.listed[part] = k.lanes.Naming(part, epoch)
		if n := k.e.handlers; !open {
			// What runs is known now; the gate closes a little later.
			k.e.after(&k.node, 3, func() {
				if k.listed[part] != nil || n != k.e.handlers {
					k.lanes.SetGate(part, epoch, false, k.e.time())
				}
			})
			return
		}
	}
	k.lanes.SetGate(part, epoch, open, k.e.time())
}

// dispatch starts what may start.
func (k *proc) dispatch() {
	for k.inc != "" && len(k.atWork) < concurrency && (k.e.now < k.lease || k.e.bug == BugLeaseIgnored) {
		it := k.pool.Next(k.e.time())
		if it == nil {
			return
		}
		k.run(it)
	}
}

// run starts a handler and lets it end: done, a failed attempt, or the last one.
func (k *proc) run(it *lanes.Item) {
	e := k.e
	a := &attempt{k: k, it: it, began: e.now, apart: k.pool.Apart(it) > 0, deaf: e.chance(4)}
	it.Run = a
	k.atWork = append(k.atWork, a)
	e.handlers++
	e.log(k.inc, "starts", int64(it.Tenure.Partition), int64(numberOf(it)))
	e.audit.started(e, limbOf(it), it)
	e.audit.again(e, limbOf(it), a)
	e.audit.limit(e, k)
	takes := e.between(1, 60)
	if e.chance(12) {
		takes = e.between(100, 2500)
	}
	how := job.Done
	if e.chance(8) {
		how = job.Failed
		if it.Prior.Attempts >= 2 {
			how = job.Buried
		}
	}
	e.after(&k.node, takes, func() { a.end(how) })
}

// ended is a run whose end waits for the store's answer.
type ended struct {
	it *lanes.Item
	c  job.Completion
}

// flush sends what has ended, when nothing is under way. It is repeated until it is
// answered, and all keys in it stay busy until then.
func (k *limb) flush() {
	if k.inc == "" || len(k.flight) > 0 || k.merging && k.e.bug != BugMergeInFlight || len(k.ended)+len(k.reports) == 0 {
		return
	}
	k.flight, k.ended = k.ended, nil
	for i := range k.flight {
		k.lanes.Sent([]*lanes.Item{k.flight[i].it})
	}
	if len(k.flight) == 0 {
		k.flight = []ended{{}} // replies alone
	}
	k.sendAcks(k.reports)
	k.reports = nil
}

func (k *limb) sendAcks(reports []resize.Report) {
	e := k.e
	flight := k.flight
	answers := make([]job.Answer, len(flight))
	epochs := make([]uint64, len(flight))
	for i, f := range flight {
		if f.it == nil {
			continue
		}
		epochs[i] = f.c.Epoch
		if t := k.lanes.At(f.c.Partition); t != nil && e.bug == BugEpochIgnored {
			epochs[i] = t.Epoch
		}
	}
	inc := k.inc
	number := 0
	if slices.ContainsFunc(flight, func(f ended) bool {
		return f.c.Outcome == job.Parked || f.c.Outcome == job.Failed || f.c.Outcome == job.HandBack
	}) {
		k.calls++
		number = k.calls
	}
	e.send(&call{from: &k.node, conn: k.acks, what: "ack", exec: func() {
		for _, r := range reports {
			before := k.store().phase
			k.store().report(inc, r.Epoch, r.Phase)
			e.audit.cut(e, k.store(), before)
		}
		if k.store().late(inc, number) {
			return
		}
		for i, f := range flight {
			if f.it != nil {
				answers[i] = e.audit.end(e, k, inc, f, epochs[i])
			}
		}
	}, done: func(answered bool) {
		if !answered && e.bug != BugUnansweredFrees {
			e.after(&k.node, 30, func() { k.sendAcks(reports) })
			return
		}
		k.flight = nil
		for i, f := range flight {
			if f.it != nil {
				k.answered(f, answers[i], answered)
			}
		}
		k.settle(flight)
		if k.waits {
			k.waits, k.busy = false, false
			k.merge()
		} else {
			k.flush()
		}
		k.dispatch()
	}})
}

// answered applies the store's answer to one end.
func (k *limb) answered(f ended, a job.Answer, known bool) {
	bug := k.e.bug
	refused := a == job.Refused || a == job.Gone || a == job.ByDrainer
	switch {
	case !known:
		a = job.NotPending
	case refused:
		n := k.of(f.it.Tenure)
		n.refused = append(n.refused, f.it.Entry.Key)
		if bug == BugRefusedFrees {
			a = job.NotPending
		}
	}
	fenced := k.lanes.Answered(f.it, &f.c, a, k.e.time())
	if fenced || refused && bug == BugRefusedFrees {
		k.Tell(resize.PartitionFenced{Part: f.c.Partition, Epoch: f.c.Epoch})
	}
}

// settle follows the answers to a batch.
func (k *limb) settle(flight []ended) {
	var tenures []*lanes.Tenure
	for _, f := range flight {
		if f.it != nil && !slices.Contains(tenures, f.it.Tenure) {
			tenures = append(tenures, f.it.Tenure)
		}
	}
	for _, t := range tenures {
		k.lanes.Settled(t, 1, k.e.time())
	}
}
