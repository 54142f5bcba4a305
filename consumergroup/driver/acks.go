package driver

import (
	"context"
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

// RunAcks writes the reports and sends the ends of runs until ctx ends. What arrives while one call
// is under way goes with the next, so batches grow with load and a lone end never waits for a timer.
// It blocks; call it once.
func (d *Driver) RunAcks(ctx context.Context) {
	var spare []ended
	for {
		d.lock.Lock()
		batch, reports := d.ends, d.reports
		d.ends, d.flight, d.reports = spare, batch, nil
		d.lock.Unlock()
		if spare = batch[:0]; len(batch) == 0 && len(reports) == 0 {
			if !d.due.Wait(ctx) {
				return
			}
			continue
		}
		for _, r := range reports {
			d.persist(ctx, "report", func(ctx context.Context) error {
				return d.member.Report(ctx, d.cfg.Shard, r.epoch, r.phase, r.data)
			})
		}
		for rest := batch; len(rest) > 0; {
			n := callOf(rest)
			d.flush(ctx, rest[:n])
			rest = rest[n:]
		}
		d.lock.Lock()
		d.flight = nil
		clear(batch)
		d.lock.Unlock()
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

// persist repeats a call that is safe to repeat until it is answered or ctx ends. While it is
// not answered jobs wait that nobody else can tell of, so the host is told.
func (d *Driver) persist(ctx context.Context, what string, call func(context.Context) error) bool {
	waits := d.host.Waits(ctx, what)
	defer waits.Over()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := call(ctx)
		if err == nil {
			waits.Answered()
			return true
		}
		if !job.Waitable(err) {
			d.log.Error(what+" was refused", "error", err)
			return false
		}
		waits.Failed(err)
		if !d.clock.Sleep(ctx, pause) {
			return false
		}
	}
}

// flush ends a batch. An unanswered call is repeated: what was applied the first time
// answers NotPending. While it is unanswered every lane in it stays busy.
func (d *Driver) flush(ctx context.Context, batch []ended) {
	groups := d.group(batch)
	defer func() { // what they refer to is not kept alive
		clear(d.completions)
		clear(d.items)
	}()
	if d.flushGroups(ctx, groups) || ctx.Err() != nil {
		return
	}
	// The script was refused: one partition's keys may be of another type, say. Each for itself.
	for i := range groups {
		for !d.flushGroups(ctx, groups[i:i+1]) {
			d.log.Error("partition cannot be acknowledged: trying again", "partition", groups[i].acks.Partition)
			if !d.clock.Sleep(ctx, time.Second) {
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
func (d *Driver) group(batch []ended) []ackGroup {
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
	completions, items := slices.Grow(d.completions[:0], len(batch)), slices.Grow(d.items[:0], len(batch))
	d.completions, d.items = completions[:len(batch)], items[:len(batch)]
	from := 0
	d.lock.Lock()
	defer d.lock.Unlock()
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
func (d *Driver) flushGroups(ctx context.Context, groups []ackGroup) bool {
	batches := make([]job.PartitionAcks, len(groups))
	for i := range groups {
		batches[i] = groups[i].acks
	}
	// The reader merges its own pending list only while no end is in flight.
	if d.merge.Enter(ctx) != nil {
		return true
	}
	defer d.merge.Leave()
	d.lock.Lock()
	for i := range groups {
		d.lanes.Sent(groups[i].items)
	}
	d.lock.Unlock()
	var answers [][]job.Answer
	refused := false
	ok := d.persist(ctx, "ack", func(ctx context.Context) error {
		var err error
		answers, err = d.member.Ack(ctx, d.cfg.Shard, batches)
		refused = err != nil && !job.Waitable(err)
		return err
	})
	if refused {
		return false
	}
	if ok {
		d.applyAll(groups, answers)
	}
	return true
}

func (d *Driver) applyAll(groups []ackGroup, answers [][]job.Answer) {
	now := d.clock.Now()
	var lost []job.Tenure
	d.lock.Lock()
	for i := range groups {
		g := &groups[i]
		fenced := false
		for k, it := range g.items {
			fenced = d.lanes.Answered(it, &g.acks.Completions[k], answers[i][k], now) || fenced
		}
		if fenced {
			lost = append(lost, g.t.Tenure)
		}
		d.lanes.Settled(g.t, len(g.items), now)
	}
	d.lock.Unlock()
	for _, t := range lost {
		d.Fenced(t)
	}
}
