package sim

import (
	"slices"
	"strconv"

	"ringmaster/job"
	"ringmaster/resize"
)

// The calls of a worker's driver as the store executes them, for both who run it: limb and worker.

// pageSize is small, so that claims take several pages.
const pageSize = 2

// snapshot is what a worker reads of the records.
func (s *store) snapshot(inc string) job.Snapshot {
	if s.members[inc] == nil {
		var out job.Snapshot
		out.Fenced = true
		return out
	}
	out := job.Snapshot{Beat: beatOf(s.ringState(inc))}
	for p, part := range s.parts {
		if part.owner.Incarnation == inc {
			out.Owned = append(out.Owned, job.OwnedPartition{Partition: p, Epoch: part.owner.Epoch, Planned: part.plan})
		}
	}
	return out
}

// history is a worker's own pending list of a partition.
func (s *store) history(inc string, part int) ([]job.Entry, bool) {
	ids, mine := s.own(inc, part)
	return s.parts[part].jobs(ids), mine
}

// releaseOf is a release as a driver has it answered.
func (s *store) releaseOf(inc string, t job.Tenure, runs []int, alone bool) job.ReleaseAnswer {
	a := s.release(inc, t.Partition, t.Epoch, runs, alone)
	return job.ReleaseAnswer{Outcome: releases[a.Outcome], Change: a.Change}
}

var releases = map[resize.ReleaseOutcome]job.ReleaseOutcome{
	resize.ReleaseFlipped: job.Released, resize.ReleaseKept: job.ReleaseKept, resize.ReleaseFenced: job.ReleaseFenced,
}

func numbers(ids []job.EntryID) []int {
	var out []int
	for _, id := range ids {
		out = append(out, int(id.Ms))
	}
	return out
}

// batchRead is what one read brings.
type batchRead struct {
	messages []resize.Message
	jobs     []job.PartitionEntries
	gone     bool
}

// all is more messages than there are.
const all = 1 << 30

// fill executes a read: of most messages, and of so many new jobs of each partition. It reports
// whether that answers a read that waits. An inbox or a group that is gone fails the whole of it.
func (r *batchRead) fill(s *store, inc string, parts []int, count, most int) bool {
	lost := func(p int) bool { return s.parts[p].owner.Incarnation != inc }
	if r.gone = s.members[inc] == nil || slices.ContainsFunc(parts, lost); r.gone {
		return true
	}
	if box := s.inbox[inc]; most >= len(box) {
		r.messages, s.inbox[inc] = box, nil
	} else {
		r.messages, s.inbox[inc] = box[:most], box[most:]
	}
	for _, p := range parts {
		if ids, _ := s.read(inc, p, count); len(ids) > 0 {
			r.jobs = append(r.jobs, job.PartitionEntries{Partition: p, Entries: s.parts[p].jobs(ids)})
		}
	}
	return len(r.messages)+len(r.jobs) > 0
}

// batch is what a read brought as a driver gets it. told counts the messages that were read.
func (r *batchRead) batch(told *int) (job.ReadBatch, error) {
	if r.gone {
		return job.ReadBatch{}, job.ErrGroupGone
	}
	out := job.ReadBatch{Jobs: r.jobs}
	for _, m := range r.messages {
		*told++
		out.Control = append(out.Control, job.ControlEntry{ID: strconv.Itoa(*told), Fields: m.Fields()})
	}
	return out, nil
}
