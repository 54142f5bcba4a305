package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

const (
	outstanding  = 20_000 // jobs handed in and not ended, at most
	payloadBytes = 100
	keyCount     = 10_000
	submitBatch  = 2000
	mostRounds   = 9
	quiet        = 0.35 // CPUs that others may take while a sample counts
)

// Throughput is how the moving of jobs from end to end is measured.
type Throughput struct {
	Jobs        int           // of each contender and round
	Rounds      int           // of which the medians are taken
	Partitions  int           // of our queue
	Concurrency int           // handlers at a time
	Limit       time.Duration // no round begins later
	Durability  job.Durability
	Where
}

// DefaultThroughput takes about half a minute on two cores.
func DefaultThroughput() Throughput {
	return Throughput{Jobs: 150_000, Rounds: 5, Partitions: job.DefaultParts, Concurrency: 16, Limit: 36 * time.Second}
}

// Moved is what one shape of our queue did, against the bare loops of the same rounds.
type Moved struct {
	Shape       string  `json:"shape,omitempty"` // keyed or unkeyed; empty in the last line
	Jobs        int     `json:"jobs"`            // of all rounds
	Rate        float64 `json:"rate"`            // jobs per second
	RawRate     float64 `json:"raw_rate"`
	RawTrimRate float64 `json:"raw_trim_rate"`
	Ratio       float64 `json:"ratio_to_raw"` // medians of the rounds' ratios
	RatioTrim   float64 `json:"ratio_to_raw_trim"`
	Server      float64 `json:"server_us_per_job"` // CPU
	RawServer   float64 `json:"raw_server_us_per_job"`
	Client      float64 `json:"client_us_per_job"`
	RawClient   float64 `json:"raw_client_us_per_job"`
	Noisy       bool    `json:"noisy"` // others used the machine: the figures are no pass
}

// sample is one contender's part of a round.
type sample struct {
	rate   float64
	server float64 // µs per job
	client float64
	others float64 // CPUs that neither took
}

// contender moves jobs through a fresh server.
type contender struct {
	name string
	run  func(ctx context.Context, url string, jobs int) (usage, error)
}

// RunThroughput measures the bare loops and our queue, unkeyed and keyed, in turn, in
// rounds. A round that others disturbed is repeated, as long as there is time.
func RunThroughput(ctx context.Context, o Throughput) (unkeyed, keyed Moved, err error) {
	all := []contender{
		{"bare", func(ctx context.Context, url string, n int) (usage, error) { return timeRaw(ctx, url, n, false) }},
		{"bare with trim", func(ctx context.Context, url string, n int) (usage, error) { return timeRaw(ctx, url, n, true) }},
		{"unkeyed", func(ctx context.Context, url string, n int) (usage, error) { return o.timeOurs(ctx, url, n, 0) }},
		{"keyed", func(ctx context.Context, url string, n int) (usage, error) { return o.timeOurs(ctx, url, n, keyCount) }},
	}
	began := time.Now()
	var good, bad [][]sample
	for n := 0; n < mostRounds && len(good) < o.Rounds; n++ {
		if n > 0 && time.Since(began)*time.Duration(n+1)/time.Duration(n) > o.Limit {
			break
		}
		round := make([]sample, len(all))
		for k := range all {
			i := (k + n) % len(all) // each comes first in turn
			if round[i], err = o.sample(ctx, all[i]); err != nil {
				return unkeyed, keyed, fmt.Errorf("%s: %w", all[i].name, err)
			}
		}
		worst := 0.0
		for _, s := range round {
			worst = max(worst, s.others)
		}
		o.tell("round %d: bare %.0f/s, with trim %.0f/s, unkeyed %.0f/s, keyed %.0f/s; others took %.2f CPUs", n+1, round[0].rate, round[1].rate, round[2].rate, round[3].rate, worst)
		if worst > quiet {
			bad = append(bad, round)
			continue
		}
		good = append(good, round)
	}
	// Fewer than half the rounds were quiet: what there is is told, and that it is no pass.
	noisy := len(good) < (o.Rounds+1)/2
	if noisy {
		good = append(good, bad...)
	}
	return moved("unkeyed", o.Jobs, good, 2, noisy), moved("keyed", o.Jobs, good, 3, noisy), nil
}

