// Package failpoint stops, kills or delays a process at a named moment of its work, for
// tests with real processes.
//
// It does nothing unless the program is built with the tag failpoints: Hit is then an
// empty function. With the tag, a process that has the environment variable DirVariable
// looks at every hit for a file of that directory with the point's name. The file's text
// says what to do:
//
//	[after N] kill | stop | cut | sleep DURATION
//
// "after 5 kill" lets five hits pass and kills at the sixth. kill is SIGKILL and stop is
// SIGSTOP, both to the process itself; cut closes the connection and is for points of a
// connection alone. The file is claimed by renaming it to "<point>.taken.<pid>", so that
// of several processes with one directory a single one acts, once. What was done is
// appended to the file "hits", as "point action unix-ns", before it is done.
package failpoint

// DirVariable names the environment variable with the directory.
const DirVariable = "RINGMASTER_FAILPOINTS"

// HitsFile is the file in the directory that tells what was done.
const HitsFile = "hits"

// Point is a moment. docs/reliability/failpoints.md says which function has which.
type Point string

// Of a worker.
const (
	W1  Point = "W1"  // jobs were read, none is noted as started
	W2  Point = "W2"  // a job is noted as started, its handler was not called
	W3  Point = "W3"  // in the handler
	W4  Point = "W4"  // the handler has returned, the end is not sent
	W5  Point = "W5"  // the end is sent, the answer not read
	W6  Point = "W6"  // the end is answered, the worker has not acted on it
	W7  Point = "W7"  // a partition is about to be handed over: the reply to phase 1
	W8  Point = "W8"  // the hand-over is answered
	W9  Point = "W9"  // all is claimed, phase 2 is not replied to
	W10 Point = "W10" // phase 2 is replied to
	W11 Point = "W11" // a claim is sent, the answer not read
	W12 Point = "W12" // before a heartbeat
	W13 Point = "W13" // before a dead letter is written
	W14 Point = "W14" // leaving is announced, the worker drains
)

// Of a dispatcher.
const (
	D1 Point = "D1" // leads, has not read the records
	D2 Point = "D2" // a plan is written, no worker needs to have seen it
	D3 Point = "D3" // some partitions of a plan have moved, others have not
	D4 Point = "D4" // mode ring: all have moved, phase 2 is not complete
	D5 Point = "D5" // mode ring: some members have replied to phase 2
	D6 Point = "D6" // about to write what can end a plan: phase 3 comes with it
	D7 Point = "D7" // what can end a plan is sent, the answer not read
	D8 Point = "D8" // before groups and records are compared
	D9 Point = "D9" // before jobs that wait outside the stream are brought back (by a worker)
)

// Of a producer.
const (
	E1 Point = "E1" // jobs are sent, the answer not read
	E2 Point = "E2" // half of the request that adds jobs is sent
)

// Points are all of them, in the order of the documentation.
func Points() []Point {
	return []Point{W1, W2, W3, W4, W5, W6, W7, W8, W9, W10, W11, W12, W13, W14,
		D1, D2, D3, D4, D5, D6, D7, D8, D9, E1, E2}
}

// Sent are the points of one kind of request: Half when half of it is written, Whole when
// all of it is and the answer was not read.
type Sent struct{ Half, Whole Point }
