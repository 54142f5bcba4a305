// Package resize is the resize protocol as two pure state machines: the Coordinator,
// which a leading dispatcher runs, and the Participant, which every worker runs, one
// for each shard of its queue.
//
// A machine takes events, named in the past tense, and returns actions, named in the
// imperative, which the caller performs in the order given. There is no goroutine, lock,
// clock, context, log or store in here: time enters as a number of milliseconds inside
// events, from any monotonic clock. The same events in the same order give the same
// actions. Machines are not safe for concurrent use; one goroutine owns each.
//
// Four rules carry the protocol. Records decide: what is true about ownership stands in
// the store, compared and changed by its scripts alone. Messages hint: losing, repeating
// or delaying one costs time, never correctness. Numbers compare equal: every action
// carries the epoch it was decided under, and is refused under any other. And only the
// flip, a single step of the store, changes an owner.
//
// A resize has three phases. Phase 1 tells the losers of a new plan to close the gates
// of their partitions; a loser's release is at once its reply and the hand-over of the
// partition. Phase 2 tells the gainer where the cut is; it claims what is pending and
// runs. Phase 3 tells that nothing is left to move. The modes differ in what waits:
//
//	key        nothing: the running jobs go on at the loser, only their keys wait
//	partition  a moving partition waits until nothing of it runs
//	ring       everything waits until nothing runs anywhere, and starts again together
package resize
