// Package sim is a model of the store's records and scripts, small enough to hold in
// the head, with dispatchers and workers around it that run the product's own code: the
// machines of package resize, the driver and lanes of package consumergroup, and the
// leader of package resize/runner.
//
// There are two schedulers. World does what it is told, step by step: scenarios in
// testdata tell one story each, and a seeded random walk looks for the stories nobody
// thought of. Run plays seeded schedules of a whole system in virtual time, with its
// network, clocks and faults.
package sim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ringmaster/resize"
)

// holder is a consumer of a partition's group: the owner, a permit of a former owner,
// or mark. The zero holder is nobody: the entry is not pending.
type holder struct {
	inc   string
	epoch uint64 // of a permit, else 0
}

// mark is the consumer of entries that the owner is to claim.
var mark = holder{inc: "!"}

func (h holder) permit() bool { return h.epoch > 0 }

// String is the consumer's name.
func (h holder) String() string {
	if h.permit() {
		return h.inc + "@" + strconv.FormatUint(h.epoch, 10)
	}
	return h.inc
}

// entry is one job: its id is its number, from 1.
type entry struct {
	key   string
	held  holder
	acked int // times its end was applied: completed, or a dead letter
	dead  bool

	parked bool // set aside behind a blocked key

	attempts  int   // the retry record
	notBefore int64 // by the clock of whoever wrote it
	crashes   int

	named  holder // the last release that said it runs; known to the checks alone
	void   bool   // no entry: a failover forgot it, and its id is never given out again
	serial int    // which job of which producer it is; the ledger's name for it
}

// partition is a stream with its one group. The group's name is the owner's.
type partition struct {
	entries   []entry
	delivered int // highest id handed out
	trimmed   int // entries up to this id are gone from the stream
	owner     resize.Owner
	plan      string
}

// pending lists the ids that somebody holds, in order.
func (p *partition) pending() []int {
	var ids []int
	for i := range p.entries[:p.delivered] {
		if p.entries[i].held != (holder{}) {
			ids = append(ids, i+1)
		}
	}
	return ids
}

func (p *partition) at(n int) *entry { return &p.entries[n-1] }

// store is one shard. Partitions of other shards are there, and nobody's.
type store struct {
	number, shards int // which of how many
	term           uint64
	epoch          uint64
	phase          resize.Phase
	mode           resize.Mode
	request        resize.Request
	members        map[string]*resize.MemberRecord
	parts          []*partition
	moves          map[int]bool
	change         map[string]uint64
	inbox          map[string][]resize.Message
	replies        map[string]resize.Phase // of epoch
	lease          map[string]int64        // end of each liveness key, by the store's clock
	died           map[string]bool         // evicted though they had not begun to leave, and have not beaten since
	watched        map[string]bool         // liveness channels that have their subscriber
	beats          map[string]int          // number of each member's last heartbeat
	leader         string
	leading        int64 // end of the leader's lease, by the store's clock
	now            int64 // the store's clock
	memory         map[memoryOf]batch
	calls          map[string]int // number of each worker's last call that left jobs unfinished
	news           int            // lines on the control stream
	bug            Bug
	server         int             // which start of a server began its generation
	used           map[string]bool // incarnations are never reused
	resumed        int             // phase 3 lines on the control stream
}

// batch is what is remembered of a producer's last one in a partition.
type batch struct{ seq, id int }

type memoryOf struct{ producer, part int }

func newStore(partitions int) *store {
	s := &store{
		shards: 1, members: map[string]*resize.MemberRecord{}, moves: map[int]bool{}, change: map[string]uint64{},
		inbox: map[string][]resize.Message{}, replies: map[string]resize.Phase{},
		lease: map[string]int64{}, watched: map[string]bool{}, died: map[string]bool{}, beats: map[string]int{}, used: map[string]bool{}, memory: map[memoryOf]batch{}, calls: map[string]int{},
	}
	for range partitions {
		s.parts = append(s.parts, &partition{owner: resize.Owner{Incarnation: "-"}, plan: "-"})
	}
	return s
}

func (s *store) up(inc string) bool {
	m := s.members[inc]
	return m != nil && !m.Leaving
}

