package driver

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
	"ringmaster/resize"
)

// Run reads the shard, and has the participant act on what comes, until ctx ends or the incarnation
// does (ErrEvicted). While the store does not answer it tries until it does. It always returns an
// error. It blocks; call it once.
func (d *Driver) Run(ctx context.Context) error {
	if err := d.reset(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := d.turn(ctx); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// turn is one round: events, what a lost answer left open, a read.
func (d *Driver) turn(ctx context.Context) error {
	if err := d.handleEvents(ctx); err != nil {
		return err
	}
	if d.unsure {
		return d.reset(ctx)
	}
	if d.lookWanted() {
		if err := d.takeStock(ctx); err != nil {
			return d.readFailed(ctx, err)
		}
		return nil
	}
	unparked, err := d.unparkWanted(ctx)
	if err != nil {
		return err
	}
	if len(d.news) > 0 {
		return d.messages(ctx, nil)
	}
	parts, count, block := d.toRead()
	if !d.startBlocking() {
		if !unparked {
			return nil
		}
		block = -1 // more is to come back already: new jobs are read in between
	}
	if err := d.skim(ctx); err != nil || d.unsure {
		d.endBlocking()
		return err
	}
	batch, err := d.reader.Read(ctx, parts, count, block)
	d.endBlocking()
	if err != nil {
		return d.readFailed(ctx, err)
	}
	d.gone = 0
	d.hears()
	d.weigh(batch)
	if len(batch.Jobs) > 0 {
		d.take(batch.Jobs)
		d.host.Arrived()
	}
	return d.messages(ctx, batch.Control)
}

// weigh notes how fast an answer came, if it was large enough to tell.
func (d *Driver) weigh(batch job.ReadBatch) {
	if batch.Speed == 0 {
		return
	}
	d.lock.Lock()
	d.lanes.Carried(batch.Speed)
	d.lock.Unlock()
}

// hears notes that the reader has had an answer.
func (d *Driver) hears() {
	d.lock.Lock()
	d.heard = d.clock.Now()
	d.lock.Unlock()
}

// startBlocking announces a blocking read, unless there is something to do first.
func (d *Driver) startBlocking() bool {
	d.lock.Lock()
	defer d.lock.Unlock()
	if d.woken || (d.stirred && len(d.held) > 0) || len(d.events) > 0 || d.lanes.UnparkWanted() {
		d.woken = false
		return false
	}
	d.blocked = true
	return true
}

func (d *Driver) endBlocking() {
	d.lock.Lock()
	d.blocked, d.poked = false, false
	d.lanes.ReadEnded()
	d.lock.Unlock()
}

// toRead chooses the partitions with room, how much to ask of each, and how long to wait: -1
// for not at all.
func (d *Driver) toRead() (parts []int, count int, block time.Duration) {
	d.lock.Lock()
	defer d.lock.Unlock()
	parts, count, block = d.lanes.ToRead(d.clock.Now())
	longest := d.cfg.Block
	if d.resting && d.pool.Runs() == 0 {
		longest += longest / 2
	}
	longest = min(longest, d.cfg.Lease/2) // who hears nothing for two leases is deaf
	switch {
	case block < 0:
		block = -1
	case block == 0 || block > longest:
		block = longest
	}
	return parts, count, block
}

// take hands new jobs to their lanes.
func (d *Driver) take(jobs []job.PartitionEntries) {
	now := d.clock.Now()
	d.lock.Lock()
	defer d.lock.Unlock()
	for _, pe := range jobs {
		d.lanes.Arrive(pe.Partition, pe.Entries, now)
	}
}

// messages decodes control entries, those first that claims have brought along, and lets the
// participant act on them.
func (d *Driver) messages(ctx context.Context, entries []job.ControlEntry) error {
	entries = append(d.news, entries...)
	d.news = nil
	if len(entries) == 0 {
		return nil
	}
	ids := make([]string, len(entries))
	var events []resize.ParticipantEvent
	for i, e := range entries {
		ids[i] = e.ID
		if what := e.Fields["type"]; what == "drain" || what == "beat" {
			d.host.Asked(what)
			continue
		}
		m, err := resize.Decode(e.Fields)
		if err != nil {
			d.log.Warn("control message ignored", "entry_id", e.ID, "error", err)
			continue
		}
		events = append(events, resize.MessageReceived{Message: m})
	}
	d.stirred = true
	if err := d.step(ctx, events...); err != nil {
		return err
	}
	if err := d.reader.AckControl(ctx, ids); err != nil && !errors.Is(err, job.ErrGroupGone) {
		return d.readFailed(ctx, err)
	}
	return nil
}

// handleEvents feeds the participant what others posted.
func (d *Driver) handleEvents(ctx context.Context) error {
	now := d.clock.Now()
	d.host.Turns(now)
	d.lock.Lock()
	d.lanes.Overdue(now, d.cfg.Drain)
	events := d.events
	d.events = nil
	d.lock.Unlock()
	events = slices.DeleteFunc(events, func(ev resize.ParticipantEvent) bool {
		_, is := ev.(resize.RunsEnded)
		return is && !d.stillIdle()
	})
	if len(d.held) > 0 && (len(events) > 0 || d.stirred || !d.full()) {
		events = append(events, d.held...)
		d.held, d.stirred = nil, false
	}
	return d.step(ctx, events...)
}

// full reports whether claims are to wait for room.
func (d *Driver) full() bool {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.lanes.Full()
}

// stillIdle looks again: gates may have opened since the event was posted.
func (d *Driver) stillIdle() bool {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.lanes.StillIdle()
}

// skim reads new jobs of partitions that have keys with parked jobs.
func (d *Driver) skim(ctx context.Context) error {
	d.lock.Lock()
	asks := d.lanes.Skims()
	d.lock.Unlock()
	if len(asks) == 0 {
		return nil
	}
	pages, errs := d.reader.Skim(ctx, asks)
	var failed error
	now := d.clock.Now()
	d.lock.Lock()
	for i, a := range asks {
		switch {
		case errs[i] != nil:
			d.lanes.SkimFailed(a)
			if errors.Is(errs[i], job.ErrOutcomeUnknown) || errors.Is(errs[i], job.ErrUnavailable) {
				failed = cmp.Or(failed, errs[i])
			} // else a plain read finds out the same
		case pages[i].Fenced:
			d.events = append(d.events, resize.PartitionFenced{Part: a.Tenure.Partition, Epoch: a.Tenure.Epoch})
		default:
			d.lanes.Skimmed(a, &pages[i], now)
		}
	}
	d.lock.Unlock()
	if failed != nil {
		return d.readFailed(ctx, failed)
	}
	return nil
}

// unparkWanted brings parked jobs back for the keys that ran low. It reports whether there
// were any.
func (d *Driver) unparkWanted(ctx context.Context) (bool, error) {
	d.lock.Lock()
	wanted := d.lanes.Unparks()
	slices.SortStableFunc(wanted, func(a, b *lanes.Lane) int { return cmp.Compare(a.Tenure.Partition, b.Tenure.Partition) })
	asks := make([]job.Unpark, len(wanted))
	for i, l := range wanted {
		asks[i] = job.Unpark{Tenure: l.Tenure.Tenure, Key: l.Key, Count: l.Asked()}
	}
	d.lock.Unlock()
	if len(asks) == 0 {
		return false, nil
	}
	pages, errs := d.reader.Unpark(ctx, asks)
	var failed error
	now := d.clock.Now()
	d.lock.Lock()
	for i, l := range wanted {
		switch {
		case errs[i] != nil && !job.Waitable(errs[i]) && !errors.Is(errs[i], job.ErrGroupGone):
			d.log.Error("parked jobs of a key cannot be read: it stands still until its partition moves", "partition", l.Tenure.Partition, "key", l.Key, "error", errs[i])
			l.Spoiled()
		case errs[i] != nil:
			d.lanes.UnparkFailed(wanted[i : i+1])
			failed = cmp.Or(failed, errs[i])
		case pages[i].Fenced:
			d.events = append(d.events, resize.PartitionFenced{Part: l.Tenure.Partition, Epoch: l.Tenure.Epoch})
		default:
			d.lanes.Unparked(l, pages[i], now)
		}
	}
	d.lock.Unlock()
	if failed != nil {
		return false, d.readFailed(ctx, failed)
	}
	return true, nil
}
