// Package sim is a model of the store's records and scripts, small enough to hold in
// the head, with dispatchers and workers around it that run the machines of package
// resize step by step. Scenarios in testdata tell one story each; a seeded random walk
// looks for the stories nobody thought of.
package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ringmaster/resize"
)

// mark is the consumer of entries that the owner is to claim.
const mark = "!"

// entry is one job: its id is its number, from 1.
type entry struct {
	key   string
	acked int // times its completion was applied
}

// partition is a stream with its one group. The group's name is the owner's.
type partition struct {
	entries   []entry
	delivered int            // highest id handed out
	pending   map[int]string // id -> consumer
	owner     resize.Owner
	plan      string
}

// store is one shard.
type store struct {
	term     uint64
	epoch    uint64
	phase    resize.Phase
	mode     resize.Mode
	request  resize.Request
	members  map[string]*resize.MemberRecord
	parts    []*partition
	moves    map[int]bool
	change   map[string]uint64
	inbox    map[string][]resize.Message
	replies  map[string]resize.Phase // of epoch
	alive    map[string]bool         // whether evidence of death would hold
	used     map[string]bool         // incarnations are never reused
	resumed  int                     // phase 3 lines on the control stream
	resizing bool                    // phase 3 of epoch is still to come
}

func newStore(partitions int) *store {
	s := &store{
		members: map[string]*resize.MemberRecord{}, moves: map[int]bool{}, change: map[string]uint64{},
		inbox: map[string][]resize.Message{}, replies: map[string]resize.Phase{},
		alive: map[string]bool{}, used: map[string]bool{},
	}
	for range partitions {
		s.parts = append(s.parts, &partition{
			pending: map[int]string{}, owner: resize.Owner{Incarnation: "-"}, plan: "-",
		})
	}
	return s
}

func (s *store) up(inc string) bool {
	m := s.members[inc]
	return m != nil && !m.Leaving
}

// tell adds to an inbox. A message about a change of the receiver raises its number.
func (s *store) tell(inc string, change bool, m resize.Message) {
	if _, ok := s.members[inc]; !ok {
		return
	}
	if change {
		s.change[inc]++
		m.Change = s.change[inc]
	}
	if m.Name == "" {
		m.Name = resize.Master
	}
	s.inbox[inc] = append(s.inbox[inc], m)
}

func (s *store) ringState(inc string) resize.RingState {
	return resize.RingState{Epoch: s.epoch, Phase: s.phase, Mode: s.mode, Change: s.change[inc]}
}

func id(n int) string { return fmt.Sprintf("%d-0", n) }

func consumer(inc string, epoch uint64) string { return fmt.Sprintf("%s@%d", inc, epoch) }

// holder splits the consumer of a drainer.
func holder(c string) (inc string, epoch uint64, ok bool) {
	i := strings.LastIndexByte(c, '@')
	if i < 0 {
		return "", 0, false
	}
	_, err := fmt.Sscanf(c[i+1:], "%d", &epoch)
	return c[:i], epoch, err == nil
}

// records is what a leader reads.
func (s *store) records() resize.Records {
	r := resize.Records{
		Term: s.term, Epoch: s.epoch, Phase: s.phase, Mode: s.mode, Request: s.request,
		Replies: maps.Clone(s.replies),
	}
	for _, inc := range slices.Sorted(maps.Keys(s.members)) {
		r.Members = append(r.Members, *s.members[inc])
	}
	for p, part := range s.parts {
		r.Owners = append(r.Owners, part.owner)
		r.Plan = append(r.Plan, part.plan)
		for _, n := range slices.Sorted(maps.Keys(part.pending)) {
			if inc, epoch, ok := holder(part.pending[n]); ok {
				r.Permits = append(r.Permits, resize.Permit{Partition: p, ID: id(n), Incarnation: inc, Epoch: epoch})
			}
		}
	}
	return r
}

// snapshot is what a worker reads.
func (s *store) snapshot(inc string) resize.SnapshotRead {
	r := resize.SnapshotRead{Owned: map[int]uint64{}, Plan: map[int]string{}, RingState: s.ringState(inc)}
	for p, part := range s.parts {
		if part.owner.Incarnation == inc {
			r.Owned[p] = part.owner.Epoch
			r.Plan[p] = part.plan
		}
	}
	return r
}

// drainers are the entries that former owners still hold.
func (s *store) drainers(p int) []int {
	var out []int
	for _, n := range slices.Sorted(maps.Keys(s.parts[p].pending)) {
		if _, _, ok := holder(s.parts[p].pending[n]); ok {
			out = append(out, n)
		}
	}
	return out
}

// check holds the records against what must always be true.
func (s *store) check() error {
	for p, part := range s.parts {
		for n, c := range part.pending {
			switch {
			case n > part.delivered:
				return fmt.Errorf("partition %d: entry %d is pending and was never handed out", p, n)
			case part.entries[n-1].acked > 0:
				return fmt.Errorf("partition %d: entry %d is complete and pending for %s", p, n, c)
			case c != mark && c != part.owner.Incarnation && !strings.Contains(c, "@"):
				return fmt.Errorf("partition %d of %s: entry %d is pending for %s", p, part.owner.Incarnation, n, c)
			}
		}
		for i, e := range part.entries {
			_, pending := part.pending[i+1]
			if e.acked > 1 {
				return fmt.Errorf("partition %d: entry %d completed %d times", p, i+1, e.acked)
			}
			if i < part.delivered && e.acked == 0 && !pending {
				return fmt.Errorf("partition %d: entry %d is lost", p, i+1)
			}
		}
		if s.moves[p] != (part.owner.Incarnation != part.plan) {
			return fmt.Errorf("partition %d: moves says %v, owner %s, plan %s", p, s.moves[p], part.owner.Incarnation, part.plan)
		}
	}
	return nil
}
