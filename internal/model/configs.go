package main

import (
	"fmt"
	"time"
)

// search is one question to spin: the model at one size, with what may go wrong in it.
type search struct {
	name       string
	workers    int
	partitions int
	moves      int // plans that move a healthy partition
	faults     int
	kinds      int      // which faults, 0: every kind but the roll-back of Redis; that is one of the faults where it is named
	without    []string // guards that are taken away
	redundant  bool     // all holds without them too
	atOnce     bool     // a dispatcher writes what it looks at in one step: the same, in fewer states
	bitstate   bool     // a hash table of bits: it may take two states for one, so it proves nothing
	depth      int      // steps of the longest history; deeper ones make the search incomplete
}

// Kinds of faults, as ringmaster.pml numbers them.
const (
	crash = 1 << iota
	freeze
	leave
	leader
	move
	hint
	reply
	unanswered
	fail
	revoke
	roll

	rollAndAny  = 2*roll - 1
	membersStay = rollAndAny &^ (crash | freeze | leave)
)

// small is what CI runs.
func small() []search {
	return []search{
		{name: "2 workers x 2 partitions, every single fault", workers: 2, partitions: 2, moves: 1, faults: 1},
		{name: "3 workers x 1 partition, every single fault", workers: 3, partitions: 1, moves: 1, faults: 1},
	}
}

// full is small, every pair of faults, and a look at what is larger. With the roll-back the plan of a
// healthy partition is one of the faults, but where there is one move besides. The longest come first:
// two run at a time.
func full() []search {
	return append([]search{
		{name: "3 workers x 1 partition, roll-back and any other fault", workers: 3, partitions: 1, faults: 2, kinds: rollAndAny, atOnce: true},
		{name: "3 workers x 1 partition, one move, roll-back and any other, members stay", workers: 3, partitions: 1, moves: 1, faults: 2, kinds: membersStay, atOnce: true},
		{name: "2 workers x 1 partition, one move, roll-back and any other", workers: 2, partitions: 1, moves: 1, faults: 2, kinds: rollAndAny, atOnce: true},
		{name: "2 workers x 2 partitions, every pair of faults", workers: 2, partitions: 2, moves: 1, faults: 2, atOnce: true},
		{name: "3 workers x 1 partition, every pair of faults", workers: 3, partitions: 1, moves: 1, faults: 2, atOnce: true},
		{name: "3 workers x 2 partitions, every pair of faults", workers: 3, partitions: 2, moves: 1, faults: 2, atOnce: true, bitstate: true},
		{name: "2 workers x 1 partition, three faults", workers: 2, partitions: 1, moves: 1, faults: 3, atOnce: true, bitstate: true},
		{name: "2 workers x 2 partitions, one move, roll-back and any other, members stay", workers: 2, partitions: 2, moves: 1, faults: 2, kinds: membersStay, atOnce: true},
		{name: "2 workers x 2 partitions, roll-back and any other fault", workers: 2, partitions: 2, faults: 2, kinds: rollAndAny, atOnce: true},
		{name: "2 workers x 1 partition, every pair of faults", workers: 2, partitions: 1, moves: 1, faults: 2},
		{name: "2 workers x 1 partition, three moves, every single fault", workers: 2, partitions: 1, moves: 3, faults: 1},
	}, small()...)
}

// large is what full leaves to the reasoning about atOnce, searched for without it, and what takes
// longer than full may.
func large() []search {
	return []search{
		{name: "2 workers x 2 partitions, every pair of faults, late writes", workers: 2, partitions: 2, moves: 1, faults: 2},
		{name: "3 workers x 1 partition, every pair of faults, late writes", workers: 3, partitions: 1, moves: 1, faults: 2},
		{name: "2 workers x 1 partition, one move, roll-back and any other, late writes", workers: 2, partitions: 1, moves: 1, faults: 2, kinds: rollAndAny},
	}
}

