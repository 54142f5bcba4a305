package ledger

import (
	"ringmaster/job"
)

// Settle judges what was fed since the last quiet moment, and forgets it. idle says that
// the queue has nothing open any more: then what has no end is lost, else unfinished.
func (c *Checker) Settle(idle bool) {
	for _, j := range c.jobs {
		c.whose(j)
	}
	for _, j := range c.jobs {
		c.judge(j)
	}
	for _, f := range c.files {
		c.ofProducer(f, idle)
	}
	for _, k := range c.touched {
		c.ofKey(k)
	}
	for id := range c.jobs {
		if c.floor[id.Partition].Less(id.Entry) {
			c.floor[id.Partition] = id.Entry
		}
	}
	clear(c.jobs)
	c.touched = c.touched[:0]
	c.forgetful = false
}

// whose finds the submission of a job whose producer was told nothing: its handler had
// the token.
func (c *Checker) whose(j *jobState) {
	if j.sub != nil || c.settled(j.id) || len(j.runs) == 0 && len(j.commits) == 0 {
		return
	}
	if len(j.runs) == 0 {
		c.found(Unexpected, "job %s ended; nobody handed it in and nobody ran it", j.id)
		return
	}
	token := j.runs[0].token
	s := c.subs[token]
	name, n := producer(token)
	switch {
	case s == nil && n > 0 && n <= c.past[name]:
		c.found(Doubled, "job %s is another one of %s", j.id, token)
	case s == nil:
		c.found(Unexpected, "job %s of %q was handed in by nobody", j.id, token)
	case s.id != job.ID{} && s.id != j.id:
		c.found(Doubled, "jobs %s and %s are both of %s", s.id, j.id, token)
	case s.refused:
		c.found(Aborted, "job %s of %s was refused, and is in the queue", j.id, token)
		s.id, j.sub = j.id, s
	default:
		s.id, j.sub = j.id, s
		c.report.Recovered++
	}
}

// settled reports that a job was already done at an earlier quiet moment.
func (c *Checker) settled(id job.ID) bool { return !c.floor[id.Partition].Less(id.Entry) }

// judge looks at one job alone.
func (c *Checker) judge(j *jobState) {
	c.report.Reruns += max(0, len(j.runs)-1)
	again := len(j.commits)
	if !c.settled(j.id) {
		again--
	}
	for range max(0, again) {
		c.found(Doubled, "job %s ended again, by %s", j.id, j.commits[len(j.commits)-1].Worker)
	}
	if c.settled(j.id) {
		if j.effects > 0 {
			c.found(EffectOnce, "job %s had another effect after its end", j.id)
		}
		return
	}
	if j.effects > 1 {
		c.found(EffectOnce, "job %s had %d effects", j.id, j.effects)
	}
	if len(j.commits) == 0 {
		return
	}
	if j.commits[0].Dead {
		c.report.Dead++
		return
	}
	c.report.Completed++
	if c.committed(j) == nil {
		c.found(Unrun, "job %s was completed by %s at epoch %d, which ended no run of it", j.id, j.commits[0].Worker, j.commits[0].Epoch)
	}
	if c.sinks && j.effects == 0 {
		c.found(EffectOnce, "job %s is completed, and had no effect", j.id)
	}
}

// committed is the run that completed the job: the last good one of the tenure that the
// journal names, or that began before new generations of the store gave that its epoch. Nil if
// there is none, or the job is dead.
func (c *Checker) committed(j *jobState) *run {
	if len(j.commits) == 0 || j.commits[0].Dead {
		return nil
	}
	process := c.members[j.commits[0].Worker]
	var found *run
	for _, x := range j.runs {
		if x.good && x.epoch <= j.commits[0].Epoch && (j.commits[0].Epoch-x.epoch)%job.GenerationJump == 0 && x.file.name == process && (found == nil || x.end > found.end) {
			found = x
		}
	}
	return found
}

// ofProducer resolves the submissions of one file. Lost ones are told by where they are
// among those that came out: a lost beginning, some in the middle, or the newest.
func (c *Checker) ofProducer(f *file, idle bool) {
	last := -1
	for i, s := range f.subs {
		if c.ended(s) {
			last = i
		}
	}
	before, open := f.done, f.subs[:0]
	for i, s := range f.subs {
		if c.ended(s) {
			before = true
		} else if s.id != (job.ID{}) {
			c.missing(s, idle, before, i < last)
		}
		if s.id == (job.ID{}) && !s.accepted {
			open = append(open, s) // refused, unknown or never answered: it may come out yet
			continue
		}
		name, n := producer(s.token)
		c.past[name] = max(c.past[name], n)
		delete(c.subs, s.token)
	}
	f.done = before
	clear(f.subs[len(open):])
	f.subs = open
}

func (c *Checker) ended(s *submission) bool {
	if s.id == (job.ID{}) {
		return false
	}
	j := c.jobs[s.id]
	return j != nil && len(j.commits) > 0
}

func (c *Checker) missing(s *submission, idle, before, after bool) {
	if !idle {
		c.found(Unfinished, "job %s of %s has not ended", s.id, s.token)
		return
	}
	where := "middle"
	switch {
	case !before:
		where = "prefix"
	case !after:
		where = "postfix"
	}
	c.report.LostWhere[where]++
	c.found(Lost, "job %s of %s has no end (%s)", s.id, s.token, where)
}
