package lanes

import (
	"maps"
	"time"

	"ringmaster/job"
)

// When another server answers a new generation begins: every tenure has a new epoch. Most often
// the server lost nothing, and what ran is pending here as it was. So the runs of a tenure that
// the records have no more are kept at first: nobody tells them to end, and an end of theirs that
// was refused, or comes meanwhile, is held. If the partition is this worker's under a later
// generation's epoch, and nothing lies between, its claim tells what is pending: a run whose job
// comes as it was begun, and first of its key, goes on in the new tenure, and so does its end.
// Any other is lost: it is told so, and its job, if it is there, starts again when it has ended.

// keeping is the part of former that is about these runs.
type keeping struct {
	kept  int                      // of runs, those of which nobody knows yet
	ends  map[*Item]job.Completion // how they have ended, as far as they have, and it does not count
	heirs map[*Item]*Item          // of what goes on, until its end comes or is answered: its item in the new tenure
}

// follows reports whether an epoch is that of the same tenure in a later generation of the
// store, in which its partition has not changed its owner.
func follows(epoch, next uint64) bool {
	return next > epoch && (next-epoch)%job.GenerationJump == 0
}

// keep keeps a run of a tenure that ends, if it may go on. A suspect may not: its mark, and
// what it is held apart for, are of its tenure.
func (p *Pool) keep(it *Item) bool {
	if it.Entry.Broken != nil || it.Entry.Retry != "" && it.Tenure.Shard.host.Before(it.Entry.Retry, time.Time{}).Suspect {
		return false
	}
	it.kept = true
	p.former.kept++
	p.outlives(it)
	if _, ended := p.former.ends[it]; ended {
		p.forget(it) // its payload makes nobody wait any more
	}
	return true
}

// holdEnd notes how a run has ended whose end does not count, or would not.
func (p *Pool) holdEnd(it *Item, c job.Completion) {
	if p.former.ends == nil {
		p.former.ends = map[*Item]job.Completion{}
	}
	p.former.ends[it] = c
	if it.Tenure.over {
		p.forget(it)
	}
}

// endsKept takes the end of a run of which nobody knows yet whether it goes on.
func (p *Pool) endsKept(it *Item, c job.Completion) {
	it.state, it.Run = ending, nil
	p.together(it)
	p.holdEnd(it, c)
}

// lose ends what was kept and does not go on.
func (p *Pool) lose(it *Item) {
	it.kept = false
	p.former.kept--
	_, ended := p.former.ends[it]
	switch {
	case ended:
		delete(p.former.ends, it)
		p.returned(it)
		p.drop(it)
	case it.state == running:
		it.tell(job.ErrLost)
	default: // its end is under way, and will be refused
		p.returned(it)
	}
}

// loseOf ends what was kept of a shard, where a choice says so.
func (p *Pool) loseOf(s *Shard, lost func(it *Item) bool) {
	if p.former.kept == 0 {
		return
	}
	var all []*Item
	for _, it := range p.former.runs {
		if it.kept && it.Tenure.Shard == s && lost(it) {
			all = append(all, it)
		}
	}
	for _, it := range all {
		p.lose(it)
	}
}

// losePart ends what was kept of a partition.
func (p *Pool) losePart(s *Shard, part int) {
	p.loseOf(s, func(it *Item) bool { return it.Tenure.Partition == part })
}

// adopt lets runs go on in a tenure whose claim has brought their entries, and returns the others.
func (p *Pool) adopt(t *Tenure, entries []job.Entry, now time.Time) []job.Entry {
	if p.former.kept == 0 {
		return entries
	}
	rest := make([]job.Entry, 0, len(entries))
	ahead := map[string]bool{} // keys of which a job came that does not run
	for i := range entries {
		e := &entries[i]
		it := p.keptAs(t, e.ID)
		if it != nil && it.Entry.Same(e) && !ahead[e.Key] && t.firstOfKey(e) {
			p.goOn(it, t, e.Retry, now)
			continue
		}
		if it != nil {
			p.lose(it)
		}
		ahead[e.Key] = e.Key != ""
		rest = append(rest, *e)
	}
	return rest
}

// keptAs is the run of an entry that was kept, nil if there is none.
func (p *Pool) keptAs(t *Tenure, id job.EntryID) *Item {
	for _, it := range p.former.runs {
		if it.kept && it.Entry.ID == id && it.Tenure.Partition == t.Partition && it.Tenure.Shard == t.Shard {
			return it
		}
	}
	return nil
}

// firstOfKey reports whether an entry is the first of its key, as far as is known. One that ran was:
// if it is not, the server has forgotten an end.
func (t *Tenure) firstOfKey(e *job.Entry) bool {
	if e.Key == "" {
		return true
	}
	l := t.lanes[e.Key]
	return t.blocked[e.Key] == 0 && (l == nil || l.busy == nil && len(l.queue) == 0 && (l.parked == nil || e.ID.Less(l.parked.first)))
}

// goOn lets a run go on in a new tenure, with the record that the store has of its job. Its item
// stays what its handler has; another takes its place.
func (p *Pool) goOn(old *Item, t *Tenure, record string, now time.Time) {
	f := &p.former
	it := &Item{Tenure: t, Entry: old.Entry, Prior: &p.fresh, Run: old.Run, Fence: old.Fence, since: old.since, state: old.state}
	if it.Entry.Retry = record; record != "" {
		prior := t.Shard.host.Before(record, now)
		it.Prior = &prior
	}
	t.hold(it)
	p.bytes += len(it.Entry.Payload)
	if it.Entry.Key != "" {
		it.lane = t.lane(it.Entry.Key)
		it.lane.busy, it.lane.served = it, true
	}
	p.began(it)
	old.kept = false
	f.kept--
	p.returned(old)
	p.forget(old)
	p.ceased(old)
	if !t.gate {
		if t.closedAt.IsZero() {
			t.closedAt = now
		}
		t.Shard.closed(t, true)
		t.adopted = true
	}
	if c, ended := f.ends[old]; ended {
		delete(f.ends, old)
		it.Attempt, it.Prior = old.Attempt, old.Prior
		t.Shard.end(it, c)
		return
	}
	if f.heirs == nil {
		f.heirs = map[*Item]*Item{}
	}
	f.heirs[old] = it
}

// heir is the item that goes on for one of a tenure that has ended, itself if none does. The one
// that asks has its end: what its attempt has learnt is known now.
func (p *Pool) heir(it *Item) *Item {
	for next := p.former.heirs[it]; next != nil; next = p.former.heirs[it] {
		delete(p.former.heirs, it)
		next.Attempt, next.Prior = it.Attempt, it.Prior
		it = next
	}
	return it
}

// Adopted reports, once, whether runs of a former generation have come into a tenure whose gate
// is closed: it is not idle.
func (s *Shard) Adopted(part int, epoch uint64) bool {
	t := s.Find(part, epoch)
	if t == nil || !t.adopted {
		return false
	}
	t.adopted = false
	return true
}

// forgetHeirs: no end of a shard is answered any more.
func (p *Pool) forgetHeirs(s *Shard) {
	maps.DeleteFunc(p.former.heirs, func(it, _ *Item) bool { return it.Tenure.Shard == s && it.state == ending })
}
