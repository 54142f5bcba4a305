package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ringmaster/consumergroup/lanes"
	"ringmaster/job"
	"ringmaster/resize"
)

// doubt: a call was not answered. Nothing starts, and nothing is asked of the store, until the
// connection was made anew and the records were read; see reset.
func (d *Driver) doubt() {
	d.unsure = true
	d.lock.Lock()
	defer d.lock.Unlock()
	d.resting = false
	d.lanes.Doubt()
}

// stirs notes that the participant has news, and settles that it has acted on them: at rest, what
// a heartbeat brings is compared without waking the reader.
func (d *Driver) stirs() {
	d.lock.Lock()
	d.resting = false
	d.lock.Unlock()
}

func (d *Driver) settles() {
	rest, resting := d.brain.Rest()
	d.lock.Lock()
	d.rest, d.resting = rest, resting && !d.unsure
	stirred := !d.resting
	d.lock.Unlock()
	if stirred {
		d.host.Stirred()
	}
}

// lookWanted reports, once, whether a heartbeat has stopped the starts.
func (d *Driver) lookWanted() bool {
	d.lock.Lock()
	defer d.lock.Unlock()
	wanted := d.look
	d.look = false
	return wanted
}

// reset replaces the connection after a call without an answer, reads the records, and merges
// the worker's own pending list before anything else is read. It tries until ctx ends. The
// server may have come back with an older state, in which entries that were claimed are marked
// again: another look follows.
func (d *Driver) reset(ctx context.Context) error {
	pause, told, word := 20*time.Millisecond, false, time.Time{}
	if d.unsure { // not so for the first connection
		d.lock.Lock()
		d.lanes.Unanswered()
		d.lock.Unlock()
	}
	for {
		err := d.reader.Reset(ctx)
		if err == nil {
			err = d.takeStock(ctx)
		}
		switch {
		case err == nil:
			d.unsure = false
			d.hears()
			if told {
				d.log.Info("server answers again")
			}
			return nil
		case errors.Is(err, job.ErrKillRefused):
			d.log.Warn("rejoining as a new incarnation: an unanswered read may still be executed", "error", err)
			return ErrEvicted
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if now := d.clock.Now(); !now.Before(word) {
			d.log.Warn("server does not answer: trying until it does", "error", err)
			told, word = true, now.Add(job.NextWord)
		}
		if !d.clock.Sleep(ctx, pause) {
			return context.Cause(ctx)
		}
		pause = min(2*pause, time.Second)
	}
}

// takeStock compares what this incarnation has with the records, over a new connection: another
// server may answer now, under another generation. Of tenures that the records still have the
// own pending list is merged, and they go on. What is pending of the others is left to the
// tenures that follow: taken in here, it would start twice, first under the old fence.
func (d *Driver) takeStock(ctx context.Context) error {
	snap, err := d.reader.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("look at the records: %w", err)
	}
	if snap.Fenced {
		d.Post(resize.Evicted{})
		return nil
	}
	owned := epochs(snap)
	if err := d.mergeHistory(ctx, owned); err != nil {
		return err
	}
	d.lock.Lock()
	defer d.lock.Unlock()
	d.epoch = max(d.epoch, snap.RingEpoch)
	d.events = append(d.events, resize.BeatAnswered{RingState: ringState(snap.Beat)})
	for _, t := range d.lanes.Tenures() {
		if epoch, has := owned[t.Partition]; has && epoch == t.Epoch {
			d.events = append(d.events, lookAgain(t.Tenure))
		} else {
			d.events = append(d.events, resize.PartitionFenced{Part: t.Partition, Epoch: t.Epoch})
		}
	}
	d.lanes.Confirm(owned, d.clock.Now())
	return nil
}

// mergeHistory reads what the store has handed to this incarnation of the tenures that the
// records still have, and takes in what it does not know of. No end may be in flight meanwhile:
// its job would look new.
func (d *Driver) mergeHistory(ctx context.Context, owned map[int]uint64) error {
	d.lock.Lock()
	parts := slices.Clone(d.lanes.Tenures())
	d.lock.Unlock()
	parts = slices.DeleteFunc(parts, func(t *lanes.Tenure) bool { return owned[t.Partition] != t.Epoch })
	if len(parts) == 0 {
		return nil
	}
	if err := d.merge.Close(ctx); err != nil {
		return fmt.Errorf("wait for acks in flight: %w", err)
	}
	defer d.merge.Open()
	for _, t := range parts {
		entries, err := d.reader.History(ctx, t.Partition)
		if errors.Is(err, job.ErrGroupGone) {
			continue // lost meanwhile; the next read tells
		}
		if err != nil {
			return fmt.Errorf("merge own pending list: %w", err)
		}
		d.lock.Lock()
		d.lanes.Merge(t, entries, d.clock.Now())
		d.lock.Unlock()
	}
	return nil
}

// readFailed decides what a failed read means. An error it returns ends the session.
func (d *Driver) readFailed(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, job.ErrGroupGone):
		return d.groupGone(ctx)
	case errors.Is(err, job.ErrOutcomeUnknown), errors.Is(err, job.ErrUnavailable):
		d.doubt()
		return nil
	}
	d.log.Error("read was refused", "error", err)
	return d.quarantine(ctx)
}

// groupGone: a partition, or the whole membership, is lost. The records tell which. If
// they say that nothing is, somebody deleted a group: it is made again.
func (d *Driver) groupGone(ctx context.Context) error {
	d.gone++
	events, err := d.readRecords(ctx)
	if err != nil {
		return err
	}
	if err := d.step(ctx, events...); err != nil {
		return err
	}
	if d.gone < 2 {
		return nil
	}
	d.lock.Lock()
	var parts []int
	for _, t := range d.lanes.Tenures() {
		parts = append(parts, t.Partition)
	}
	d.lock.Unlock()
	mended, err := d.member.Heal(ctx, parts)
	for _, m := range mended {
		d.log.Error("state was lost at the server", "mended", m)
	}
	if err != nil && !job.Waitable(err) {
		return err
	}
	if err == nil && len(mended) == 0 && d.gone > 3 {
		// Not a partition: the control stream itself is gone, so messages are lost.
		d.log.Warn("control stream is gone: rejoining as a new incarnation")
		return ErrEvicted
	}
	if !d.clock.Sleep(ctx, 10*time.Millisecond) {
		return context.Cause(ctx)
	}
	return nil
}

// quarantine finds the partitions whose stream cannot be read (another type was written
// there by hand, say) and leaves them out for a while; the others go on.
func (d *Driver) quarantine(ctx context.Context) error {
	parts, _, _ := d.toRead()
	found := false
	for _, p := range parts {
		b, err := d.reader.Read(ctx, []int{p}, 1, -1)
		if err == nil {
			d.take(b.Jobs)
			if err := d.messages(ctx, b.Control); err != nil {
				return err
			}
			continue
		}
		if errors.Is(err, job.ErrGroupGone) || job.Waitable(err) {
			return d.readFailed(ctx, err)
		}
		found = true
		d.log.Error("partition cannot be read: left out for 5 s, the others go on", "partition", p, "error", err)
		d.lock.Lock()
		d.lanes.LeaveOut(p, d.clock.Now().Add(5*time.Second))
		d.lock.Unlock()
	}
	if !found && !d.clock.Sleep(ctx, 200*time.Millisecond) {
		return context.Cause(ctx)
	}
	return nil
}
