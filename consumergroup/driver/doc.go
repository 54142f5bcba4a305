// Package driver decides which calls the worker makes to the store for one shard of its
// queue, and in which order: what its reader asks for next, what becomes of each answer and
// of a call without one, and which ends go with which acknowledgement.
//
// A Driver has no goroutine, clock, connection or chance of its own. It is two sequences of
// calls, Run and RunAcks, that see the world only through Deps: the worker
// (package consumergroup) runs them in two goroutines, over connections; the simulator
// (package resize/sim) runs the same two as coroutines of its scheduler, which answers each
// call, loses the answer, or ends the process while a call is under way. So what the
// simulator finds out about the order of calls is true of the worker.
//
// Why sequences and not a table of states: the order of calls is nested (a lost answer to a
// claim has the connection made anew, has the records read, has the own pending list
// merged), and a coroutine is that state machine, written as it is read.
//
// Read read.go first: one turn of the reader. Then actions.go (what the resize.Participant
// wants), doubt.go (what a call without an answer leads to), and acks.go.
package driver
