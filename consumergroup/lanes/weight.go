package lanes

import "ringmaster/job"

// How many jobs are asked for follows how large they are and how fast they come. The store
// bounds an answer by their number alone, so their size is learnt from what came.

const (
	firstWeight = 256 << 10 // bytes of a job, while nobody knows
	mostWeight  = 1 << 20   // no job has a larger payload
	aroundJob   = 100       // bytes of a job beside its payload
	leastQuota  = 64 << 10
	firstQuota  = 1 << 20 // bytes of one answer, while nobody knows the link
	quotaTime   = 4       // of a second: so long is an answer on its way
)

// weight is what jobs weigh, all shards together.
type weight struct {
	each  int // bytes of a job: it rises at once, and falls by half, but not below an eighth of large
	large int // the largest of late: it is forgotten slowly
	quota int // bytes that one answer may have
	jobs  int // that came since it was looked at
	bytes int // and what they weighed
	most  int // and the largest of them
	next  int // partition at which the next read begins
	pages int // of pending jobs that may be asked for at a time since so many brought little; 0: as many as fit
	empty int // partitions that were read and had nothing since jobs came last, while not all were read at a time
}

// noteArrived counts jobs that came.
func (w *weight) noteArrived(entries []job.Entry) {
	for i := range entries {
		n := len(entries[i].Payload)
		w.bytes += n
		w.most = max(w.most, n)
	}
	w.jobs += len(entries)
	w.empty = 0
}

// noteSkimmed counts jobs that were set aside as they were read.
func (w *weight) noteSkimmed(k *job.ParkedJobs) {
	w.jobs += k.Count
	w.bytes += k.Bytes
	w.most = max(w.most, k.Largest)
}

// learn makes an estimate of what came since the last time.
func (w *weight) learn() {
	if w.each == 0 {
		w.each, w.quota = firstWeight, firstQuota
	}
	if w.jobs > 0 {
		// Where there were large ones the next may all be.
		w.large = max(w.most, w.large-w.large/8)
		w.each = max(w.bytes/w.jobs+aroundJob, w.large/8, w.each/2)
		w.jobs, w.bytes, w.most = 0, 0, 0
	}
}

// fits is how many jobs may be asked for at a time.
func (p *Pool) fits() int {
	w := &p.weight
	w.learn()
	return max(min(w.quota, p.limits.ReadBytes, p.limits.HeldBytes-p.bytes)/w.each, 1)
}

// Carried tells how fast the last large answer came, in bytes a second.
func (s *Shard) Carried(speed int) {
	w := &s.pool.weight
	w.learn()
	w.quota = max(min(speed/quotaTime, s.pool.limits.ReadBytes), leastQuota)
}

// Unanswered tells that an answer did not come: perhaps too much was asked for.
func (s *Shard) Unanswered() {
	w := &s.pool.weight
	w.learn()
	w.each, w.quota, w.pages = min(2*w.each, mostWeight), max(w.quota/2, leastQuota), 0
}

// Claims is how many pages of pending jobs may be asked for at a time: each brings one at least, if
// there is one. Most of them have none, and what jobs weigh is not learnt from those: so the number
// doubles while they are answered and bring little. What they could bring at most takes half of the
// room that is left.
func (s *Shard) Claims() int {
	p := s.pool
	if p.limits.ReadBytes == 0 {
		return p.most()
	}
	return max(p.most(), min(p.weight.pages, (p.limits.HeldBytes-p.bytes)/2/mostWeight))
}

// ClaimsBrought tells how many pages were asked for at a time, and the bytes of payload they brought.
func (s *Shard) ClaimsBrought(pages, bytes int) {
	w := &s.pool.weight
	w.learn()
	if 2*bytes > w.quota { // twice as many could bring too much
		w.pages = 0
		return
	}
	w.pages = min(2*max(w.pages, pages), job.MaxPartitions)
}

// most is how many jobs may be asked for at a time, if that is bounded.
func (p *Pool) most() int {
	if p.limits.ReadBytes == 0 {
		return p.limits.MostBudget + 1
	}
	return p.fits()
}

// Full reports whether no more is to be brought here for now. It has Host.Wake tell when there
// is room.
func (s *Shard) Full() bool {
	s.short = s.pool.bytes >= s.pool.limits.HeldBytes
	return s.short
}

// weighed chooses among partitions that have room, and how much to ask of each, so that the
// answer is not too large. Where not all can be asked they take turns, and wait is false: the
// others may have jobs. When all had nothing in their turn all are asked, for one job each, until jobs come:
// a worker at rest waits in one read.
func (p *Pool) weighed(parts []int, count int) (_ []int, _ int, wait bool) {
	if p.limits.ReadBytes == 0 || len(parts) == 0 {
		return parts, count, true
	}
	w, fit := &p.weight, p.fits()
	if fit >= len(parts)*count {
		return parts, count, true
	}
	if fit >= len(parts) || w.empty >= len(parts) {
		return parts, max(fit/len(parts), 1), true
	}
	first := 0
	for first < len(parts) && parts[first] < w.next {
		first++
	}
	some := make([]int, fit)
	for i := range some {
		some[i] = parts[(first+i)%len(parts)]
	}
	w.next, w.empty = some[fit-1]+1, w.empty+fit
	return some, 1, false
}
