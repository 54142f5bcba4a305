package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Row is one fault at one moment, as docs/reliability/README.md lists them.
type Row struct {
	Number int
	Name   string // the fault and its moment
	Expect string
	Cannot string // why this machine cannot produce it; then Run is nil
	Family string // registry sets it
	Ring   RingSpec
	// Run injects the fault into a ring under load and checks what must follow at once.
	// nil: the fault did happen, seen by a hit file, an exit status or the server, and
	// what must follow followed. ErrNotHit: it did not happen; the row is tried again.
	// Any other error is an anomaly. Run need not bring the ring back to its base: the
	// round's end starts what is missing, and ends what is too much.
	Run func(ctx context.Context, r *Rig) error
	// Loss: what the ledger says is not checked after this row, which Run does itself
	// (jobs are lost as expected). The ring is not used again.
	Loss bool
}

// RingSpec says what a row needs around it. Rows with the same Name share a ring. The
// zero value is a plain server with everything at its defaults.
type RingSpec struct {
	Name        string
	Server      func(ctx context.Context, dir string) (Server, error) // nil: a plain one, append-only file always
	Mode        string                                                // of plans; "key" if empty
	Workers     int                                                   // 4 if 0
	Dispatchers int                                                   // 2 if 0
	Partitions  int                                                   // 32 if 0
	Shards      int                                                   // 1 if 0
	Resizes     bool                                                  // of the soak: somebody asks for resizes, in all modes
	Rate        int                                                   // jobs per second of all producers; the run's if 0
	Role        func(*Role)                                           // changes every role before it starts
}

// Server is what the ring's jobs are in. A row that needs more of it asserts the type.
type Server interface {
	URL() string // of the primary, for clients of this process
	Close()      // ends all its processes
}

// ErrNotHit: the fault did not happen, so the row shows nothing.
var ErrNotHit = errors.New("the fault did not happen")

func notHit(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrNotHit}, args...)...)
}

// registry lists all rows, in order of their numbers. Each family has a file with a
// function of its own.
func registry() []Row {
	var all []Row
	for _, f := range []struct {
		name string
		rows []Row
	}{
		{"worker", workerRows()}, {"leader", leaderRows()}, {"ring", ringRows()}, {"network", networkRows()},
		{"handler", handlerRows()}, {"server", serverRows()},
	} {
		for _, row := range f.rows {
			row.Family = f.name
			all = append(all, row)
		}
	}
	slices.SortFunc(all, func(a, b Row) int { return a.Number - b.Number })
	return all
}
