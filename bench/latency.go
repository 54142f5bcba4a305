package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"ringmaster/job"
	"ringmaster/streams"
)

// Latency is how the time from the call that hands a job in to the start of its handler is
// measured, at a steady rate of single jobs.
type Latency struct {
	Rate        int           // jobs per second
	Rounds      int           // of which the medians are taken
	Window      time.Duration // of each contender and round
	Partitions  int
	Concurrency int
	Limit       time.Duration // no round begins later
	Where
}

// DefaultLatency takes about 35 s.
func DefaultLatency() Latency {
	return Latency{Rate: 1000, Rounds: 5, Window: 3 * time.Second, Partitions: job.DefaultParts, Concurrency: 16, Limit: 38 * time.Second}
}

// Delays are the medians of the rounds' quantiles, in ms, and the longest delay of all.
type Delays struct {
	Rate   int     `json:"rate"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	Max    float64 `json:"max_ms"`
	RawP50 float64 `json:"raw_p50_ms"`
	RawP99 float64 `json:"raw_p99_ms"`
	Noisy  bool    `json:"noisy,omitempty"` // others used the machine: the figures are no pass
}

// delaysOf is one round: both contenders' delays, in ms.
type delaysOf struct {
	raw, ours []float64
	others    float64
}

// RunLatency measures the bare blocking loop and our queue in turn. A round that others
// disturbed is repeated, as long as there is time.
func RunLatency(ctx context.Context, o Latency) (Delays, error) {
	began := time.Now()
	var good, bad []delaysOf
	for n := 0; n < mostRounds && len(good) < o.Rounds; n++ {
		if n > 0 && time.Since(began)*time.Duration(n+1)/time.Duration(n) > o.Limit {
			break
		}
		round, err := o.round(ctx, n%2 == 1)
		if err != nil {
			return Delays{}, err
		}
		o.tell("round %d: p50 %.2f ms of %.2f, p99 %.2f ms of %.2f; others took %.2f CPUs", n+1, median(round.ours), median(round.raw),
			quantile(round.ours, 0.99), quantile(round.raw, 0.99), round.others)
		if round.others > quiet {
			bad = append(bad, round)
			continue
		}
		good = append(good, round)
	}
	d := Delays{Rate: o.Rate, Noisy: len(good) < (o.Rounds+1)/2}
	if d.Noisy {
		good = append(good, bad...)
	}
	of := func(q float64, v func(delaysOf) []float64) float64 {
		var all []float64
		for _, r := range good {
			all = append(all, quantile(v(r), q))
		}
		return median(all)
	}
	ours, raw := func(r delaysOf) []float64 { return r.ours }, func(r delaysOf) []float64 { return r.raw }
	d.P50, d.P99, d.RawP50, d.RawP99 = round3(of(0.5, ours)), round3(of(0.99, ours)), round3(of(0.5, raw)), round3(of(0.99, raw))
	for _, r := range good {
		d.Max = max(d.Max, round3(quantile(r.ours, 1)))
	}
	return d, nil
}

// round measures both, each on a server of its own; swapped: ours first.
func (o Latency) round(ctx context.Context, swapped bool) (delaysOf, error) {
	var r delaysOf
	turns := []func(url string) error{
		func(url string) (err error) { r.raw, err = o.turn(ctx, url, &r.others, o.bare); return err },
		func(url string) (err error) { r.ours, err = o.turn(ctx, url, &r.others, o.ours); return err },
	}
	if swapped {
		turns[0], turns[1] = turns[1], turns[0]
	}
	for _, turn := range turns {
		if err := o.on(ctx, turn); err != nil {
			return r, err
		}
	}
	return r, nil
}

// turn measures one contender, and notes what others took.
func (o Latency) turn(ctx context.Context, url string, others *float64, contender func(context.Context, string, *stopwatch) error) ([]float64, error) {
	w := newStopwatch(int(o.Window.Seconds() * float64(o.Rate)))
	used, err := timed(ctx, url, func() error { return contender(ctx, url, w) })
	if err != nil {
		return nil, err
	}
	*others = max(*others, used.others())
	return w.delays(o.Rate / 4)
}

// ours hands single keyed jobs in, each call waiting for its answer.
func (o Latency) ours(ctx context.Context, url string, w *stopwatch) error {
	started := func(_ context.Context, d job.Delivery) (json.RawMessage, error) {
		w.stop(string(d.Payload[1:]))
		return nil, nil
	}
	r, err := startRing(ctx, ringSpec{url: url, partitions: o.Partitions, workers: 1, concurrency: o.Concurrency, handler: started})
	if err != nil {
		return err
	}
	defer r.close()
	p := r.store.NewProducer(r.queue)
	defer p.Close()
	next := payload(keyCount)
	err = paced(r.ended, float64(o.Rate), w.n, func(i int) error {
		j := next()
		j.Payload = json.RawMessage(strconv.Quote(w.label(i)))
		w.start(i)
		return enqueue(ctx, p, j)
	})
	if err != nil {
		return err
	}
	return r.drained(ctx)
}

func enqueue(ctx context.Context, p *streams.Producer, jobs ...job.Job) error {
	if _, errs := p.Enqueue(ctx, jobs...); errs != nil {
		return fmt.Errorf("bench: %w", firstOf(errs))
	}
	return nil
}

// bare is the blocking loop: one client adds, one reads, acknowledges and deletes.
func (o Latency) bare(ctx context.Context, url string, w *stopwatch) error {
	c, err := rawClient(url)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.XGroupCreateMkStream(ctx, rawStream, rawGroup, "0").Err(); err != nil {
		return fmt.Errorf("bare loop: %w", err)
	}
	defer func() { _ = c.Del(context.WithoutCancel(ctx), rawStream).Err() }()
	read, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := rawFollow(read, c, w); err != nil {
			cancel(err)
		}
	}()
	err = paced(read, float64(o.Rate), w.n, func(i int) error {
		label := w.label(i)
		w.start(i)
		return c.Do(read, "XADD", rawStream, "*", "p", label).Err()
	})
	if err != nil {
		cancel(err)
	}
	<-done
	if err != nil {
		return fmt.Errorf("bare loop: %w", err)
	}
	return nil
}

// rawFollow reads until the last job has come.
func rawFollow(ctx context.Context, c *redis.Client, w *stopwatch) error {
	for left := w.n; left > 0; {
		reply, err := c.Do(ctx, "XREADGROUP", "GROUP", rawGroup, "c", "COUNT", rawBatch, "BLOCK", 1000, "STREAMS", rawStream, ">").Slice()
		if errors.Is(err, redis.Nil) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return fmt.Errorf("bare loop: read: %w", err)
		}
		rows, _ := reply[0].([]any)[1].([]any)
		ack, del := []any{"XACK", rawStream, rawGroup}, []any{"XDEL", rawStream}
		for _, row := range rows {
			entry := row.([]any)
			w.stop(entry[1].([]any)[1].(string))
			ack, del = append(ack, entry[0]), append(del, entry[0])
		}
		p := c.Pipeline()
		p.Do(ctx, ack...)
		p.Do(ctx, del...)
		if _, err := p.Exec(ctx); err != nil {
			return fmt.Errorf("bare loop: ack: %w", err)
		}
		left -= len(rows)
	}
	return nil
}

// stopwatch takes the times of jobs by number.
type stopwatch struct {
	n      int
	zero   time.Time
	began  []atomic.Int64 // since zero
	passed []atomic.Int64
	filler string
}

const labelDigits = 10

func newStopwatch(n int) *stopwatch {
	return &stopwatch{n: n, zero: time.Now(), began: make([]atomic.Int64, n), passed: make([]atomic.Int64, n),
		filler: strings.Repeat("x", payloadBytes-labelDigits)}
}

// label is the payload of a job.
func (w *stopwatch) label(i int) string { return fmt.Sprintf("%0*d", labelDigits, i) + w.filler }

func (w *stopwatch) start(i int) { w.began[i].Store(int64(time.Since(w.zero))) }

func (w *stopwatch) stop(label string) {
	now := int64(time.Since(w.zero))
	if i, err := strconv.Atoi(label[:labelDigits]); err == nil && i < w.n {
		w.passed[i].Store(now - w.began[i].Load())
	}
}

// delays are the times taken but the first few, in ms.
func (w *stopwatch) delays(warmup int) ([]float64, error) {
	var out []float64
	for i := min(warmup, w.n); i < w.n; i++ {
		d := time.Duration(w.passed[i].Load())
		if d <= 0 {
			return nil, fmt.Errorf("bench: job %d of %d was not started", i, w.n)
		}
		out = append(out, millis(d))
	}
	return out, nil
}
