package streams

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"ringmaster/job"
)

// Workers lists the members of one queue, or of all (""): then a queue with damaged keys
// does not hide the others.
func (in *Inspector) Workers(ctx context.Context, queue string) ([]job.WorkerView, error) {
	qs, err := in.queuesOr(ctx, queue)
	if err != nil {
		return nil, err
	}
	out := []job.WorkerView{}
	for _, q := range qs {
		rec, _, err := in.records(ctx, q)
		if err != nil && queue == "" && !IsUnreachable(err) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		owned := map[string]int{}
		for _, o := range rec.Owners {
			owned[o.Incarnation]++
		}
		for _, m := range rec.Members {
			out = append(out, job.WorkerView{Name: m.Name, Incarnation: m.Incarnation, Queue: q.Name, State: m.State, Host: m.Host, PID: m.PID,
				Slots: m.Slots, Weight: m.Weight, Partitions: owned[m.Incarnation], LeaseSeconds: max(m.LeaseLeft.Seconds(), 0),
				ClockAhead: float64(m.AheadMs) / 1000})
		}
	}
	return out, nil
}

// queuesOr is the named queue, or all.
func (in *Inspector) queuesOr(ctx context.Context, queue string) ([]Queue, error) {
	if queue == "" {
		qs, _, err := in.s.Queues(ctx)
		return qs, err
	}
	q, err := in.s.lookup(ctx, queue)
	return []Queue{q}, err
}

// Drain asks the worker to leave, as SIGTERM would: by name or incarnation, in every
// queue it is a member of. It returns the incarnations that were told; it does not wait
// for them to go. ErrNotFound: no member is called so.
func (s *Store) Drain(ctx context.Context, worker string) ([]string, error) {
	members, err := s.Inspect().Workers(ctx, "")
	if err != nil {
		return nil, err
	}
	var told []string
	for _, m := range members {
		if m.Name != worker && m.Incarnation != worker {
			continue
		}
		q, err := s.queue(ctx, m.Queue)
		if err != nil {
			return told, err
		}
		heard, err := s.tellDrain(ctx, q, m.Incarnation)
		if err != nil {
			return told, err
		}
		if heard && !slices.Contains(told, m.Incarnation) {
			told = append(told, m.Incarnation)
		}
	}
	if told == nil {
		return nil, job.NotFound("no worker %q is a member of a ring: 'ringctl workers ls' lists them", worker)
	}
	return told, nil
}

// tellDrain writes to the worker's inbox in each shard; false if it has none.
func (s *Store) tellDrain(ctx context.Context, q Queue, inc string) (bool, error) {
	heard := false
	for sh := range q.Shards {
		err := s.cmd.XAdd(ctx, &redis.XAddArgs{Stream: inboxKey(s.shard(q, sh), inc), NoMkStream: true, MaxLen: 1000, Approx: true,
			Values: []any{"type", "drain", "name", "Master", "phase", "0", "epoch", "0", "term", "0", "data", "{}"}}).Err()
		if err != nil && !errors.Is(err, redis.Nil) {
			return heard, wrap("drain "+inc, err)
		}
		heard = heard || err == nil
	}
	return heard, nil
}

// How long a queue may be without a leader before a request for a resize is given up: a
// failover takes less.
const (
	leaderless    = 5 * time.Second
	requestPoll   = 20 * time.Millisecond
	requestPeriod = 30 * time.Second // if ctx has no deadline
)

// RequestResize asks the leader to plan the whole ring anew, in mode key (the default,
// ""), partition or ring, and waits for the ring epoch of that plan; it does not wait for
// the moves. An open request of the same mode is joined, one of another mode is an
// ErrConflict, and so is a queue without a worker. Without any dispatcher the request is
// taken back: ErrUnavailable. If ctx ends before the answer, the resize may still happen:
// ErrOutcomeUnknown.
func (s *Store) RequestResize(ctx context.Context, queue, mode string) (uint64, error) {
	if mode == "" {
		mode = "key"
	}
	if !slices.Contains([]string{"key", "partition", "ring"}, mode) {
		return 0, job.Invalid("mode %q: want key, partition or ring", mode)
	}
	q, err := s.lookup(ctx, queue)
	if err != nil {
		return 0, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestPeriod)
		defer cancel()
	}
	own := uuid.NewString()
	a, err := run(ctx, s, s.cmd, &s.scripts.request, s.shard(q, 0), own, mode, "")
	if err != nil {
		return 0, err
	}
	switch a.word {
	case "ASKED":
		return s.awaitAnswer(ctx, q, own, a.what, mode)
	case "BUSY":
		return 0, job.Conflict("a resize in mode %s is asked for and not answered yet: try again after it", a.what)
	case "NOWORKER":
		return 0, job.Conflict("queue %s has no worker: its partitions are planned as soon as one joins", queue)
	default:
		return 0, job.NotFound("queue %s has no ring record: start a dispatcher, which mends it", queue)
	}
}

// requested is what becomes of a request for a resize.
type requested struct {
	word string
	what string // of ASKED the request that will be answered, of BUSY the mode of the open one
}

func readRequested(v any) (requested, bool) {
	r := listOf(v)
	a := requested{word: r.word("ASKED", "BUSY", "WITHDRAWN", "NOQUEUE", "NOWORKER")}
	if a.word == "ASKED" || a.word == "BUSY" {
		a.what = r.text()
	}
	return a, r.whole()
}

func (s *Store) awaitAnswer(ctx context.Context, q Queue, own, id, mode string) (uint64, error) {
	ring := s.shard(q, 0) + "ring"
	seen, led := time.Now(), true
	var last error
	for {
		answered, err := s.cmd.HGet(ctx, ring, "answered").Result()
		if err == nil {
			if f := strings.Fields(answered); len(f) > 1 && f[0] == id {
				return strconv.ParseUint(f[len(f)-1], 10, 64)
			}
		}
		if err != nil && !errors.Is(err, redis.Nil) {
			last = wrap("wait for the resize", err)
		}
		leads, err := s.cmd.Exists(ctx, s.shard(q, 0)+"leader").Result()
		if err == nil {
			led = leads == 1
		}
		if led {
			seen = time.Now()
		}
		if time.Since(seen) > leaderless {
			return 0, s.withdraw(ctx, q, own, mode)
		}
		pause := time.NewTimer(requestPoll)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			if !led {
				return 0, s.withdraw(context.WithoutCancel(ctx), q, own, mode)
			}
			return 0, fmt.Errorf("resize of queue %s: asked for, but not answered yet: %w", q.Name, errors.Join(job.ErrOutcomeUnknown, ctx.Err(), last))
		}
	}
}

// withdraw takes a request back that nobody will answer, and says so.
func (s *Store) withdraw(ctx context.Context, q Queue, own, mode string) error {
	if _, err := run(ctx, s, s.cmd, &s.scripts.request, s.shard(q, 0), own, mode, "withdraw"); err != nil {
		return err
	}
	return fmt.Errorf("resize of queue %s: no dispatcher leads it; start one with 'dispatcher': %w", q.Name, errNoLeader)
}

// errNoLeader is an ErrUnavailable whose text does not blame the server.
var errNoLeader = leaderError{}

type leaderError struct{}

func (leaderError) Error() string { return "nobody to plan the resize" }
func (leaderError) Unwrap() error { return job.ErrUnavailable }
