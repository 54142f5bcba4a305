package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"ringmaster/job"
	"ringmaster/streams"
)

// Recovery is how the time is measured that the jobs of a killed worker stand still.
type Recovery struct {
	Binary     string // program that has the command WorkerCommand
	Runs       int
	Held       int // jobs that run in the worker when it is killed
	Survivors  int // workers, each with room for all of them
	Partitions int
	Limit      time.Duration // no run begins later
	Where
}

// DefaultRecovery takes about 20 s.
func DefaultRecovery() Recovery {
	return Recovery{Runs: 20, Held: 64, Survivors: 2, Partitions: job.DefaultParts, Limit: 35 * time.Second}
}

// Recovered is how long it took from the kill until the last of the worker's running jobs
// had been started again elsewhere.
type Recovered struct {
	Runs  int     `json:"runs"`
	P50   float64 `json:"p50_ms"`
	Max   float64 `json:"max_ms"`
	Noisy bool    `json:"noisy,omitempty"` // others used the machine: the figures are no pass
}

const recoveryPatience = 15 * time.Second

// RunRecovery has workers, each a process, and kills one of them after the other.
func RunRecovery(ctx context.Context, o Recovery) (Recovered, error) {
	var took []float64
	var used usage
	err := o.on(ctx, func(url string) (err error) {
		used, err = timed(ctx, url, func() error {
			took, err = o.runs(ctx, url)
			return err
		})
		return err
	})
	if err != nil {
		return Recovered{}, err
	}
	return Recovered{Runs: len(took), P50: round1(median(took)), Max: round1(quantile(took, 1)), Noisy: used.others() > quiet}, nil
}

func (o Recovery) runs(ctx context.Context, url string) ([]float64, error) {
	r, err := openRing(ctx, ringSpec{url: url, partitions: o.Partitions})
	if err != nil {
		return nil, err
	}
	defer r.close()
	r.lead()
	c := newCrew(o.Binary, url)
	defer c.end()
	for i := range o.Survivors {
		if _, err := c.start(ctx, fmt.Sprintf("survivor-%d", i+1), 2*o.Held); err != nil {
			return nil, err
		}
	}
	p := r.store.NewProducer(r.queue)
	defer p.Close()
	var took []float64
	began := time.Now()
	for n := 0; n < o.Runs && time.Since(began) < o.Limit; n++ {
		d, err := o.run(ctx, r, c, p, n)
		if err != nil {
			return nil, fmt.Errorf("run %d: %w", n+1, err)
		}
		took = append(took, millis(d))
		o.tell("run %d: %.1f ms", n+1, millis(d))
	}
	return took, nil
}

// run has a worker join and take jobs, kills it, and waits for the others.
func (o Recovery) run(ctx context.Context, r *ringOf, c *crew, p *streams.Producer, n int) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, recoveryPatience, errOver)
	defer cancel()
	name := "victim-" + strconv.Itoa(n)
	victim, err := c.start(ctx, name, 2*o.Held)
	if err != nil {
		return 0, err
	}
	if err := r.settled(ctx, o.Survivors+1); err != nil {
		return 0, err
	}
	jobs, err := o.jobsFor(ctx, r, name, n)
	if err != nil {
		return 0, err
	}
	if err := enqueue(ctx, p, jobs...); err != nil {
		return 0, err
	}
	if _, err := o.allStarted(ctx, c, n, func(worker string) bool { return worker == name }); err != nil {
		return 0, fmt.Errorf("wait until %s runs all: %w", name, err)
	}
	// At any moment between two looks of the leader.
	if err := wait(ctx, rand.N(100*time.Millisecond)); err != nil {
		return 0, err
	}
	killed := time.Now()
	victim.kill()
	last, err := o.allStarted(ctx, c, n, func(worker string) bool { return worker != name })
	if err != nil {
		return 0, fmt.Errorf("wait until the others run all: %w", err)
	}
	return last.Sub(killed), r.settled(ctx, o.Survivors)
}

// jobsFor are jobs of keys that the worker owns, each of another key.
func (o Recovery) jobsFor(ctx context.Context, r *ringOf, name string, run int) ([]job.Job, error) {
	rec, err := r.ring.Look(ctx)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	inc := ""
	for _, m := range rec.Members {
		if m.Name == name {
			inc = m.Incarnation
		}
	}
	jobs := make([]job.Job, o.Held)
	key := 0
	for i := range jobs {
		for {
			jobs[i].Key = fmt.Sprintf("%d-%d", run, key)
			key++
			if rec.Owners[job.PartitionOf(jobs[i].Key, o.Partitions)].Incarnation == inc {
				break
			}
		}
		jobs[i].Type = jobType
		if jobs[i].Payload, err = json.Marshal(task{N: run*o.Held + i, Holder: name}); err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
	}
	return jobs, nil
}

// allStarted waits until such workers have started every job of the run, and tells when
// the last of them was.
func (o Recovery) allStarted(ctx context.Context, c *crew, run int, by func(worker string) bool) (time.Time, error) {
	seen := map[int]bool{}
	for {
		select {
		case s := <-c.starts:
			if s.n/o.Held != run || !by(s.worker) {
				continue
			}
			if seen[s.n] = true; len(seen) == o.Held {
				return s.at, nil
			}
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("%d of %d jobs: %w", len(seen), o.Held, context.Cause(ctx))
		}
	}
}
