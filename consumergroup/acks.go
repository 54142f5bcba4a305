package consumergroup

import (
	"context"
	"errors"
	"slices"
	"time"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
)

// ended is a run whose end waits for the store's answer.
type ended struct {
	it *lanes.Item
	c  job.Completion
}

// report is a reply to a phase, to be written.
type report struct {
	epoch uint64
	phase int
	data  string
}

func (s *shard) wakeAcker() {
	select {
	case s.ackWake <- struct{}{}:
	default:
	}
}

// runAcker ends runs until ctx ends. What arrives while one call is under way goes with
// the next, so batches grow with load and a lone end never waits for a timer.
func (s *shard) runAcker(ctx context.Context) {
	var spare []ended
	for {
		s.w.mu.Lock()
		batch, reports := s.ends, s.reports
		s.ends, s.reports = spare, nil
		s.w.mu.Unlock()
		if spare = batch[:0]; len(batch) == 0 && len(reports) == 0 {
			select {
			case <-s.ackWake:
			case <-ctx.Done():
				return
			}
			continue
		}
		for _, r := range reports {
			s.persist(ctx, "report", func(ctx context.Context) error {
				return s.session.member.Report(ctx, s.number, r.epoch, r.phase, r.data)
			})
		}
		for rest := batch; len(rest) > 0; {
			n := callOf(rest)
			s.flush(ctx, rest[:n])
			rest = rest[n:]
		}
		clear(batch)
	}
}

// One call to the store ends so many runs at most: it must not hold the server, nor a slow link,
// for long.
const (
	mostOfCall  = 2000
	bytesOfCall = 1 << 20 // or what a single one has
)

// callOf is how many of the ends go with the next call.
func callOf(ends []ended) int {
	bytes := 0
	for n := range ends[:min(len(ends), mostOfCall)] {
		if bytes += len(ends[n].c.Data); bytes > bytesOfCall && n > 0 {
			return n
		}
	}
	return min(len(ends), mostOfCall)
}

// tellAfter is how long a call may go unanswered before that is logged.
const tellAfter = 2 * time.Second

var errOnItsWay = errors.New("it is on its way: it is large, the link is slow, or the server is busy")

// persist repeats a call that is safe to repeat until it is answered or ctx ends. While it is
// not answered jobs wait that nobody else can tell of, so that is told after a while: of a call
// too that is on its way for long, as one with large results over a slow link.
func (s *shard) persist(ctx context.Context, what string, call func(context.Context) error) bool {
	pause, begun, told, last := 10*time.Millisecond, time.Now(), false, errOnItsWay
	tell := func(err error) {
		s.w.deps.Log.Warn(what+" is not answered: trying until it is", "for", time.Since(begun).Round(time.Millisecond), "error", err)
	}
	for {
		over := make(chan struct{})
		late := time.AfterFunc(max(tellAfter-time.Since(begun), 0), func() {
			defer close(over)
			if !told && ctx.Err() == nil {
				told = true
				tell(last)
			}
		})
		err := call(ctx)
		if !late.Stop() {
			<-over
		}
		if err == nil {
			if told {
				s.w.deps.Log.Info(what+" was answered", "after", time.Since(begun).Round(time.Millisecond))
			}
			return true
		}
		if !waitable(err) {
			s.w.deps.Log.Error(what+" was refused", "error", err)
			return false
		}
		last = err
		if !sleep(ctx, pause) {
			return false
		}
		pause = min(2*pause, time.Second)
	}
}

func waitable(err error) bool {
	return errors.Is(err, job.ErrUnavailable) || errors.Is(err, job.ErrOutcomeUnknown) || errors.Is(err, job.ErrFull)
}

// sleep waits, and reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// flush ends a batch. An unanswered call is repeated: what was applied the first time
// answers NotPending. While it is unanswered every lane in it stays busy.
func (s *shard) flush(ctx context.Context, batch []ended) {
	groups := s.group(batch)
	defer func() { // what they refer to is not kept alive
		clear(s.completions)
		clear(s.items)
	}()
	if s.flushGroups(ctx, groups) || ctx.Err() != nil {
		return
	}
	// The script was refused: one partition's keys may be of another type, say. Each for itself.
	for i := range groups {
		for !s.flushGroups(ctx, groups[i:i+1]) {
			s.w.deps.Log.Error("partition cannot be acknowledged: trying again", "partition", groups[i].acks.Partition)
			if !sleep(ctx, time.Second) {
				return
			}
		}
	}
}

type ackGroup struct {
	t     *lanes.Tenure
	size  int
	acks  job.PartitionAcks
	items []*lanes.Item
}

// group sorts a batch by tenure. The groups' memory is used again for the next batch.
func (s *shard) group(batch []ended) []ackGroup {
	var groups []ackGroup
	at := map[*lanes.Tenure]int{}
	for i := range batch {
		t := batch[i].it.Tenure
		n, ok := at[t]
		if !ok {
			n = len(groups)
			at[t] = n
			groups = append(groups, ackGroup{t: t, acks: job.PartitionAcks{Partition: t.Partition, Epoch: t.Epoch}})
		}
		groups[n].size++
	}
	completions, items := slices.Grow(s.completions[:0], len(batch)), slices.Grow(s.items[:0], len(batch))
	s.completions, s.items = completions[:len(batch)], items[:len(batch)]
	from := 0
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for i := range groups {
		g := &groups[i]
		to := from + g.size
		g.acks.Completions, g.items = completions[from:from:to], items[from:from:to]
		from = to
		g.acks.Pinned = g.t.Pinned()
	}
	for i := range batch {
		g := &groups[at[batch[i].it.Tenure]]
		g.acks.Completions = append(g.acks.Completions, batch[i].c)
		g.items = append(g.items, batch[i].it)
	}
	for i := range groups {
		groups[i].acks.Untrimmed = groups[i].t.LeaveUntrimmed(groups[i].items)
	}
	return groups
}

// flushGroups repeats one call until it is answered, and applies the answers. It reports
// false if the store refused the script.
func (s *shard) flushGroups(ctx context.Context, groups []ackGroup) bool {
	batches := make([]job.PartitionAcks, len(groups))
	for i := range groups {
		batches[i] = groups[i].acks
	}
	// The reader merges its own pending list only while no end is in flight.
	if s.merge.Enter(ctx) != nil {
		return true
	}
	defer s.merge.Leave()
	s.w.mu.Lock()
	for i := range groups {
		s.lanes.Sent(groups[i].items)
	}
	s.w.mu.Unlock()
	var answers [][]job.Answer
	refused := false
	ok := s.persist(ctx, "ack", func(ctx context.Context) error {
		var err error
		answers, err = s.session.member.Ack(ctx, s.number, batches)
		refused = err != nil && !waitable(err)
		return err
	})
	if refused {
		return false
	}
	if ok {
		s.applyAll(groups, answers)
	}
	return true
}

func (s *shard) applyAll(groups []ackGroup, answers [][]job.Answer) {
	w := s.w
	now := time.Now()
	var lost []job.Tenure
	w.mu.Lock()
	for i := range groups {
		g := &groups[i]
		fenced := false
		for k, it := range g.items {
			fenced = s.lanes.Answered(it, &g.acks.Completions[k], answers[i][k], now) || fenced
		}
		if fenced {
			lost = append(lost, g.t.Tenure)
		}
		s.lanes.Settled(g.t, len(g.items), now)
	}
	w.mu.Unlock()
	for _, t := range lost {
		s.fenced(t)
	}
}
