package doctor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"ringmaster/job"
	"ringmaster/streams"
)

// How bad a finding is.
const (
	SeverityError   = "error"   // damage, or accepted jobs at risk
	SeverityWarning = "warning" // nothing is damaged; something is missing or could be safer
	SeverityInfo    = "info"    // worth knowing; nothing is wrong
)

// Finding is one thing a doctor found.
type Finding struct {
	Severity  string `json:"severity"`
	Check     string `json:"check"`     // short name of the kind
	Queue     string `json:"queue"`     // "": the server
	Partition *int   `json:"partition"` // null: not one alone
	Count     int    `json:"count"`     // of how many it tells
	Finding   string `json:"finding"`
	Meaning   string `json:"meaning"`
	Remedy    string `json:"remedy"` // what to do; "" if nothing is
	Mended    bool   `json:"mended"`
	Done      string `json:"done"` // what was done to mend it; "" if nothing was

	risk       *streams.Risk
	partitions []int // all that it concerns
}

// Open reports that something is wrong still.
func (f Finding) Open() bool { return f.Severity != SeverityInfo && !f.Mended }

// same reports whether both are of one cause: of a queue each kind is told once, but for keys.
func (f Finding) same(o Finding) bool {
	each := f.Queue == "" || f.Check == blockedKey
	return f.Check == o.Check && f.Queue == o.Queue && (!each || f.Finding == o.Finding)
}

const blockedKey = "blocked key"

// Config has a doctor's times and limits.
type Config struct {
	Patience time.Duration // how long a state must last to be a fault; 8 s
	Mending  time.Duration // how long mending one queue may take; 30 s
	Blocked  int           // how many blocked keys of a queue are told; 20
}

// Default is a Config that outlasts a leader's lease, a worker's, and what a leader does every 10 s.
func Default() Config {
	return Config{Patience: 8 * time.Second, Mending: 30 * time.Second, Blocked: 20}
}

// Examine looks at the server and at all queues, and changes nothing.
func Examine(ctx context.Context, s *streams.Store, cfg Config) ([]Finding, error) {
	out, err := server(ctx, s)
	if err != nil {
		return nil, err
	}
	queues, bad, err := s.Queues(ctx)
	if err != nil {
		return nil, err
	}
	if found, err := clocks(ctx, s); err == nil {
		out = append(out, found...)
	}
	refused := slices.ContainsFunc(out, func(f Finding) bool { return f.Severity == SeverityError })
	for _, b := range bad {
		out = append(out, Finding{Severity: SeverityError, Check: "queue record", Count: 1, Finding: b.Error(),
			Meaning: "nobody serves this queue", Remedy: "somebody wrote this field by hand: correct it or delete it"})
	}
	found, err := eachQueue(queues, func(q streams.Queue) ([]Finding, error) { return examine(ctx, s, q.Name, cfg) })
	if err != nil && refused && streams.Answered(err) {
		// Such a server runs no script, so no queue can be looked at: why, is told above.
		return append(out, Finding{Severity: SeverityInfo, Check: "queues", Count: 1, Finding: "the queues could not be looked at", Meaning: err.Error()}), nil
	}
	return append(out, found...), err
}

// Treat is Examine, mends what was found, and examines once more. What was mended stays
// in the list, and says what was done. It is safe beside dispatchers and workers.
func Treat(ctx context.Context, s *streams.Store, cfg Config, log *slog.Logger) ([]Finding, error) {
	before, err := Examine(ctx, s, cfg)
	if err != nil {
		return nil, err
	}
	for i, f := range before {
		if f.risk != nil && f.risk.Want != "" {
			before[i].Done = set(ctx, s, *f.risk)
		}
	}
	if !slices.ContainsFunc(before, treatable) {
		return before, nil
	}
	byQueue := map[string][]Inconsistency{}
	var queues []streams.Queue
	for _, f := range before {
		if f.Queue == "" || !f.Open() {
			continue
		}
		if _, known := byQueue[f.Queue]; !known {
			queues = append(queues, streams.Queue{Name: f.Queue})
		}
		byQueue[f.Queue] = append(byQueue[f.Queue], Inconsistency{Check: f.Check})
	}
	var mu sync.Mutex
	done := map[string][]deed{}
	if _, err = eachQueue(queues, func(q streams.Queue) ([]Finding, error) {
		ds, err := mend(ctx, s, q.Name, byQueue[q.Name], cfg.Mending, log)
		mu.Lock()
		defer mu.Unlock()
		done[q.Name] = ds
		return nil, err
	}); err != nil {
		return nil, err
	}
	after, err := Examine(ctx, s, cfg)
	if err != nil {
		return nil, err
	}
	return compare(before, after, done), nil
}

