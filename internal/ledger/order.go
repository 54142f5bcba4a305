package ledger

import (
	"cmp"
	"slices"

	"ringmaster/job"
)

// ofKey judges the order of one key, and forgets what was fed of it.
func (c *Checker) ofKey(k *keyState) {
	c.starts(k)
	c.overlaps(k)
	c.commits(k)
	clear(k.runs)
	clear(k.order)
	k.runs, k.order, k.seen = k.runs[:0], k.order[:0], false
}

// commits: jobs end in the order of their ids, under fences that do not fall.
func (c *Checker) commits(k *keyState) {
	for _, j := range k.order {
		switch {
		case j.id.Entry == k.last.Entry:
			continue // counted as doubled
		case j.id.Entry.Less(k.last.Entry):
			c.found(OutOfOrder, "key %q: job %s ended after %s", k.key, j.id, k.last)
			continue
		}
		k.last = j.id
		x := c.committed(j)
		if x == nil { // a dead letter: it need not have run at who buried it
			for _, x := range j.runs {
				k.fence = max(k.fence, x.fence)
			}
			continue
		}
		if x.fence < k.fence {
			c.found(FenceFell, "key %q: job %s ended under fence %d, one before it under %d", k.key, j.id, x.fence, k.fence)
		}
		k.fence = max(k.fence, x.fence)
	}
}

// starts: once a job has started, none before it starts again, nor one that had ended at
// the last quiet moment, except at somebody with a lower fence: a worker that was cut off.
func (c *Checker) starts(k *keyState) {
	slices.SortFunc(k.runs, func(a, b *run) int { return cmp.Compare(a.start, b.start) })
	top, fence := k.last.Entry, k.fence
	for _, x := range k.runs {
		id := x.job.id
		switch {
		case top.Less(id.Entry):
			top, fence = id.Entry, x.fence
		case id.Entry.Less(top) && x.fence >= fence, id.Entry == k.last.Entry && x.fence >= k.fence:
			c.found(OutOfOrder, "key %q: job %s started again at %s after %s", k.key, id, x.file.name, job.ID{Partition: id.Partition, Entry: top})
		}
	}
}

// overlaps: while the run that completed a job goes on, nobody who could complete it too
// runs the job, or a later one of the key. A run that completed nothing may overlap with
// those of higher fences: its worker was cut off, or its permit revoked. Under one fence
// a key's runs follow one another.
func (c *Checker) overlaps(k *keyState) {
	last := map[uint64]*run{} // by fence
	for _, x := range k.runs {
		if p := last[x.fence]; p != nil && p.file == x.file && x.start < p.end {
			c.found(Overlap, "key %q: %s started job %s before its run of %s ended", k.key, x.file.name, x.job.id, p.job.id)
		}
		if p := last[x.fence]; p == nil || x.end > p.end {
			last[x.fence] = x
		}
	}
	byJob := slices.Clone(k.runs) // latest job first, by start within a job
	slices.SortStableFunc(byJob, func(a, b *run) int { return b.job.id.Entry.Compare(a.job.id.Entry) })
	var later []*run // of later jobs, the first start under each fence
	for len(byJob) > 0 {
		n := 1
		for n < len(byJob) && byJob[n].job == byJob[0].job {
			n++
		}
		if x := c.committed(byJob[0].job); x != nil {
			c.against(k, x, later, 0)
			c.against(k, x, byJob[:n], x.start)
		}
		for _, x := range byJob[:n] {
			later = earliest(later, x)
		}
		byJob = byJob[n:]
	}
}

// against compares a run that completed its job with others that started after since.
func (c *Checker) against(k *keyState, x *run, others []*run, since int64) {
	for _, o := range others {
		if o != x && o.fence > x.fence && since < o.start && o.start < x.end {
			c.found(Overlap, "key %q: job %s started at %s while %s ran %s, and completed it", k.key, o.job.id, o.file.name, x.file.name, x.job.id)
			return
		}
	}
}

func earliest(runs []*run, x *run) []*run {
	for i, o := range runs {
		if o.fence == x.fence {
			if x.start < o.start {
				runs[i] = x
			}
			return runs
		}
	}
	return append(runs, x)
}