// moved makes the figures of one contender.
func moved(shape string, jobs int, rounds [][]sample, i int, noisy bool) Moved {
	of := func(f func(r []sample) float64) float64 {
		var all []float64
		for _, r := range rounds {
			all = append(all, f(r))
		}
		return median(all)
	}
	return Moved{Shape: shape, Jobs: jobs * len(rounds), Noisy: noisy,
		Rate:        round0(of(func(r []sample) float64 { return r[i].rate })),
		RawRate:     round0(of(func(r []sample) float64 { return r[0].rate })),
		RawTrimRate: round0(of(func(r []sample) float64 { return r[1].rate })),
		Ratio:       round2(of(func(r []sample) float64 { return r[i].rate / r[0].rate })),
		RatioTrim:   round2(of(func(r []sample) float64 { return r[i].rate / r[1].rate })),
		Server:      round2(of(func(r []sample) float64 { return r[i].server })),
		RawServer:   round2(of(func(r []sample) float64 { return r[0].server })),
		Client:      round2(of(func(r []sample) float64 { return r[i].client })),
		RawClient:   round2(of(func(r []sample) float64 { return r[0].client })),
	}
}

// sample runs one contender on a server of its own, or an emptied one of the user's.
func (o Throughput) sample(ctx context.Context, c contender) (sample, error) {
	var s sample
	err := o.on(ctx, func(url string) error {
		runtime.GC() // the garbage of the one before is not this one's
		used, err := c.run(ctx, url, o.Jobs)
		n := float64(o.Jobs)
		s = sample{rate: n / used.took.Seconds(), server: micros(used.server) / n, client: micros(used.client) / n, others: used.others()}
		return err
	})
	return s, err
}

// timed runs work between two looks at the counters.
func timed(ctx context.Context, url string, work func() error) (usage, error) {
	c, err := rawClient(url)
	if err != nil {
		return usage{}, err
	}
	defer func() { _ = c.Close() }()
	before, err := measure(ctx, c)
	if err != nil {
		return usage{}, err
	}
	if err := work(); err != nil {
		return usage{}, err
	}
	after, err := measure(ctx, c)
	return after.since(before), err
}

func timeRaw(ctx context.Context, url string, jobs int, trim rawTrim) (usage, error) {
	used, err := timed(ctx, url, func() error { return runRaw(ctx, url, jobs, trim) })
	if err != nil {
		return used, err
	}
	return used, removeRaw(ctx, url)
}

// removeRaw takes the loop's stream off a server that is used again.
func removeRaw(ctx context.Context, url string) error {
	o, err := redis.ParseURL(url)
	if err != nil {
		return fmt.Errorf("bare loop: %w", err)
	}
	c := redis.NewClient(o)
	defer func() { _ = c.Close() }()
	return c.Del(ctx, rawStream).Err()
}

// timeOurs moves jobs through a ring; keys 0: none of them has a key.
func (o Throughput) timeOurs(ctx context.Context, url string, jobs, keys int) (usage, error) {
	open := newQuota(outstanding)
	r, err := startRing(ctx, ringSpec{url: url, partitions: o.Partitions, workers: 1, concurrency: o.Concurrency, durability: o.Durability, handler: noop(open)})
	if err != nil {
		return usage{}, err
	}
	defer r.close()
	defer context.AfterFunc(r.ended, open.close)()
	load := payload(keys)
	return timed(ctx, url, func() error {
		if err := r.produce(ctx, jobs, open, load); err != nil {
			return err
		}
		if !open.take(outstanding) { // all have run
			return fmt.Errorf("bench: %w", context.Cause(r.ended))
		}
		return r.drained(ctx)
	})
}

// payload makes jobs of the size that all contenders have.
func payload(keys int) func() job.Job {
	body := json.RawMessage(strconv.Quote(strings.Repeat("x", payloadBytes-2)))
	names := make([]string, keys)
	for i := range names {
		names[i] = "key-" + strconv.Itoa(i)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	return func() job.Job {
		j := job.Job{Type: jobType, Payload: body}
		if keys > 0 {
			j.Key = names[rnd.IntN(keys)]
		}
		return j
	}
}

// produce hands jobs in from one goroutine, in batches.
func (r *ringOf) produce(ctx context.Context, jobs int, open *quota, next func() job.Job) error {
	p := r.store.NewProducer(r.queue)
	defer p.Close()
	batch := make([]job.Job, 0, submitBatch)
	for jobs > 0 {
		n := min(jobs, submitBatch)
		batch = batch[:0]
		for range n {
			batch = append(batch, next())
		}
		if !open.take(n) {
			return fmt.Errorf("bench: %w", context.Cause(r.ended))
		}
		if _, errs := p.Enqueue(ctx, batch...); errs != nil {
			return fmt.Errorf("bench: %w", firstOf(errs))
		}
		jobs -= n
	}
	return nil
}