// mutants are guards taken away one at a time, each in a small search that breaks without it.
func mutants() []search {
	var out []search
	add := func(name string, workers, moves, faults, kinds int) {
		out = append(out, search{name: name, workers: workers, partitions: 1, moves: moves, faults: faults, kinds: kinds, without: []string{name},
			atOnce: name != "PLAN_NO_COMPARE" && name != "STEAL_NO_COMPARE"}) // theirs are the guards that it rests on
	}
	add("LOSE_PENDING", 2, 1, 0, move)
	add("PERMITS_IGNORED", 2, 1, 0, move)
	add("PERMIT_ACKED", 2, 1, 1, move)
	add("ACK_NO_EPOCH", 2, 1, 1, move|freeze)
	add("ACK_NO_HOLDER", 3, 1, 1, freeze)
	add("UNANSWERED_FREES", 2, 1, 1, unanswered)
	add("REFUSED_FREES", 2, 1, 1, freeze)
	add("NO_KILL", 2, 1, 1, reply)
	add("NEW_BEFORE_OWN", 2, 1, 1, reply)
	add("NO_CHANGE_NUMBER", 2, 1, 1, hint)
	add("JOIN_BY_NAME", 2, 1, 1, crash)
	add("PLAN_NO_COMPARE", 3, 1, 2, leader|move)
	add("STEAL_NO_COMPARE", 2, 1, 2, leader|crash)
	add("PERMIT_BY_NAME", 2, 3, 1, revoke)
	add("PAGE_FREES", 2, 1, 1, fail)
	add("CLOSING_FORGETS", 2, 3, 1, fail)
	add("NO_RENEW", 2, 1, 2, roll|fail)
	add("CLAIM_NOT_OWN", 2, 1, 1, roll)
	once := search{name: "a call unanswered", workers: 2, partitions: 1, moves: 1, faults: 1, kinds: reply, atOnce: true}
	pair, back := once, once
	pair.name, pair.faults, pair.kinds = "every pair", 2, 0
	back.name, back.kinds = "roll-back", roll
	return append(out,
		once.lacking("DRAINED_ONCE", "RESET_NO_LOOK"), pair.lackingOne("DRAINED_ONCE"), pair.lackingOne("RESET_NO_LOOK"),
		back.lacking("HEARTBEAT_IGNORES_LESS", "NO_RENEW"), back.lackingOne("HEARTBEAT_IGNORES_LESS"), back.lackingOne("NO_RENEW"),
		back.lacking("RESET_NO_LOOK", "NO_RENEW"), back.lackingOne("RESET_NO_LOOK"))
}

// lacking takes away two guards of which each does nothing while the other stands: spin must
// find a broken history.
func (s search) lacking(guard, by string) search {
	s.name, s.without = guard+" with "+by, []string{guard, by}
	return s
}

// lackingOne takes away one of two such guards: spin must find no broken history.
func (s search) lackingOne(guard string) search {
	s.name, s.without, s.redundant = guard+" alone, "+s.name, []string{guard}, true
	return s
}

func (s search) defines() []string {
	kinds := s.kinds
	if kinds == 0 {
		kinds = roll - 1
	}
	d := []string{fmt.Sprintf("-DNW=%d", s.workers), fmt.Sprintf("-DNP=%d", s.partitions),
		fmt.Sprintf("-DMOVES=%d", s.moves), fmt.Sprintf("-DFAULTS=%d", s.faults), fmt.Sprintf("-DKINDS=%d", kinds)}
	if s.atOnce {
		d = append(d, "-DATONCE")
	}
	for _, guard := range s.without {
		d = append(d, "-DM_"+guard)
	}
	return d
}

// limits of a whole run. Two searches share the memory.
const (
	fullTime   = 7*time.Minute + 30*time.Second
	largeTime  = 2 * time.Hour
	smallTime  = 4 * time.Minute // some seconds where nothing else runs
	mutantTime = 15 * time.Minute
	memoryEach = 5500 // MB
	bitTime    = 60 * time.Second
)
