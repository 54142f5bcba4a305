package sim

import (
	"slices"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
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
