package bench

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"ringmaster/job"
)

// Resize is how the pauses are measured that a worker's coming and going makes for keyed
// jobs that arrive evenly.
type Resize struct {
	Modes       []string
	Partitions  int
	Workers     int // one more joins and leaves, again and again
	Concurrency int
	Rate        int           // jobs per second, each partition in turn
	Keys        int           // of each partition, in turn
	Work        time.Duration // of a handler
	Baseline    time.Duration // without a resize
	Window      time.Duration // of resizes, for each mode
	Where
}

// DefaultResize takes about 40 s. With eight workers and one more, 28 partitions move.
func DefaultResize() Resize {
	return Resize{Modes: []string{"ring", "partition", "key"}, Partitions: 256, Workers: 8, Concurrency: 16, Rate: 2000, Keys: 4,
		Work: time.Millisecond, Baseline: 2500 * time.Millisecond, Window: 8 * time.Second}
}

// Resized are the pauses in one mode, in ms. A gap is the time between two ends of a
// partition that follow each other; a pause is a gap that overlaps with a resize.
type Resized struct {
	Mode       string  `json:"mode"`
	Moved      float64 `json:"moved_pause_p99_ms"`   // of partitions that moved: from the plan until they opened
	Unmoved    float64 `json:"unmoved_pause_p99_ms"` // of the others: from the plan until the ring was at rest
	Baseline   float64 `json:"baseline_gap_p99_ms"`
	PlanToOpen float64 `json:"plan_to_open_p50_ms"` // until a moved partition's gate opened at its new owner
	Noisy      bool    `json:"noisy,omitempty"`     // others used the machine: the figures are no pass

	Resizes, Moves int `json:"-"`
}

// RunResize measures every mode on a server of its own.
func RunResize(ctx context.Context, o Resize) ([]Resized, error) {
	var out []Resized
	for _, mode := range o.Modes {
		var seen *sightings
		var used usage
		err := o.on(ctx, func(url string) (err error) {
			used, err = timed(ctx, url, func() error {
				seen, err = o.run(ctx, url, mode)
				return err
			})
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("mode %s: %w", mode, err)
		}
		r := seen.figures()
		r.Mode, r.Noisy = mode, used.others() > quiet
		if r.Moves == 0 {
			return nil, fmt.Errorf("bench: mode %s: no partition moved", mode)
		}
		o.tell("mode %s: %d resizes, %d moves, %d jobs; others took %.2f CPUs", mode, r.Resizes, r.Moves, len(seen.ends), used.others())
		out = append(out, r)
	}
	return out, nil
}

// run has a worker come and go under load.
func (o Resize) run(ctx context.Context, url, mode string) (*sightings, error) {
	seen := &sightings{opened: map[opening]time.Time{}}
	r, err := startRing(ctx, ringSpec{url: url, partitions: o.Partitions, workers: o.Workers, concurrency: o.Concurrency, mode: mode,
		handler: seen.handler(o.Work), log: slog.New(seen)})
	if err != nil {
		return nil, err
	}
	defer r.close()
	defer seen.follow(r)()
	load, endLoad := context.WithCancel(r.ended)
	fed := make(chan error, 1)
	go func() { fed <- o.feed(load, r) }()
	err = o.changes(ctx, r, seen)
	endLoad()
	if late := <-fed; late != nil && err == nil {
		err = late
	}
	if err != nil {
		return nil, err
	}
	return seen, r.drained(ctx)
}

// changes waits for a baseline, then has a worker join and leave until the time is over.
func (o Resize) changes(ctx context.Context, r *ringOf, seen *sightings) error {
	const settle = 300 * time.Millisecond
	if err := wait(ctx, 2*settle); err != nil {
		return err
	}
	seen.from = time.Now()
	if err := wait(ctx, o.Baseline); err != nil {
		return err
	}
	seen.until = time.Now()
	for n := 0; n == 0 || time.Since(seen.until) < o.Window; n++ {
		// A slot that comes and goes is left without partitions for a while: a new name each.
		leave := r.join(fmt.Sprintf("guest-%d", n))
		if err := r.settled(ctx, o.Workers+1); err != nil {
			return err
		}
		if err := wait(ctx, settle); err != nil {
			return err
		}
		leave()
		if err := r.settled(ctx, o.Workers); err != nil {
			return err
		}
		if err := wait(ctx, settle); err != nil {
			return err
		}
	}
	return nil
}

// feed hands jobs in evenly, the partitions in turn, until ctx ends.
func (o Resize) feed(ctx context.Context, r *ringOf) error {
	const batches = 500 // a second
	p := r.store.NewProducer(r.queue)
	defer p.Close()
	keys := keysOf(o.Partitions, o.Keys)
	n := 0
	jobs := make([]job.Job, max(1, o.Rate/batches))
	next := payload(0)
	for ctx.Err() == nil {
		err := paced(ctx, float64(o.Rate)/float64(len(jobs)), batches, func(int) error {
			for i := range jobs {
				jobs[i] = next()
				// An odd step: neighbours in time are not neighbours in the ring.
				jobs[i].Key = keys[n*97%o.Partitions][n/o.Partitions%o.Keys]
				n++
			}
			return enqueue(context.WithoutCancel(ctx), p, jobs...)
		})
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// keysOf finds so many keys of each partition.
func keysOf(partitions, each int) [][]string {
	out := make([][]string, partitions)
	for n, full := 0, 0; full < partitions; n++ {
		key := fmt.Sprintf("key-%d", n)
		p := job.PartitionOf(key, partitions)
		if len(out[p]) == each {
			continue
		}
		if out[p] = append(out[p], key); len(out[p]) == each {
			full++
		}
	}
	return out
}
