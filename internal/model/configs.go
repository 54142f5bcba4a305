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
	faults     int
	kinds      int    // which faults, 0: every kind but the roll-back of Redis
	mutant     string // a guard that is taken away, "" none
	bitstate   bool   // a hash table of bits: it may take two states for one, so it proves nothing
	depth      int    // steps of the longest history; deeper ones make the search incomplete
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
)

// small is what CI runs.
func small() []search {
	return []search{
		{name: "2 workers x 2 partitions, every single fault", workers: 2, partitions: 2, faults: 1},
		{name: "3 workers x 1 partition, every single fault", workers: 3, partitions: 1, faults: 1},
	}
}

// full is small, every pair of faults, and a look at what is larger.
func full() []search {
	return append([]search{
		{name: "2 workers x 1 partition, every pair of faults", workers: 2, partitions: 1, faults: 2},
		{name: "2 workers x 1 partition, Redis rolled back", workers: 2, partitions: 1, faults: 1, kinds: roll},
		{name: "2 workers x 2 partitions, every pair of faults", workers: 2, partitions: 2, faults: 2},
		{name: "3 workers x 1 partition, every pair of faults", workers: 3, partitions: 1, faults: 2},
		{name: "3 workers x 2 partitions, every pair of faults", workers: 3, partitions: 2, faults: 2, bitstate: true},
		{name: "2 workers x 1 partition, three faults", workers: 2, partitions: 1, faults: 3, bitstate: true},
	}, small()...)
}

// mutants are guards taken away one at a time, each where it matters first.
func mutants() []search {
	var out []search
	add := func(name string, workers, faults, kinds int) {
		out = append(out, search{name: name, workers: workers, partitions: 1, faults: faults, kinds: kinds, mutant: "M_" + name})
	}
	add("LOSE_PENDING", 2, 0, move)
	add("PERMITS_IGNORED", 2, 0, move)
	add("PERMIT_ACKED", 2, 1, move)
	add("ACK_NO_EPOCH", 2, 1, move|freeze)
	add("UNANSWERED_FREES", 2, 1, unanswered)
	add("NO_KILL", 2, 1, reply)
	add("NEW_BEFORE_OWN", 2, 1, reply)
	add("NO_CHANGE_NUMBER", 2, 1, hint)
	add("JOIN_BY_NAME", 2, 1, crash)
	add("PLAN_NO_COMPARE", 2, 1, leader|leave)
	add("STEAL_NO_COMPARE", 2, 2, leader|crash)
	add("PERMIT_BY_NAME", 2, 2, move|revoke)
	add("PAGE_FREES", 2, 1, fail)
	add("CLOSING_FORGETS", 2, 2, fail|move)
	add("HEARTBEAT_IGNORES_LESS", 2, 1, roll)
	// With PLAN_NO_COMPARE, PERMIT_BY_NAME and CLOSING_FORGETS not found so far: see docs/reliability/model.md.
	add("DRAINED_ONCE", 2, 1, 0)
	add("ACK_NO_HOLDER", 2, 1, 0)
	add("REFUSED_FREES", 2, 1, 0)
	return out
}

func (s search) defines() []string {
	kinds := s.kinds
	if kinds == 0 {
		kinds = roll - 1
	}
	d := []string{fmt.Sprintf("-DNW=%d", s.workers), fmt.Sprintf("-DNP=%d", s.partitions),
		fmt.Sprintf("-DFAULTS=%d", s.faults), fmt.Sprintf("-DKINDS=%d", kinds)}
	if s.mutant != "" {
		d = append(d, "-D"+s.mutant)
	}
	return d
}

// limits of a whole run. Two searches share the memory.
const (
	fullTime   = 7*time.Minute + 30*time.Second
	smallTime  = 4 * time.Minute // some seconds where nothing else runs
	mutantTime = 15 * time.Minute
	memoryEach = 5500 // MB
	bitTime    = 60 * time.Second
)
