package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"ringmaster/configs"
	"ringmaster/internal/pause"
	"ringmaster/internal/producing"
	"ringmaster/internal/service"
	"ringmaster/job"
)

// batches per second of a producer.
const batchRate = 25

// playProducer hands jobs in until ctx ends. What the server does not answer is repeated,
// as the library does it, until the role's timeout; then the outcome is unknown.
func playProducer(ctx context.Context, r Role, n *counters) error {
	b, err := openBook(r)
	if err != nil {
		return err
	}
	defer b.close()
	common := configs.DefaultCommon()
	common.Redis = r.URL
	if r.Mode != "" {
		common.RedisMode = r.Mode
	}
	if err := r.durability(&common); err != nil {
		return err
	}
	s, err := service.Open(common, "ringmaster-chaos")
	if err != nil {
		return err
	}
	defer s.Close()
	p := producing.NewSet(s, configs.QueueSpec{})
	defer p.Close()
	var rate atomic.Int64
	var paused atomic.Bool
	rate.Store(int64(r.Rate))
	go orders(func(line string) { // ends with the process: its input does
		word, arg, _ := strings.Cut(line, " ")
		switch word {
		case "pause":
			paused.Store(true)
		case "resume":
			paused.Store(false)
		case "rate":
			if v, err := strconv.Atoi(arg); err == nil {
				rate.Store(int64(v))
			}
		}
	})
	f := newFeed(r)
	ticker := time.NewTicker(time.Second / batchRate)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		if paused.Load() {
			n.idle.Store(true)
			f.at = time.Time{}
			continue
		}
		n.idle.Store(false)
		jobs, tokens := f.batch(int(rate.Load()))
		if len(jobs) > 0 {
			in := f.send(ctx, p, b, jobs, tokens)
			n.accepted.Add(int64(in))
			n.failed.Add(int64(len(jobs) - in))
		}
	}
}

// feed makes jobs.
type feed struct {
	role Role
	rnd  *rand.Rand
	keys *rand.Zipf
	seq  int
	due  float64 // jobs that are due and not made
	at   time.Time
	busy string // the key of a run of jobs
	more int    // left of that run
}

// Now and then a key gets so many jobs in a row that they would fill its partition's window.
const (
	runEvery  = 1000
	runLength = 150
)

// key is the next job's.
func (f *feed) key() string {
	if f.more == 0 {
		key := "k" + strconv.FormatUint(f.keys.Uint64(), 10)
		if f.rnd.IntN(runEvery) > 0 {
			return key
		}
		f.busy, f.more = key, runLength
	}
	f.more--
	return f.busy
}

func newFeed(r Role) *feed {
	rnd := rand.New(rand.NewPCG(r.Seed, 1))
	return &feed{role: r, rnd: rnd, keys: rand.NewZipf(rnd, 1.1, 4, uint64(max(r.Keys, 2)-1))}
}

func (f *feed) batch(rate int) ([]job.Job, []string) {
	now := time.Now()
	if f.at.IsZero() {
		f.at = now
	}
	// While the server does not answer they pile up, but no more than those of two seconds.
	f.due = min(f.due+float64(rate)*now.Sub(f.at).Seconds(), 2*float64(rate))
	f.at = now
	var jobs []job.Job
	var tokens []string
	for ; f.due >= 1; f.due-- {
		f.seq++
		token := fmt.Sprintf("%s-%d", f.role.Name, f.seq)
		// Keys are few and some jobs long, so that a fault meets jobs that run while others
		// of their key wait.
		w := Work{Token: token, Ms: f.rnd.IntN(16)}
		switch n := f.rnd.IntN(200); {
		case n == 0:
			w.Ms = 200
		case n < 20:
			w.Ms = 30 + f.rnd.IntN(70)
		}
		jobs = append(jobs, jobOf(w, f.key()))
		if f.role.Once {
			jobs[len(jobs)-1].IdempotencyKey = token
		}
		tokens = append(tokens, token)
	}
	return jobs, tokens
}

func jobOf(w Work, key string) job.Job {
	raw, err := json.Marshal(w)
	if err != nil {
		panic(err) // numbers and text
	}
	return job.Job{Type: "work", Key: key, Payload: raw}
}

// send hands jobs in, writes down what became of them and returns how many are in.
func (f *feed) send(ctx context.Context, p *producing.Set, b *book, jobs []job.Job, tokens []string) int {
	for i := range jobs {
		b.invoked(tokens[i], jobs[i].Key)
	}
	// A stop of the process does not make the outcome unknown.
	limit := f.role.Timeout
	if limit == 0 {
		limit = 2 * time.Minute
	}
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	receipts, errs := p.Enqueue(call, f.role.Queue, jobs)
	accepted := 0
	for i := range jobs {
		var err error
		if errs != nil {
			err = errs[i]
		}
		// A refusal of the repeat says nothing about the attempt before it.
		unknown := errors.Is(err, job.ErrOutcomeUnknown)
		for f.role.Once && unknown && err != nil && call.Err() == nil {
			again, more := p.Enqueue(call, f.role.Queue, jobs[i:i+1])
			if receipts[i], err = again[0], nil; more != nil {
				err = more[0]
				f.breathe(call)
			}
		}
		switch {
		case err == nil:
			accepted++
			b.accepted(tokens[i], jobs[i].Key, receipts[i])
		case unknown:
			b.unknown(tokens[i], jobs[i].Key)
		default:
			b.refused(tokens[i], jobs[i].Key)
		}
	}
	return accepted
}

// breathe waits before a repeat, as the server is likely to be down.
func (f *feed) breathe(ctx context.Context) {
	pause.For(ctx, time.Duration(10+f.rnd.IntN(20))*time.Millisecond)
}