// clone is what a replica has of the store.
func (s *store) clone() *store {
	c := *s
	c.members = make(map[string]*resize.MemberRecord, len(s.members))
	for inc, m := range s.members {
		record := *m
		c.members[inc] = &record
	}
	c.parts = make([]*partition, len(s.parts))
	for i, p := range s.parts {
		part := *p
		part.entries = slices.Clone(p.entries)
		c.parts[i] = &part
	}
	c.inbox = make(map[string][]resize.Message, len(s.inbox))
	for inc, box := range s.inbox {
		c.inbox[inc] = slices.Clone(box)
	}
	c.moves, c.change, c.replies = maps.Clone(s.moves), maps.Clone(s.change), maps.Clone(s.replies)
	c.lease, c.watched, c.beats, c.died = maps.Clone(s.lease), maps.Clone(s.watched), maps.Clone(s.beats), maps.Clone(s.died)
	c.used, c.memory, c.calls = maps.Clone(s.used), maps.Clone(s.memory), maps.Clone(s.calls)
	return &c
}

func (s *store) anyUp() bool {
	for _, m := range s.members {
		if !m.Leaving {
			return true
		}
	}
	return false
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

// silence ends all signs of life of a worker at once.
func (s *store) silence(inc string) {
	delete(s.lease, inc)
	delete(s.watched, inc)
}

func id(n int) string { return strconv.Itoa(n) + "-0" }

// entryOf is the number in an id.
func entryOf(id string) int {
	n, _ := strconv.Atoi(strings.TrimSuffix(id, "-0"))
	return n
}

// records is what a leader reads.
func (s *store) records() resize.Records {
	r := resize.Records{
		Term: s.term, Epoch: s.epoch, Request: s.request,
		Shards: []resize.Shard{{Epoch: s.epoch, Phase: s.phase, Mode: s.mode, Replies: maps.Clone(s.replies)}},
	}
	for _, inc := range slices.Sorted(maps.Keys(s.members)) {
		r.Members = append(r.Members, *s.members[inc])
	}
	for p, part := range s.parts {
		r.Owners = append(r.Owners, part.owner)
		r.Plan = append(r.Plan, part.plan)
		for _, n := range s.drainers(p) {
			h := part.at(n).held
			r.Permits = append(r.Permits, resize.Permit{Partition: p, ID: id(n), Incarnation: h.inc, Epoch: h.epoch})
		}
	}
	return r
}

// drainers are the entries that former owners still hold.
func (s *store) drainers(p int) []int {
	var out []int
	part := s.parts[p]
	for i := range part.entries[:part.delivered] {
		if part.entries[i].held.permit() {
			out = append(out, i+1)
		}
	}
	return out
}

// check holds the records against what must always be true.
func (s *store) check() error {
	for p, part := range s.parts {
		owner := holder{inc: part.owner.Incarnation}
		for i := range part.entries {
			e := &part.entries[i]
			switch {
			case e.void:
			case e.acked > 1:
				return fmt.Errorf("partition %d: entry %d completed %d times", p, i+1, e.acked)
			case i < part.trimmed && e.acked == 0:
				return fmt.Errorf("partition %d: entry %d was trimmed and has not ended", p, i+1)
			case e.parked && (e.acked > 0 || e.held != holder{}):
				return fmt.Errorf("partition %d: entry %d is set aside, and pending for %q or done", p, i+1, e.held)
			case e.held == holder{} && i < part.delivered && e.acked == 0 && !e.parked:
				return fmt.Errorf("partition %d: entry %d is lost", p, i+1)
			case e.held == holder{}:
			case i >= part.delivered:
				return fmt.Errorf("partition %d: entry %d is pending and was never handed out", p, i+1)
			case e.acked > 0:
				return fmt.Errorf("partition %d: entry %d is complete and pending for %s", p, i+1, e.held)
			case e.held.permit() && e.held != e.named:
				return fmt.Errorf("partition %d: entry %d is under the permit %s, and no release named it", p, i+1, e.held)
			case e.held != mark && e.held != owner && !e.held.permit():
				return fmt.Errorf("partition %d of %s: entry %d is pending for %s", p, part.owner.Incarnation, i+1, e.held)
			}
		}
		if s.moves[p] && part.owner.Incarnation == part.plan {
			return fmt.Errorf("partition %d: is to move from %s to %s", p, part.owner.Incarnation, part.plan)
		}
	}
	if len(s.moves) == 0 && s.mode != resize.ModeRing && s.phase != resize.Stable {
		return fmt.Errorf("nothing is left to move and the ring is in phase %s", s.phase)
	}
	return nil
}