// treatable: a doctor can do something about it.
func treatable(f Finding) bool {
	return f.Open() && (f.risk != nil && f.risk.Want != "" || f.Queue != "" && mendable(Inconsistency{Check: f.Check}))
}

func set(ctx context.Context, s *streams.Store, r streams.Risk) string {
	if err := s.SetSetting(ctx, r); err != nil {
		return "could not be set: " + err.Error()
	}
	return fmt.Sprintf("set %s to %s at the running server; write it to the server's file of settings too", r.Name, r.Want)
}

// compare marks what is gone as mended, and adds what is new.
func compare(before, after []Finding, done map[string][]deed) []Finding {
	var out []Finding
	for _, f := range before {
		if f.Severity == SeverityInfo {
			continue // what is still so comes with the second look
		}
		if i := slices.IndexFunc(after, f.same); i >= 0 {
			f.Finding = after[i].Finding
		} else {
			f.Mended = true
			if f.Queue != "" {
				f.Done = tell(f, done[f.Queue])
			}
		}
		out = append(out, f)
	}
	for _, f := range after {
		if !slices.ContainsFunc(out, f.same) {
			out = append(out, f)
		}
	}
	return out
}

// tell is what was done about a finding: to its partition, else to the ring.
func tell(f Finding, done []deed) string {
	var there, ring []string
	for _, d := range done {
		switch {
		case d.Partition < 0:
			ring = append(ring, d.What)
		case slices.Contains(f.partitions, d.Partition):
			there = append(there, d.What)
		}
	}
	if len(there) == 0 {
		there = ring
	}
	if len(there) == 0 {
		return "mended by the dispatcher that leads, or by the worker"
	}
	if n := len(there) - mostDeeds; n > 0 {
		there = append(there[:mostDeeds:mostDeeds], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(there, "; ")
}

const mostDeeds = 3 // that are told of one finding

func server(ctx context.Context, s *streams.Store) ([]Finding, error) {
	risks, err := s.Inspect().Risks(ctx)
	if err != nil {
		return nil, err
	}
	var out []Finding
	for _, r := range risks {
		f := Finding{Severity: SeverityWarning, Check: r.Name, Count: 1, Finding: r.Name, Meaning: r.What, Remedy: r.Remedy, risk: &r}
		if r.Value != "" {
			f.Finding = r.Name + " is " + r.Value
		}
		if r.Server != "" {
			f.Finding += " at " + r.Server
		}
		if r.Grave {
			f.Severity = SeverityError
		}
		out = append(out, f)
	}
	return out, nil
}

func examine(ctx context.Context, s *streams.Store, queue string, cfg Config) ([]Finding, error) {
	found, led, err := Inconsistencies(ctx, s, queue, cfg.Patience)
	if err != nil {
		return nil, err
	}
	var out []Finding
	for _, x := range Causes(found) {
		f := Finding{Severity: SeverityWarning, Check: x.Check, Queue: queue, Count: x.Count, Finding: x.What, Meaning: x.Meaning, Remedy: x.Remedy, partitions: x.Partitions}
		if x.Partition >= 0 {
			f.Partition = &x.Partition
		}
		if x.Damage(led) {
			f.Severity = SeverityError
		}
		out = append(out, f)
	}
	blocked, err := blockedKeys(ctx, s, queue, cfg.Blocked)
	for _, b := range blocked {
		id, _ := job.ParseID(b.Head)
		out = append(out, Finding{Severity: SeverityInfo, Check: blockedKey, Queue: queue, Count: 1, Partition: &id.Partition,
			Finding: fmt.Sprintf("key %q waits for job %s", b.Key, b.Head), Meaning: b.Why})
	}
	return out, err
}

// eachQueue calls f for some queues at once: most of a look is waiting. Results come in
// the order of the queues; so does the first error.
func eachQueue(queues []streams.Queue, f func(streams.Queue) ([]Finding, error)) ([]Finding, error) {
	found := make([][]Finding, len(queues))
	errs := make([]error, len(queues))
	var all sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i, q := range queues {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			found[i], errs[i] = f(q)
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("queue %s: %w", queues[i].Name, err)
		}
	}
	return slices.Concat(found...), nil
}
