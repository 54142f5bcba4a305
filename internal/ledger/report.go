package ledger

import "fmt"

// Kinds of anomalies.
const (
	Gap        = "gap"          // a record of a ledger is missing, twice, or out of its place
	Torn       = "torn"         // a line of a ledger is no record
	Lost       = "lost"         // accepted, and the idle queue never ended it
	Unfinished = "unfinished"   // accepted, and still open when the run was over
	Unexpected = "unexpected"   // ended, and handed in by nobody
	Doubled    = "doubled"      // ended again, or in the queue twice
	Aborted    = "aborted"      // refused, and ran
	Unrun      = "unrun"        // completed, and no handler ended it
	OutOfOrder = "out-of-order" // an earlier job of the key ended, or was started by an owner, after a later one
	Overlap    = "overlap"      // two owners, or one twice, ran a key at a time
	Reuse      = "epoch-reuse"  // one epoch of a partition, two incarnations
	FenceFell  = "fence-fell"   // of a key, a job ended under a lower fence than the one before it
	PhaseOrder = "phase-order"  // a message of a resize after one of a later phase or epoch
	EffectOnce = "effect"       // of a completed job the fenced sink took no effect, or of a job more than one
)

// Finding is one anomaly.
type Finding struct {
	Kind string
	Text string
}

// Report counts. It counts events, not members of sets: a job that completed three times
// is two anomalies.
type Report struct {
	Anomalies  map[string]int `json:"anomalies"`   // by kind; only what was found
	RolledBack map[string]int `json:"rolled_back"` // the same, where a failover was announced that may forget
	LostWhere  map[string]int `json:"lost_where"`  // prefix, middle, postfix: where in the order of their producer

	Submitted     int            `json:"submitted"`
	Accepted      int            `json:"accepted"`
	Refused       int            `json:"refused"`
	Unknown       int            `json:"unknown"`
	Recovered     int            `json:"recovered"` // not answered or of unknown outcome, and came out
	Completed     int            `json:"completed"`
	Dead          int            `json:"dead"`
	Runs          int            `json:"runs"`           // handler starts
	Reruns        int            `json:"reruns"`         // those beyond the first of a job
	Effects       int            `json:"effects"`        // of a plain sink, which takes every one
	FencedEffects int            `json:"fenced_effects"` // of the sink that compares fences
	Joins         int            `json:"joins"`
	Phases        int            `json:"phases"`
	Epoch         uint64         `json:"resizes"` // of the ring, the last seen
	Faults        map[string]int `json:"faults"`
}

// NewReport is empty.
func NewReport() Report {
	return Report{Anomalies: map[string]int{}, RolledBack: map[string]int{}, LostWhere: map[string]int{}, Faults: map[string]int{}}
}

// Found is the number of anomalies.
func (r *Report) Found() int {
	n := 0
	for _, v := range r.Anomalies {
		n += v
	}
	return n
}

// Add sums two reports.
func (r *Report) Add(o *Report) {
	for _, m := range []struct{ to, from map[string]int }{{r.Anomalies, o.Anomalies}, {r.RolledBack, o.RolledBack}, {r.LostWhere, o.LostWhere}, {r.Faults, o.Faults}} {
		for k, n := range m.from {
			m.to[k] += n
		}
	}
	for _, n := range []struct{ to, from *int }{{&r.Submitted, &o.Submitted}, {&r.Accepted, &o.Accepted}, {&r.Refused, &o.Refused},
		{&r.Unknown, &o.Unknown}, {&r.Recovered, &o.Recovered}, {&r.Completed, &o.Completed}, {&r.Dead, &o.Dead}, {&r.Runs, &o.Runs},
		{&r.Reruns, &o.Reruns}, {&r.Effects, &o.Effects}, {&r.FencedEffects, &o.FencedEffects}, {&r.Joins, &o.Joins}, {&r.Phases, &o.Phases}} {
		*n.to += *n.from
	}
	r.Epoch += o.Epoch
}

// rollable kinds are what a server that forgot acknowledged writes does by itself.
func rollable(kind string) bool {
	switch kind {
	case Lost, Doubled, OutOfOrder, Overlap, Reuse, FenceFell, PhaseOrder:
		return true
	}
	return false
}

func (c *Checker) found(kind, format string, args ...any) {
	if c.forgetful && rollable(kind) {
		c.report.RolledBack[kind]++
		return
	}
	c.report.Anomalies[kind]++
	if c.tell != nil {
		c.tell(Finding{kind, fmt.Sprintf(format, args...)})
	}
}
