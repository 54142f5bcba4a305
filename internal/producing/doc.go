// Package producing is the side that hands jobs in and waits for their end: the library's client, the
// dispatcher's HTTP server and ringctl share it. A Set has the connections' producers, one for each queue;
// Await waits for a job's end; Call does both, and is answered once whatever is killed meanwhile.
//
// Read first Call. There is one way to wait, Await: what it repeats is streams.Store.WaitJob, one look that
// is bounded in time, which is all that a request over HTTP may wait for.
package producing
