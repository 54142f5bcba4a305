// Package consumergroup is the worker's runtime: it reads the partitions that the ring
// gives it, runs their jobs in key order, and ends them.
//
// One Worker lives as long as its process. It joins the ring as an incarnation; when it
// is evicted it joins again as a new one, and what it still ran is refused. Per shard
// of the queue there is
//
//	reader    one goroutine and one connection: driver.Driver.Run, which reads control
//	          messages and jobs in one sequence, claims and releases, and has the
//	          resize.Participant act on what comes
//	acker     one goroutine: driver.Driver.RunAcks, which ends runs, in batches that grow
//	          with load
//
// and per worker
//
//	executors Concurrency goroutines that run handlers
//	lease     one goroutine: heartbeats; it stops all starts before the lease is over
//	alarm     one goroutine: wakes keys whose backoff is over
//
// Which calls these two make, and in which order, is package driver's; the simulator runs it too.
// What is here gives it goroutines, connections, channels and clocks (shard.go), runs the handlers
// (run.go), and keeps the lease (session.go, pace.go). Read worker.go first.
//
// Lock order: the worker's one mutex guards all lanes, tenures and the ready list. It
// is never held during a call to the store or to a handler.
//
// What is not obvious:
//
//   - A lane is freed by the store's answer to the end of its job, never by the handler's
//     return. A refused end frees nothing: the partition is lost. An unanswered end is
//     unknown: the lane stays busy until it is answered.
//   - Closing a gate and taking the set of running jobs is one step under the mutex;
//     every reopening dispatches.
//   - After a read without an answer the connection is replaced and the old one ended at
//     the server; then the worker's own pending list is read while no end is in flight
//     (the Gate), and only then new jobs. Otherwise an earlier job could surface after a
//     later one.
package consumergroup
