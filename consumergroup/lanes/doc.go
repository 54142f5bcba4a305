// Package lanes decides which job a worker starts next. It holds what the worker has
// taken of its partitions, by key, and knows nothing of goroutines, connections and
// clocks: time and answers come in, ends to be sent and wishes go out by Host and Crew.
// So the simulator runs the same code as a worker does.
//
//	Pool    all that one worker holds: which partition's turn it is, how many jobs run
//	Shard   the partitions of one shard of a queue: gates, claims, hand-over
//	Tenure  one partition while it is owned, and the runs that outlive that
//	Lane    the waiting jobs of one key: one runs at a time, in the order of their ids
//	Item    one job
//
// A lane is freed by the store's answer to the end of its job, never by the handler's
// return. A refused end frees nothing: the partition is another owner's. Closing a gate
// and knowing what runs is one step; every reopening dispatches.
//
// Of a type that is limited so many run at a time, whatever became of their jobs; the others
// wait in line, and hold their keys: see seats.
//
// Nothing here is safe for concurrent use: a worker has one lock around all of it. The
// same calls give the same answers, whatever the order in which a map is walked.
package lanes
