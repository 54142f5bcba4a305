package consumergroup

import (
	"time"

	"ringmaster/consumergroup/lanes"
)

// The clock of this machine may be an hour away from the store's, and from that of the worker
// that owned a partition before. So what is kept in the store, and judged by another later, is
// of the store's clock alone: a worker that writes leaves a delay, to which the store's script adds
// its time, and one that reads turns the store's times into differences to its own.

// storeTime is what the store's clock says at a moment of this machine's, as far as the last
// answer that told it allows; the moment itself before the first.
func (s *shard) storeTime(now time.Time) time.Time {
	store, at := s.reader.Clock()
	if at.IsZero() {
		return now
	}
	return store.Add(now.Sub(at))
}

// Before implements driver.Host.
func (s *shard) Before(record string, now time.Time) lanes.Prior {
	theirs := s.storeTime(now)
	prior := s.w.deps.Policy.Before(record, theirs)
	if !prior.NotBefore.IsZero() {
		prior.NotBefore = now.Add(prior.NotBefore.Sub(theirs))
	}
	return prior
}

// endOf is when a job ends, for people, by the clock that says when it was handed in. The answer
// that told it took some time to come: no job ends before it was there.
func endOf(it *lanes.Item) time.Time {
	now := shardOf(it).storeTime(time.Now()).UTC()
	if began := it.Entry.ID.Time(); now.Before(began) {
		return began
	}
	return now.Truncate(time.Millisecond)
}
