package doctor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"ringmaster/configs"
	"ringmaster/internal/leading"
	"ringmaster/resize"
	"ringmaster/resize/runner"
	"ringmaster/streams"
)

// deed is one thing that was done to mend a queue; Partition -1: to its ring.
type deed struct {
	Partition int
	What      string
}

// mend puts right what was found in a queue, until nothing is left that can be, but no
// longer than patience: it gives the owner what others hold, and does what a leading
// dispatcher does: a plan that is not done it writes anew, and healthy partitions do not move.
// Where a dispatcher leads it stands by and waits for that one, which it asks for the new plan.
func mend(ctx context.Context, s *streams.Store, queue string, found []Inconsistency, patience time.Duration, log *slog.Logger) ([]deed, error) {
	if !slices.ContainsFunc(found, mendable) {
		return nil, nil
	}
	done, err := reclaim(ctx, s, queue)
	if err != nil {
		return done, err
	}
	if slices.ContainsFunc(found, func(f Inconsistency) bool { return f.Check == UnfinishedPlan }) {
		done = append(done, planAnew(ctx, s, queue, patience)...)
	}
	led, err := leadAwhile(ctx, s, queue, patience, log)
	return append(done, led...), err
}

// planAnew asks who leads the ring to supersede a plan that is not done, in its mode. What
// becomes of it the next look tells: nothing is lost where nobody answers.
func planAnew(ctx context.Context, s *streams.Store, queue string, patience time.Duration) []deed {
	ctx, cancel := context.WithTimeout(ctx, patience/2)
	defer cancel()
	ring, err := s.Inspect().RingView(ctx, queue)
	if err != nil || ring.Leader == "" {
		return nil
	}
	epoch, err := s.RequestResize(ctx, queue, ring.Mode)
	if err != nil {
		return nil
	}
	return []deed{{-1, fmt.Sprintf("had the leader plan anew: ring epoch %d", epoch)}}
}

// mendable: a doctor can do something about it.
func mendable(f Inconsistency) bool {
	return !slices.Contains([]string{NoWorker, NoLeader, WrongType}, f.Check)
}

// reclaim gives the owners what is pending under consumers that can end nothing.
func reclaim(ctx context.Context, s *streams.Store, queue string) ([]deed, error) {
	seen, err := s.Inspect().Sightings(ctx, queue)
	if err != nil {
		return nil, err
	}
	var done []deed
	for _, v := range seen {
		for _, h := range v.Pending {
			if h.Count == 0 || h.Reclaim || h.Consumer == v.Owner.Incarnation {
				continue
			}
			n, err := s.Reclaim(ctx, queue, v.Partition, h.Consumer) // the script spares whoever may end jobs
			if err != nil {
				return done, err
			}
			if n > 0 {
				done = append(done, deed{v.Partition, fmt.Sprintf("gave %d jobs of %s to the owner", n, h.Consumer)})
			}
		}
	}
	return done, nil
}

// leadAwhile leads the ring, if nobody does, until nothing mendable is left.
func leadAwhile(ctx context.Context, s *streams.Store, queue string, patience time.Duration, log *slog.Logger) ([]deed, error) {
	q, err := s.LookupQueue(ctx, queue)
	if err != nil {
		return nil, err
	}
	cfg := configs.DefaultDispatcher()
	rules := leading.Rules(cfg)
	rules.Protocol.Quiet, rules.Protocol.QuietMax = time.Hour.Milliseconds(), time.Hour.Milliseconds() // no balancing
	rules.Protocol.Anew = true
	ring := &deeds{Ring: leading.NewRing(s, q, "doctor."+uuid.NewString(), 0, log)}
	r, err := runner.New(rules, ring, leading.NewDetector(cfg.LeaseTTL), log)
	if err != nil {
		return nil, fmt.Errorf("mend queue %s: %w", queue, err)
	}
	while, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { r.Run(while) })
	err = untilMended(ctx, s, queue, patience)
	stop()
	running.Wait()
	return ring.done, err
}

func untilMended(ctx context.Context, s *streams.Store, queue string, patience time.Duration) error {
	over := time.NewTimer(patience)
	defer over.Stop()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		found, led, err := look(ctx, s, queue)
		if err != nil || led && !slices.ContainsFunc(found, mendable) {
			return err
		}
		select {
		case <-ticker.C:
		case <-over.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// deeds is a leading.Ring that remembers what was changed through it. Only the runner's
// goroutine calls it; the list is read when that has ended.
type deeds struct {
	*leading.Ring
	done []deed
}

func (d *deeds) did(partition int, err error, format string, args ...any) {
	if err == nil {
		d.done = append(d.done, deed{partition, fmt.Sprintf(format, args...)})
	}
}

func (d *deeds) Evict(ctx context.Context, term uint64, a resize.EvictWorker) error {
	err := d.Ring.Evict(ctx, term, a)
	d.did(-1, err, "evicted %s (%s)", a.Incarnation, a.Evidence)
	return err
}

func (d *deeds) WritePlan(ctx context.Context, term uint64, a resize.WritePlan) error {
	err := d.Ring.WritePlan(ctx, term, a)
	d.did(-1, err, "planned anew after ring epoch %d", a.BaseEpoch)
	return err
}

func (d *deeds) Steal(ctx context.Context, term uint64, as []resize.StealPartition) []error {
	errs := d.Ring.Steal(ctx, term, as)
	for i, a := range as {
		d.did(a.Partition, errs[i], "moved from %s to %s", a.From, a.To)
	}
	return errs
}

func (d *deeds) Revoke(ctx context.Context, term uint64, a resize.RevokePermit) error {
	err := d.Ring.Revoke(ctx, term, a)
	d.did(a.Partition, err, "took job %s back from %s", a.ID, a.Incarnation)
	return err
}

func (d *deeds) Repair(ctx context.Context, term uint64) ([]string, error) {
	mended, err := d.Ring.Repair(ctx, term)
	for _, m := range mended {
		p := -1
		_, _ = fmt.Sscanf(m, "partition %d:", &p) // else it concerns the ring
		d.did(p, nil, "%s", m)
	}
	return mended, err
}
